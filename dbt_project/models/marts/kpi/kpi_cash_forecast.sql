with forecasts as (
    select * from {{ ref('int_cash_forecasts') }}
),

actuals as (
    select * from {{ ref('int_collection_backtests') }}
    where collected_amount > 0
),

tried as (
    select
        forecasts.origin_date,
        forecasts.currency_code,
        sum(forecasts.expected_amount) as expected_amount
    from forecasts
    where forecasts.week_number <= 4
    group by forecasts.origin_date, forecasts.currency_code
),

errors as (
    select
        actuals.currency_code,
        count(*) as backtest_count,
        sum(tried.expected_amount - actuals.collected_amount) as error_amount,
        sum(abs(tried.expected_amount - actuals.collected_amount)) as absolute_error_amount,
        sum(actuals.collected_amount) as collected_amount
    from actuals
    inner join tried
        on
            actuals.origin_date = tried.origin_date
            and actuals.currency_code = tried.currency_code
    group by actuals.currency_code
),

measured as (
    select
        currency_code,
        backtest_count,
        {{ rounded_quotient(hundredths("absolute_error_amount"), hundredths("collected_amount"), 100) }} as error_pct,
        case when error_amount < 0 then -1 else 1 end
        * {{ rounded_quotient(hundredths("abs(error_amount)"), hundredths("collected_amount"), 100) }} as bias_pct
    from errors
),

final as (
    select
        {{ as_of() }} as as_of_date,
        forecasts.currency_code,
        forecasts.week_number,
        cast({{ dbt.dateadd("day", "forecasts.week_number * 7", as_of()) }} as date) as week_end_date,
        forecasts.expected_amount,
        {{ money(
            "case when measured.error_pct >= 100 then 0 else forecasts.expected_amount - "
            ~ percentage_of("forecasts.expected_amount", "measured.error_pct") ~ " end"
        ) }} as low_amount,
        {{ money(
            "forecasts.expected_amount + " ~ percentage_of("forecasts.expected_amount", "measured.error_pct")
        ) }} as high_amount,
        cast(coalesce(measured.backtest_count, 0) as bigint) as backtest_count,
        cast(measured.error_pct as decimal(9, 2)) as error_pct,
        cast(measured.bias_pct as decimal(9, 2)) as bias_pct
    from forecasts
    left join measured
        on forecasts.currency_code = measured.currency_code
    where forecasts.origin_date = {{ as_of() }}
)

select * from final
