with compiled as (
    select * from {{ source('policy', 'step_person_types') }}
),

final as (
    select
        version_hash,
        step_code,
        person_type_code
    from compiled
)

select * from final
