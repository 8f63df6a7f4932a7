with compiled as (
    select * from {{ source('policy', 'variants') }}
),

final as (
    select
        version_hash,
        step_code,
        variant_code,
        from_pct,
        to_pct,
        template_code
    from compiled
)

select * from final
