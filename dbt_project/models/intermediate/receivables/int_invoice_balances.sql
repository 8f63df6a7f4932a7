with invoices as (
    select * from {{ ref('stg_invoices') }}
),

payments as (
    select * from {{ ref('int_invoice_payments') }}
),

credits as (
    select * from {{ ref('int_invoice_credits') }}
),

dated as (
    select
        invoice_id,
        customer_id,
        subscription_id,
        calendar_code,
        payment_method_code,
        currency_code,
        issue_date,
        due_date,
        amount,
        status_code <> 'draft' and issue_date <= {{ as_of() }} as is_issued,
        status_code <> 'draft' and coalesce(issue_date <= {{ previous_as_of() }}, false) as was_issued,
        case
            when cancelled_date is not null then cancelled_date
            when status_code = 'cancelled' then issue_date
        end as cancelled_from_date,
        case
            when written_off_date is not null then written_off_date
            when status_code = 'written_off' then issue_date
        end as written_off_from_date
    from invoices
),

applied as (
    select
        dated.*,
        coalesce(payments.received_amount, 0) as received_amount,
        coalesce(payments.reversed_amount, 0) as reversed_amount,
        coalesce(payments.previous_received_amount, 0) as previous_received_amount,
        coalesce(payments.previous_reversed_amount, 0) as previous_reversed_amount,
        coalesce(credits.credited_amount, 0) as credited_amount,
        coalesce(credits.previous_credited_amount, 0) as previous_credited_amount,
        coalesce(payments.standing_count, 0) + coalesce(credits.credit_count, 0) as settlement_count,
        case
            when payments.last_standing_date > credits.last_applied_date then payments.last_standing_date
            else coalesce(credits.last_applied_date, payments.last_standing_date)
        end as last_settlement_date,
        coalesce(dated.cancelled_from_date <= {{ as_of() }}, false) as is_cancelled,
        coalesce(dated.written_off_from_date <= {{ as_of() }}, false) as is_written_off,
        coalesce(dated.cancelled_from_date <= {{ previous_as_of() }}, false) as was_cancelled,
        coalesce(dated.written_off_from_date <= {{ previous_as_of() }}, false) as was_written_off
    from dated
    left join payments
        on
            dated.invoice_id = payments.invoice_id
            and dated.currency_code = payments.currency_code
    left join credits
        on
            dated.invoice_id = credits.invoice_id
            and dated.currency_code = credits.currency_code
),

balanced as (
    select
        *,
        is_issued and not is_cancelled and not is_written_off as is_receivable,
        was_issued and not was_cancelled and not was_written_off as was_receivable,
        amount - (received_amount - reversed_amount) - credited_amount as balance_amount,
        amount - (previous_received_amount - previous_reversed_amount) - previous_credited_amount
            as previous_balance_amount
    from applied
),

final as (
    select
        invoice_id,
        customer_id,
        subscription_id,
        calendar_code,
        payment_method_code,
        currency_code,
        issue_date,
        due_date,
        amount,
        is_issued,
        is_cancelled,
        is_written_off,
        is_receivable,
        was_receivable,
        {{ money("received_amount") }} as received_amount,
        {{ money("reversed_amount") }} as reversed_amount,
        {{ money("credited_amount") }} as credited_amount,
        {{ money("case when was_receivable then previous_received_amount else 0 end") }} as previous_received_amount,
        {{ money("case when was_receivable then previous_reversed_amount else 0 end") }} as previous_reversed_amount,
        {{ money("case when was_receivable then previous_credited_amount else 0 end") }} as previous_credited_amount,
        settlement_count,
        last_settlement_date,
        {{ money("case when balance_amount > 0 then balance_amount else 0 end") }} as unpaid_amount,
        {{ money("case when balance_amount < 0 then -balance_amount else 0 end") }} as excess_amount,
        {{ money("case when is_receivable and balance_amount > 0 then balance_amount else 0 end") }} as open_amount,
        {{ money("case when was_receivable and previous_balance_amount > 0 then previous_balance_amount else 0 end") }}
            as previous_open_amount,
        {{ money("case when was_receivable and previous_balance_amount < 0 then -previous_balance_amount else 0 end") }}
            as previous_excess_amount
    from balanced
)

select * from final
