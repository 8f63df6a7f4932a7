with versions as (
    {{ current_version('contact_points') }}
),

final as (
    select
        contact_point_id,
        customer_id,
        contact_type_code,
        case contact_type_code
            when 'email' then {{ normalised_email('address') }}
            when 'phone' then {{ phone_e164('address') }}
            when 'whatsapp' then {{ phone_e164('address') }}
            else address
        end as address,
        undeliverable_date,
        valid_from_date,
        valid_to_date,
        author_id,
        reason,
        _source
    from versions
)

select * from final
