with events as (
    select * from {{ ref('int_balance_events') }}
    where
        collected_amount > 0
        and event_date >= {{ dbt.date_trunc("month", dbt.dateadd("month", "-" ~ var('kpi_months'), as_of())) }}
),

touches as (
    select
        touch_id,
        invoice_id,
        step_code,
        channel_code,
        planned_date,
        coalesce(delivered_date, planned_date) as delivered_date
    from {{ ref('stg_touches') }}
    where fate_code = 'delivered'
),

-- Days are all that is known: on the day of its delivery a message may have been what moved the payer.
candidates as (
    select
        events.invoice_id,
        events.event_date,
        events.collected_amount,
        touches.touch_id,
        touches.step_code,
        touches.channel_code,
        touches.planned_date,
        row_number() over (
            partition by events.invoice_id, events.event_date
            order by touches.delivered_date desc, touches.touch_id desc
        ) as place_from_last,
        row_number() over (
            partition by events.invoice_id, events.event_date
            order by touches.delivered_date, touches.touch_id
        ) as place_from_first
    from events
    inner join touches
        on
            events.invoice_id = touches.invoice_id
            and events.event_date >= touches.delivered_date
            and touches.delivered_date >= {{ dbt.dateadd("day", "-" ~ var('attribution_days'), "events.event_date") }}
),

final as (
    select
        invoice_id,
        event_date,
        touch_id,
        step_code,
        channel_code,
        planned_date,
        collected_amount,
        place_from_last = 1 as is_last,
        place_from_first = 1 as is_first
    from candidates
    where
        place_from_last = 1
        or place_from_first = 1
)

select * from final
