with contacts as (
    select * from {{ ref('fct_contacts') }}
    where fate_code not in ('planned', 'not_sent')
),

invoices as (
    select * from {{ ref('int_kpi_invoices') }}
),

suspensions as (
    select * from {{ ref('fct_suspensions') }}
),

changes as (
    select * from {{ ref('stg_standing_changes') }}
    where
        published_date <= {{ as_of() }}
        and standing_code = 'cancellation_proposed'
        and standing_before_code <> 'cancellation_proposed'
),

-- What happened, each with 1 where it is counted.
told as (
    select
        planned_date as day_date,
        currency_code,
        segment_code,
        policy_code,
        case when is_false then 'false_contact' else 'contact' end as kind_code,
        fate_code = 'unknown' as is_marked,
        null as day_count
    from contacts
    union all
    select
        published_date as day_date,
        currency_code,
        segment_code,
        policy_code,
        'suspension' as kind_code,
        is_false as is_marked,
        day_count
    from suspensions
    union all
    select
        changes.published_date as day_date,
        coalesce(invoices.currency_code, 'none') as currency_code,
        coalesce(invoices.segment_code, 'none') as segment_code,
        coalesce(invoices.policy_code, 'none') as policy_code,
        'cancellation' as kind_code,
        false as is_marked,
        null as day_count
    from changes
    left join invoices
        on changes.invoice_id = invoices.invoice_id
),

final as (
    select
        {{ as_of() }} as as_of_date,
        cast({{ dbt.date_trunc("month", "day_date") }} as date) as month_date,
        currency_code,
        segment_code,
        policy_code,
        count(case when kind_code in ('contact', 'false_contact') then 1 end) as contact_count,
        count(case when kind_code in ('contact', 'false_contact') and is_marked then 1 end) as unknown_count,
        count(case when kind_code = 'false_contact' then 1 end) as false_contact_count,
        count(case when kind_code = 'suspension' then 1 end) as suspension_count,
        count(case when kind_code = 'suspension' and is_marked then 1 end) as false_suspension_count,
        count(day_count) as returned_count,
        count(case when day_count <= 7 then 1 end) as returned_7_count,
        cast(coalesce(sum(day_count), 0) as bigint) as returned_days,
        cast(median(day_count) as decimal(9, 1)) as median_returned_days,
        count(case when kind_code = 'cancellation' then 1 end) as cancellation_proposed_count
    from told
    group by {{ dbt.date_trunc("month", "day_date") }}, currency_code, segment_code, policy_code
)

select * from final
