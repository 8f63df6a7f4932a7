with customers as (
    select * from {{ ref('stg_customers') }}
),

rejections as (
    select * from {{ ref('int_standing_rejections') }}
    where customer_id is not null
),

links as (
    select
        customer_id,
        coalesce(merged_into_customer_id, customer_id) as target_id
    from customers
),

-- Each round doubles how far a customer sees along its chain of merges: eight links in all.
{% for hops in (2, 4, 8) %}
    {%- set before = "links" if loop.first else "links_" ~ (hops // 2) %}
    links_{{ hops }} as (
        select
            nearer.customer_id,
            coalesce(farther.target_id, nearer.target_id) as target_id
        from {{ before }} as nearer
        left join {{ before }} as farther
            on nearer.target_id = farther.customer_id
    ),
{% endfor %}

rejected as (
    select distinct customer_id
    from rejections
),

-- A circle, or a chain that is longer, does not end here: nobody knows who is meant.
ended as (
    select
        links_8.customer_id,
        coalesce(ends.target_id = links_8.target_id, false) as is_ended,
        case when ends.target_id = links_8.target_id then links_8.target_id else links_8.customer_id end
            as contact_customer_id
    from links_8
    left join links as ends
        on links_8.target_id = ends.customer_id
),

final as (
    select
        ended.customer_id,
        ended.contact_customer_id,
        ended.is_ended
        and rejected.customer_id is null
        and rejected_targets.customer_id is null as is_trusted,
        targets.person_type_code,
        targets.segment_code,
        targets.state_code,
        targets.policy_code,
        targets.email,
        targets.phone_e164
    from ended
    inner join customers as targets
        on ended.contact_customer_id = targets.customer_id
    left join rejected
        on ended.customer_id = rejected.customer_id
    left join rejected as rejected_targets
        on ended.contact_customer_id = rejected_targets.customer_id
)

select * from final
