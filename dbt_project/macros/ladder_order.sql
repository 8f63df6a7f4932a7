{# Phases of a policy, in the order in which they rise. #}
{% macro phase_rank(phase_code) -%}
    case {{ phase_code }}
        {% for phase in ("preventive", "friendly", "intensified", "renegotiation", "severe") %}
        when '{{ phase }}' then {{ loop.index }}
        {% endfor %}
    end
{%- endmacro %}

{# Of candidates, the one that gives a message its step comes first. Policies may differ from invoice to invoice. #}
{% macro highest_step_first(candidate) -%}
    {{ phase_rank(candidate ~ ".phase_code") }} desc,
    {{ candidate }}.offset_days desc,
    {{ candidate }}.position desc,
    {{ candidate }}.due_date,
    {{ candidate }}.invoice_id
{%- endmacro %}
