{# What was open at the end of a week and what of it was collected in the week after, by weeks since the due date. #}
{% set weeks = var('forecast_history_weeks') %}

with spans as (
    select * from {{ ref('int_bucket_spans') }}
    where aging_bucket_code <> 'small_delay'
),

events as (
    select * from {{ ref('int_balance_events') }}
    where collected_amount <> 0
),

-- Weeks are counted back from as_of, so that each is whole.
days as (
    select
        calendar_date,
        {{ dbt.datediff("calendar_date", as_of(), "day") }}
            as days_ago
    from {{ ref('int_business_days') }}
    where
        calendar_code = 'plain'
        and calendar_date <= {{ as_of() }}
        and calendar_date > {{ dbt.dateadd("day", "-" ~ weeks * 7, as_of()) }}
),

ends as (
    select calendar_date as week_end_date
    from days
    where days_ago % 7 = 0
),

collected as (
    select
        ends.week_end_date,
        events.invoice_id,
        sum(events.collected_amount) as collected_amount
    from ends
    inner join events
        on
            ends.week_end_date < events.event_date
            and {{ dbt.dateadd("day", 7, "ends.week_end_date") }} >= events.event_date
    group by ends.week_end_date, events.invoice_id
),

standing as (
    select
        ends.week_end_date,
        spans.invoice_id,
        spans.currency_code,
        spans.open_amount,
        {{ dbt.datediff("spans.due_date", "ends.week_end_date", "day") }}
            as days_since_due
    from ends
    inner join spans
        on
            ends.week_end_date >= spans.from_date
            and ends.week_end_date < coalesce(spans.before_date, {{ dbt.dateadd("day", 1, as_of()) }})
),

placed as (
    select
        standing.week_end_date,
        standing.currency_code,
        -- The oldest and the furthest away are one each.
        case
            when standing.days_since_due < -56 then -9
            when standing.days_since_due >= 182 then 26
            else cast(floor(standing.days_since_due / 7.0) as integer)
        end as due_week,
        standing.open_amount,
        case
            when collected.collected_amount > standing.open_amount then standing.open_amount
            when collected.collected_amount > 0 then collected.collected_amount
            else 0
        end as collected_amount
    from standing
    left join collected
        on
            standing.week_end_date = collected.week_end_date
            and standing.invoice_id = collected.invoice_id
),

final as (
    select
        week_end_date,
        currency_code,
        due_week,
        sum(open_amount) as open_amount,
        sum(collected_amount) as collected_amount
    from placed
    group by week_end_date, currency_code, due_week
)

select * from final
