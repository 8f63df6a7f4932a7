{# Each rule in the order in which docs/reference/ladder.md applies it, and what it looked at. #}
{% set rules = [
    ("quarantined", {"id": "doubt_code"}),
    ("paid", {"amount": "credit_amount"}),
    ("prescribed", {"date": "prescription_date"}),
    ("disputed", {"id": "dispute_id"}),
    ("under_agreement", {"id": "agreement_id"}),
    ("exempt", {"id": "exemption_id"}),
    ("paused", {"id": "pause_id", "date": "paused_until_date"}),
    ("promise_open", {"id": "promise_id", "date": "promised_until_date"}),
    ("below_tolerance", {"amount": "tolerance_amount"}),
    ("in_clearing", {"id": "payment_method_code", "date": "clearing_from_date"}),
    ("stale_feed", {"date": "last_heard_date"}),
    ("holdout", {"amount": "holdout_pct"}),
    ("opted_out", {"id": "opt_out_id"}),
    ("no_contact_point", {}),
    ("undeliverable", {"id": "contact_point_id"}),
    ("outside_window", {"id": "day_type_code"}),
    ("over_limit", {"date": "last_contact_date", "count": "week_contact_count"}),
    ("eligible", {"id": "message_id"}),
] %}

with outcomes as (
    select * from {{ ref('int_dunning_outcomes') }}
    where is_judged
),

candidates as (
    select * from {{ ref('int_dunning_candidates') }}
),

invoices as (
    select * from {{ ref('int_dunning_invoices') }}
),

rules as (
    {% for code, _ in rules %}
        select
            '{{ code }}' as rule_code,
            {{ loop.index }} as rule_order
        {{ "union all" if not loop.last }}
    {% endfor %}
),

judged as (
    select
        outcomes.invoice_id,
        outcomes.step_code,
        outcomes.contact_customer_id,
        outcomes.channel_code,
        outcomes.outcome_code,
        outcomes.message_id,
        outcomes.last_contact_date,
        outcomes.week_contact_count,
        rules.rule_order as outcome_order,
        candidates.holdout_pct,
        candidates.opt_out_id,
        candidates.contact_point_id,
        candidates.day_type_code,
        case
            when not invoices.is_customer_trusted then 'customer'
            when invoices.is_policy_unknown then 'policy'
            when invoices.has_rejected_row then 'row'
        end as doubt_code,
        invoices.credit_amount,
        invoices.prescription_date,
        invoices.dispute_id,
        invoices.agreement_id,
        invoices.exemption_id,
        invoices.pause_id,
        invoices.paused_until_date,
        invoices.promise_id,
        invoices.promised_until_date,
        invoices.tolerance_amount,
        invoices.payment_method_code,
        invoices.clearing_from_date,
        invoices.last_heard_date
    from outcomes
    inner join rules
        on outcomes.outcome_code = rules.rule_code
    left join candidates
        on
            outcomes.invoice_id = candidates.invoice_id
            and outcomes.step_code = candidates.step_code
    left join invoices
        on outcomes.invoice_id = invoices.invoice_id
),

final as (
    {% for code, evidence in rules %}
        select
            {{ as_of() }} as as_of_date,
            invoice_id,
            step_code,
            contact_customer_id,
            channel_code,
            {{ loop.index }} as rule_order,
            '{{ code }}' as rule_code,
            outcome_code = '{{ code }}' as is_decisive,
            cast({{ evidence.get("id", "null") }} as varchar) as evidence_id,
            cast({{ evidence.get("date", "null") }} as date) as evidence_date,
            cast({{ evidence.get("amount", "null") }} as decimal(18, 2)) as evidence_amount,
            cast({{ evidence.get("count", "null") }} as bigint) as evidence_count
        from judged
        where outcome_order >= {{ loop.index }}
        {{ "union all" if not loop.last }}
    {% endfor %}
)

select * from final
