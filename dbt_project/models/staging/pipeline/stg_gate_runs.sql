with runs as (
    select * from {{ source('ops', 'gate_runs') }}
),

-- Nights before this one: its own gates have not all run yet, and running it again must not change what it tells.
final as (
    select
        as_of as as_of_date,
        run_id,
        gate as gate_code,
        expectation as expectation_code,
        target as target_code,
        success as is_success
    from runs
    where
        as_of < {{ as_of() }}
        and known_at <= {{ known_at() }}
)

select * from final
