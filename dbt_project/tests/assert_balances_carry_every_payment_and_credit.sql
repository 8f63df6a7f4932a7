-- The row returned is money received, undone or credited in a currency that no invoice carries: its invoice is unknown
-- (in quarantine, as a rule) or is in another currency. Such money pays nothing until the invoice is put right.
{{ config(severity='warn') }}

with facts as (
    select
        currency_code,
        received_amount,
        reversed_amount,
        0 as credited_amount
    from {{ ref('int_invoice_payments') }}
    union all
    select
        currency_code,
        0 as received_amount,
        0 as reversed_amount,
        credited_amount
    from {{ ref('int_invoice_credits') }}
    union all
    select
        currency_code,
        -received_amount as received_amount,
        -reversed_amount as reversed_amount,
        -credited_amount as credited_amount
    from {{ ref('int_invoice_balances') }}
)

select
    currency_code,
    sum(received_amount) as received_amount,
    sum(reversed_amount) as reversed_amount,
    sum(credited_amount) as credited_amount
from facts
group by currency_code
having
    sum(received_amount) <> 0
    or sum(reversed_amount) <> 0
    or sum(credited_amount) <> 0
