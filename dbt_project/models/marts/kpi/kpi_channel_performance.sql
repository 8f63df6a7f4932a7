with steps as (
    select * from {{ ref('kpi_step_performance') }}
),

messages as (
    select * from {{ ref('fct_dunning_messages') }}
    where as_of_date <= {{ as_of() }}
),

contacts as (
    select * from {{ ref('int_contact_customers') }}
),

costs as (
    select
        cast({{ dbt.date_trunc("month", "messages.as_of_date") }} as date) as month_date,
        messages.currency_code,
        coalesce(contacts.segment_code, 'none') as segment_code,
        messages.policy_code,
        messages.channel_code,
        count(*) as message_count,
        sum(messages.cost_amount) as cost_amount
    from messages
    left join contacts
        on messages.contact_customer_id = contacts.customer_id
    group by
        {{ dbt.date_trunc("month", "messages.as_of_date") }},
        messages.currency_code,
        coalesce(contacts.segment_code, 'none'),
        messages.policy_code,
        messages.channel_code
),

summed as (
    select
        month_date,
        currency_code,
        segment_code,
        policy_code,
        channel_code,
        sum(planned_count) as planned_count,
        sum(accepted_count) as accepted_count,
        sum(delivered_count) as delivered_count,
        sum(bounced_count) as bounced_count,
        sum(not_sent_count) as not_sent_count,
        sum(unknown_count) as unknown_count,
        sum(credited_count) as credited_count,
        sum(credited_amount) as credited_amount,
        sum(first_touch_amount) as first_touch_amount
    from steps
    group by month_date, currency_code, segment_code, policy_code, channel_code
),

final as (
    select
        {{ as_of() }} as as_of_date,
        coalesce(summed.month_date, costs.month_date) as month_date,
        coalesce(summed.currency_code, costs.currency_code) as currency_code,
        coalesce(summed.segment_code, costs.segment_code) as segment_code,
        coalesce(summed.policy_code, costs.policy_code) as policy_code,
        coalesce(summed.channel_code, costs.channel_code) as channel_code,
        coalesce(costs.message_count, 0) as message_count,
        {% for count in ["planned", "accepted", "delivered", "bounced", "not_sent", "unknown", "credited"] %}
            cast(coalesce(summed.{{ count }}_count, 0) as bigint) as {{ count }}_count,
        {% endfor %}
        {{ money("coalesce(summed.credited_amount, 0)") }} as credited_amount,
        {{ money("coalesce(summed.first_touch_amount, 0)") }} as first_touch_amount,
        cast(coalesce(costs.cost_amount, 0) as decimal(18, 4)) as cost_amount
    from summed
    full outer join costs
        on
            summed.month_date = costs.month_date
            and summed.currency_code = costs.currency_code
            and summed.segment_code = costs.segment_code
            and summed.policy_code = costs.policy_code
            and summed.channel_code = costs.channel_code
)

select * from final
