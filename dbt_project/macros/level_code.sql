{# The name of a level's rank; docs/reference/suspension.md. #}
{% macro level_code(rank) -%}
    case {{ rank }}
        when 3 then 'cancellation_proposed' when 2 then 'suspended' when 1 then 'notice' else 'regular'
    end
{%- endmacro %}
