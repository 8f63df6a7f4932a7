-- Each month's cohort is what its days say became overdue, and nobody recovers more than was owed.
with cohorts as (
    select
        cohort_month,
        currency_code,
        sum(overdue_amount) as overdue_amount
    from {{ ref('kpi_recovery_cohorts') }}
    where horizon_days = {{ var('kpi_horizon_days') | first }}
    group by cohort_month, currency_code
),

days as (
    select
        cast({{ dbt.date_trunc("month", "day_date") }} as date) as cohort_month,
        currency_code,
        sum(new_overdue_amount) as overdue_amount,
        min(day_date) as first_date
    from {{ ref('kpi_daily') }}
    group by {{ dbt.date_trunc("month", "day_date") }}, currency_code
)

select
    days.cohort_month,
    days.currency_code,
    days.overdue_amount as told_amount,
    cohorts.overdue_amount
from days
left join cohorts
    on
        days.cohort_month = cohorts.cohort_month
        and days.currency_code = cohorts.currency_code
where
    days.first_date = days.cohort_month
    and days.overdue_amount <> coalesce(cohorts.overdue_amount, 0)
union all
select
    cohort_month,
    currency_code,
    recovered_amount as told_amount,
    observed_amount as overdue_amount
from {{ ref('kpi_recovery_cohorts') }}
where
    recovered_amount > observed_amount
    or cured_amount > recovered_amount
    or observed_amount > overdue_amount
    or observed_count > invoice_count
    or cured_count > observed_count
