{{ config(materialized='incremental', incremental_strategy='replace_day', on_schema_change='fail') }}

with outcomes as (
    select * from {{ ref('int_dunning_outcomes') }}
    where is_top
),

message_lines as (
    select * from {{ ref('fct_dunning_message_lines') }}
    where as_of_date = {{ as_of() }}
),

invoices as (
    select * from {{ ref('int_dunning_invoices') }}
),

variants as (
    select * from {{ ref('stg_policy_variants') }}
),

offers as (
    select * from {{ ref('stg_policy_offers') }}
),

channel_costs as (
    select * from {{ ref('channel_costs') }}
),

totals as (
    select
        message_id,
        count(*) as line_count,
        sum(open_amount) as open_amount,
        sum(credit_amount) as credit_amount,
        sum(fine_amount) as fine_amount,
        sum(interest_amount) as interest_amount,
        sum(payable_amount) as payable_amount,
        max(days_past_due) as max_days_past_due
    from message_lines
    group by message_id
),

described as (
    select
        outcomes.*,
        invoices.segment_code,
        totals.line_count,
        totals.open_amount as total_open_amount,
        totals.credit_amount,
        totals.fine_amount,
        totals.interest_amount,
        totals.payable_amount,
        totals.max_days_past_due,
        {{ stable_share(
            "outcomes.contact_customer_id || '|' || outcomes.policy_code || '|' || outcomes.step_code || '|variant'"
        ) }} as variant_share
    from outcomes
    inner join totals
        on outcomes.message_id = totals.message_id
    inner join invoices
        on outcomes.invoice_id = invoices.invoice_id
),

offered as (
    select
        described.*,
        coalesce(own_offers.instalment_count, other_offers.instalment_count) as offer_instalment_count,
        coalesce(own_offers.discount_pct, other_offers.discount_pct) as offer_discount_pct
    from described
    left join offers as own_offers
        on
            described.phase_code = 'renegotiation'
            and described.version_hash = own_offers.version_hash
            and described.segment_code = own_offers.segment_code
    left join offers as other_offers
        on
            described.phase_code = 'renegotiation'
            and described.version_hash = other_offers.version_hash
            and other_offers.segment_code is null
),

final as (
    select
        {{ as_of() }} as as_of_date,
        offered.message_id,
        offered.contact_customer_id,
        offered.channel_code,
        offered.currency_code,
        offered.policy_code,
        offered.version_hash,
        offered.step_code,
        offered.phase_code,
        offered.notice_code,
        variants.variant_code,
        coalesce(variants.template_code, offered.template_code) as template_code,
        offered.contact_point_id,
        offered.opens_minute,
        offered.closes_minute,
        offered.line_count,
        offered.max_days_past_due,
        {{ money("offered.total_open_amount") }} as open_amount,
        {{ money("offered.credit_amount") }} as credit_amount,
        {{ money("offered.fine_amount") }} as fine_amount,
        {{ money("offered.interest_amount") }} as interest_amount,
        {{ money("offered.payable_amount") }} as payable_amount,
        offered.offer_instalment_count,
        offered.offer_discount_pct,
        case
            when offered.offer_discount_pct is not null
                then {{ money(
                    "offered.payable_amount - " ~ percentage_of("offered.payable_amount", "offered.offer_discount_pct")
                ) }}
        end as offer_amount,
        channel_costs.unit_cost_amount as cost_amount
    from offered
    left join variants
        on
            offered.version_hash = variants.version_hash
            and offered.step_code = variants.step_code
            and offered.variant_share >= variants.from_pct
            and offered.variant_share < variants.to_pct
    left join channel_costs
        on offered.channel_code = channel_costs.channel_code
)

select * from final
