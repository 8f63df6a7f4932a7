with owed as (
    select * from {{ ref('int_dunning_invoices') }}
),

invoices as (
    select * from {{ ref('fct_invoices') }}
),

subscriptions as (
    select * from {{ ref('stg_subscriptions') }}
),

charges as (
    select * from {{ ref('int_invoice_charges') }}
),

final as (
    select
        {{ as_of() }} as as_of_date,
        owed.invoice_id,
        owed.contact_customer_id,
        owed.subscription_id,
        coalesce(owed.segment_code, 'none') as segment_code,
        coalesce(subscriptions.seller_code, 'none') as seller_code,
        owed.policy_code,
        owed.currency_code,
        owed.due_date,
        invoices.days_past_due,
        invoices.aging_bucket_code,
        invoices.is_overdue,
        owed.amount,
        invoices.paid_amount,
        invoices.credited_amount,
        owed.open_amount,
        owed.credit_amount,
        charges.fine_amount,
        charges.interest_amount,
        charges.payable_amount,
        owed.hold_code
    from owed
    inner join charges
        on owed.invoice_id = charges.invoice_id
    inner join invoices
        on owed.invoice_id = invoices.invoice_id
    left join subscriptions
        on owed.subscription_id = subscriptions.subscription_id
)

select * from final
