with owed as (
    select * from {{ ref('int_dunning_invoices') }}
),

invoices as (
    select * from {{ ref('fct_invoices') }}
),

versions as (
    select * from {{ ref('stg_policy_versions') }}
),

charged as (
    select
        owed.*,
        {{ late_fine("owed", "versions") }} as whole_fine_amount,
        {{ late_interest("owed", "versions") }} as whole_interest_amount
    from owed
    inner join versions
        on owed.version_hash = versions.version_hash
),

waived as (
    select
        *,
        {{ money("whole_fine_amount - " ~ percentage_of("whole_fine_amount", "waived_pct")) }} as fine_amount,
        {{ money("whole_interest_amount - " ~ percentage_of("whole_interest_amount", "waived_pct")) }}
            as interest_amount
    from charged
),

final as (
    select
        {{ as_of() }} as as_of_date,
        waived.invoice_id,
        waived.contact_customer_id,
        waived.subscription_id,
        coalesce(waived.segment_code, 'none') as segment_code,
        waived.policy_code,
        waived.currency_code,
        waived.due_date,
        invoices.days_past_due,
        invoices.aging_bucket_code,
        invoices.is_overdue,
        waived.amount,
        invoices.paid_amount,
        invoices.credited_amount,
        waived.open_amount,
        waived.credit_amount,
        waived.fine_amount,
        waived.interest_amount,
        {{ money("waived.open_amount - waived.credit_amount + waived.fine_amount + waived.interest_amount") }}
            as payable_amount,
        waived.hold_code
    from waived
    inner join invoices
        on waived.invoice_id = invoices.invoice_id
)

select * from final
