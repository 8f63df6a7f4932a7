{# A history table as it was published: a replay builds in a scratch file, and its yesterday lies in the warehouse. #}
{% macro published_history(relation) %}
    {%- if target.name == "replay" -%}
        {{ relation.incorporate(path={"database": "warehouse"}) }}
    {%- else -%}
        {{ relation }}
    {%- endif -%}
{% endmacro %}
