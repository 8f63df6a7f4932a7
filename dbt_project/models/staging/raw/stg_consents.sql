with versions as (
    {{ current_version('consents') }}
),

final as (
    select
        consent_id,
        customer_id,
        channel_code,
        is_opted_in,
        valid_from_date,
        valid_to_date,
        author_id,
        reason,
        _source
    from versions
)

select * from final
