with promises as (
    select * from {{ ref('fct_promises') }}
),

final as (
    select
        {{ as_of() }} as as_of_date,
        cast({{ dbt.date_trunc("month", "promised_date") }} as date) as month_date,
        currency_code,
        segment_code,
        policy_code,
        count(*) as promise_count,
        count(case when is_kept then 1 end) as kept_count,
        {{ money("sum(promised_amount)") }} as promised_amount,
        {{ money("sum(case when is_kept then promised_amount else 0 end)") }} as kept_amount
    from promises
    group by {{ dbt.date_trunc("month", "promised_date") }}, currency_code, segment_code, policy_code
)

select * from final
