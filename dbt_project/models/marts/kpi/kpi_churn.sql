with contracts as (
    select * from {{ ref('fct_subscriptions') }}
),

months as (
    select distinct cast({{ dbt.date_trunc("month", "date_day") }} as date) as month_date
    from {{ ref('dim_dates') }}
    where
        date_day < {{ dbt.date_trunc("month", dbt.dateadd("day", 1, as_of())) }}
        and date_day >= {{ dbt.date_trunc("month", dbt.dateadd("month", "-" ~ var('kpi_months'), as_of())) }}
),

running as (
    select
        months.month_date,
        contracts.currency_code,
        contracts.segment_code,
        contracts.is_unpaid,
        contracts.is_recovered,
        contracts.start_date < months.month_date as is_active,
        coalesce(contracts.end_date < {{ dbt.dateadd("month", 1, "months.month_date") }}, false) as is_ended
    from months
    inner join contracts
        on
            {{ dbt.dateadd("month", 1, "months.month_date") }} > contracts.start_date
            and (contracts.end_date is null or months.month_date <= contracts.end_date)
),

counted as (
    select
        month_date,
        currency_code,
        segment_code,
        count(case when is_active then 1 end) as active_count,
        count(case when is_ended then 1 end) as ended_count,
        count(case when is_ended and is_unpaid then 1 end) as unpaid_count,
        count(case when is_ended and is_recovered then 1 end) as recovered_count
    from running
    group by month_date, currency_code, segment_code
),

final as (
    select
        {{ as_of() }} as as_of_date,
        month_date,
        currency_code,
        segment_code,
        active_count,
        ended_count,
        unpaid_count,
        recovered_count,
        cast(
            {{ rounded_quotient("unpaid_count - recovered_count", "active_count", 100) }} as decimal(9, 2)
        ) as involuntary_churn_pct
    from counted
)

select * from final
