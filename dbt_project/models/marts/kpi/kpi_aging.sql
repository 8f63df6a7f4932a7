with spans as (
    select * from {{ ref('int_bucket_spans') }}
    where aging_bucket_code <> 'small_delay'
),

spine as (
    select calendar_date as day_date
    from {{ ref('int_business_days') }}
    where
        calendar_code = 'plain'
        and calendar_date > {{ dbt.dateadd("day", "-" ~ var('kpi_days'), as_of()) }}
        and calendar_date <= {{ as_of() }}
),

-- Each span adds its balance on its first day and takes it away on the day after its last.
moved as (
    select
        currency_code,
        segment_code,
        policy_code,
        aging_bucket_code,
        from_date as day_date,
        open_amount as amount,
        1 as invoice_count
    from spans
    union all
    select
        currency_code,
        segment_code,
        policy_code,
        aging_bucket_code,
        before_date as day_date,
        -open_amount as amount,
        -1 as invoice_count
    from spans
    where before_date <= {{ as_of() }}
),

first_days as (
    select min(day_date) as day_date
    from spine
),

daily as (
    select
        moved.currency_code,
        moved.segment_code,
        moved.policy_code,
        moved.aging_bucket_code,
        -- What happened before the days that are shown is where they begin.
        case when moved.day_date > first_days.day_date then moved.day_date else first_days.day_date end as day_date,
        sum(moved.amount) as amount,
        sum(moved.invoice_count) as invoice_count
    from moved
    cross join first_days
    group by
        moved.currency_code,
        moved.segment_code,
        moved.policy_code,
        moved.aging_bucket_code,
        case when moved.day_date > first_days.day_date then moved.day_date else first_days.day_date end
),

kinds as (
    select distinct
        currency_code,
        segment_code,
        policy_code,
        aging_bucket_code
    from daily
),

standing as (
    select
        spine.day_date,
        kinds.currency_code,
        kinds.segment_code,
        kinds.policy_code,
        kinds.aging_bucket_code,
        sum(coalesce(daily.amount, 0)) over (
            partition by kinds.currency_code, kinds.segment_code, kinds.policy_code, kinds.aging_bucket_code
            order by spine.day_date
            rows between unbounded preceding and current row
        ) as open_amount,
        sum(coalesce(daily.invoice_count, 0)) over (
            partition by kinds.currency_code, kinds.segment_code, kinds.policy_code, kinds.aging_bucket_code
            order by spine.day_date
            rows between unbounded preceding and current row
        ) as invoice_count
    from spine
    cross join kinds
    left join daily
        on
            spine.day_date = daily.day_date
            and kinds.currency_code = daily.currency_code
            and kinds.segment_code = daily.segment_code
            and kinds.policy_code = daily.policy_code
            and kinds.aging_bucket_code = daily.aging_bucket_code
),

aging_buckets as (
    select * from {{ ref('aging_buckets') }}
),

final as (
    select
        {{ as_of() }} as as_of_date,
        standing.day_date,
        standing.currency_code,
        standing.segment_code,
        standing.policy_code,
        standing.aging_bucket_code,
        aging_buckets.sort_order,
        cast(standing.invoice_count as bigint) as invoice_count,
        {{ money("standing.open_amount") }} as open_amount
    from standing
    inner join aging_buckets
        on standing.aging_bucket_code = aging_buckets.aging_bucket_code
    where standing.invoice_count > 0
)

select * from final
