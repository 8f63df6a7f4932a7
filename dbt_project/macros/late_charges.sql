{# What an invoice that is past due costs beside its principal, by its policy version; before waivers. The fine is asked for
   once, capped for persons (CDC art. 52 §1); interest runs by days of a month of thirty. #}

{% macro late_fine(invoices, versions) -%}
    case
        when not {{ invoices }}.is_past_due then 0
        else {{ percentage_of(
            invoices ~ ".open_amount",
            "case when coalesce(" ~ invoices ~ ".person_type_code, 'individual') = 'individual'"
            ~ " and " ~ versions ~ ".fine_pct > " ~ versions ~ ".consumer_fine_cap_pct"
            ~ " then " ~ versions ~ ".consumer_fine_cap_pct else " ~ versions ~ ".fine_pct end"
        ) }}
    end
{%- endmacro %}

{% macro late_interest(invoices, versions) -%}
    case
        when not {{ invoices }}.is_past_due then 0
        else {{ percentage_of(
            invoices ~ ".open_amount", versions ~ ".monthly_interest_pct", invoices ~ ".days_since_due", 30
        ) }}
    end
{%- endmacro %}
