{% set horizons = var('kpi_horizon_days') %}

with invoices as (
    select * from {{ ref('int_kpi_invoices') }}
),

spans as (
    select * from {{ ref('int_bucket_spans') }}
    where aging_bucket_code not in ('current', 'small_delay')
),

events as (
    select * from {{ ref('int_balance_events') }}
    where collected_amount <> 0
),

-- What stood open at the end of the first day on which it was overdue.
overdue as (
    select
        invoices.invoice_id,
        invoices.customer_id,
        invoices.currency_code,
        invoices.segment_code,
        invoices.policy_code,
        invoices.payment_method_code,
        invoices.first_overdue_date as overdue_date,
        spans.open_amount as overdue_amount
    from invoices
    inner join spans
        on
            invoices.invoice_id = spans.invoice_id
            and invoices.first_overdue_date = spans.from_date
    where invoices.first_overdue_date >= {{ dbt.date_trunc(
        "month", dbt.dateadd("month", "-" ~ var('kpi_months'), as_of())
    ) }}
),

collected as (
    select
        {% for days in horizons %}
            sum(
                case
                    when events.event_date <= {{ dbt.dateadd("day", days, "overdue.overdue_date") }}
                        then events.collected_amount
                    else 0
                end
            ) as collected_{{ days }}_amount,
        {% endfor %}
        overdue.invoice_id
    from overdue
    inner join events
        on
            overdue.invoice_id = events.invoice_id
            and overdue.overdue_date < events.event_date
    group by overdue.invoice_id
),

final as (
    select
        {{ as_of() }} as as_of_date,
        overdue.invoice_id,
        overdue.customer_id,
        overdue.currency_code,
        overdue.segment_code,
        overdue.policy_code,
        overdue.payment_method_code,
        overdue.overdue_date,
        {% for days in horizons %}
            {{ money(
                "case when " ~ dbt.dateadd("day", days, "overdue.overdue_date") ~ " > " ~ as_of() ~ " then null"
                ~ " when collected.collected_" ~ days ~ "_amount > overdue.overdue_amount then overdue.overdue_amount"
                ~ " when collected.collected_" ~ days ~ "_amount > 0 then collected.collected_" ~ days ~ "_amount"
                ~ " else 0 end"
            ) }} as recovered_{{ days }}_amount,
        {% endfor %}
        {{ money("overdue.overdue_amount") }} as overdue_amount
    from overdue
    left join collected
        on overdue.invoice_id = collected.invoice_id
)

select * from final
