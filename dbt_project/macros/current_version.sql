{# The rows of a raw entity that were current at known_at: loaded by then, and not superseded by then.
   Superseded versions are few, so this streams the entity past a small hash table and needs no window over its history.
   Written as a join because DuckDB turns `not exists` on two columns into a pass over the entity's distinct keys first,
   which took longer than the rest of the model. #}
{% macro current_version(entity) %}
    select versions.*
    from {{ source('raw', entity) }} as versions
    left join (
        select
            _batch_id,
            _line
        from {{ source('raw', 'superseded') }}
        where
            entity = '{{ entity }}'
            and _superseded_at <= {{ known_at() }}
    ) as superseded
        on
            versions._batch_id = superseded._batch_id
            and versions._line = superseded._line
    where
        versions._loaded_at <= {{ known_at() }}
        and superseded._line is null
{% endmacro %}
