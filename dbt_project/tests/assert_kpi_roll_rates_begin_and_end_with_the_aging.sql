-- What a bucket's balance became adds up to it, and what balances came from adds up to the bucket they came to.
with starts as (
    select
        month_date,
        currency_code,
        from_code as aging_bucket_code,
        sum(amount) as amount
    from {{ ref('kpi_roll_rates') }}
    where from_code <> 'none'
    group by month_date, currency_code, from_code
),

ends as (
    select
        month_date,
        currency_code,
        to_code as aging_bucket_code,
        sum(amount) as amount
    from {{ ref('kpi_roll_rates') }}
    where to_code not in ('paid', 'removed')
    group by month_date, currency_code, to_code
),

aging as (
    select
        day_date,
        currency_code,
        aging_bucket_code,
        sum(open_amount) as amount
    from {{ ref('kpi_aging') }}
    group by day_date, currency_code, aging_bucket_code
)

select
    starts.month_date,
    starts.currency_code,
    starts.aging_bucket_code,
    starts.amount,
    aging.amount as aging_amount
from starts
inner join aging
    on
        starts.currency_code = aging.currency_code
        and starts.aging_bucket_code = aging.aging_bucket_code
        and aging.day_date = {{ dbt.dateadd("day", -1, "starts.month_date") }}
where starts.amount <> aging.amount
union all
select
    ends.month_date,
    ends.currency_code,
    ends.aging_bucket_code,
    ends.amount,
    aging.amount as aging_amount
from ends
inner join aging
    on
        ends.currency_code = aging.currency_code
        and ends.aging_bucket_code = aging.aging_bucket_code
        and aging.day_date = {{ dbt.dateadd("day", -1, dbt.dateadd("month", 1, "ends.month_date")) }}
where ends.amount <> aging.amount
