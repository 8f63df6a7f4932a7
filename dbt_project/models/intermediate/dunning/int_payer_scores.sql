with settled as (
    select * from {{ ref('int_settled_totals') }}
),

invoices as (
    select * from {{ ref('fct_invoices') }}
    where open_amount > 0
),

contacts as (
    select
        customer_id,
        contact_customer_id
    from {{ ref('int_contact_customers') }}
),

owed as (
    select
        customer_id,
        currency_code,
        sum({{ hundredths("amount") }}) as billed_hundredths,
        sum({{ hundredths("open_amount") }}) as open_hundredths,
        sum(case when effective_due_date < {{ as_of() }} then {{ hundredths("open_amount") }} else 0 end)
            as past_due_hundredths
    from invoices
    group by customer_id, currency_code
),

parts as (
    select
        customer_id,
        currency_code,
        settled_count,
        on_time_count,
        late_count,
        late_days,
        settled_hundredths,
        late_day_hundredths,
        settled_hundredths as billed_hundredths,
        0 as open_hundredths,
        0 as past_due_hundredths
    from settled
    union all
    select
        customer_id,
        currency_code,
        0 as settled_count,
        0 as on_time_count,
        0 as late_count,
        0 as late_days,
        0 as settled_hundredths,
        0 as late_day_hundredths,
        billed_hundredths,
        open_hundredths,
        past_due_hundredths
    from owed
),

by_currency as (
    select
        coalesce(contacts.contact_customer_id, parts.customer_id) as contact_customer_id,
        parts.currency_code,
        sum(parts.settled_count) as settled_count,
        sum(parts.on_time_count) as on_time_count,
        sum(parts.late_count) as late_count,
        sum(parts.late_days) as late_days,
        sum(parts.settled_hundredths) as settled_hundredths,
        sum(parts.late_day_hundredths) as late_day_hundredths,
        sum(parts.billed_hundredths) as billed_hundredths,
        sum(parts.open_hundredths) as open_hundredths,
        sum(parts.past_due_hundredths) as past_due_hundredths
    from parts
    left join contacts
        on parts.customer_id = contacts.customer_id
    group by coalesce(contacts.contact_customer_id, parts.customer_id), parts.currency_code
),

-- Money is compared within one currency: that in which the customer was billed most.
mains as (
    select
        contact_customer_id,
        currency_code,
        settled_hundredths,
        late_day_hundredths,
        open_hundredths,
        past_due_hundredths,
        row_number() over (
            partition by contact_customer_id
            order by billed_hundredths desc, currency_code asc
        ) as place
    from by_currency
),

counted as (
    select
        contact_customer_id,
        sum(settled_count) as settled_count,
        sum(on_time_count) as on_time_count,
        sum(late_count) as late_count,
        sum(late_days) as late_days
    from by_currency
    group by contact_customer_id
),

rated as (
    select
        counted.contact_customer_id,
        cast(counted.settled_count as bigint) as settled_count,
        cast(counted.on_time_count as bigint) as on_time_count,
        cast(counted.late_count as bigint) as late_count,
        {{ rounded_quotient("counted.on_time_count", "counted.settled_count", 100) }} as on_time_pct,
        {{ rounded_quotient("mains.late_day_hundredths", "mains.settled_hundredths") }} as weighted_days_late,
        {{ rounded_quotient("counted.late_days", "counted.late_count") }} as mean_delay_days,
        coalesce({{ rounded_quotient("mains.past_due_hundredths", "mains.open_hundredths", 100) }}, 0)
            as overdue_share_pct
    from counted
    inner join mains
        on
            counted.contact_customer_id = mains.contact_customer_id
            and mains.place = 1
),

final as (
    select
        *,
        case
            when settled_count >= {{ var('payer_minimum_count') }}
                then {{ rounded_quotient(
                    hundredths("on_time_pct") ~ " * " ~ var("score_on_time_weight")
                    ~ " + (10000 - case when coalesce(weighted_days_late, 0) < 50 then "
                    ~ hundredths("coalesce(weighted_days_late, 0)") ~ " else 5000 end * 2) * "
                    ~ var("score_delay_weight")
                    ~ " + (10000 - " ~ hundredths("overdue_share_pct") ~ ") * "
                    ~ var("score_exposure_weight"), "10000"
                ) }}
        end as score
    from rated
)

select * from final
