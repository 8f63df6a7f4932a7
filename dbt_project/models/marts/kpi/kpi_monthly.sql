with days as (
    select * from {{ ref('kpi_daily') }}
),

states as (
    select * from {{ ref('int_month_end_states') }}
),

customers as (
    select
        month_end_date,
        customer_id,
        currency_code,
        segment_code,
        policy_code,
        sum(open_amount) as open_amount,
        max(case when aging_bucket_code in ('31-60', '61-90', '90+') then 1 else 0 end) as has_over_30
    from states
    group by month_end_date, customer_id, currency_code, segment_code, policy_code
),

-- One debt of a customer that is old puts all of the customer's at risk.
risks as (
    select
        month_end_date,
        customer_id,
        currency_code,
        segment_code,
        policy_code,
        open_amount,
        max(has_over_30) over (partition by month_end_date, customer_id, currency_code) as is_at_risk
    from customers
),

at_risk as (
    select
        month_end_date,
        currency_code,
        segment_code,
        policy_code,
        sum(case when is_at_risk = 1 then open_amount else 0 end) as at_risk_amount
    from risks
    group by month_end_date, currency_code, segment_code, policy_code
),

month_lengths as (
    select
        cast({{ dbt.date_trunc("month", "calendar_date") }} as date) as month_date,
        count(*) as day_count
    from {{ ref('int_business_days') }}
    where calendar_code = 'plain'
    group by {{ dbt.date_trunc("month", "calendar_date") }}
),

months as (
    select
        cast({{ dbt.date_trunc("month", "day_date") }} as date) as month_date,
        currency_code,
        segment_code,
        policy_code,
        max(day_date) as last_date,
        sum(billed_amount) as billed_amount,
        sum(collected_amount) as collected_amount,
        sum(recovered_amount) as recovered_amount,
        sum(new_overdue_amount) as new_overdue_amount
    from days
    group by {{ dbt.date_trunc("month", "day_date") }}, currency_code, segment_code, policy_code
),

-- Whole months, each with the evening before it.
balanced as (
    select
        months.month_date,
        months.currency_code,
        months.segment_code,
        months.policy_code,
        month_lengths.day_count,
        months.billed_amount,
        months.collected_amount,
        months.recovered_amount,
        months.new_overdue_amount,
        beginnings.open_amount as begin_amount,
        ends.open_amount as end_amount,
        ends.current_amount as end_current_amount,
        ends.overdue_amount as end_overdue_amount,
        ends.overdue_over_30_amount as end_overdue_over_30_amount,
        ends.overdue_over_90_amount as end_overdue_over_90_amount,
        ends.billed_due_amount,
        coalesce(at_risk.at_risk_amount, 0) as at_risk_amount
    from months
    inner join month_lengths
        on months.month_date = month_lengths.month_date
    inner join days as beginnings
        on
            months.currency_code = beginnings.currency_code
            and months.segment_code = beginnings.segment_code
            and months.policy_code = beginnings.policy_code
            and beginnings.day_date = {{ dbt.dateadd("day", -1, "months.month_date") }}
    inner join days as ends
        on
            months.currency_code = ends.currency_code
            and months.segment_code = ends.segment_code
            and months.policy_code = ends.policy_code
            and ends.day_date = {{ dbt.dateadd("day", -1, dbt.dateadd("month", 1, "months.month_date")) }}
    left join at_risk
        on
            months.currency_code = at_risk.currency_code
            and months.segment_code = at_risk.segment_code
            and months.policy_code = at_risk.policy_code
            and months.last_date = at_risk.month_end_date
),

