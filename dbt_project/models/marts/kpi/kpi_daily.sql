with aging as (
    select * from {{ ref('kpi_aging') }}
),

spans as (
    select * from {{ ref('int_bucket_spans') }}
),

invoices as (
    select * from {{ ref('int_kpi_invoices') }}
),

events as (
    select * from {{ ref('int_balance_events') }}
),

spine as (
    select calendar_date as day_date
    from {{ ref('int_business_days') }}
    where
        calendar_code = 'plain'
        and calendar_date > {{ dbt.dateadd("day", "-" ~ var('kpi_days'), as_of()) }}
        and calendar_date <= {{ as_of() }}
),

first_days as (
    select min(day_date) as day_date
    from spine
),

standing as (
    select
        day_date,
        currency_code,
        segment_code,
        policy_code,
        sum(open_amount) as open_amount,
        sum(case when aging_bucket_code = 'current' then open_amount else 0 end) as current_amount,
        sum(case when aging_bucket_code in ('31-60', '61-90', '90+') then open_amount else 0 end)
            as overdue_over_30_amount,
        sum(case when aging_bucket_code = '90+' then open_amount else 0 end) as overdue_over_90_amount,
        sum(invoice_count) as open_count,
        sum(case when aging_bucket_code <> 'current' then invoice_count else 0 end) as overdue_count
    from aging
    group by day_date, currency_code, segment_code, policy_code
),

-- By day of which it is told: what is shown as a total begins with all that was before.
told as (
    select
        invoices.currency_code,
        invoices.segment_code,
        invoices.policy_code,
        events.event_date as day_date,
        'collected' as flow_code,
        events.collected_amount as amount
    from events
    inner join invoices
        on events.invoice_id = invoices.invoice_id
    where events.collected_amount <> 0
    union all
    select
        invoices.currency_code,
        invoices.segment_code,
        invoices.policy_code,
        events.event_date as day_date,
        'recovered' as flow_code,
        events.collected_amount as amount
    from events
    inner join invoices
        on events.invoice_id = invoices.invoice_id
    where
        events.collected_amount <> 0
        and events.event_date > invoices.first_overdue_date
    union all
    select
        invoices.currency_code,
        invoices.segment_code,
        invoices.policy_code,
        invoices.issue_date as day_date,
        'billed' as flow_code,
        invoices.amount
    from invoices
    where invoices.cancelled_from_date is null or invoices.cancelled_from_date > invoices.issue_date
    union all
    select
        invoices.currency_code,
        invoices.segment_code,
        invoices.policy_code,
        invoices.first_overdue_date as day_date,
        'fell_due' as flow_code,
        invoices.amount
    from invoices
    where
        invoices.first_overdue_date <= {{ as_of() }}
        and (invoices.cancelled_from_date is null or invoices.cancelled_from_date > {{ as_of() }})
    union all
    select
        spans.currency_code,
        spans.segment_code,
        spans.policy_code,
        spans.from_date as day_date,
        'new_overdue' as flow_code,
        spans.open_amount as amount
    from spans
    inner join invoices
        on
            spans.invoice_id = invoices.invoice_id
            and spans.from_date = invoices.first_overdue_date
    where spans.aging_bucket_code not in ('current', 'small_delay')
    union all
    select
        currency_code,
        segment_code,
        policy_code,
        from_date as day_date,
        'small_delay' as flow_code,
        open_amount as amount
    from spans
    where aging_bucket_code = 'small_delay'
    union all
    select
        currency_code,
        segment_code,
        policy_code,
        before_date as day_date,
        'small_delay' as flow_code,
        -open_amount as amount
    from spans
    where
        aging_bucket_code = 'small_delay'
        and before_date <= {{ as_of() }}
),

flows as (
    select
        told.currency_code,
        told.segment_code,
        told.policy_code,
        case when told.day_date < first_days.day_date then first_days.day_date else told.day_date end as day_date,
        {% for flow in ["collected", "recovered", "billed", "new_overdue"] %}
            sum(
                case
                    when told.flow_code = '{{ flow }}' and told.day_date >= first_days.day_date then told.amount else 0
                end
            ) as {{ flow }}_amount,
        {% endfor %}
        sum(case when told.flow_code = 'fell_due' then told.amount else 0 end) as fell_due_amount,
        sum(case when told.flow_code = 'small_delay' then told.amount else 0 end) as small_delay_change_amount
    from told
    cross join first_days
    group by
        told.currency_code,
        told.segment_code,
        told.policy_code,
        case when told.day_date < first_days.day_date then first_days.day_date else told.day_date end
),

kinds as (
    select distinct
        currency_code,
        segment_code,
        policy_code
    from flows
),

days as (
    select
        spine.day_date,
        kinds.currency_code,
        kinds.segment_code,
        kinds.policy_code,
        coalesce(standing.open_amount, 0) as open_amount,
        coalesce(standing.current_amount, 0) as current_amount,
        coalesce(standing.overdue_over_30_amount, 0) as overdue_over_30_amount,
        coalesce(standing.overdue_over_90_amount, 0) as overdue_over_90_amount,
        coalesce(standing.open_count, 0) as open_count,
        coalesce(standing.overdue_count, 0) as overdue_count,
        coalesce(flows.billed_amount, 0) as billed_amount,
        coalesce(flows.collected_amount, 0) as collected_amount,
        coalesce(flows.recovered_amount, 0) as recovered_amount,
        {% for total in ["fell_due", "small_delay_change"] %}
            sum(coalesce(flows.{{ total }}_amount, 0)) over (
                partition by kinds.currency_code, kinds.segment_code, kinds.policy_code
                order by spine.day_date
                rows between unbounded preceding and current row
            ) as {{ total }}_total,
        {% endfor %}
        coalesce(flows.new_overdue_amount, 0) as new_overdue_amount
    from spine
    cross join kinds
    left join standing
        on
            spine.day_date = standing.day_date
            and kinds.currency_code = standing.currency_code
            and kinds.segment_code = standing.segment_code
            and kinds.policy_code = standing.policy_code
    left join flows
        on
            spine.day_date = flows.day_date
            and kinds.currency_code = flows.currency_code
            and kinds.segment_code = flows.segment_code
            and kinds.policy_code = flows.policy_code
),

final as (
    select
        {{ as_of() }} as as_of_date,
        day_date,
        currency_code,
        segment_code,
        policy_code,
        cast(open_count as bigint) as open_count,
        cast(overdue_count as bigint) as overdue_count,
        {{ money("open_amount") }} as open_amount,
        {{ money("current_amount") }} as current_amount,
        {{ money("open_amount - current_amount") }} as overdue_amount,
        {{ money("small_delay_change_total") }} as small_delay_amount,
        {{ money("overdue_over_30_amount") }} as overdue_over_30_amount,
        {{ money("overdue_over_90_amount") }} as overdue_over_90_amount,
        {{ money("fell_due_total") }} as billed_due_amount,
        {{ money("billed_amount") }} as billed_amount,
        {{ money("new_overdue_amount") }} as new_overdue_amount,
        {{ money("collected_amount") }} as collected_amount,
        {{ money("recovered_amount") }} as recovered_amount
    from days
)

select * from final
