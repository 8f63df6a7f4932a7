with versions as (
    {{ current_version('credits') }}
),

final as (
    select
        credit_id,
        customer_id,
        invoice_id,
        applied_date,
        amount,
        currency_code,
        reason_code,
        _source,
        _loaded_at
    from versions
)

select * from final
