{{ config(materialized='incremental', incremental_strategy='replace_day', on_schema_change='fail') }}

with invoices as (
    select * from {{ ref('int_dunning_invoices') }}
    where is_past_due
),

versions as (
    select * from {{ ref('stg_policy_versions') }}
),

steps as (
    select * from {{ ref('stg_policy_steps') }}
),

used_steps as (
    select * from {{ ref('int_used_steps') }}
),

business_days as (
    select * from {{ ref('int_business_days') }}
),

notices as (
    select
        used_steps.invoice_id,
        min(case
            when coalesce(steps.notice_code, used_steps.notice_code) = 'suspension' and not used_steps.is_bounced
                then used_steps.used_date
        end) as suspension_notice_date,
        min(case
            when coalesce(steps.notice_code, used_steps.notice_code) = 'credit_bureau'
                then used_steps.delivered_date
        end) as bureau_notice_delivered_date
    from used_steps
    inner join invoices
        on used_steps.invoice_id = invoices.invoice_id
    left join steps
        on
            invoices.version_hash = steps.version_hash
            and used_steps.step_code = steps.step_code
    where used_steps.is_sent
    group by used_steps.invoice_id
),

thresholds as (
    select
        invoices.*,
        invoices.hold_code is null or invoices.hold_code = 'stale_feed' as is_collectable,
        notices.suspension_notice_date,
        notices.bureau_notice_delivered_date,
        versions.banner_after_days,
        versions.suspend_after_days,
        versions.suspension_grace_business_days,
        versions.cancel_after_days,
        versions.bureau_after_days,
        versions.notice_age_days,
        cast({{ dbt.dateadd("day", "versions.suspend_after_days", "invoices.due_date") }} as date) as suspend_after_date
    from invoices
    inner join versions
        on invoices.version_hash = versions.version_hash
    left join notices
        on invoices.invoice_id = notices.invoice_id
),

reached as (
    select
        thresholds.*,
        coalesce(thresholds.days_since_due > thresholds.banner_after_days, false) as is_over_banner,
        coalesce(
            thresholds.days_since_due > thresholds.suspend_after_days
            and yesterdays.business_day_number - overstepped.business_day_number
            >= thresholds.suspension_grace_business_days,
            false
        ) as is_over_suspension,
        coalesce(thresholds.days_since_due > thresholds.cancel_after_days, false) as is_over_cancellation,
        coalesce(
            thresholds.days_since_due > thresholds.bureau_after_days
            and {{ dbt.datediff("thresholds.bureau_notice_delivered_date", as_of(), "day") }}
            >= thresholds.notice_age_days,
            false
        ) as is_bureau_candidate
    from thresholds
    left join business_days as yesterdays
        on
            thresholds.calendar_code = yesterdays.calendar_code
            and yesterdays.calendar_date = {{ dbt.dateadd("day", -1, as_of()) }}
    left join business_days as overstepped
        on
            thresholds.calendar_code = overstepped.calendar_code
            and thresholds.suspend_after_date = overstepped.calendar_date
),

ranked as (
    select
        *,
        case
            when not is_collectable then 0
            when
                is_over_suspension
                and coalesce(has_suspension_clause, false)
                and suspension_notice_date is not null
                and trust_unlock_id is null
                then case when is_over_cancellation then 3 else 2 end
            when is_over_banner then 1
            else 0
        end as standing_rank
    from reached
),

final as (
    select
        {{ as_of() }} as as_of_date,
        contact_customer_id,
        case max(standing_rank)
            when 3 then 'cancellation_proposed' when 2 then 'suspended' when 1 then 'notice' else 'regular'
        end as standing_code,
        max(case when is_collectable and is_bureau_candidate then 1 else 0 end) = 1 as is_bureau_candidate,
        max(case when is_feed_stale then 1 else 0 end) = 1 as is_feed_stale,
        max(unlocked_until_date) as unlocked_until_date,
        count(*) as past_due_invoice_count,
        count(case when is_collectable then 1 end) as collectable_invoice_count,
        min(case when is_collectable then due_date end) as oldest_due_date,
        max(case when is_collectable then days_since_due end) as max_days_past_due,
        min(case when is_collectable then suspension_notice_date end) as suspension_notice_date,
        min(case when is_collectable then bureau_notice_delivered_date end) as bureau_notice_delivered_date
    from ranked
    group by contact_customer_id
)

select * from final
