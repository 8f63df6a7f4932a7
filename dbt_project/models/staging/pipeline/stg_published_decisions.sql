with decisions as (
    select * from {{ source('published', 'fct_dunning_decisions') }}
),

final as (
    select
        as_of_date,
        invoice_id,
        customer_id,
        contact_customer_id,
        currency_code,
        cycle_date,
        step_code,
        channel_code,
        phase_code,
        notice_code,
        policy_code,
        version_hash,
        offset_days,
        outcome_code
    from decisions
    where as_of_date < {{ as_of() }}
)

select * from final
