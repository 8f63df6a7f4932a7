with invoices as (
    select * from {{ ref('stg_invoices') }}
    where
        status_code <> 'draft'
        and issue_date <= {{ as_of() }}
),

stated as (
    select
        invoice_id,
        effective_due_date
    from {{ ref('fct_invoices') }}
),

contacts as (
    select * from {{ ref('int_contact_customers') }}
),

policies as (
    select * from {{ ref('stg_policies') }}
),

versions as (
    select * from {{ ref('stg_policy_versions') }}
    where
        effective_from <= {{ as_of() }}
        and effective_to >= {{ as_of() }}
),

assignments as (
    select
        versions.policy_code,
        assignments.segment_code,
        assignments.person_type_code
    from {{ ref('stg_policy_assignments') }} as assignments
    inner join versions
        on assignments.version_hash = versions.version_hash
),

defaults as (
    select policies.policy_code
    from policies
    where policies.is_default
),

final as (
    select
        invoices.invoice_id,
        coalesce(contacts.contact_customer_id, invoices.customer_id) as customer_id,
        invoices.currency_code,
        coalesce(contacts.segment_code, 'none') as segment_code,
        coalesce(
            by_invoice.policy_code, by_customer.policy_code, assignments.policy_code, defaults.policy_code
        ) as policy_code,
        coalesce(invoices.payment_method_code, 'none') as payment_method_code,
        invoices.issue_date,
        invoices.due_date,
        invoices.amount,
        -- Some are issued when they are past due already.
        case
            when invoices.issue_date > stated.effective_due_date then invoices.issue_date
            else cast({{ dbt.dateadd("day", 1, "stated.effective_due_date") }} as date)
        end as first_overdue_date,
        case
            when invoices.cancelled_date is not null then invoices.cancelled_date
            when invoices.status_code = 'cancelled' then invoices.issue_date
        end as cancelled_from_date,
        case
            when invoices.written_off_date is not null then invoices.written_off_date
            when invoices.status_code = 'written_off' then invoices.issue_date
        end as written_off_from_date
    from invoices
    inner join stated
        on invoices.invoice_id = stated.invoice_id
    left join contacts
        on invoices.customer_id = contacts.customer_id
    left join versions as by_invoice
        on invoices.policy_code = by_invoice.policy_code
    left join versions as by_customer
        on contacts.policy_code = by_customer.policy_code
    left join assignments
        on
            (assignments.segment_code is null or contacts.segment_code = assignments.segment_code)
            and (assignments.person_type_code is null or contacts.person_type_code = assignments.person_type_code)
    cross join defaults
)

select * from final
