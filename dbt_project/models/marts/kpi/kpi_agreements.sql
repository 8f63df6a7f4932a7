with agreements as (
    select * from {{ ref('fct_agreements') }}
),

final as (
    select
        {{ as_of() }} as as_of_date,
        cast({{ dbt.date_trunc("month", "valid_from_date") }} as date) as month_date,
        currency_code,
        segment_code,
        policy_code,
        count(*) as agreement_count,
        count(broken_date) as broken_count,
        {{ money("sum(covered_amount)") }} as covered_amount,
        {{ money("sum(case when broken_date is not null then covered_amount else 0 end)") }} as broken_amount
    from agreements
    group by {{ dbt.date_trunc("month", "valid_from_date") }}, currency_code, segment_code, policy_code
)

select * from final
