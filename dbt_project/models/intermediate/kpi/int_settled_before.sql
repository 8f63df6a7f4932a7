with touches as (
    select
        invoice_id,
        planned_date
    from {{ ref('stg_touches') }}
),

changes as (
    select
        invoice_id,
        published_date
    from {{ ref('stg_standing_changes') }}
    where invoice_id is not null
),

payments as (
    select * from {{ ref('stg_payments') }}
),

credits as (
    select * from {{ ref('stg_credits') }}
),

invoices as (
    select
        invoice_id,
        currency_code,
        amount
    from {{ ref('int_kpi_invoices') }}
),

spoken_of as (
    select
        invoice_id,
        planned_date as day_date
    from touches
    union
    select
        invoice_id,
        published_date as day_date
    from changes
),

settlements as (
    select
        invoice_id,
        currency_code,
        payment_date as settled_date,
        reversed_date,
        amount
    from payments
    union all
    select
        invoice_id,
        currency_code,
        applied_date as settled_date,
        null as reversed_date,
        amount
    from credits
    where invoice_id is not null
),

-- A payment that was reversed later had still settled the invoice on that day.
final as (
    select
        spoken_of.invoice_id,
        spoken_of.day_date,
        max(settlements.settled_date) as settled_date
    from spoken_of
    inner join invoices
        on spoken_of.invoice_id = invoices.invoice_id
    inner join settlements
        on
            invoices.invoice_id = settlements.invoice_id
            and invoices.currency_code = settlements.currency_code
            and spoken_of.day_date > settlements.settled_date
            and (settlements.reversed_date is null or spoken_of.day_date < settlements.reversed_date)
    group by spoken_of.invoice_id, spoken_of.day_date, invoices.amount
    having sum(settlements.amount) >= invoices.amount
)

select * from final
