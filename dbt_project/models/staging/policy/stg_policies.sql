with compiled as (
    select * from {{ source('policy', 'policies') }}
),

final as (
    select
        policy_code,
        is_default
    from compiled
)

select * from final
