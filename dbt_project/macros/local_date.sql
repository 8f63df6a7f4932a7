{# The day in São Paulo of an instant in UTC. #}
{% macro local_date(instant) %}
    {{- return(adapter.dispatch('local_date')(instant)) -}}
{% endmacro %}

{% macro default__local_date(instant) -%}
    cast(from_utc_timestamp({{ instant }}, 'America/Sao_Paulo') as date)
{%- endmacro %}

{% macro duckdb__local_date(instant) -%}
    cast(({{ instant }} at time zone 'UTC') at time zone 'America/Sao_Paulo' as date)
{%- endmacro %}
