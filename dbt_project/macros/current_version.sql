{# The rows of a raw entity that were current at known_at: loaded by then, and not superseded by then.
   Superseded versions are few, so the anti-join streams the entity once and needs no window over its history. #}
{% macro current_version(entity) %}
    select versions.*
    from {{ source('raw', entity) }} as versions
    where
        versions._loaded_at <= {{ known_at() }}
        and not exists (
            select 1
            from {{ source('raw', 'superseded') }} as superseded
            where
                superseded.entity = '{{ entity }}'
                and superseded._superseded_at <= {{ known_at() }}
                and superseded._batch_id = versions._batch_id
                and superseded._line = versions._line
        )
{% endmacro %}
