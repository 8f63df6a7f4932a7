with invoices as (
    select * from {{ ref('stg_invoices') }}
),

message_lines as (
    select distinct invoice_id
    from {{ ref('fct_dunning_message_lines') }}
    where as_of_date = {{ as_of() }}
),

final as (
    select
        invoices.invoice_id,
        invoices.invoice_number,
        invoices.payment_url,
        invoices.boleto_line,
        invoices.pix_code
    from invoices
    inner join message_lines
        on invoices.invoice_id = message_lines.invoice_id
)

select * from final
