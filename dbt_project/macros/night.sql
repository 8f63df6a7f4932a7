{# What a night is a function of, as SQL literals. Nothing in this project reads a clock. A simulation compiles once and
   runs many nights: it sets them as variables of its connection. #}

{% macro as_of() -%}
    {%- if target.name == "simulation" -%}
        getvariable('as_of')
    {%- else -%}
        cast('{{ var("as_of") }}' as date)
    {%- endif -%}
{%- endmacro %}

{% macro known_at() -%}
    {%- if target.name == "simulation" -%}
        getvariable('known_at')
    {%- else -%}
        cast('{{ var("known_at") }}' as timestamp)
    {%- endif -%}
{%- endmacro %}

{# Null on the first night: comparisons with it are never true. #}
{% macro previous_as_of() -%}
    {%- if var("previous_as_of") -%}
        cast('{{ var("previous_as_of") }}' as date)
    {%- else -%}
        cast(null as date)
    {%- endif -%}
{%- endmacro %}

{% macro previous_known_at() -%}
    {%- if var("previous_known_at") -%}
        cast('{{ var("previous_known_at") }}' as timestamp)
    {%- else -%}
        cast(null as timestamp)
    {%- endif -%}
{%- endmacro %}

{% macro money(expression) -%}
    cast({{ expression }} as decimal(18, 2))
{%- endmacro %}

{# An open amount up to this is not worth a reminder: it stays in the receivables but is never overdue. #}
{% macro tolerance_amount() -%}
    {{ money(var("tolerance_amount")) }}
{%- endmacro %}

{# Whether a dated fact holds on as_of: from valid_from_date to valid_to_date, both included. #}
{% macro holds(fact) -%}
    {{ fact }}.valid_from_date <= {{ as_of() }}
    and ({{ fact }}.valid_to_date is null or {{ fact }}.valid_to_date >= {{ as_of() }})
{%- endmacro %}

{# Whether a promise counts on as_of: made by then, and not taken back. One whose day is over still tells when to look for
   the payment. #}
{% macro promise_counts(promise) -%}
    {{ promise }}.valid_from_date <= {{ as_of() }}
    and (
        {{ promise }}.valid_to_date is null
        or {{ promise }}.valid_to_date >= {{ promise }}.promised_date
        or {{ promise }}.valid_to_date >= {{ as_of() }}
    )
{%- endmacro %}
