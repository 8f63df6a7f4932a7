with batches as (
    select * from {{ source('ops', 'batches') }}
),

final as (
    select
        _batch_id,
        _source,
        file_set,
        entity,
        _file,
        mode as mode_code,
        _loaded_at
    from batches
    where _loaded_at <= {{ known_at() }}
)

select * from final
