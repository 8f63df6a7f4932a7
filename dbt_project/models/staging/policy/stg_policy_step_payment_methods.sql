with compiled as (
    select * from {{ source('policy', 'step_payment_methods') }}
),

final as (
    select
        version_hash,
        step_code,
        payment_method_code
    from compiled
)

select * from final
