with compiled as (
    select * from {{ source('policy', 'offers') }}
),

final as (
    select
        version_hash,
        segment_code,
        instalment_count,
        discount_pct
    from compiled
)

select * from final
