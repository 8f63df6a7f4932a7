with balances as (
    select * from {{ ref('int_invoice_balances') }}
    where is_issued
),

settlements as (
    select * from {{ ref('int_overpaid_invoice_settlements') }}
),

business_days as (
    select * from {{ ref('int_business_days') }}
),

aging_buckets as (
    select * from {{ ref('aging_buckets') }}
),

stated as (
    select
        balances.*,
        -- Outside the calendar's span a due date is taken as it stands, rather than lost.
        coalesce(business_days.effective_date, balances.due_date) as effective_due_date,
        case
            when balances.is_cancelled then 'cancelled'
            when balances.is_written_off then 'written_off'
            when balances.unpaid_amount = 0 then 'paid'
            when balances.unpaid_amount < balances.amount then 'partially_paid'
            else 'open'
        end as status_code,
        coalesce(settlements.settled_date, balances.last_settlement_date, balances.issue_date) as covered_date
    from balances
    left join settlements
        on balances.invoice_id = settlements.invoice_id
    left join business_days
        on
            balances.calendar_code = business_days.calendar_code
            and balances.due_date = business_days.calendar_date
),

aged as (
    select
        *,
        case
            when status_code = 'paid'
                then case when covered_date > issue_date then covered_date else issue_date end
        end as settled_date,
        open_amount > {{ tolerance_amount() }} and effective_due_date < {{ as_of() }} as is_overdue,
        {{ dbt.datediff("due_date", as_of(), "day") }} as days_since_due
    from stated
),

counted as (
    select
        *,
        case
            when open_amount = 0 then null
            when is_overdue or days_since_due < 0 then days_since_due
            else 0
        end as days_past_due,
        case
            when settled_date is null then null
            when settled_date > effective_due_date then {{ dbt.datediff("due_date", "settled_date", "day") }}
            else 0
        end as days_late
    from aged
),

final as (
    select
        {{ as_of() }} as as_of_date,
        counted.invoice_id,
        counted.customer_id,
        counted.subscription_id,
        counted.calendar_code,
        counted.payment_method_code,
        counted.currency_code,
        counted.issue_date,
        counted.due_date,
        counted.effective_due_date,
        counted.amount,
        {{ money("counted.received_amount - counted.reversed_amount") }} as paid_amount,
        counted.credited_amount,
        counted.open_amount,
        -- What was paid on an invoice that was cancelled belongs to the customer.
        {{ money("case when counted.is_cancelled then counted.received_amount - counted.reversed_amount"
            ~ " else counted.excess_amount end") }} as excess_amount,
        counted.status_code,
        counted.settled_date,
        cast(counted.days_past_due as integer) as days_past_due,
        cast(counted.days_late as integer) as days_late,
        counted.is_overdue,
        counted.is_overdue and counted.days_past_due <= {{ var('small_delay_max_days') }} as is_small_delay,
        aging_buckets.aging_bucket_code
    from counted
    left join aging_buckets
        on
            counted.days_past_due >= coalesce(aging_buckets.from_days, counted.days_past_due)
            and counted.days_past_due <= coalesce(aging_buckets.to_days, counted.days_past_due)
)

select * from final
