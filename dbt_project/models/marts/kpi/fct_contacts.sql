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

settled as (
    select * from {{ ref('int_settled_before') }}
),

credits as (
    select
        touch_id,
        count(case when is_last then 1 end) as credited_count,
        sum(case when is_last then collected_amount else 0 end) as credited_amount,
        sum(case when is_first then collected_amount else 0 end) as first_touch_amount
    from {{ ref('int_touch_credits') }}
    group by touch_id
),

told as (
    select
        touch_id,
        invoice_id,
        step_code,
        channel_code,
        planned_date,
        fate_code
    from touches
    union all
    -- Nothing has been heard yet of what a night decided.
    select
        null as touch_id,
        decisions.invoice_id,
        decisions.step_code,
        decisions.channel_code,
        decisions.planned_date,
        'planned' as fate_code
    from decisions
    left join touches
        on
            decisions.invoice_id = touches.invoice_id
            and decisions.step_code = touches.step_code
            and decisions.channel_code = touches.channel_code
            and decisions.planned_date = touches.planned_date
    where touches.touch_id is null
),

final as (
    select
        {{ as_of() }} as as_of_date,
        told.touch_id,
        told.invoice_id,
        invoices.customer_id,
        invoices.currency_code,
        invoices.segment_code,
        invoices.policy_code,
        told.step_code,
        told.channel_code,
        told.planned_date,
        told.fate_code,
        settled.settled_date,
        settled.settled_date is not null and told.fate_code not in ('planned', 'not_sent') as is_false,
        coalesce(credits.credited_count, 0) as credited_count,
        {{ money("coalesce(credits.credited_amount, 0)") }} as credited_amount,
        {{ money("coalesce(credits.first_touch_amount, 0)") }} as first_touch_amount
    from told
    inner join invoices
        on told.invoice_id = invoices.invoice_id
    left join settled
        on
            told.invoice_id = settled.invoice_id
            and told.planned_date = settled.day_date
    left join credits
        on told.touch_id = credits.touch_id
)

select * from final
