with confirmations as (
    select * from {{ source('ops', 'confirmations') }}
),

final as (
    select
        _batch_id,
        _source,
        file_set,
        confirmed_at
    from confirmations
    where confirmed_at <= {{ known_at() }}
)

select * from final
