with states as (
    select * from {{ ref('int_month_end_states') }}
),

events as (
    select * from {{ ref('int_balance_events') }}
    where collected_amount <> 0
),

months as (
    select
        month_end_date,
        lag(month_end_date) over (order by month_end_date) as previous_month_end_date
    from (select distinct month_end_date from states) as ends
),

collected as (
    select
        months.month_end_date,
        events.invoice_id,
        sum(events.collected_amount) as collected_amount
    from events
    inner join months
        on
            events.event_date > months.previous_month_end_date
            and events.event_date <= months.month_end_date
    group by months.month_end_date, events.invoice_id
),

starts as (
    select
        months.month_end_date,
        states.invoice_id,
        states.currency_code,
        states.segment_code,
        states.policy_code,
        states.aging_bucket_code,
        states.open_amount
    from states
    inner join months
        on states.month_end_date = months.previous_month_end_date
),

paired as (
    select
        coalesce(starts.month_end_date, ends.month_end_date) as month_end_date,
        coalesce(starts.currency_code, ends.currency_code) as currency_code,
        coalesce(starts.segment_code, ends.segment_code) as segment_code,
        coalesce(starts.policy_code, ends.policy_code) as policy_code,
        coalesce(starts.aging_bucket_code, 'none') as from_code,
        ends.aging_bucket_code as to_code,
        coalesce(starts.open_amount, 0) as start_amount,
        coalesce(ends.open_amount, 0) as end_amount,
        case when collected.collected_amount > 0 then collected.collected_amount else 0 end as collected_amount
    from starts
    full outer join states as ends
        on
            starts.month_end_date = ends.month_end_date
            and starts.invoice_id = ends.invoice_id
    left join collected
        on
            coalesce(starts.month_end_date, ends.month_end_date) = collected.month_end_date
            and coalesce(starts.invoice_id, ends.invoice_id) = collected.invoice_id
),

split as (
    select
        *,
        case when end_amount < start_amount then end_amount else start_amount end as stayed_amount,
        case
            when end_amount >= start_amount then 0
            when start_amount - end_amount < collected_amount then start_amount - end_amount
            else collected_amount
        end as paid_amount
    from paired
),

-- A balance that was open at the start stays, is paid, or is removed; what is open and was not before is new.
parts as (
    select
        month_end_date,
        currency_code,
        segment_code,
        policy_code,
        from_code,
        to_code,
        stayed_amount as amount
    from split
    where stayed_amount > 0
    union all
    select
        month_end_date,
        currency_code,
        segment_code,
        policy_code,
        from_code,
        'paid' as to_code,
        paid_amount as amount
    from split
    where paid_amount > 0
    union all
    select
        month_end_date,
        currency_code,
        segment_code,
        policy_code,
        from_code,
        'removed' as to_code,
        start_amount - stayed_amount - paid_amount as amount
    from split
    where start_amount - stayed_amount - paid_amount > 0
    union all
    select
        month_end_date,
        currency_code,
        segment_code,
        policy_code,
        'none' as from_code,
        to_code,
        end_amount - stayed_amount as amount
    from split
    where end_amount - stayed_amount > 0
),

final as (
    select
        {{ as_of() }} as as_of_date,
        cast({{ dbt.date_trunc("month", "parts.month_end_date") }} as date) as month_date,
        parts.currency_code,
        parts.segment_code,
        parts.policy_code,
        parts.from_code,
        parts.to_code,
        count(*) as invoice_count,
        {{ money("sum(parts.amount)") }} as amount
    from parts
    inner join months
        on parts.month_end_date = months.month_end_date
    where months.previous_month_end_date is not null
    group by
        {{ dbt.date_trunc("month", "parts.month_end_date") }},
        parts.currency_code,
        parts.segment_code,
        parts.policy_code,
        parts.from_code,
        parts.to_code
)

select * from final
