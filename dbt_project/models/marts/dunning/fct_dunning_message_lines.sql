{{ config(materialized='incremental', incremental_strategy='replace_day', on_schema_change='fail') }}

with outcomes as (
    select * from {{ ref('int_dunning_outcomes') }}
    where outcome_code = 'eligible'
),

invoices as (
    select * from {{ ref('int_dunning_invoices') }}
),

versions as (
    select * from {{ ref('stg_policy_versions') }}
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

charged as (
    select
        covering.message_id,
        covering.step_code,
        invoices.invoice_id,
        invoices.customer_id,
        invoices.currency_code,
        invoices.due_date,
        invoices.days_since_due,
        invoices.is_past_due,
        invoices.open_amount,
        invoices.credit_amount,
        invoices.waived_pct,
        {{ late_fine("invoices", "versions") }} as whole_fine_amount,
        {{ late_interest("invoices", "versions") }} as whole_interest_amount
    from covering
    inner join invoices
        on covering.invoice_id = invoices.invoice_id
    inner join versions
        on invoices.version_hash = versions.version_hash
),

waived as (
    select
        *,
        {{ money("whole_fine_amount - " ~ percentage_of("whole_fine_amount", "waived_pct")) }} as fine_amount,
        {{ money("whole_interest_amount - " ~ percentage_of("whole_interest_amount", "waived_pct")) }}
            as interest_amount
    from charged
),

final as (
    select
        {{ as_of() }} as as_of_date,
        message_id,
        invoice_id,
        customer_id,
        currency_code,
        step_code,
        due_date,
        case when is_past_due then days_since_due end as days_past_due,
        open_amount,
        credit_amount,
        fine_amount,
        interest_amount,
        {{ money("open_amount - credit_amount + fine_amount + interest_amount") }} as payable_amount
    from waived
)

select * from final
