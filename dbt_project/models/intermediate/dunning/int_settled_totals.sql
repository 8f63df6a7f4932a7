with invoices as (
    select * from {{ ref('fct_invoices') }}
    where settled_date is not null
),

-- Sums only, so that those of a few invoices can be added to those of the others.
final as (
    select
        customer_id,
        currency_code,
        count(*) as settled_count,
        count(case when days_late = 0 then 1 end) as on_time_count,
        count(case when days_late > 0 then 1 end) as late_count,
        sum(days_late) as late_days,
        sum({{ hundredths("amount") }}) as settled_hundredths,
        sum(days_late * {{ hundredths("amount") }}) as late_day_hundredths
    from invoices
    group by customer_id, currency_code
)

select * from final
