{{ config(materialized='incremental', incremental_strategy='replace_day', on_schema_change='fail') }}

with outcomes as (
    select * from {{ ref('int_dunning_outcomes') }}
    where outcome_code = 'eligible'
),

invoices as (
    select * from {{ ref('int_dunning_invoices') }}
),

charges as (
    select * from {{ ref('int_invoice_charges') }}
),

messages as (
    select
        message_id,
        contact_customer_id,
        currency_code,
        phase_code
    from outcomes
    where is_top
),

-- The step under which an invoice stands on a message; null where it is there because it is owed, too.
covering as (
    select
        message_id,
        invoice_id,
        step_code
    from outcomes
    union all
    select
        messages.message_id,
        invoices.invoice_id,
        cast(null as varchar) as step_code
    from messages
    inner join invoices
        on
            messages.contact_customer_id = invoices.contact_customer_id
            and messages.currency_code = invoices.currency_code
    left join outcomes
        on
            messages.message_id = outcomes.message_id
            and invoices.invoice_id = outcomes.invoice_id
    where
        messages.phase_code <> 'preventive'
        and invoices.is_past_due
        and invoices.hold_code is null
        and outcomes.invoice_id is null
),

final as (
    select
        {{ as_of() }} as as_of_date,
        covering.message_id,
        covering.invoice_id,
        invoices.customer_id,
        invoices.currency_code,
        covering.step_code,
        invoices.due_date,
        case when invoices.is_past_due then invoices.days_since_due end as days_past_due,
        invoices.open_amount,
        invoices.credit_amount,
        charges.fine_amount,
        charges.interest_amount,
        charges.payable_amount
    from covering
    inner join invoices
        on covering.invoice_id = invoices.invoice_id
    inner join charges
        on covering.invoice_id = charges.invoice_id
)

select * from final
