-- Each payment is credited once: by last touch and by first touch to the same sum, which no more was collected than.
with steps as (
    select
        sum(credited_amount) as credited_amount,
        sum(first_touch_amount) as first_touch_amount
    from {{ ref('kpi_step_performance') }}
),

payments as (
    select sum(collected_amount) as collected_amount
    from (
        select distinct
            invoice_id,
            event_date,
            collected_amount
        from {{ ref('int_touch_credits') }}
    ) as credited
)

select
    steps.credited_amount,
    steps.first_touch_amount,
    payments.collected_amount
from steps
cross join payments
where
    coalesce(steps.credited_amount, 0) <> coalesce(payments.collected_amount, 0)
    or coalesce(steps.first_touch_amount, 0) <> coalesce(payments.collected_amount, 0)
