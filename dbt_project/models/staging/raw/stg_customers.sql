with versions as (
    {{ current_version('customers') }}
),

normalised as (
    select
        *,
        {{ normalised_document('document') }} as document_characters
    from versions
),

typed as (
    select
        *,
        {{ document_type_code('document_characters') }} as document_type_code
    from normalised
),

final as (
    select
        customer_id,
        name,
        person_type_code,
        document_characters as document,
        document_type_code,
        {{ is_document_valid('document_characters', 'document_type_code') }} as is_document_valid,
        {{ normalised_email('email') }} as email,
        {{ phone_e164('phone') }} as phone_e164,
        state_code,
        segment_code,
        created_date,
        merged_into_customer_id,
        policy_code,
        _source,
        _loaded_at
    from typed
)

select * from final
