with versions as (
    {{ current_version('agreements') }}
),

final as (
    select
        agreement_id,
        customer_id,
        broken_date,
        valid_from_date,
        valid_to_date,
        author_id,
        reason,
        _source
    from versions
)

select * from final
