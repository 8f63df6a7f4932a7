{# Phases of a policy, in the order in which they rise. #}
{% macro phase_rank(phase_code) -%}
    case {{ phase_code }}
        {% for phase in ("preventive", "friendly", "intensified", "renegotiation", "severe") %}
        when '{{ phase }}' then {{ loop.index }}
        {% endfor %}
    end
{%- endmacro %}

{# Of candidates, the one that gives a message its step comes first. Policies may differ from invoice to invoice. #}
{% macro highest_step_first() -%}
    {{ phase_rank("phase_code") }} desc,
    offset_days desc,
    position desc,
    due_date asc,
    invoice_id asc
{%- endmacro %}
