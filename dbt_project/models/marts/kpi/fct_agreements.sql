with agreements as (
    select * from {{ ref('stg_agreements') }}
    where valid_from_date <= {{ as_of() }}
),

agreement_invoices as (
    select distinct
        agreement_id,
        invoice_id
    from {{ ref('stg_agreement_invoices') }}
),

invoices as (
    select * from {{ ref('int_kpi_invoices') }}
),

events as (
    select * from {{ ref('int_balance_events') }}
),

-- Of each invoice that an agreement covers, what was open on the evening before it began.
covered as (
    select
        agreements.agreement_id,
        agreements.valid_from_date,
        case when agreements.broken_date <= {{ as_of() }} then agreements.broken_date end as broken_date,
        invoices.customer_id,
        invoices.currency_code,
        invoices.segment_code,
        invoices.policy_code,
        events.open_amount
    from agreements
    inner join agreement_invoices
        on agreements.agreement_id = agreement_invoices.agreement_id
    inner join invoices
        on agreement_invoices.invoice_id = invoices.invoice_id
    inner join events
        on
            agreement_invoices.invoice_id = events.invoice_id
            and agreements.valid_from_date > events.event_date
            and (events.next_event_date is null or agreements.valid_from_date <= events.next_event_date)
),

final as (
    select
        {{ as_of() }} as as_of_date,
        agreement_id,
        min(customer_id) as customer_id,
        currency_code,
        min(segment_code) as segment_code,
        min(policy_code) as policy_code,
        valid_from_date,
        broken_date,
        {{ money("sum(open_amount)") }} as covered_amount
    from covered
    group by agreement_id, currency_code, valid_from_date, broken_date
)

select * from final
