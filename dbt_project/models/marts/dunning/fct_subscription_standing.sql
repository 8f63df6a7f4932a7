{{ config(materialized='incremental', incremental_strategy='replace_day', on_schema_change='fail') }}

with invoices as (
    select * from {{ ref('int_invoice_standing') }}
    where subscription_id is not null
),

levels as (
    select
        subscription_id,
        contact_customer_id,
        max(level_rank) as level_rank,
        count(*) as past_due_invoice_count,
        count(case when is_counted then 1 end) as counted_invoice_count,
        count(case when level_rank >= 2 then 1 end) as suspending_invoice_count,
        max(unlocked_until_date) as unlocked_until_date,
        max(case when is_feed_stale then 1 else 0 end) = 1 as is_feed_stale
    from invoices
    group by subscription_id, contact_customer_id
),

ranked as (
    select
        invoices.*,
        row_number() over (
            partition by invoices.subscription_id
            order by invoices.due_date, invoices.invoice_id
        ) as place
    from invoices
    inner join levels
        on
            invoices.subscription_id = levels.subscription_id
            and invoices.level_rank = levels.level_rank
    where invoices.is_counted
),

oldest as (
    select * from ranked
    where place = 1
),

balances as (
    select
        invoices.subscription_id,
        sum(invoices.balance_amount) as balance_amount
    from invoices
    inner join oldest
        on
            invoices.subscription_id = oldest.subscription_id
            and invoices.currency_code = oldest.currency_code
    where invoices.is_counted
    group by invoices.subscription_id
),

final as (
    select
        {{ as_of() }} as as_of_date,
        levels.subscription_id,
        levels.contact_customer_id,
        {{ level_code("levels.level_rank") }} as level_code,
        levels.past_due_invoice_count,
        levels.counted_invoice_count,
        levels.suspending_invoice_count,
        {{ money("coalesce(balances.balance_amount, 0)") }} as balance_amount,
        oldest.currency_code,
        oldest.invoice_id as oldest_invoice_id,
        oldest.due_date as oldest_due_date,
        oldest.days_past_due,
        oldest.suspension_notice_id as notice_id,
        oldest.suspension_notice_delivered_date as notice_delivered_date,
        levels.unlocked_until_date,
        levels.is_feed_stale
    from levels
    left join oldest
        on levels.subscription_id = oldest.subscription_id
    left join balances
        on levels.subscription_id = balances.subscription_id
)

select * from final