-- What was billed from the evening of each month back, month after month, until it is what is open on that evening.
counted_back as (
    select
        balanced.month_date,
        balanced.currency_code,
        balanced.segment_code,
        balanced.policy_code,
        balanced.end_amount,
        earlier.day_count,
        earlier.billed_amount,
        coalesce(sum(earlier.billed_amount) over month_after_month, 0) as counted_amount,
        coalesce(sum(earlier.day_count) over month_after_month, 0) as counted_days
    from balanced
    inner join balanced as earlier
        on
            balanced.currency_code = earlier.currency_code
            and balanced.segment_code = earlier.segment_code
            and balanced.policy_code = earlier.policy_code
            and balanced.month_date >= earlier.month_date
    window month_after_month as (
        partition by balanced.month_date, balanced.currency_code, balanced.segment_code, balanced.policy_code
        order by earlier.month_date desc
        rows between unbounded preceding and 1 preceding
    )
),

-- All days of the months that are counted whole, and of the last one as many as its part.
countbacks as (
    select
        month_date,
        currency_code,
        segment_code,
        policy_code,
        counted_days + {{ rounded_quotient(
            hundredths("(end_amount - counted_amount)") ~ " * day_count", hundredths("billed_amount")
        ) }} as countback_dso_days
    from counted_back
    where
        counted_amount < end_amount
        and counted_amount + billed_amount >= end_amount
),

dated as (
    select
        balanced.*,
        case when balanced.end_amount = 0 then 0 else countbacks.countback_dso_days end as countback_dso_days
    from balanced
    left join countbacks
        on
            balanced.month_date = countbacks.month_date
            and balanced.currency_code = countbacks.currency_code
            and balanced.segment_code = countbacks.segment_code
            and balanced.policy_code = countbacks.policy_code
),

final as (
    select
        {{ as_of() }} as as_of_date,
        month_date,
        currency_code,
        segment_code,
        policy_code,
        day_count,
        begin_amount,
        {{ money("billed_amount") }} as billed_amount,
        {{ money("collected_amount") }} as collected_amount,
        {{ money("recovered_amount") }} as recovered_amount,
        {{ money("new_overdue_amount") }} as new_overdue_amount,
        end_amount,
        end_current_amount,
        end_overdue_amount,
        end_overdue_over_30_amount,
        end_overdue_over_90_amount,
        billed_due_amount,
        {{ money("at_risk_amount") }} as at_risk_amount,
        cast(
            {{ rounded_quotient(hundredths("end_overdue_amount"), hundredths("billed_due_amount"), 100) }}
            as decimal(9, 2)
        ) as delinquency_pct,
        cast(
            {{ rounded_quotient(hundredths("end_overdue_over_30_amount"), hundredths("billed_due_amount"), 100) }}
            as decimal(9, 2)
        ) as delinquency_over_30_pct,
        cast(
            {{ rounded_quotient(hundredths("end_overdue_over_90_amount"), hundredths("billed_due_amount"), 100) }}
            as decimal(9, 2)
        ) as delinquency_over_90_pct,
        cast(
            {{ rounded_quotient(hundredths("end_amount") ~ " * day_count", hundredths("billed_amount")) }}
            as decimal(9, 2)
        ) as dso_days,
        cast(
            {{ rounded_quotient(hundredths("end_current_amount") ~ " * day_count", hundredths("billed_amount")) }}
            as decimal(9, 2)
        ) as best_possible_dso_days,
        cast(countback_dso_days as decimal(9, 2)) as countback_dso_days,
        cast({{ rounded_quotient(
            hundredths("(end_amount - end_current_amount)") ~ " * day_count", hundredths("billed_amount")
        ) }} as decimal(9, 2)) as average_days_delinquent,
        case
            when begin_amount + billed_amount - end_amount >= 0
                then cast({{ rounded_quotient(
                    hundredths("(begin_amount + billed_amount - end_amount)"),
                    hundredths("(begin_amount + billed_amount - end_current_amount)"),
                    100
                ) }} as decimal(9, 2))
        end as collection_effectiveness_pct,
        cast(
            {{ rounded_quotient(hundredths("at_risk_amount"), hundredths("end_amount"), 100) }}
            as decimal(9, 2)
        ) as par30_pct
    from dated
)

select * from final
