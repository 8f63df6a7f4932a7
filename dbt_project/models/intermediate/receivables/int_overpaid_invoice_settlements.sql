with balances as (
    select * from {{ ref('int_invoice_balances') }}
),

payments as (
    select * from {{ ref('stg_payments') }}
),

credits as (
    select * from {{ ref('stg_credits') }}
),

-- Where nothing is left over, the last payment or credit is the one that settled. Only here is it open which one did.
overpaid as (
    select
        invoice_id,
        currency_code,
        amount
    from balances
    where
        excess_amount > 0
        and settlement_count > 1
),

settling as (
    select
        overpaid.invoice_id,
        overpaid.amount as invoice_amount,
        payments.payment_date as settling_date,
        payments.amount
    from payments
    inner join overpaid
        on
            payments.invoice_id = overpaid.invoice_id
            and payments.currency_code = overpaid.currency_code
    where
        payments.payment_date <= {{ as_of() }}
        and (payments.reversed_date is null or payments.reversed_date > {{ as_of() }})
    union all
    select
        overpaid.invoice_id,
        overpaid.amount as invoice_amount,
        credits.applied_date as settling_date,
        credits.amount
    from credits
    inner join overpaid
        on
            credits.invoice_id = overpaid.invoice_id
            and credits.currency_code = overpaid.currency_code
    where credits.applied_date <= {{ as_of() }}
),

running as (
    select
        invoice_id,
        invoice_amount,
        settling_date,
        sum(amount) over (
            partition by invoice_id
            order by settling_date
            range between unbounded preceding and current row
        ) as settled_amount
    from settling
),

final as (
    select
        invoice_id,
        min(settling_date) as settled_date
    from running
    where settled_amount >= invoice_amount
    group by invoice_id
)

select * from final
