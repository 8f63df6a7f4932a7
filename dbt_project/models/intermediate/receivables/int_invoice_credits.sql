with credits as (
    select * from {{ ref('stg_credits') }}
),

final as (
    select
        invoice_id,
        currency_code,
        {{ money("sum(amount)") }} as credited_amount,
        {{ money("sum(case when applied_date <= " ~ previous_as_of() ~ " then amount else 0 end)") }}
            as previous_credited_amount,
        count(*) as credit_count,
        max(applied_date) as last_applied_date
    from credits
    where
        invoice_id is not null
        and applied_date <= {{ as_of() }}
    group by invoice_id, currency_code
)

select * from final
