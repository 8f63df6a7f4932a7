with compiled as (
    select * from {{ source('policy', 'steps') }}
),

final as (
    select
        version_hash,
        step_code,
        position,
        offset_days,
        channel_code,
        phase_code,
        template_code,
        notice_code,
        fallback_for_channel_code,
        messages_per_channel_and_day,
        contacts_per_week,
        days_between_contacts,
        holdout_pct,
        minimum_amount,
        maximum_amount,
        minimum_late_count,
        maximum_late_count,
        minimum_score,
        maximum_score,
        minimum_open_invoices,
        maximum_open_invoices,
        has_suspension_clause,
        is_limited_to_segments,
        is_limited_to_person_types,
        is_limited_to_payment_methods
    from compiled
)

select * from final
