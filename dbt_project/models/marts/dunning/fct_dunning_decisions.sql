{{ config(materialized='incremental', incremental_strategy='replace_day', on_schema_change='fail') }}

with outcomes as (
    select * from {{ ref('int_dunning_outcomes') }}
),

final as (
    select
        {{ as_of() }} as as_of_date,
        invoice_id,
        step_code,
        customer_id,
        contact_customer_id,
        currency_code,
        cycle_date,
        open_amount,
        policy_code,
        version_hash,
        cast(offset_days as integer) as offset_days,
        channel_code,
        phase_code,
        notice_code,
        is_judged,
        outcome_code,
        step_key,
        message_id
    from outcomes
)

select * from final
