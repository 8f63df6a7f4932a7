{# Incremental strategy `replace_day`: the built day's rows take the place of the stored ones. dbt's delete+insert
   deletes the days found in the new rows, so a day that became empty would keep its old rows. #}
{% macro get_incremental_replace_day_sql(arguments) %}
    {% set columns = get_quoted_csv(arguments["dest_columns"] | map(attribute="name")) %}

    delete from {{ arguments["target_relation"] }} where as_of_date = {{ as_of() }};

    insert into {{ arguments["target_relation"] }} ({{ columns }})
    select {{ columns }} from {{ arguments["temp_relation"] }}
{% endmacro %}
