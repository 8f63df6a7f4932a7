with invoices as (
    select * from {{ ref('stg_invoices') }}
),

payments as (
    select * from {{ ref('stg_payments') }}
),

credits as (
    select * from {{ ref('stg_credits') }}
),

undone as (
    select
        invoices.invoice_id,
        invoices.currency_code,
        invoices.amount as invoice_amount,
        invoices.due_date
    from payments
    inner join invoices
        on
            payments.invoice_id = invoices.invoice_id
            and payments.currency_code = invoices.currency_code
    where
        payments.reversed_date > payments.payment_date
        and payments.reversed_date > invoices.due_date
        and payments.reversed_date <= {{ as_of() }}
    group by invoices.invoice_id, invoices.currency_code, invoices.amount, invoices.due_date
),

events as (
    select
        undone.invoice_id,
        payments.payment_date as event_date,
        payments.amount as settled_amount,
        0 as reversal_count
    from undone
    inner join payments
        on
            undone.invoice_id = payments.invoice_id
            and undone.currency_code = payments.currency_code
    where
        payments.payment_date <= {{ as_of() }}
        and (payments.reversed_date is null or payments.reversed_date > payments.payment_date)
    union all
    select
        undone.invoice_id,
        payments.reversed_date as event_date,
        -payments.amount as settled_amount,
        1 as reversal_count
    from undone
    inner join payments
        on
            undone.invoice_id = payments.invoice_id
            and undone.currency_code = payments.currency_code
    where
        payments.reversed_date <= {{ as_of() }}
        and payments.reversed_date > payments.payment_date
    union all
    select
        undone.invoice_id,
        credits.applied_date as event_date,
        credits.amount as settled_amount,
        0 as reversal_count
    from undone
    inner join credits
        on
            undone.invoice_id = credits.invoice_id
            and undone.currency_code = credits.currency_code
    where credits.applied_date <= {{ as_of() }}
),

days as (
    select
        invoice_id,
        event_date,
        sum(settled_amount) as settled_amount,
        sum(reversal_count) as reversal_count
    from events
    group by invoice_id, event_date
),

running as (
    select
        invoice_id,
        event_date,
        settled_amount,
        reversal_count,
        sum(settled_amount) over (
            partition by invoice_id
            order by event_date
            rows between unbounded preceding and current row
        ) as settled_by_then_amount
    from days
),

final as (
    select
        running.invoice_id,
        max(running.event_date) as reopened_date
    from running
    inner join undone
        on running.invoice_id = undone.invoice_id
    where
        running.reversal_count > 0
        and running.event_date > undone.due_date
        and running.settled_by_then_amount < undone.invoice_amount
        and running.settled_by_then_amount - running.settled_amount >= undone.invoice_amount
    group by running.invoice_id
)

select * from final
