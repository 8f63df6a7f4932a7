with customers as (
    select * from {{ ref('stg_customers') }}
),

subscriptions as (
    select * from {{ ref('stg_subscriptions') }}
),

invoices as (
    select * from {{ ref('fct_invoices') }}
),

active_subscriptions as (
    select
        customer_id,
        count(*) as active_subscription_count
    from subscriptions
    where
        status_code = 'active'
        and start_date <= {{ as_of() }}
        and (end_date is null or end_date >= {{ as_of() }})
    group by customer_id
),

invoiced as (
    select
        customer_id,
        min(issue_date) as first_issue_date,
        count(*) as invoice_count,
        count(case when open_amount > 0 then 1 end) as open_invoice_count,
        count(case when is_overdue then 1 end) as overdue_invoice_count,
        max(case when is_overdue then days_past_due end) as max_days_past_due
    from invoices
    group by customer_id
),

-- An invoice whose customer is missing (in quarantine, as a rule) still has somebody who owes.
final as (
    select
        {{ as_of() }} as as_of_date,
        coalesce(customers.customer_id, invoiced.customer_id) as customer_id,
        customers.customer_id is not null as is_registered,
        customers.person_type_code,
        customers.state_code,
        customers.segment_code,
        customers.created_date,
        customers.merged_into_customer_id,
        coalesce(customers.is_document_valid, false) as is_document_valid,
        customers.email is not null as has_email,
        customers.phone_e164 is not null as has_phone,
        coalesce(active_subscriptions.active_subscription_count, 0) as active_subscription_count,
        invoiced.first_issue_date,
        coalesce(invoiced.invoice_count, 0) as invoice_count,
        coalesce(invoiced.open_invoice_count, 0) as open_invoice_count,
        coalesce(invoiced.overdue_invoice_count, 0) as overdue_invoice_count,
        invoiced.max_days_past_due
    from customers
    full outer join invoiced
        on customers.customer_id = invoiced.customer_id
    left join active_subscriptions
        on coalesce(customers.customer_id, invoiced.customer_id) = active_subscriptions.customer_id
)

select * from final
