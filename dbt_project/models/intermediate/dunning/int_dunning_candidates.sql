with ladder as (
    select
        invoice_id,
        step_code,
        channel_code,
        row_number() over (
            partition by invoice_id, channel_code
            order by step_order desc
        ) as place
    from {{ ref('int_dunning_ladder') }}
    where
        is_reached
        and not is_missed
        and ladder_state_code = 'due'
),

invoices as (
    select * from {{ ref('int_dunning_invoices') }}
),

steps as (
    select * from {{ ref('stg_policy_steps') }}
),

reach as (
    select * from {{ ref('int_customer_reach') }}
),

windows as (
    select * from {{ ref('stg_policy_windows') }}
),

business_days as (
    select * from {{ ref('int_business_days') }}
    where
        calendar_code = 'br-bank'
        and calendar_date = {{ as_of() }}
),

today as (
    select
        case
            when business_days.is_holiday then 'holiday'
            when business_days.is_business_day then 'business_day'
            when {{ is_weekday(dbt.dateadd("day", -1, as_of())) }} then 'saturday'
            else 'sunday'
        end as day_type_code
    from business_days
),

-- The details only of what is due: the ladder is long, and most of it is not.
ranked as (
    select
        invoices.*,
        steps.step_code,
        steps.position,
        steps.offset_days,
        steps.channel_code,
        steps.phase_code,
        steps.template_code,
        steps.notice_code,
        steps.messages_per_channel_and_day,
        steps.contacts_per_week,
        steps.days_between_contacts,
        steps.holdout_pct,
        ladder.place
    from ladder
    inner join invoices
        on ladder.invoice_id = invoices.invoice_id
    inner join steps
        on
            invoices.version_hash = steps.version_hash
            and ladder.step_code = steps.step_code
),

final as (
    select
        ranked.invoice_id,
        ranked.customer_id,
        ranked.contact_customer_id,
        ranked.currency_code,
        ranked.due_date,
        ranked.cycle_date,
        ranked.open_amount,
        ranked.policy_code,
        ranked.version_hash,
        ranked.step_code,
        ranked.position,
        ranked.offset_days,
        ranked.channel_code,
        ranked.phase_code,
        ranked.template_code,
        ranked.notice_code,
        ranked.messages_per_channel_and_day,
        ranked.contacts_per_week,
        ranked.days_between_contacts,
        ranked.holdout_pct,
        ranked.hold_code,
        reach.reach_code,
        reach.opt_out_id,
        reach.contact_point_id,
        today.day_type_code,
        windows.opens_minute,
        windows.closes_minute,
        ranked.place = 1 as is_judged,
        case
            when ranked.place > 1 then 'superseded'
            when ranked.hold_code is not null then ranked.hold_code
            when
                ranked.holdout_pct > 0
                and {{ stable_share(
                    "ranked.contact_customer_id || '|' || ranked.policy_code || '|' || ranked.step_code || '|holdout'"
                ) }} < ranked.holdout_pct
                then 'holdout'
            when reach.reach_code <> 'reachable' then reach.reach_code
            when windows.channel_code is null then 'outside_window'
        end as hindrance_code
    from ranked
    inner join reach
        on
            ranked.contact_customer_id = reach.contact_customer_id
            and ranked.channel_code = reach.channel_code
    cross join today
    left join windows
        on
            ranked.version_hash = windows.version_hash
            and ranked.channel_code = windows.channel_code
            and today.day_type_code = windows.day_type_code
            and windows.state_code = coalesce(ranked.state_code, 'other')
)

select * from final
