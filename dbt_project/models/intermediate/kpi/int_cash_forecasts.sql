{# Of what is open at the end of a day, what is expected in each week after it: of each week since the due date the
   share that was collected in the weeks before that day; the rest grows a week older. #}
{% set horizon = var('forecast_weeks') %}

with weeks as (
    select * from {{ ref('int_collection_weeks') }}
),

origins as (
    {% for number in range(0, var('forecast_backtests') + 1) %}
        select cast({{ dbt.dateadd("day", -28 * number, as_of()) }} as date) as origin_date
        {{ "union all" if not loop.last }}
    {% endfor %}
),

-- Weeks that were over on the day, so that a forecast that is tried on the past knows no more than one of then.
summed as (
    select
        origins.origin_date,
        weeks.currency_code,
        weeks.due_week,
        sum(weeks.open_amount) as open_amount,
        sum(weeks.collected_amount) as collected_amount
    from origins
    inner join weeks
        on
            {{ dbt.dateadd("day", 7, "weeks.week_end_date") }} <= origins.origin_date
            and weeks.week_end_date
            >= {{ dbt.dateadd("day", "-" ~ var('forecast_curve_weeks') * 7, "origins.origin_date") }}
    group by origins.origin_date, weeks.currency_code, weeks.due_week
),

rates as (
    select
        origin_date,
        currency_code,
        due_week,
        {{ rounded_quotient(hundredths("collected_amount"), hundredths("open_amount"), 100) }} as collected_pct
    from summed
),

week_0 as (
    select
        origins.origin_date,
        weeks.currency_code,
        weeks.due_week,
        {{ money("weeks.open_amount") }} as left_amount,
        {{ money("0") }} as expected_amount
    from origins
    inner join weeks
        on origins.origin_date = weeks.week_end_date
),

{% for week in range(1, horizon + 1) %}
    rated_{{ week }} as (
        select
            older.origin_date,
            older.currency_code,
            older.due_week,
            older.left_amount,
            {{ percentage_of("older.left_amount", "coalesce(rates.collected_pct, 0)") }} as expected_amount
        from week_{{ week - 1 }} as older
        left join rates
            on
                older.origin_date = rates.origin_date
                and older.currency_code = rates.currency_code
                and older.due_week = rates.due_week
    ),

    week_{{ week }} as (
        select
            origin_date,
            currency_code,
            case when due_week < 26 then due_week + 1 else due_week end as due_week,
            {{ money("left_amount - expected_amount") }} as left_amount,
            expected_amount
        from rated_{{ week }}
    ),
{% endfor %}

final as (
    {% for week in range(1, horizon + 1) %}
        select
            origin_date,
            currency_code,
            {{ week }} as week_number,
            {{ money("sum(expected_amount)") }} as expected_amount
        from week_{{ week }}
        group by origin_date, currency_code
        {{ "union all" if not loop.last }}
    {% endfor %}
)

select * from final
