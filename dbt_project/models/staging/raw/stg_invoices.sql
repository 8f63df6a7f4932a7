with versions as (
    {{ current_version('invoices') }}
),

final as (
    select
        invoice_id,
        customer_id,
        subscription_id,
        invoice_number,
        issue_date,
        due_date,
        amount,
        currency_code,
        status_code,
        cancelled_date,
        written_off_date,
        payment_method_code,
        calendar_code,
        policy_code,
        payment_url,
        nullif({{ keep_characters('boleto_line', '0-9') }}, '') as boleto_line,
        nullif(trim(pix_code), '') as pix_code,
        _source,
        _loaded_at
    from versions
)

select * from final
