with invoices as (
    select * from {{ ref('int_kpi_invoices') }}
),

events as (
    select * from {{ ref('int_balance_events') }}
    where open_amount > 0
),

-- The first days of a delay are told of apart, besides being part of their bucket.
aging_buckets as (
    select
        aging_bucket_code,
        from_days,
        to_days
    from {{ ref('aging_buckets') }}
    union all
    select
        'small_delay' as aging_bucket_code,
        1 as from_days,
        {{ var('small_delay_max_days') }} as to_days
),

-- From the first day on which a balance stood to the day before the last column; null while it still stands.
balances as (
    select
        invoices.invoice_id,
        invoices.customer_id,
        invoices.currency_code,
        invoices.segment_code,
        invoices.policy_code,
        invoices.due_date,
        events.open_amount,
        events.event_date as from_date,
        events.next_event_date as before_date,
        case when events.open_amount > {{ tolerance_amount() }} then invoices.first_overdue_date end as overdue_date
    from events
    inner join invoices
        on events.invoice_id = invoices.invoice_id
),

bucketed as (
    select
        balances.*,
        aging_buckets.aging_bucket_code,
        case
            when aging_buckets.from_days is null then balances.from_date
            else greatest(
                balances.from_date,
                balances.overdue_date,
                cast({{ dbt.dateadd("day", "aging_buckets.from_days", "balances.due_date") }} as date)
            )
        end as bucket_from_date,
        case
            when aging_buckets.from_days is null then balances.overdue_date
            else cast({{ dbt.dateadd("day", "aging_buckets.to_days + 1", "balances.due_date") }} as date)
        end as bucket_before_date
    from balances
    cross join aging_buckets
    where aging_buckets.from_days is null or balances.overdue_date is not null
),

spans as (
    select
        invoice_id,
        customer_id,
        currency_code,
        segment_code,
        policy_code,
        aging_bucket_code,
        due_date,
        open_amount,
        bucket_from_date as from_date,
        case
            when before_date is null or bucket_before_date < before_date then bucket_before_date
            else before_date
        end as before_date
    from bucketed
),

final as (
    select *
    from spans
    where
        from_date <= {{ as_of() }}
        and (before_date is null or before_date > from_date)
)

select * from final
