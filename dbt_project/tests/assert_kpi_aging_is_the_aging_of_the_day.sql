-- The history that is made of events ends where the day's own invoices stand.
with told as (
    select
        currency_code,
        aging_bucket_code,
        sum(invoice_count) as invoice_count,
        sum(open_amount) as open_amount
    from {{ ref('kpi_aging') }}
    where day_date = {{ as_of() }}
    group by currency_code, aging_bucket_code
),

aged as (
    select
        currency_code,
        aging_bucket_code,
        count(*) as invoice_count,
        sum(open_amount) as open_amount
    from {{ ref('fct_invoices') }}
    where open_amount > 0
    group by currency_code, aging_bucket_code
)

select
    coalesce(told.currency_code, aged.currency_code) as currency_code,
    coalesce(told.aging_bucket_code, aged.aging_bucket_code) as aging_bucket_code,
    told.open_amount as told_amount,
    aged.open_amount as aged_amount
from told
full outer join aged
    on
        told.currency_code = aged.currency_code
        and told.aging_bucket_code = aged.aging_bucket_code
where
    told.invoice_count is distinct from aged.invoice_count
    or told.open_amount is distinct from aged.open_amount
