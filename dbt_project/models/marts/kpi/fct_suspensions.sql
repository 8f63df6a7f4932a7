with changes as (
    select
        *,
        standing_before_code not in ('suspended', 'cancellation_proposed')
        and standing_code in ('suspended', 'cancellation_proposed') as is_suspension,
        standing_before_code in ('suspended', 'cancellation_proposed')
        and standing_code not in ('suspended', 'cancellation_proposed') as is_return
    from {{ ref('stg_standing_changes') }}
    where published_date <= {{ as_of() }}
),

subscriptions as (
    select * from {{ ref('stg_subscriptions') }}
),

invoices as (
    select * from {{ ref('int_kpi_invoices') }}
),

settled as (
    select * from {{ ref('int_settled_before') }}
),

-- A suspension ends with the next return of the same contract.
suspensions as (
    select
        changes.change_id,
        changes.subscription_id,
        changes.customer_id,
        changes.invoice_id,
        changes.published_date,
        min(comebacks.published_date) as returned_date
    from changes
    left join changes as comebacks
        on
            changes.subscription_id = comebacks.subscription_id
            and comebacks.is_return
            and changes.change_id < comebacks.change_id
    where changes.is_suspension
    group by
        changes.change_id,
        changes.subscription_id,
        changes.customer_id,
        changes.invoice_id,
        changes.published_date
),

final as (
    select
        {{ as_of() }} as as_of_date,
        suspensions.change_id,
        suspensions.subscription_id,
        suspensions.customer_id,
        suspensions.invoice_id,
        coalesce(invoices.currency_code, subscriptions.currency_code, 'none') as currency_code,
        coalesce(invoices.segment_code, 'none') as segment_code,
        coalesce(invoices.policy_code, 'none') as policy_code,
        suspensions.published_date,
        suspensions.returned_date,
        {{ dbt.datediff("suspensions.published_date", "suspensions.returned_date", "day") }}
            as day_count,
        settled.settled_date is not null as is_false
    from suspensions
    left join subscriptions
        on suspensions.subscription_id = subscriptions.subscription_id
    left join invoices
        on suspensions.invoice_id = invoices.invoice_id
    left join settled
        on
            suspensions.invoice_id = settled.invoice_id
            and suspensions.published_date = settled.day_date
)

select * from final
