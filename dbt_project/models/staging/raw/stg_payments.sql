with versions as (
    {{ current_version('payments') }}
),

final as (
    select
        payment_id,
        invoice_id,
        payment_date,
        amount,
        currency_code,
        payment_method_code,
        reversed_date,
        _source,
        _loaded_at
    from versions
)

select * from final
