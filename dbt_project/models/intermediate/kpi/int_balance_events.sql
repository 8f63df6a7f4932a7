with invoices as (
    select * from {{ ref('int_kpi_invoices') }}
),

payments as (
    select * from {{ ref('stg_payments') }}
    where
        payment_date <= {{ as_of() }}
        -- Undone no later than it took effect, a payment never counted.
        and (reversed_date is null or reversed_date > payment_date)
),

credits as (
    select * from {{ ref('stg_credits') }}
    where
        invoice_id is not null
        and applied_date <= {{ as_of() }}
),

said as (
    select
        invoice_id,
        currency_code,
        payment_date as event_date,
        amount as paid_amount,
        0 as credited_amount
    from payments
    union all
    select
        invoice_id,
        currency_code,
        reversed_date as event_date,
        -amount as paid_amount,
        0 as credited_amount
    from payments
    where reversed_date <= {{ as_of() }}
    union all
    select
        invoice_id,
        currency_code,
        applied_date as event_date,
        0 as paid_amount,
        amount as credited_amount
    from credits
),

-- Nothing is owed before the issue: what was paid earlier counts from then.
events as (
    select
        invoices.invoice_id,
        case when said.event_date > invoices.issue_date then said.event_date else invoices.issue_date end as event_date,
        said.paid_amount,
        said.credited_amount
    from invoices
    inner join said
        on
            invoices.invoice_id = said.invoice_id
            and invoices.currency_code = said.currency_code
    union all
    select
        invoice_id,
        issue_date as event_date,
        0 as paid_amount,
        0 as credited_amount
    from invoices
    union all
    select
        invoice_id,
        case when cancelled_from_date > issue_date then cancelled_from_date else issue_date end as event_date,
        0 as paid_amount,
        0 as credited_amount
    from invoices
    where cancelled_from_date <= {{ as_of() }}
    union all
    select
        invoice_id,
        case when written_off_from_date > issue_date then written_off_from_date else issue_date end as event_date,
        0 as paid_amount,
        0 as credited_amount
    from invoices
    where written_off_from_date <= {{ as_of() }}
),

days as (
    select
        invoice_id,
        event_date,
        sum(paid_amount) as paid_amount,
        sum(credited_amount) as credited_amount
    from events
    group by invoice_id, event_date
),

balanced as (
    select
        invoices.invoice_id,
        days.event_date,
        invoices.amount,
        days.paid_amount,
        days.credited_amount,
        invoices.amount - sum(days.paid_amount + days.credited_amount) over (
            partition by days.invoice_id
            order by days.event_date
            rows between unbounded preceding and current row
        ) as balance_amount,
        coalesce(invoices.cancelled_from_date <= days.event_date, false) as is_cancelled,
        coalesce(invoices.written_off_from_date <= days.event_date, false) as is_written_off
    from days
    inner join invoices
        on days.invoice_id = invoices.invoice_id
),

opened as (
    select
        *,
        case when is_cancelled or is_written_off or balance_amount < 0 then 0 else balance_amount end as open_amount
    from balanced
),

placed as (
    select
        *,
        coalesce(
            lag(open_amount) over (partition by invoice_id order by event_date),
            case when is_cancelled or is_written_off then 0 else amount end
        ) as open_before_amount,
        lead(event_date) over (partition by invoice_id order by event_date) as next_event_date
    from opened
),

final as (
    select
        invoice_id,
        event_date,
        next_event_date,
        {{ money("open_amount") }} as open_amount,
        -- Of what was paid only that which lowered the debt; what came back only as far as it is owed again.
        {{ money("case
            when paid_amount >= 0 and paid_amount < open_before_amount then paid_amount
            when paid_amount >= 0 then open_before_amount
            when -paid_amount < open_amount then paid_amount
            else -open_amount
        end") }} as collected_amount
    from placed
)

select * from final
