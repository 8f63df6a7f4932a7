{# What a night is a function of, as SQL literals. Nothing in this project reads a clock. #}

{% macro as_of() -%}
    cast('{{ var("as_of") }}' as date)
{%- endmacro %}

{% macro known_at() -%}
    cast('{{ var("known_at") }}' as timestamp)
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
