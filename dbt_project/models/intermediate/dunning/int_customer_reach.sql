with customers as (
    select distinct contact_customer_id
    from {{ ref('int_dunning_invoices') }}
),

contacts as (
    select * from {{ ref('int_contact_customers') }}
),

contact_points as (
    select * from {{ ref('stg_contact_points') }}
),

consents as (
    select * from {{ ref('stg_consents') }}
),

given as (
    select
        coalesce(contacts.contact_customer_id, contact_points.customer_id) as contact_customer_id,
        contact_points.contact_type_code,
        contact_points.contact_point_id,
        contact_points.address,
        coalesce(contact_points.undeliverable_date <= {{ as_of() }}, false) as is_dead,
        contact_points.valid_from_date
    from contact_points
    left join contacts
        on contact_points.customer_id = contacts.customer_id
    where {{ holds('contact_points') }}
),

-- A bounce speaks of the address, whichever record names it, and of no other.
dead_addresses as (
    select distinct
        contact_customer_id,
        contact_type_code,
        address
    from given
    where is_dead
),

given_types as (
    select distinct
        contact_customer_id,
        contact_type_code
    from given
    where not is_dead
),

own as (
    select
        customer_id as contact_customer_id,
        'email' as contact_type_code,
        email as address
    from contacts
    where
        customer_id = contact_customer_id
        and email is not null
    union all
    select
        customer_id as contact_customer_id,
        'phone' as contact_type_code,
        phone_e164 as address
    from contacts
    where
        customer_id = contact_customer_id
        and phone_e164 is not null
),

named as (
    select
        contact_customer_id,
        contact_type_code,
        contact_point_id,
        address,
        valid_from_date
    from given
    union all
    -- What the customer record says holds only where nothing of the kind was said more precisely.
    select
        own.contact_customer_id,
        own.contact_type_code,
        cast(null as varchar) as contact_point_id,
        own.address,
        cast(null as date) as valid_from_date
    from own
    left join given_types
        on
            own.contact_customer_id = given_types.contact_customer_id
            and own.contact_type_code = given_types.contact_type_code
    where given_types.contact_customer_id is null
),

addresses as (
    select
        named.*,
        named.address is not null and dead_addresses.contact_customer_id is null as is_usable
    from named
    left join dead_addresses
        on
            named.contact_customer_id = dead_addresses.contact_customer_id
            and named.contact_type_code = dead_addresses.contact_type_code
            and named.address = dead_addresses.address
),

whatsapp_customers as (
    select contact_customer_id
    from given_types
    where contact_type_code = 'whatsapp'
),

by_channel as (
    select
        contact_customer_id,
        case contact_type_code when 'postal_address' then 'letter' when 'phone' then 'call' else contact_type_code end
            as channel_code,
        contact_point_id,
        address,
        valid_from_date,
        is_usable and (contact_type_code <> 'whatsapp' or {{ is_mobile_number('address') }}) as is_usable
    from addresses
    union all
    select
        contact_customer_id,
        'sms' as channel_code,
        contact_point_id,
        address,
        valid_from_date,
        is_usable and {{ is_mobile_number('address') }} as is_usable
    from addresses
    where contact_type_code = 'phone'
    union all
    select
        addresses.contact_customer_id,
        'whatsapp' as channel_code,
        addresses.contact_point_id,
        addresses.address,
        addresses.valid_from_date,
        addresses.is_usable
        and dead_addresses.contact_customer_id is null
        and {{ is_mobile_number('addresses.address') }} as is_usable
    from addresses
    left join whatsapp_customers
        on addresses.contact_customer_id = whatsapp_customers.contact_customer_id
    -- A number that is not on WhatsApp may still be called.
    left join dead_addresses
        on
            addresses.contact_customer_id = dead_addresses.contact_customer_id
            and dead_addresses.contact_type_code = 'whatsapp'
            and addresses.address = dead_addresses.address
    where
        addresses.contact_type_code = 'phone'
        and whatsapp_customers.contact_customer_id is null
),

chosen as (
    select
        contact_customer_id,
        channel_code,
        contact_point_id,
        address,
        is_usable,
        row_number() over (
            partition by contact_customer_id, channel_code
            order by is_usable desc, valid_from_date desc nulls last, contact_point_id asc
        ) as place
    from by_channel
),

said as (
    select
        coalesce(contacts.contact_customer_id, consents.customer_id) as contact_customer_id,
        consents.channel_code,
        min(case when not consents.is_opted_in then consents.consent_id end) as opt_out_id,
        max(case when consents.is_opted_in then 1 else 0 end) = 1 as is_opted_in
    from consents
    left join contacts
        on consents.customer_id = contacts.customer_id
    where {{ holds('consents') }}
    group by coalesce(contacts.contact_customer_id, consents.customer_id), consents.channel_code
),

channels as (
    {% for channel in ("email", "sms", "whatsapp", "letter", "call") %}
        select '{{ channel }}' as channel_code
        {{ "union all" if not loop.last }}
    {% endfor %}
),

final as (
    select
        customers.contact_customer_id,
        channels.channel_code,
        case
            when said.opt_out_id is not null then 'opted_out'
            when channels.channel_code = 'whatsapp' and not coalesce(said.is_opted_in, false) then 'opted_out'
            when chosen.contact_customer_id is null then 'no_contact_point'
            when not chosen.is_usable then 'undeliverable'
            else 'reachable'
        end as reach_code,
        said.opt_out_id,
        chosen.contact_point_id,
        chosen.address
    from customers
    cross join channels
    left join said
        on
            customers.contact_customer_id = said.contact_customer_id
            and channels.channel_code = said.channel_code
    left join chosen
        on
            customers.contact_customer_id = chosen.contact_customer_id
            and channels.channel_code = chosen.channel_code
            and chosen.place = 1
)

select * from final
