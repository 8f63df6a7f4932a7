with rejected as (
    select * from {{ source('quarantine', 'rejected_rows') }}
),

final as (
    select
        _batch_id,
        _source,
        _file,
        _loaded_at,
        entity,
        key_text,
        invoice_key_text
    from rejected
    where _loaded_at <= {{ known_at() }}
)

select * from final
