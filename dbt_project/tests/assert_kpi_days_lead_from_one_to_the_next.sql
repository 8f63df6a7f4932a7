-- The day of the night before, as it is known today, is what the history says of it; the movements of the day lead on
-- from there to what was published.
with balances as (
    select
        currency_code,
        sum(previous_open_amount) as open_amount
    from {{ ref('int_invoice_balances') }}
    group by currency_code
),

told as (
    select
        currency_code,
        sum(open_amount) as open_amount
    from {{ ref('kpi_daily') }}
    where day_date = {{ previous_as_of() }}
    group by currency_code
)

select
    told.currency_code,
    told.open_amount,
    balances.open_amount as balance_amount
from told
left join balances
    on told.currency_code = balances.currency_code
where told.open_amount <> coalesce(balances.open_amount, 0)
