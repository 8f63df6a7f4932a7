with invoices as (
    select * from {{ ref('int_kpi_invoices') }}
),

decisions as (
    select distinct
        invoice_id,
        step_code,
        channel_code,
        as_of_date as planned_date
    from {{ ref('fct_dunning_decisions') }}
    where
        outcome_code = 'eligible'
        and as_of_date <= {{ as_of() }}
),

touches as (
    select * from {{ ref('stg_touches') }}
    where planned_date <= {{ as_of() }}
),

credits as (
    select * from {{ ref('int_touch_credits') }}
),

planned as (
    select
        invoice_id,
        step_code,
        channel_code,
        planned_date
    from decisions
    union
    -- What the system before sent was decided there.
    select
        invoice_id,
        step_code,
        channel_code,
        planned_date
    from touches
),

told as (
    select
        invoice_id,
        step_code,
        channel_code,
        planned_date,
        'planned' as kind_code,
        0 as amount
    from planned
    union all
    select
        invoice_id,
        step_code,
        channel_code,
        planned_date,
        fate_code as kind_code,
        0 as amount
    from touches
    union all
    select
        invoice_id,
        step_code,
        channel_code,
        planned_date,
        'credited' as kind_code,
        collected_amount as amount
    from credits
    where is_last
    union all
    select
        invoice_id,
        step_code,
        channel_code,
        planned_date,
        'first_credited' as kind_code,
        collected_amount as amount
    from credits
    where is_first
),

counted as (
    select
        cast({{ dbt.date_trunc("month", "told.planned_date") }} as date) as month_date,
        invoices.currency_code,
        invoices.segment_code,
        invoices.policy_code,
        told.step_code,
        told.channel_code,
        count(case when told.kind_code = 'planned' then 1 end) as planned_count,
        count(case when told.kind_code in ('sent', 'delivered', 'bounced') then 1 end) as accepted_count,
        count(case when told.kind_code = 'delivered' then 1 end) as delivered_count,
        count(case when told.kind_code = 'bounced' then 1 end) as bounced_count,
        count(case when told.kind_code = 'not_sent' then 1 end) as not_sent_count,
        count(case when told.kind_code = 'credited' then 1 end) as credited_count,
        sum(case when told.kind_code = 'credited' then told.amount else 0 end) as credited_amount,
        sum(case when told.kind_code = 'first_credited' then told.amount else 0 end) as first_touch_amount
    from told
    inner join invoices
        on told.invoice_id = invoices.invoice_id
    group by
        {{ dbt.date_trunc("month", "told.planned_date") }},
        invoices.currency_code,
        invoices.segment_code,
        invoices.policy_code,
        told.step_code,
        told.channel_code
),

final as (
    select
        {{ as_of() }} as as_of_date,
        month_date,
        currency_code,
        segment_code,
        policy_code,
        step_code,
        channel_code,
        planned_count,
        accepted_count,
        delivered_count,
        bounced_count,
        not_sent_count,
        credited_count,
        {{ money("credited_amount") }} as credited_amount,
        {{ money("first_touch_amount") }} as first_touch_amount
    from counted
)

select * from final
