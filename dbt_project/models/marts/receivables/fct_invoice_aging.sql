{{ config(materialized='incremental', incremental_strategy='replace_day', on_schema_change='fail') }}

with invoices as (
    select * from {{ ref('fct_invoices') }}
),

final as (
    select
        as_of_date,
        invoice_id,
        customer_id,
        currency_code,
        due_date,
        effective_due_date,
        open_amount,
        days_past_due,
        aging_bucket_code,
        is_overdue,
        is_small_delay
    from invoices
    where open_amount > 0
)

select * from final
