with spans as (
    select * from {{ ref('int_bucket_spans') }}
    where aging_bucket_code <> 'small_delay'
),

-- The last days of the months that are over, and of the one before them.
month_ends as (
    select calendar_date as month_end_date
    from {{ ref('int_business_days') }}
    where
        calendar_code = 'plain'
        and {{ dbt.date_trunc("month", "calendar_date") }}
        < {{ dbt.date_trunc("month", dbt.dateadd("day", 1, "calendar_date")) }}
        and calendar_date <= {{ as_of() }}
        and calendar_date >= {{ dbt.dateadd("month", "-" ~ (var('kpi_months') + 1), as_of()) }}
),

final as (
    select
        month_ends.month_end_date,
        spans.invoice_id,
        spans.customer_id,
        spans.currency_code,
        spans.segment_code,
        spans.policy_code,
        spans.aging_bucket_code,
        spans.open_amount
    from month_ends
    inner join spans
        on
            month_ends.month_end_date >= spans.from_date
            and month_ends.month_end_date < coalesce(spans.before_date, {{ dbt.dateadd("day", 1, as_of()) }})
)

select * from final
