with decisions as (
    select * from {{ ref('int_used_decisions') }}
    where outcome_code = 'eligible'
),

touches as (
    select * from {{ ref('stg_touches') }}
    where fate_code <> 'not_sent'
),

contacts as (
    select
        customer_id,
        contact_customer_id
    from {{ ref('int_contact_customers') }}
),

contact_days as (
    select
        contact_customer_id,
        as_of_date as contact_date
    from decisions
    union
    select
        coalesce(contacts.contact_customer_id, touches.customer_id) as contact_customer_id,
        touches.planned_date as contact_date
    from touches
    left join contacts
        on touches.customer_id = contacts.customer_id
),

final as (
    select
        contact_customer_id,
        max(contact_date) as last_contact_date,
        count(case when contact_date > {{ dbt.dateadd("day", -7, as_of()) }} then 1 end) as week_contact_count
    from contact_days
    where contact_date < {{ as_of() }}
    group by contact_customer_id
)

select * from final
