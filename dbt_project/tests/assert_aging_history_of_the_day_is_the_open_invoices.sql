-- Failing means that the day's rows of fct_invoice_aging are not exactly the open invoices of fct_invoices: rows of an
-- earlier build of the same day were left behind, or some are missing.
with invoices as (
    select
        currency_code,
        count(*) as invoice_count,
        sum(open_amount) as open_amount
    from {{ ref('fct_invoices') }}
    where open_amount > 0
    group by currency_code
),

history as (
    select
        currency_code,
        count(*) as invoice_count,
        sum(open_amount) as open_amount
    from {{ ref('fct_invoice_aging') }}
    where as_of_date = {{ as_of() }}
    group by currency_code
)

select
    coalesce(invoices.currency_code, history.currency_code) as currency_code,
    invoices.open_amount,
    history.open_amount as history_amount
from invoices
full outer join history
    on invoices.currency_code = history.currency_code
where
    coalesce(invoices.invoice_count, 0) <> coalesce(history.invoice_count, 0)
    or coalesce(invoices.open_amount, 0) <> coalesce(history.open_amount, 0)
