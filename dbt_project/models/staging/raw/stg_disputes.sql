with versions as (
    {{ current_version('disputes') }}
),

final as (
    select
        dispute_id,
        invoice_id,
        valid_from_date,
        valid_to_date,
        author_id,
        reason,
        _source
    from versions
)

select * from final
