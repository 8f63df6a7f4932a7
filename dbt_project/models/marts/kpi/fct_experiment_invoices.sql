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
        contact_customer_id as customer_id,
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
        members.customer_id,
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
        members.customer_id,
        members.currency_code,
        members.policy_code,
        members.step_code,
        members.channel_code,
        members.decided_date,
        members.is_holdout,
        members.open_amount
),

final as (
    select
        {{ as_of() }} as as_of_date,
        invoice_id,
        customer_id,
        currency_code,
        policy_code,
        step_code,
        channel_code,
        decided_date,
        is_holdout,
        {{ money("open_amount") }} as open_amount,
        {{ money("case
            when collected_amount < 0 then 0
            when collected_amount > open_amount then open_amount
            else collected_amount
        end") }} as recovered_amount
    from recovered
)

select * from final
