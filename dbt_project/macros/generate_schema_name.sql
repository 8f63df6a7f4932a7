{# Schemas are called what the models say, without dbt's target prefix: every reader knows `marts` by that name. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ target.schema if custom_schema_name is none else custom_schema_name | trim }}
{%- endmacro %}
