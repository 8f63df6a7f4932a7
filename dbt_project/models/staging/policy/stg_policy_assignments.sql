with compiled as (
    select * from {{ source('policy', 'assignments') }}
),

final as (
    select
        version_hash,
        policy_code,
        segment_code,
        person_type_code
    from compiled
)

select * from final
