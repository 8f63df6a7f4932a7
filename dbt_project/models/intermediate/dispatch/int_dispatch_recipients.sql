with messages as (
    select * from {{ ref('fct_dunning_messages') }}
    where as_of_date = {{ as_of() }}
),

message_lines as (
    select * from {{ ref('fct_dunning_message_lines') }}
    where as_of_date = {{ as_of() }}
),

decisions as (
    select * from {{ ref('fct_dunning_decisions') }}
    where
        as_of_date = {{ as_of() }}
        and outcome_code = 'eligible'
),

customers as (
    select * from {{ ref('stg_customers') }}
),

reach as (
    select * from {{ ref('int_customer_reach') }}
),

versions as (
    select * from {{ ref('stg_policy_versions') }}
),

invoices as (
    select * from {{ ref('int_dunning_invoices') }}
),

business_days as (
    select * from {{ ref('int_business_days') }}
),

-- From this day on the thresholds of the invoice's own policy are passed, grace not counted.
announced as (
    select
        decisions.message_id,
        decisions.notice_code,
        invoices.calendar_code,
        versions.suspension_grace_business_days,
        case decisions.notice_code
            when 'suspension'
                then {{ dbt.dateadd("day", "versions.suspend_after_days", "invoices.due_date") }}
            else {{ dbt.dateadd("day", "versions.bureau_after_days + 1", "invoices.due_date") }}
        end as threshold_date,
        case decisions.notice_code
            when 'suspension' then {{ dbt.dateadd("day", "versions.suspension_notice_age_days", as_of()) }}
            else {{ dbt.dateadd("day", "versions.notice_age_days", as_of()) }}
        end as aged_date
    from decisions
    inner join message_lines
        on
            decisions.message_id = message_lines.message_id
            and decisions.invoice_id = message_lines.invoice_id
    inner join invoices
        on decisions.invoice_id = invoices.invoice_id
    inner join versions
        on decisions.version_hash = versions.version_hash
    where decisions.notice_code is not null
),

-- Grace is over on the day after its last business day.
graced as (
    select
        announced.message_id,
        announced.notice_code,
        announced.threshold_date,
        announced.aged_date,
        min({{ dbt.dateadd("day", 1, "last_days.calendar_date") }}) as grace_over_date
    from announced
    left join business_days as thresholds
        on
            announced.calendar_code = thresholds.calendar_code
            and announced.threshold_date = thresholds.calendar_date
    left join business_days as last_days
        on
            announced.calendar_code = last_days.calendar_code
            and thresholds.business_day_number + announced.suspension_grace_business_days
            = last_days.business_day_number
            and announced.threshold_date <= last_days.calendar_date
    group by announced.message_id, announced.notice_code, announced.threshold_date, announced.aged_date
),

action_days as (
    select
        message_id,
        notice_code,
        min(
            greatest(
                case notice_code when 'suspension' then grace_over_date else threshold_date end,
                aged_date,
                {{ dbt.dateadd("day", 1, as_of()) }}
            )
        ) as action_date
    from graced
    group by message_id, notice_code
),

final as (
    select
        messages.message_id,
        messages.contact_customer_id as customer_id,
        messages.channel_code,
        customers.name,
        reach.address,
        cast(action_days.action_date as date) as action_date
    from messages
    inner join customers
        on messages.contact_customer_id = customers.customer_id
    inner join reach
        on
            messages.contact_customer_id = reach.contact_customer_id
            and messages.channel_code = reach.channel_code
    left join action_days
        on
            messages.message_id = action_days.message_id
            and messages.notice_code = action_days.notice_code
)

select * from final
