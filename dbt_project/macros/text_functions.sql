{# Regular expressions, the one thing every engine spells its own way. #}

{% macro keep_characters(expression, class) %}
    {{- return(adapter.dispatch('keep_characters')(expression, class)) -}}
{% endmacro %}

{% macro default__keep_characters(expression, class) -%}
    regexp_replace({{ expression }}, '[^{{ class }}]', '')
{%- endmacro %}

{# DuckDB replaces only the first match unless told otherwise. #}
{% macro duckdb__keep_characters(expression, class) -%}
    regexp_replace({{ expression }}, '[^{{ class }}]', '', 'g')
{%- endmacro %}

{% macro matches_whole(expression, pattern) %}
    {{- return(adapter.dispatch('matches_whole')(expression, pattern)) -}}
{% endmacro %}

{% macro default__matches_whole(expression, pattern) -%}
    {{ expression }} rlike '^(?:{{ pattern }})$'
{%- endmacro %}

{% macro duckdb__matches_whole(expression, pattern) -%}
    regexp_full_match({{ expression }}, '{{ pattern }}')
{%- endmacro %}
