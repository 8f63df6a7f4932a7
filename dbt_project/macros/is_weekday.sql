{# True from Monday to Friday. Counted in days from a known Monday, because engines number week days differently. #}
{% macro is_weekday(date) -%}
    ({{ dbt.datediff("cast('1900-01-01' as date)", date, "day") }}) % 7 < 5
{%- endmacro %}
