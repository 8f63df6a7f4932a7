{{ config(materialized='incremental', incremental_strategy='replace_day', on_schema_change='fail') }}

with invoices as (
    select * from {{ ref('int_invoice_standing') }}
    where is_bureau_candidate
),

final as (
    select
        {{ as_of() }} as as_of_date,
        invoice_id,
        contact_customer_id,
        due_date,
        days_past_due,
        balance_amount,
        currency_code,
        bureau_notice_id as notice_id,
        bureau_notice_delivered_date as notice_delivered_date,
        prescription_date,
        is_feed_stale
    from invoices
)

select * from final
