with invoices as (
    select * from {{ ref('fct_experiment_invoices') }}
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
    from invoices
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
