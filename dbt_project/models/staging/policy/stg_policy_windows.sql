with compiled as (
    select * from {{ source('policy', 'windows') }}
),

final as (
    select
        version_hash,
        channel_code,
        state_code,
        day_type_code,
        opens_minute,
        closes_minute
    from compiled
)

select * from final
