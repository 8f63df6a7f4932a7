-- Failing means that something right yesterday changed with nothing new to change it: the invoice returned was open by
-- another amount on the day before than was published then, and no version of it, nor of a payment or credit of it,
-- came or went between what was known then and what is known now. Look for a change of rules before one of data.
{% set earlier = "least(" ~ previous_known_at() ~ ", " ~ known_at() ~ ")" %}
{% set later = "greatest(" ~ previous_known_at() ~ ", " ~ known_at() ~ ")" %}

with published as (
    select
        invoice_id,
        open_amount
    from {{ published_history(ref('fct_invoice_aging')) }}
    where as_of_date = {{ previous_as_of() }}
),

recomputed as (
    select
        invoice_id,
        previous_open_amount as open_amount
    from {{ ref('int_invoice_balances') }}
    where previous_open_amount > 0
),

restated as (
    select
        coalesce(published.invoice_id, recomputed.invoice_id) as invoice_id,
        published.open_amount as published_amount,
        recomputed.open_amount as recomputed_amount
    from published
    full outer join recomputed
        on published.invoice_id = recomputed.invoice_id
    where coalesce(published.open_amount, 0) <> coalesce(recomputed.open_amount, 0)
),

new_facts as (
    {% for entity in ["invoices", "payments", "credits"] %}
        select invoice_id
        from {{ source('raw', entity) }}
        where
            _loaded_at > {{ earlier }}
            and _loaded_at <= {{ later }}
        union all
        select versions.invoice_id
        from {{ source('raw', entity) }} as versions
        inner join {{ source('raw', 'superseded') }} as superseded
            on
                versions._batch_id = superseded._batch_id
                and versions._line = superseded._line
                and superseded.entity = '{{ entity }}'
        where
            superseded._superseded_at > {{ earlier }}
            and superseded._superseded_at <= {{ later }}
        {{ "union all" if not loop.last }}
    {% endfor %}
)

select restated.*
from restated
left join new_facts
    on restated.invoice_id = new_facts.invoice_id
where
    {{ previous_as_of() }} is not null
    and new_facts.invoice_id is null
