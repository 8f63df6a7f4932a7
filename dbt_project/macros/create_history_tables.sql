{# Before anything is built: the marts that a later night reads through source('published', …) exist, empty, with the
   columns of their contracts. A replay reads those of the warehouse and makes none. #}
{% macro create_history_tables() %}
    {% if execute and target.name != "replay" and flags.WHICH in ("build", "run") %}
        {% for source in graph.sources.values() | selectattr("source_name", "equalto", "published") %}
            {% if adapter.get_relation(source.database, source.schema, source.identifier) is none %}
                {% set mart = graph.nodes["model.regua." ~ source.identifier] %}
                {% set columns = [] %}
                {% for column in mart.columns.values() %}
                    {% set is_required = column.constraints | selectattr("type", "equalto", "not_null") | list %}
                    {% do columns.append(column.name ~ " " ~ column.data_type ~ (" not null" if is_required else "")) %}
                {% endfor %}
                {% do adapter.create_schema(api.Relation.create(database=source.database, schema=source.schema)) %}
                {% do run_query("create table " ~ source.database ~ "." ~ source.schema ~ "." ~ source.identifier
                    ~ " (" ~ columns | join(", ") ~ ")") %}
                {# dbt has listed the relations before this ran, and would create the mart once more. #}
                {% do adapter.cache_added(api.Relation.create(
                    database=source.database, schema=source.schema, identifier=source.identifier, type="table"
                )) %}
            {% endif %}
        {% endfor %}
    {% endif %}
{% endmacro %}
