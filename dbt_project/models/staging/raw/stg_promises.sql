with versions as (
    {{ current_version('promises') }}
),

final as (
    select
        promise_id,
        customer_id,
        invoice_id,
        promised_date,
        amount,
        currency_code,
        valid_from_date,
        valid_to_date,
        author_id,
        reason,
        _source
    from versions
)

select * from final
