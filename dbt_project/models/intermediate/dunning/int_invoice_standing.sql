with invoices as (
    select * from {{ ref('int_dunning_invoices') }}
    where is_past_due
),

all_invoices as (
    select * from {{ ref('fct_invoices') }}
),

versions as (
    select * from {{ ref('stg_policy_versions') }}
),

notices as (
    select * from {{ ref('int_delivered_notices') }}
),

contacts as (
    select
        customer_id,
        contact_customer_id
    from {{ ref('int_contact_customers') }}
),

business_days as (
    select * from {{ ref('int_business_days') }}
),

contracts as (
    select
        subscriptions.subscription_id,
        contacts.contact_customer_id,
        coalesce(subscriptions.is_prepaid, false) as is_prepaid,
        subscriptions.status_code <> 'cancelled'
        and (subscriptions.end_date is null or subscriptions.end_date >= {{ as_of() }}) as is_running
    from {{ ref('stg_subscriptions') }} as subscriptions
    inner join contacts
        on subscriptions.customer_id = contacts.customer_id
),

due_invoices as (
    select
        all_invoices.subscription_id,
        all_invoices.open_amount,
        row_number() over (
            partition by all_invoices.subscription_id
            order by all_invoices.due_date desc, all_invoices.invoice_id desc
        ) as place
    from all_invoices
    inner join contacts
        on all_invoices.customer_id = contacts.customer_id
    inner join contracts
        on
            all_invoices.subscription_id = contracts.subscription_id
            and contacts.contact_customer_id = contracts.contact_customer_id
    where
        contracts.is_prepaid
        and all_invoices.due_date <= {{ as_of() }}
        and all_invoices.status_code not in ('cancelled', 'written_off')
),

-- What a subscription has paid in advance goes on, whatever it owes from before.
paid_periods as (
    select subscription_id
    from due_invoices
    where
        place = 1
        and open_amount = 0
),

thresholds as (
    select
        invoices.*,
        contracts.subscription_id as contract_subscription_id,
        contracts.is_running,
        paid_periods.subscription_id is not null as is_period_paid,
        invoices.hold_code is null or invoices.hold_code = 'stale_feed' as is_counted,
        suspension_notices.notice_id as suspension_notice_id,
        suspension_notices.delivered_date as suspension_notice_delivered_date,
        bureau_notices.notice_id as bureau_notice_id,
        bureau_notices.delivered_date as bureau_notice_delivered_date,
        versions.banner_after_days,
        versions.suspend_after_days,
        versions.suspension_grace_business_days,
        versions.suspension_notice_age_days,
        versions.cancel_after_days,
        versions.bureau_after_days,
        versions.notice_age_days,
        cast({{ dbt.dateadd("day", "versions.suspend_after_days", "invoices.due_date") }} as date) as suspend_after_date
    from invoices
    inner join versions
        on invoices.version_hash = versions.version_hash
    left join contracts
        on
            invoices.subscription_id = contracts.subscription_id
            and invoices.contact_customer_id = contracts.contact_customer_id
    left join paid_periods
        on contracts.subscription_id = paid_periods.subscription_id
    left join notices as suspension_notices
        on
            invoices.invoice_id = suspension_notices.invoice_id
            and suspension_notices.notice_code = 'suspension'
    left join notices as bureau_notices
        on
            invoices.invoice_id = bureau_notices.invoice_id
            and bureau_notices.notice_code = 'credit_bureau'
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
        coalesce(
            {{ dbt.datediff("thresholds.suspension_notice_delivered_date", as_of(), "day") }}
            >= thresholds.suspension_notice_age_days,
            false
        ) as is_suspension_announced,
        coalesce(thresholds.days_since_due > thresholds.cancel_after_days, false) as is_over_cancellation,
        thresholds.is_counted and coalesce(
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

reasoned as (
    select
        *,
        case
            when not is_counted then hold_code
            when not is_over_suspension then 'below_threshold'
            when contract_subscription_id is null or not coalesce(has_suspension_clause, false) then 'no_clause'
            when not is_running then 'not_running'
            when is_period_paid then 'period_paid'
            when not is_suspension_announced then 'notice_missing'
            else 'over_threshold'
        end as reason_code
    from reached
),

final as (
    select
        invoice_id,
        contact_customer_id,
        contract_subscription_id as subscription_id,
        currency_code,
        due_date,
        days_since_due as days_past_due,
        {{ money("open_amount - credit_amount") }} as balance_amount,
        is_counted,
        reason_code,
        case
            when not is_counted then 0
            when reason_code = 'over_threshold' then case when is_over_cancellation then 3 else 2 end
            when is_over_banner then 1
            else 0
        end as level_rank,
        suspension_notice_id,
        suspension_notice_delivered_date,
        is_bureau_candidate,
        bureau_notice_id,
        bureau_notice_delivered_date,
        prescription_date,
        unlocked_until_date,
        is_feed_stale
    from reasoned
)

select * from final
