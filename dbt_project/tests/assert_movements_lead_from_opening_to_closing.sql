-- Failing means that money appeared or vanished between two published days: for the currency returned, opening and
-- movements do not give the closing balance to the cent, or the closing is not what the buckets show.
with movements as (
    select
        currency_code,
        sum(case when movement_code <> 'closing' then amount else 0 end) as expected_amount,
        sum(case when movement_code = 'closing' then amount else 0 end) as closing_amount
    from {{ ref('agg_balance_movements_daily') }}
    where as_of_date = {{ as_of() }}
    group by currency_code
),

buckets as (
    select
        currency_code,
        sum(open_amount) as open_amount
    from {{ ref('agg_aging_daily') }}
    where as_of_date = {{ as_of() }}
    group by currency_code
)

select
    coalesce(movements.currency_code, buckets.currency_code) as currency_code,
    movements.expected_amount,
    movements.closing_amount,
    buckets.open_amount
from movements
full outer join buckets
    on movements.currency_code = buckets.currency_code
where
    coalesce(movements.expected_amount, 0) <> coalesce(movements.closing_amount, 0)
    or coalesce(movements.closing_amount, 0) <> coalesce(buckets.open_amount, 0)
