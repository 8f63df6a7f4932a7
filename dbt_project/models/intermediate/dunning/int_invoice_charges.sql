with invoices as (
    select * from {{ ref('int_dunning_invoices') }}
),

versions as (
    select * from {{ ref('stg_policy_versions') }}
),

-- The fine is asked for once, capped for all but companies; interest runs by days of a month of thirty.
charged as (
    select
        invoices.invoice_id,
        invoices.open_amount,
        invoices.credit_amount,
        invoices.waived_pct,
        case
            when not invoices.is_past_due then 0
            else {{ percentage_of(
                "invoices.open_amount",
                "case when coalesce(invoices.person_type_code, 'individual') = 'individual'"
                ~ " and versions.fine_pct > versions.consumer_fine_cap_pct"
                ~ " then versions.consumer_fine_cap_pct else versions.fine_pct end"
            ) }}
        end as whole_fine_amount,
        case
            when not invoices.is_past_due then 0
            else {{ percentage_of(
                "invoices.open_amount", "versions.monthly_interest_pct", "invoices.days_since_due", 30
            ) }}
        end as whole_interest_amount
    from invoices
    inner join versions
        on invoices.version_hash = versions.version_hash
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
        invoice_id,
        fine_amount,
        interest_amount,
        {{ money("open_amount - credit_amount + fine_amount + interest_amount") }} as payable_amount
    from waived
)

select * from final
