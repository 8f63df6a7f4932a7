with invoices as (
    select * from {{ ref('int_kpi_invoices') }}
),

events as (
    select * from {{ ref('int_balance_events') }}
),

contacts as (
    select * from {{ ref('int_contact_customers') }}
),

-- Those whose day is over, and that were not taken back before it.
promises as (
    select
        promise_id,
        customer_id,
        invoice_id,
        currency_code,
        amount,
        valid_from_date,
        promised_date
    from {{ ref('stg_promises') }}
    where
        promised_date < {{ as_of() }}
        and (valid_to_date is null or valid_to_date >= promised_date)
),

-- Invoices that a promise is about: the one it names, or all of its customer's that were open when it was made.
about as (
    select
        promises.promise_id,
        promises.amount as promised_amount,
        promises.valid_from_date,
        promises.promised_date,
        invoices.invoice_id,
        invoices.customer_id,
        invoices.currency_code,
        invoices.segment_code,
        invoices.policy_code
    from promises
    inner join invoices
        on promises.invoice_id = invoices.invoice_id
    union all
    select
        promises.promise_id,
        promises.amount as promised_amount,
        promises.valid_from_date,
        promises.promised_date,
        invoices.invoice_id,
        invoices.customer_id,
        invoices.currency_code,
        invoices.segment_code,
        invoices.policy_code
    from promises
    inner join contacts
        on promises.customer_id = contacts.customer_id
    inner join invoices
        on contacts.contact_customer_id = invoices.customer_id
    where
        promises.invoice_id is null
        and (promises.currency_code is null or promises.currency_code = invoices.currency_code)
),

-- A promise made in the morning may be kept on the same day, so it is of what was open the evening before.
opened as (
    select
        about.promise_id,
        about.promised_amount,
        about.valid_from_date,
        about.promised_date,
        about.invoice_id,
        about.customer_id,
        about.currency_code,
        about.segment_code,
        about.policy_code,
        sum(
            case
                when
                    events.event_date < about.valid_from_date
                    and (events.next_event_date is null or events.next_event_date >= about.valid_from_date)
                    then events.open_amount
                else 0
            end
        ) as owed_amount,
        sum(case when events.event_date >= about.valid_from_date then events.collected_amount else 0 end)
            as collected_amount
    from about
    inner join events
        on
            about.invoice_id = events.invoice_id
            and about.promised_date >= events.event_date
    group by
        about.promise_id,
        about.promised_amount,
        about.valid_from_date,
        about.promised_date,
        about.invoice_id,
        about.customer_id,
        about.currency_code,
        about.segment_code,
        about.policy_code
),

judged as (
    select
        promise_id,
        currency_code,
        min(customer_id) as customer_id,
        min(segment_code) as segment_code,
        min(policy_code) as policy_code,
        valid_from_date,
        promised_date,
        coalesce(max(promised_amount), sum(owed_amount)) as promised_amount,
        sum(case when owed_amount > 0 then collected_amount else 0 end) as collected_amount
    from opened
    group by promise_id, currency_code, valid_from_date, promised_date
),

final as (
    select
        {{ as_of() }} as as_of_date,
        promise_id,
        customer_id,
        currency_code,
        segment_code,
        policy_code,
        valid_from_date,
        promised_date,
        {{ money("promised_amount") }} as promised_amount,
        {{ money("collected_amount") }} as collected_amount,
        collected_amount >= promised_amount as is_kept
    from judged
    where promised_amount > 0
)

select * from final
