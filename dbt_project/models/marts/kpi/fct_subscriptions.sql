with subscriptions as (
    select * from {{ ref('stg_subscriptions') }}
    where status_code <> 'trial'
),

contacts as (
    select * from {{ ref('int_contact_customers') }}
),

changes as (
    select * from {{ ref('stg_standing_changes') }}
    where published_date <= {{ as_of() }}
),

contracts as (
    select
        subscriptions.subscription_id,
        coalesce(contacts.contact_customer_id, subscriptions.customer_id) as customer_id,
        subscriptions.currency_code,
        coalesce(contacts.segment_code, 'none') as segment_code,
        subscriptions.start_date,
        subscriptions.end_date
    from subscriptions
    left join contacts
        on subscriptions.customer_id = contacts.customer_id
),

-- Where the last list before it had left whoever ended.
standings as (
    select
        contracts.subscription_id,
        changes.standing_code,
        row_number() over (partition by contracts.subscription_id order by changes.change_id desc) as place_from_last
    from contracts
    inner join changes
        on
            contracts.subscription_id = changes.subscription_id
            and contracts.end_date >= changes.published_date
),

ended_unpaid as (
    select subscription_id
    from standings
    where
        place_from_last = 1
        and standing_code in ('suspended', 'cancellation_proposed')
),

-- A customer who is lost and comes back has a contract that began after.
recovered as (
    select distinct contracts.subscription_id
    from contracts
    inner join contracts as comebacks
        on
            contracts.customer_id = comebacks.customer_id
            and contracts.end_date < comebacks.start_date
            and comebacks.start_date <= {{ as_of() }}
),

final as (
    select
        {{ as_of() }} as as_of_date,
        contracts.subscription_id,
        contracts.customer_id,
        contracts.currency_code,
        contracts.segment_code,
        contracts.start_date,
        contracts.end_date,
        ended_unpaid.subscription_id is not null as is_unpaid,
        ended_unpaid.subscription_id is not null and recovered.subscription_id is not null as is_recovered
    from contracts
    left join ended_unpaid
        on contracts.subscription_id = ended_unpaid.subscription_id
    left join recovered
        on contracts.subscription_id = recovered.subscription_id
)

select * from final
