with versions as (
    {{ current_version('pauses') }}
),

final as (
    select
        pause_id,
        customer_id,
        valid_from_date,
        valid_to_date,
        author_id,
        reason,
        _source
    from versions
)

select * from final
