with invoices as (
    select * from {{ ref('stg_invoices') }}
),

-- What a message speaks of, and what a banner leads to.
paid_by_link as (
    select invoice_id
    from {{ ref('fct_dunning_message_lines') }}
    where as_of_date = {{ as_of() }}
    union
    select oldest_invoice_id as invoice_id
    from {{ ref('fct_subscription_standing') }}
    where
        as_of_date = {{ as_of() }}
        and oldest_invoice_id is not null
),

final as (
    select
        invoices.invoice_id,
        invoices.invoice_number,
        invoices.payment_url,
        invoices.boleto_line,
        invoices.pix_code
    from invoices
    inner join paid_by_link
        on invoices.invoice_id = paid_by_link.invoice_id
)

select * from final
