with decisions as (
    select * from {{ ref('stg_published_decisions') }}
    where outcome_code in ('eligible', 'holdout')
),

contacts as (
    select
        customer_id,
        contact_customer_id
    from {{ ref('int_contact_customers') }}
),

taken_back as (
    select
        invoice_id,
        step_code,
        channel_code,
        cycle_date,
        max(planned_date) as planned_date
    from {{ ref('stg_touches') }}
    where fate_code = 'not_sent'
    group by invoice_id, step_code, channel_code, cycle_date
),

-- Without a word to the contrary a message that was to go out did: in doubt, silence.
final as (
    select
        decisions.as_of_date,
        decisions.invoice_id,
        coalesce(contacts.contact_customer_id, decisions.contact_customer_id) as contact_customer_id,
        decisions.cycle_date,
        decisions.step_code,
        decisions.channel_code,
        decisions.offset_days,
        decisions.outcome_code
    from decisions
    left join contacts
        on decisions.contact_customer_id = contacts.customer_id
    left join taken_back
        on
            decisions.outcome_code = 'eligible'
            and decisions.invoice_id = taken_back.invoice_id
            and decisions.step_code = taken_back.step_code
            and decisions.channel_code = taken_back.channel_code
            and decisions.cycle_date = coalesce(taken_back.cycle_date, decisions.cycle_date)
            and decisions.as_of_date <= taken_back.planned_date
    where taken_back.invoice_id is null
)

select * from final
