with runs as (
    select * from {{ ref('stg_gate_runs') }}
),

-- A night that was red once was red, though it was repaired and run again.
nights as (
    select
        as_of_date,
        gate_code,
        count(distinct case when not is_success then {{ dbt.concat(["expectation_code", "'/'", "target_code"]) }} end)
            as red_count
    from runs
    group by as_of_date, gate_code
),

final as (
    select
        {{ as_of() }} as as_of_date,
        cast({{ dbt.date_trunc("month", "as_of_date") }} as date) as month_date,
        gate_code,
        count(*) as night_count,
        count(case when red_count > 0 then 1 end) as red_night_count,
        cast(sum(red_count) as bigint) as red_expectation_count
    from nights
    group by {{ dbt.date_trunc("month", "as_of_date") }}, gate_code
)

select * from final
