{# What was collected in four weeks of what was open before them, for the days that a forecast is tried on. #}
with spans as (
    select * from {{ ref('int_bucket_spans') }}
    where aging_bucket_code <> 'small_delay'
),

events as (
    select * from {{ ref('int_balance_events') }}
    where collected_amount <> 0
),

origins as (
    {% for number in range(1, var('forecast_backtests') + 1) %}
        select cast({{ dbt.dateadd("day", -28 * number, as_of()) }} as date) as origin_date
        {{ "union all" if not loop.last }}
    {% endfor %}
),

collected as (
    select
        origins.origin_date,
        events.invoice_id,
        sum(events.collected_amount) as collected_amount
    from origins
    inner join events
        on
            origins.origin_date < events.event_date
            and events.event_date <= {{ dbt.dateadd("day", 28, "origins.origin_date") }}
    group by origins.origin_date, events.invoice_id
),

standing as (
    select
        origins.origin_date,
        spans.invoice_id,
        spans.currency_code,
        spans.open_amount
    from origins
    inner join spans
        on
            origins.origin_date >= spans.from_date
            and origins.origin_date < coalesce(spans.before_date, {{ dbt.dateadd("day", 1, as_of()) }})
),

final as (
    select
        standing.origin_date,
        standing.currency_code,
        sum(
            case
                when collected.collected_amount > standing.open_amount then standing.open_amount
                when collected.collected_amount > 0 then collected.collected_amount
                else 0
            end
        ) as collected_amount
    from standing
    left join collected
        on
            standing.origin_date = collected.origin_date
            and standing.invoice_id = collected.invoice_id
    group by standing.origin_date, standing.currency_code
)

select * from final
