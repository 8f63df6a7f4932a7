with versions as (
    {{ current_version('standing_changes') }}
),

final as (
    select
        change_id,
        subscription_id,
        customer_id,
        invoice_id,
        as_of_date,
        published_date,
        standing_before_code,
        standing_code,
        change_code,
        reason_code,
        _source
    from versions
)

select * from final
