with decisions as (
    select * from {{ ref('fct_dunning_decisions') }}
    where
        as_of_date <= {{ as_of() }}
        and outcome_code in ('eligible', 'holdout')
),

events as (
    select * from {{ ref('int_balance_events') }}
    where collected_amount <> 0
),

-- Whoever is held out is so for good, and would be counted again every night: only the first decision counts.
first_decisions as (
    select
        invoice_id,
        currency_code,
        policy_code,
        step_code,
        channel_code,
        open_amount,
        as_of_date as decided_date,
        outcome_code = 'holdout' as is_holdout,
        row_number() over (
            partition by invoice_id, step_code, channel_code, policy_code, cycle_date
            order by as_of_date
        ) as place
    from decisions
),

members as (
    select
        *,
        coalesce(max(case when is_holdout then 1 end) over (
            partition by currency_code, policy_code, step_code, channel_code
        ), 0) = 1 as is_tried
    from first_decisions
    where
        place = 1
        and {{ dbt.dateadd("day", var('attribution_days'), "decided_date") }} <= {{ as_of() }}
),

recovered as (
    select
        members.invoice_id,
        members.currency_code,
        members.policy_code,
        members.step_code,
        members.channel_code,
        members.decided_date,
        members.is_holdout,
        members.open_amount,
        coalesce(sum(events.collected_amount), 0) as collected_amount
    from members
    left join events
        on
            members.invoice_id = events.invoice_id
            and members.decided_date <= events.event_date
            and {{ dbt.dateadd("day", var('attribution_days'), "members.decided_date") }} >= events.event_date
    where members.is_tried
    group by
        members.invoice_id,
        members.currency_code,
        members.policy_code,
        members.step_code,
        members.channel_code,
        members.decided_date,
        members.is_holdout,
        members.open_amount
),

capped as (
    select
        *,
        case
            when collected_amount < 0 then 0
            when collected_amount > open_amount then open_amount
            else collected_amount
        end as recovered_amount
    from recovered
),

summed as (
    select
        currency_code,
        policy_code,
        step_code,
        {% for group, condition in [("treated", "not is_holdout"), ("holdout", "is_holdout")] %}
            count(case when {{ condition }} then 1 end) as {{ group }}_count,
            count(case when {{ condition }} and recovered_amount = open_amount then 1 end) as {{ group }}_paid_count,
            coalesce(sum(case when {{ condition }} then open_amount end), 0) as {{ group }}_amount,
            coalesce(sum(case when {{ condition }} then recovered_amount end), 0)
                as {{ group }}_recovered_amount,
        {% endfor %}
        channel_code
    from capped
    group by currency_code, policy_code, step_code, channel_code
),

shares as (
    select
        *,
        treated_paid_count / nullif(cast(treated_count as double), 0) as treated_share,
        holdout_paid_count / nullif(cast(holdout_count as double), 0) as holdout_share
    from summed
),

errors as (
    select
        *,
        treated_share - holdout_share as lift_share,
        -- Two shares of independent groups, by the normal distribution: 95 of 100 such intervals hold the true lift.
        1.959964 * sqrt(
            treated_share * (1 - treated_share) / treated_count + holdout_share * (1 - holdout_share) / holdout_count
        ) as margin_share
    from shares
),

final as (
    select
        {{ as_of() }} as as_of_date,
        currency_code,
        policy_code,
        step_code,
        channel_code,
        treated_count,
        treated_paid_count,
        {{ money("treated_amount") }} as treated_amount,
        {{ money("treated_recovered_amount") }} as treated_recovered_amount,
        holdout_count,
        holdout_paid_count,
        {{ money("holdout_amount") }} as holdout_amount,
        {{ money("holdout_recovered_amount") }} as holdout_recovered_amount,
        cast(100 * lift_share as decimal(9, 2)) as lift_pct,
        cast(100 * (lift_share - margin_share) as decimal(9, 2)) as lift_low_pct,
        cast(100 * (lift_share + margin_share) as decimal(9, 2)) as lift_high_pct
    from errors
)

select * from final
