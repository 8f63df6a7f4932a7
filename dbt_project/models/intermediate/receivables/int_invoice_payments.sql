with payments as (
    select * from {{ ref('stg_payments') }}
),

effects as (
    select
        invoice_id,
        currency_code,
        amount,
        payment_date,
        -- Undone no later than it took effect, a payment never counted and neither did its reversal.
        reversed_date
    from payments
    where
        payment_date <= {{ as_of() }}
        and (reversed_date is null or reversed_date > payment_date)
),

final as (
    select
        invoice_id,
        currency_code,
        {{ money("sum(amount)") }} as received_amount,
        {{ money("sum(case when reversed_date <= " ~ as_of() ~ " then amount else 0 end)") }} as reversed_amount,
        {{ money("sum(case when payment_date <= " ~ previous_as_of() ~ " then amount else 0 end)") }}
            as previous_received_amount,
        {{ money("sum(case when reversed_date <= " ~ previous_as_of() ~ " then amount else 0 end)") }}
            as previous_reversed_amount,
        count(case when reversed_date is null or reversed_date > {{ as_of() }} then 1 end) as standing_count,
        max(case when reversed_date is null or reversed_date > {{ as_of() }} then payment_date end)
            as last_standing_date
    from effects
    group by invoice_id, currency_code
)

select * from final
