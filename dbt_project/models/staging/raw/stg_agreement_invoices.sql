with versions as (
    {{ current_version('agreement_invoices') }}
),

final as (
    select
        agreement_invoice_id,
        agreement_id,
        invoice_id,
        valid_from_date,
        valid_to_date,
        author_id,
        reason,
        _source
    from versions
)

select * from final
