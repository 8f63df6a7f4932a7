with days as (
    select
        calendar_date,
        is_business_day
    from {{ ref('int_business_days') }}
    where
        calendar_code = 'br-bank'
        and calendar_date >= {{ dbt.dateadd("year", -3, as_of()) }}
        and calendar_date <= {{ dbt.dateadd("year", 1, as_of()) }}
),

final as (
    select
        {{ as_of() }} as as_of_date,
        calendar_date as date_day,
        is_business_day
    from days
)

select * from final
