with compiled as (
    select * from {{ source('policy', 'step_segments') }}
),

final as (
    select
        version_hash,
        step_code,
        segment_code
    from compiled
)

select * from final
