-- Failing means that fct_invoices lost or doubled an invoice on its way from int_invoice_balances, or changed its
-- amount.
with balances as (
    select
        count(*) as invoice_count,
        coalesce(sum(amount), 0) as amount
    from {{ ref('int_invoice_balances') }}
    where is_issued
),

facts as (
    select
        count(*) as invoice_count,
        coalesce(sum(amount), 0) as amount
    from {{ ref('fct_invoices') }}
)

select
    balances.invoice_count,
    facts.invoice_count as fact_count,
    balances.amount,
    facts.amount as fact_amount
from balances
cross join facts
where
    balances.invoice_count <> facts.invoice_count
    or balances.amount <> facts.amount
