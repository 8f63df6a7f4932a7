{{ config(materialized='view') }}

with invoices as (
    select * from {{ ref('int_dunning_invoices') }}
),

steps as (
    select
        *,
        -- Higher is later on the ladder; a step that is gone stands below all steps of its old day.
        offset_days * 1000 + position as step_order
    from {{ ref('stg_policy_steps') }}
),

step_segments as (
    select * from {{ ref('stg_policy_step_segments') }}
),

step_person_types as (
    select * from {{ ref('stg_policy_step_person_types') }}
),

step_payment_methods as (
    select * from {{ ref('stg_policy_step_payment_methods') }}
),

used_steps as (
    select * from {{ ref('int_used_steps') }}
),

reach as (
    select * from {{ ref('int_customer_reach') }}
),

-- A code is used whatever channel it went through.
used_codes as (
    select
        invoice_id,
        step_code,
        min(used_date) as used_date,
        max(case when is_sent then 1 else 0 end) = 1 as is_sent
    from used_steps
    group by invoice_id, step_code
),

heights as (
    select
        used_steps.invoice_id,
        used_steps.channel_code,
        max(coalesce(steps.step_order, used_steps.offset_days * 1000)) as used_order
    from used_steps
    inner join invoices
        on used_steps.invoice_id = invoices.invoice_id
    left join steps
        on
            invoices.version_hash = steps.version_hash
            and used_steps.step_code = steps.step_code
    group by used_steps.invoice_id, used_steps.channel_code
),

bounced as (
    select distinct
        used_steps.invoice_id,
        used_steps.channel_code,
        coalesce(steps.offset_days, used_steps.offset_days) as offset_days
    from used_steps
    inner join invoices
        on used_steps.invoice_id = invoices.invoice_id
    left join steps
        on
            invoices.version_hash = steps.version_hash
            and used_steps.step_code = steps.step_code
    where used_steps.is_bounced
),

placed as (
    select
        invoices.invoice_id,
        invoices.contact_customer_id,
        invoices.ladder_days,
        steps.version_hash,
        steps.step_code,
        steps.step_order,
        steps.offset_days,
        steps.channel_code,
        steps.fallback_for_channel_code,
        -- Only a step on the due date or before it can be missed.
        steps.offset_days <= 0 and (invoices.days_since_due > 0 or invoices.is_reopened) as is_missed,
        steps.offset_days <= invoices.ladder_days and (steps.offset_days <= 0 or invoices.is_past_due) as is_reached,
        case
            when invoices.open_amount < steps.minimum_amount then 'minimum_amount'
            when invoices.open_amount > steps.maximum_amount then 'maximum_amount'
            when invoices.late_count < steps.minimum_late_count then 'minimum_late_count'
            when invoices.late_count > steps.maximum_late_count then 'maximum_late_count'
            when steps.minimum_score is not null and not coalesce(invoices.score >= steps.minimum_score, false)
                then 'minimum_score'
            when steps.maximum_score is not null and not coalesce(invoices.score <= steps.maximum_score, false)
                then 'maximum_score'
            when invoices.open_invoice_count < steps.minimum_open_invoices then 'minimum_open_invoices'
            when invoices.open_invoice_count > steps.maximum_open_invoices then 'maximum_open_invoices'
            when
                steps.has_suspension_clause is not null
                and not coalesce(invoices.has_suspension_clause = steps.has_suspension_clause, false)
                then 'has_suspension_clause'
            when steps.is_limited_to_segments and step_segments.step_code is null then 'segments'
            when steps.is_limited_to_person_types and step_person_types.step_code is null then 'person_types'
            when steps.is_limited_to_payment_methods and step_payment_methods.step_code is null
                then 'payment_methods'
        end as unmet_condition_code
    from invoices
    inner join steps
        on invoices.version_hash = steps.version_hash
    left join step_segments
        on
            steps.version_hash = step_segments.version_hash
            and steps.step_code = step_segments.step_code
            and invoices.segment_code = step_segments.segment_code
    left join step_person_types
        on
            steps.version_hash = step_person_types.version_hash
            and steps.step_code = step_person_types.step_code
            and invoices.person_type_code = step_person_types.person_type_code
    left join step_payment_methods
        on
            steps.version_hash = step_payment_methods.version_hash
            and steps.step_code = step_payment_methods.step_code
            and invoices.payment_method_code = step_payment_methods.payment_method_code
),

final as (
    select
        placed.*,
        used_codes.used_date,
        case
            when used_codes.is_sent then 'sent'
            when used_codes.invoice_id is not null then 'held_out'
            when placed.is_missed then 'missed'
            when not placed.is_reached then 'not_reached'
            when placed.step_order <= heights.used_order then 'overtaken'
            when placed.unmet_condition_code is not null then 'condition_unmet'
            when
                placed.fallback_for_channel_code is not null
                and coalesce(reach.reach_code, '') = 'reachable'
                and bounced.invoice_id is null
                then 'fallback_not_needed'
            else 'due'
        end as ladder_state_code
    from placed
    left join used_codes
        on
            placed.invoice_id = used_codes.invoice_id
            and placed.step_code = used_codes.step_code
    left join heights
        on
            placed.invoice_id = heights.invoice_id
            and placed.channel_code = heights.channel_code
    left join reach
        on
            placed.contact_customer_id = reach.contact_customer_id
            and placed.fallback_for_channel_code = reach.channel_code
    left join bounced
        on
            placed.invoice_id = bounced.invoice_id
            and placed.fallback_for_channel_code = bounced.channel_code
            and placed.offset_days = bounced.offset_days
)

select * from final
