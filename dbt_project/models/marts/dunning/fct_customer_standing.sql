{{ config(materialized='incremental', incremental_strategy='replace_day', on_schema_change='fail') }}

with invoices as (
    select * from {{ ref('int_invoice_standing') }}
),

final as (
    select
        {{ as_of() }} as as_of_date,
        contact_customer_id,
        {{ level_code("max(level_rank)") }} as level_code,
        max(case when is_bureau_candidate then 1 else 0 end) = 1 as is_bureau_candidate,
        max(case when is_feed_stale then 1 else 0 end) = 1 as is_feed_stale,
        max(unlocked_until_date) as unlocked_until_date,
        count(*) as past_due_invoice_count,
        count(case when is_counted then 1 end) as counted_invoice_count,
        min(case when is_counted then due_date end) as oldest_due_date,
        max(case when is_counted then days_past_due end) as max_days_past_due,
        min(case when is_counted then suspension_notice_delivered_date end) as suspension_notice_delivered_date,
        min(case when is_counted then bureau_notice_delivered_date end) as bureau_notice_delivered_date
    from invoices
    group by contact_customer_id
)

select * from final
