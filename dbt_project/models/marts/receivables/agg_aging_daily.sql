{{ config(materialized='incremental', incremental_strategy='replace_day', on_schema_change='fail') }}

with invoices as (
    select * from {{ ref('fct_invoices') }}
),

invoice_aging as (
    select * from {{ ref('fct_invoice_aging') }}
    where as_of_date = {{ as_of() }}
),

aging_buckets as (
    select * from {{ ref('aging_buckets') }}
),

currencies as (
    select distinct currency_code
    from invoices
),

final as (
    select
        {{ as_of() }} as as_of_date,
        currencies.currency_code,
        aging_buckets.aging_bucket_code,
        aging_buckets.sort_order,
        count(invoice_aging.invoice_id) as invoice_count,
        count(distinct invoice_aging.customer_id) as customer_count,
        {{ money("coalesce(sum(invoice_aging.open_amount), 0)") }} as open_amount,
        count(case when invoice_aging.is_small_delay then 1 end) as small_delay_count,
        {{ money("coalesce(sum(case when invoice_aging.is_small_delay then invoice_aging.open_amount end), 0)") }}
            as small_delay_amount
    from currencies
    cross join aging_buckets
    left join invoice_aging
        on
            currencies.currency_code = invoice_aging.currency_code
            and aging_buckets.aging_bucket_code = invoice_aging.aging_bucket_code
    group by currencies.currency_code, aging_buckets.aging_bucket_code, aging_buckets.sort_order
)

select * from final
