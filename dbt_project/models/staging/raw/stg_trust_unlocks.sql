with versions as (
    {{ current_version('trust_unlocks') }}
),

final as (
    select
        trust_unlock_id,
        customer_id,
        valid_from_date,
        valid_to_date,
        author_id,
        reason,
        _source
    from versions
)

select * from final
