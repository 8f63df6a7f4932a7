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
        invoices.currency_code,
        invoices.segment_code,
        invoices.policy_code,
        invoices.payment_method_code,
        invoices.first_overdue_date,
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

recovered as (
    select
        {% for days in horizons %}
            sum(
                case
                    when events.event_date <= {{ dbt.dateadd("day", days, "overdue.first_overdue_date") }}
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
            and overdue.first_overdue_date < events.event_date
    group by overdue.invoice_id
),

judged as (
    select
        cast({{ dbt.date_trunc("month", "overdue.first_overdue_date") }} as date) as cohort_month,
        overdue.currency_code,
        overdue.segment_code,
        overdue.policy_code,
        overdue.payment_method_code,
        {% for days in horizons %}
            {{ dbt.dateadd("day", days, "overdue.first_overdue_date") }} <= {{ as_of() }} as is_{{ days }}_over,
            case
                when recovered.collected_{{ days }}_amount > overdue.overdue_amount then overdue.overdue_amount
                when recovered.collected_{{ days }}_amount > 0 then recovered.collected_{{ days }}_amount
                else 0
            end as recovered_{{ days }}_amount,
        {% endfor %}
        overdue.overdue_amount
    from overdue
    left join recovered
        on overdue.invoice_id = recovered.invoice_id
),

summed as (
    select
        cohort_month,
        currency_code,
        segment_code,
        policy_code,
        payment_method_code,
        count(*) as invoice_count,
        {% for days in horizons %}
            count(case when is_{{ days }}_over then 1 end) as observed_{{ days }}_count,
            sum(case when is_{{ days }}_over then overdue_amount else 0 end) as observed_{{ days }}_amount,
            sum(case when is_{{ days }}_over then recovered_{{ days }}_amount else 0 end)
                as recovered_{{ days }}_amount,
            count(case when is_{{ days }}_over and recovered_{{ days }}_amount = overdue_amount then 1 end)
                as cured_{{ days }}_count,
            sum(
                case
                    when is_{{ days }}_over and recovered_{{ days }}_amount = overdue_amount then overdue_amount
                    else 0
                end
            ) as cured_{{ days }}_amount,
        {% endfor %}
        sum(overdue_amount) as overdue_amount
    from judged
    group by cohort_month, currency_code, segment_code, policy_code, payment_method_code
),

final as (
    {% for days in horizons %}
        select
            {{ as_of() }} as as_of_date,
            cohort_month,
            currency_code,
            segment_code,
            policy_code,
            payment_method_code,
            {{ days }} as horizon_days,
            invoice_count,
            {{ money("overdue_amount") }} as overdue_amount,
            observed_{{ days }}_count as observed_count,
            {{ money("observed_" ~ days ~ "_amount") }} as observed_amount,
            {{ money("recovered_" ~ days ~ "_amount") }} as recovered_amount,
            cured_{{ days }}_count as cured_count,
            {{ money("cured_" ~ days ~ "_amount") }} as cured_amount
        from summed
        {{ "union all" if not loop.last }}
    {% endfor %}
)

select * from final
