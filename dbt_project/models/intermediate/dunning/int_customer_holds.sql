with contacts as (
    select
        customer_id,
        contact_customer_id
    from {{ ref('int_contact_customers') }}
),

exemptions as (
    select * from {{ ref('stg_exemptions') }}
    where invoice_id is null
),

pauses as (
    select * from {{ ref('stg_pauses') }}
),

promises as (
    select * from {{ ref('stg_promises') }}
    where invoice_id is null
),

waivers as (
    select * from {{ ref('stg_waivers') }}
    where invoice_id is null
),

trust_unlocks as (
    select * from {{ ref('stg_trust_unlocks') }}
),

said as (
    select
        exemptions.customer_id,
        'exemption' as fact_code,
        exemptions.exemption_id as fact_id,
        cast(null as date) as until_date,
        cast(null as decimal(5, 2)) as waived_pct
    from exemptions
    where {{ holds('exemptions') }}
    union all
    select
        pauses.customer_id,
        'pause' as fact_code,
        pauses.pause_id as fact_id,
        pauses.valid_to_date as until_date,
        cast(null as decimal(5, 2)) as waived_pct
    from pauses
    where {{ holds('pauses') }}
    union all
    select
        promises.customer_id,
        case when promises.promised_date >= {{ as_of() }} then 'promise' else 'past_promise' end as fact_code,
        promises.promise_id as fact_id,
        promises.promised_date as until_date,
        cast(null as decimal(5, 2)) as waived_pct
    from promises
    where {{ promise_counts('promises') }}
    union all
    select
        waivers.customer_id,
        'waiver' as fact_code,
        waivers.waiver_id as fact_id,
        cast(null as date) as until_date,
        waivers.waived_pct
    from waivers
    where {{ holds('waivers') }}
    union all
    select
        trust_unlocks.customer_id,
        'trust_unlock' as fact_code,
        trust_unlocks.trust_unlock_id as fact_id,
        trust_unlocks.valid_to_date as until_date,
        cast(null as decimal(5, 2)) as waived_pct
    from trust_unlocks
    where {{ holds('trust_unlocks') }}
),

final as (
    select
        coalesce(contacts.contact_customer_id, said.customer_id) as contact_customer_id,
        min(case when said.fact_code = 'exemption' then said.fact_id end) as exemption_id,
        min(case when said.fact_code = 'pause' then said.fact_id end) as pause_id,
        max(case when said.fact_code = 'pause' then said.until_date end) as paused_until_date,
        min(case when said.fact_code = 'promise' then said.fact_id end) as promise_id,
        max(case when said.fact_code = 'promise' then said.until_date end) as promised_until_date,
        max(case when said.fact_code = 'past_promise' then said.until_date end) as last_promised_date,
        max(said.waived_pct) as waived_pct,
        min(case when said.fact_code = 'trust_unlock' then said.fact_id end) as trust_unlock_id,
        max(case when said.fact_code = 'trust_unlock' then said.until_date end) as unlocked_until_date
    from said
    left join contacts
        on said.customer_id = contacts.customer_id
    group by coalesce(contacts.contact_customer_id, said.customer_id)
)

select * from final
