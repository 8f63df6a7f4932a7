{{ config(materialized='incremental', incremental_strategy='replace_day', on_schema_change='fail') }}

with balances as (
    select * from {{ ref('int_invoice_balances') }}
),

-- Yesterday as it was published, whatever is known today: other rows of this table than the ones built tonight.
published as (
    select
        currency_code,
        sum(open_amount) as opening_amount
    from {{ published_history(ref('fct_invoice_aging')) }}
    where as_of_date = {{ previous_as_of() }}
    group by currency_code
),

-- Both days under today's knowledge; only an invoice that was or is receivable moves anything.
moved as (
    select
        currency_code,
        sum(previous_open_amount) as reopened_amount,
        sum(case when not was_receivable then amount else 0 end) as issued_amount,
        sum(received_amount - previous_received_amount) as paid_amount,
        sum(reversed_amount - previous_reversed_amount) as reversed_amount,
        sum(credited_amount - previous_credited_amount) as credited_amount,
        sum(excess_amount - previous_excess_amount) as excess_amount,
        sum(case when is_cancelled then unpaid_amount else 0 end) as cancelled_amount,
        sum(case when is_written_off and not is_cancelled then unpaid_amount else 0 end) as written_off_amount,
        sum(open_amount) as closing_amount
    from balances
    where was_receivable or is_receivable
    group by currency_code
),

currencies as (
    select currency_code from balances
    union
    select currency_code from published
),

totals as (
    select
        currencies.currency_code,
        coalesce(published.opening_amount, 0) as opening_amount,
        {% if var('previous_as_of') %}
            0 as initial_amount,
            coalesce(moved.reopened_amount, 0) - coalesce(published.opening_amount, 0) as restated_amount,
            coalesce(moved.issued_amount, 0) as issued_amount,
            -coalesce(moved.paid_amount, 0) as paid_amount,
            coalesce(moved.reversed_amount, 0) as reversed_amount,
            -coalesce(moved.credited_amount, 0) as credited_amount,
            coalesce(moved.excess_amount, 0) as excess_amount,
            -coalesce(moved.cancelled_amount, 0) as cancelled_amount,
            -coalesce(moved.written_off_amount, 0) as written_off_amount,
        {% else %}
            coalesce(moved.closing_amount, 0) as initial_amount,
            0 as restated_amount,
            0 as issued_amount,
            0 as paid_amount,
            0 as reversed_amount,
            0 as credited_amount,
            0 as excess_amount,
            0 as cancelled_amount,
            0 as written_off_amount,
        {% endif %}
        coalesce(moved.closing_amount, 0) as closing_amount
    from currencies
    left join published
        on currencies.currency_code = published.currency_code
    left join moved
        on currencies.currency_code = moved.currency_code
),

final as (
    {% for movement in movement_codes() %}
        select
            {{ as_of() }} as as_of_date,
            {{ previous_as_of() }} as previous_as_of_date,
            currency_code,
            '{{ movement }}' as movement_code,
            {{ loop.index }} as sort_order,
            {{ money(movement ~ "_amount") }} as amount
        from totals
        {{ "union all" if not loop.last }}
    {% endfor %}
)

select * from final
