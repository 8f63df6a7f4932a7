-- Failing means that an open invoice of the day is in no bucket or in two: per currency, what fct_invoices says is open
-- is not what agg_aging_daily shows, in invoices or in money. Says nothing about whether the balances are right.
with invoices as (
    select
        currency_code,
        count(case when open_amount > 0 then 1 end) as invoice_count,
        sum(open_amount) as open_amount
    from {{ ref('fct_invoices') }}
    group by currency_code
),

buckets as (
    select
        currency_code,
        sum(invoice_count) as invoice_count,
        sum(open_amount) as open_amount
    from {{ ref('agg_aging_daily') }}
    where as_of_date = {{ as_of() }}
    group by currency_code
)

select
    coalesce(invoices.currency_code, buckets.currency_code) as currency_code,
    invoices.invoice_count,
    buckets.invoice_count as bucketed_count,
    invoices.open_amount,
    buckets.open_amount as bucketed_amount
from invoices
full outer join buckets
    on invoices.currency_code = buckets.currency_code
where
    coalesce(invoices.invoice_count, 0) <> coalesce(buckets.invoice_count, 0)
    or coalesce(invoices.open_amount, 0) <> coalesce(buckets.open_amount, 0)
