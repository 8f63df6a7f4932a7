with touches as (
    select * from {{ ref('stg_touches') }}
    where
        fate_code in ('sent', 'delivered', 'bounced')
        and planned_date <= {{ as_of() }}
),

changes as (
    select * from {{ ref('stg_standing_changes') }}
    where published_date <= {{ as_of() }}
),

payments as (
    select * from {{ ref('stg_payments') }}
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
    where invoice_id is not null
),

-- Invoices that payments of days before had paid whole. One that is reversed later had still paid it on that day.
paid as (
    select
        spoken_of.invoice_id,
        spoken_of.day_date
    from spoken_of
    inner join invoices
        on spoken_of.invoice_id = invoices.invoice_id
    inner join payments
        on
            invoices.invoice_id = payments.invoice_id
            and invoices.currency_code = payments.currency_code
            and spoken_of.day_date > payments.payment_date
            and (payments.reversed_date is null or spoken_of.day_date < payments.reversed_date)
    group by spoken_of.invoice_id, spoken_of.day_date, invoices.amount
    having sum(payments.amount) >= invoices.amount
),

-- One contact each message and invoice; false where the payment took effect before the day on which it went out.
contacts as (
    select
        cast({{ dbt.date_trunc("month", "touches.planned_date") }} as date) as month_date,
        count(*) as contact_count,
        count(paid.invoice_id) as false_contact_count
    from touches
    left join paid
        on
            touches.invoice_id = paid.invoice_id
            and touches.planned_date = paid.day_date
    group by {{ dbt.date_trunc("month", "touches.planned_date") }}
),

accesses as (
    select
        *,
        standing_before_code not in ('suspended', 'cancellation_proposed')
        and standing_code in ('suspended', 'cancellation_proposed') as is_suspension,
        standing_before_code in ('suspended', 'cancellation_proposed')
        and standing_code not in ('suspended', 'cancellation_proposed') as is_return
    from changes
),

-- A suspension ends with the next return of the same contract.
suspensions as (
    select
        accesses.subscription_id,
        accesses.invoice_id,
        accesses.published_date,
        min(comebacks.published_date) as returned_date
    from accesses
    left join accesses as comebacks
        on
            accesses.subscription_id = comebacks.subscription_id
            and comebacks.is_return
            and accesses.change_id < comebacks.change_id
    where accesses.is_suspension
    group by accesses.change_id, accesses.subscription_id, accesses.invoice_id, accesses.published_date
),

judged as (
    select
        cast({{ dbt.date_trunc("month", "suspensions.published_date") }} as date) as month_date,
        suspensions.returned_date,
        paid.invoice_id is not null as is_false,
        {{ dbt.datediff("suspensions.published_date", "suspensions.returned_date", "day") }}
            as days_off
    from suspensions
    left join paid
        on
            suspensions.invoice_id = paid.invoice_id
            and suspensions.published_date = paid.day_date
),

suspended as (
    select
        month_date,
        count(*) as suspension_count,
        count(case when is_false then 1 end) as false_suspension_count,
        count(returned_date) as returned_count,
        count(case when days_off <= 7 then 1 end) as returned_7_count,
        sum(days_off) as returned_days,
        median(days_off) as median_returned_days
    from judged
    group by month_date
),

cancelled as (
    select
        cast({{ dbt.date_trunc("month", "published_date") }} as date) as month_date,
        count(*) as cancellation_proposed_count
    from changes
    where
        standing_code = 'cancellation_proposed'
        and standing_before_code <> 'cancellation_proposed'
    group by {{ dbt.date_trunc("month", "published_date") }}
),

months as (
    select month_date from contacts
    union
    select month_date from suspended
    union
    select month_date from cancelled
),

final as (
    select
        {{ as_of() }} as as_of_date,
        months.month_date,
        coalesce(contacts.contact_count, 0) as contact_count,
        coalesce(contacts.false_contact_count, 0) as false_contact_count,
        coalesce(suspended.suspension_count, 0) as suspension_count,
        coalesce(suspended.false_suspension_count, 0) as false_suspension_count,
        coalesce(suspended.returned_count, 0) as returned_count,
        coalesce(suspended.returned_7_count, 0) as returned_7_count,
        cast(coalesce(suspended.returned_days, 0) as bigint) as returned_days,
        cast(suspended.median_returned_days as decimal(9, 1)) as median_returned_days,
        coalesce(cancelled.cancellation_proposed_count, 0) as cancellation_proposed_count
    from months
    left join contacts
        on months.month_date = contacts.month_date
    left join suspended
        on months.month_date = suspended.month_date
    left join cancelled
        on months.month_date = cancelled.month_date
)

select * from final
