with disputes as (
    select * from {{ ref('stg_disputes') }}
),

agreements as (
    select * from {{ ref('stg_agreements') }}
),

agreement_invoices as (
    select * from {{ ref('stg_agreement_invoices') }}
),

exemptions as (
    select * from {{ ref('stg_exemptions') }}
),

promises as (
    select * from {{ ref('stg_promises') }}
),

waivers as (
    select * from {{ ref('stg_waivers') }}
),

payments as (
    select * from {{ ref('stg_payments') }}
),

credits as (
    select * from {{ ref('stg_credits') }}
),

rejections as (
    select * from {{ ref('int_standing_rejections') }}
    where invoice_id is not null
),

said as (
    select
        disputes.invoice_id,
        'dispute' as fact_code,
        disputes.dispute_id as fact_id,
        cast(null as date) as until_date,
        cast(null as decimal(5, 2)) as waived_pct
    from disputes
    where {{ holds('disputes') }}
    union all
    select
        agreement_invoices.invoice_id,
        'agreement' as fact_code,
        agreements.agreement_id as fact_id,
        cast(null as date) as until_date,
        cast(null as decimal(5, 2)) as waived_pct
    from agreement_invoices
    inner join agreements
        on agreement_invoices.agreement_id = agreements.agreement_id
    where
        {{ holds('agreement_invoices') }}
        and {{ holds('agreements') }}
        and (agreements.broken_date is null or agreements.broken_date > {{ as_of() }})
    union all
    select
        exemptions.invoice_id,
        'exemption' as fact_code,
        exemptions.exemption_id as fact_id,
        cast(null as date) as until_date,
        cast(null as decimal(5, 2)) as waived_pct
    from exemptions
    where
        exemptions.invoice_id is not null
        and {{ holds('exemptions') }}
    union all
    select
        promises.invoice_id,
        case when promises.promised_date >= {{ as_of() }} then 'promise' else 'past_promise' end as fact_code,
        promises.promise_id as fact_id,
        promises.promised_date as until_date,
        cast(null as decimal(5, 2)) as waived_pct
    from promises
    where
        promises.invoice_id is not null
        and {{ promise_counts('promises') }}
    union all
    select
        waivers.invoice_id,
        'waiver' as fact_code,
        waivers.waiver_id as fact_id,
        cast(null as date) as until_date,
        waivers.waived_pct
    from waivers
    where
        waivers.invoice_id is not null
        and {{ holds('waivers') }}
    union all
    select
        rejections.invoice_id,
        'rejection' as fact_code,
        rejections.invoice_id as fact_id,
        cast(null as date) as until_date,
        cast(null as decimal(5, 2)) as waived_pct
    from rejections
    -- Told of by today and dated later: a boleto that was paid on Friday evening is booked for Monday.
    union all
    select
        payments.invoice_id,
        'announced_payment' as fact_code,
        payments.payment_id as fact_id,
        payments.payment_date as until_date,
        cast(null as decimal(5, 2)) as waived_pct
    from payments
    where
        payments.payment_date > {{ as_of() }}
        and payments.reversed_date is null
        and {{ local_date("payments._loaded_at") }} <= {{ as_of() }}
    union all
    select
        credits.invoice_id,
        'announced_payment' as fact_code,
        credits.credit_id as fact_id,
        credits.applied_date as until_date,
        cast(null as decimal(5, 2)) as waived_pct
    from credits
    where
        credits.invoice_id is not null
        and credits.applied_date > {{ as_of() }}
        and {{ local_date("credits._loaded_at") }} <= {{ as_of() }}
),

final as (
    select
        invoice_id,
        max(case when fact_code = 'rejection' then 1 else 0 end) = 1 as has_rejected_row,
        min(case when fact_code = 'dispute' then fact_id end) as dispute_id,
        min(case when fact_code = 'agreement' then fact_id end) as agreement_id,
        min(case when fact_code = 'exemption' then fact_id end) as exemption_id,
        min(case when fact_code = 'promise' then fact_id end) as promise_id,
        max(case when fact_code = 'promise' then until_date end) as promised_until_date,
        max(case when fact_code = 'past_promise' then until_date end) as last_promised_date,
        min(case when fact_code = 'announced_payment' then until_date end) as announced_payment_date,
        max(waived_pct) as waived_pct
    from said
    group by invoice_id
)

select * from final
