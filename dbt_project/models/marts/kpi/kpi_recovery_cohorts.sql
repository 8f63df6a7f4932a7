{% set horizons = var('kpi_horizon_days') %}

with overdue as (
    select * from {{ ref('fct_overdue_invoices') }}
),

-- An invoice whose horizon is not over yet is not observed.
summed as (
    select
        cast({{ dbt.date_trunc("month", "overdue_date") }} as date) as cohort_month,
        currency_code,
        segment_code,
        policy_code,
        payment_method_code,
        count(*) as invoice_count,
        {% for days in horizons %}
            count(recovered_{{ days }}_amount) as observed_{{ days }}_count,
            sum(case when recovered_{{ days }}_amount is not null then overdue_amount else 0 end)
                as observed_{{ days }}_amount,
            sum(coalesce(recovered_{{ days }}_amount, 0)) as recovered_{{ days }}_amount,
            count(case when recovered_{{ days }}_amount = overdue_amount then 1 end) as cured_{{ days }}_count,
            sum(case when recovered_{{ days }}_amount = overdue_amount then overdue_amount else 0 end)
                as cured_{{ days }}_amount,
        {% endfor %}
        sum(overdue_amount) as overdue_amount
    from overdue
    group by
        {{ dbt.date_trunc("month", "overdue_date") }},
        currency_code,
        segment_code,
        policy_code,
        payment_method_code
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
