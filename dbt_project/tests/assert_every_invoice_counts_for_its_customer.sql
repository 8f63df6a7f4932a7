-- Failing means that dim_customers does not count every invoice of fct_invoices exactly once: an invoice's customer is
-- missing from it, or is there twice.
with counted as (
    select coalesce(sum(invoice_count), 0) as invoice_count
    from {{ ref('dim_customers') }}
),

invoices as (
    select count(*) as invoice_count
    from {{ ref('fct_invoices') }}
)

select
    counted.invoice_count as counted_invoices,
    invoices.invoice_count as invoices
from counted
cross join invoices
where counted.invoice_count <> invoices.invoice_count
