with compiled as (
    select * from {{ source('policy', 'versions') }}
),

final as (
    select
        version_hash,
        policy_code,
        effective_from,
        effective_to,
        tolerance_amount,
        fine_pct,
        monthly_interest_pct,
        consumer_fine_cap_pct,
        banner_after_days,
        suspend_after_days,
        suspension_grace_business_days,
        suspension_notice_age_days,
        cancel_after_days,
        bureau_after_days,
        notice_age_days,
        boleto_business_days,
        pix_automatico_days,
        prescription_years,
        feed_max_age_days
    from compiled
)

select * from final
