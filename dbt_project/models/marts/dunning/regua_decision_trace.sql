{# Each rule in the order in which docs/reference/ladder.md applies it, and the fact it looked at. #}
{% set rules = [
    ("quarantined", {"evidence_id": "case when not invoices.is_customer_trusted then 'customer'"
        " when invoices.is_policy_unknown then 'policy' when invoices.has_rejected_row then 'row' end"}),
    ("paid", {"evidence_amount": "invoices.credit_amount"}),
    ("prescribed", {"evidence_date": "invoices.prescription_date"}),
    ("disputed", {"evidence_id": "invoices.dispute_id"}),
    ("under_agreement", {"evidence_id": "invoices.agreement_id"}),
    ("exempt", {"evidence_id": "invoices.exemption_id"}),
    ("paused", {"evidence_id": "invoices.pause_id", "evidence_date": "invoices.paused_until_date"}),
    ("promise_open", {"evidence_id": "invoices.promise_id", "evidence_date": "invoices.promised_until_date"}),
    ("below_tolerance", {"evidence_amount": "invoices.tolerance_amount"}),
    ("in_clearing", {"evidence_id": "invoices.payment_method_code", "evidence_date": "invoices.clearing_from_date"}),
    ("stale_feed", {"evidence_date": "invoices.last_heard_date"}),
    ("holdout", {"evidence_amount": "candidates.holdout_pct"}),
    ("opted_out", {"evidence_id": "candidates.opt_out_id"}),
    ("no_contact_point", {}),
    ("undeliverable", {"evidence_id": "candidates.contact_point_id"}),
    ("outside_window", {"evidence_id": "candidates.day_type_code"}),
    ("over_limit", {"evidence_date": "judged.last_contact_date", "evidence_count": "judged.week_contact_count"}),
    ("eligible", {"evidence_id": "judged.message_id"}),
] %}
{% set evidence_types = {
    "evidence_id": "varchar",
    "evidence_date": "date",
    "evidence_amount": "decimal(18, 2)",
    "evidence_count": "bigint",
} %}

with judged as (
    select
        *,
        case outcome_code
            {% for code, _ in rules %}
            when '{{ code }}' then {{ loop.index }}
            {% endfor %}
        end as outcome_order
    from {{ ref('int_dunning_outcomes') }}
    where is_judged
),

candidates as (
    select * from {{ ref('int_dunning_candidates') }}
),

invoices as (
    select * from {{ ref('int_dunning_invoices') }}
),

final as (
    {% for code, evidence in rules %}
        select
            {{ as_of() }} as as_of_date,
            judged.invoice_id,
            judged.step_code,
            judged.contact_customer_id,
            judged.channel_code,
            {{ loop.index }} as rule_order,
            '{{ code }}' as rule_code,
            judged.outcome_code = '{{ code }}' as is_decisive
            {%- for column, sql_type in evidence_types.items() %},
            cast({{ evidence.get(column, "null") }} as {{ sql_type }}) as {{ column }}
            {%- endfor %}
        from judged
        left join candidates
            on
                judged.invoice_id = candidates.invoice_id
                and judged.step_code = candidates.step_code
        left join invoices
            on judged.invoice_id = invoices.invoice_id
        where judged.outcome_order >= {{ loop.index }}
        {{ "union all" if not loop.last }}
    {% endfor %}
)

select * from final
