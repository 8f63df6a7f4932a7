with bank_holidays as (
    select * from {{ ref('bank_holidays') }}
),

extra_bank_holidays as (
    select * from {{ ref('extra_bank_holidays') }}
),

spine as (
    {{ dbt.date_spine(
        datepart="day",
        start_date="cast('" ~ var('calendar_first_date') ~ "' as date)",
        end_date=dbt.dateadd("day", 1, "cast('" ~ var('calendar_last_date') ~ "' as date)")
    ) }}
),

calendar_dates as (
    select cast(date_day as date) as calendar_date
    from spine
),

holidays as (
    select
        calendar_code,
        holiday_date
    from bank_holidays
    union
    select
        calendar_code,
        holiday_date
    from extra_bank_holidays
),

bank_days as (
    select
        'br-bank' as calendar_code,
        calendar_dates.calendar_date,
        {{ is_weekday('calendar_dates.calendar_date') }} and holidays.holiday_date is null as is_business_day,
        holidays.holiday_date is not null as is_holiday
    from calendar_dates
    left join holidays
        on
            calendar_dates.calendar_date = holidays.holiday_date
            and holidays.calendar_code = 'br-bank'
),

effective_days as (
    select
        calendar_code,
        calendar_date,
        is_business_day,
        is_holiday,
        min(case when is_business_day then calendar_date end) over (
            partition by calendar_code
            order by calendar_date
            rows between current row and unbounded following
        ) as effective_date,
        count(case when is_business_day then 1 end) over (
            partition by calendar_code
            order by calendar_date
            rows between unbounded preceding and current row
        ) as business_day_number
    from bank_days
),

final as (
    select
        calendar_code,
        calendar_date,
        is_business_day,
        is_holiday,
        coalesce(effective_date, calendar_date) as effective_date,
        business_day_number
    from effective_days
    union all
    select
        'plain' as calendar_code,
        calendar_date,
        true as is_business_day,
        false as is_holiday,
        calendar_date as effective_date,
        row_number() over (order by calendar_date) as business_day_number
    from calendar_dates
)

select * from final
