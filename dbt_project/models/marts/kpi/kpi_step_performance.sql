with contacts as (
    select * from {{ ref('fct_contacts') }}
),

final as (
    select
        {{ as_of() }} as as_of_date,
        cast({{ dbt.date_trunc("month", "planned_date") }} as date) as month_date,
        currency_code,
        segment_code,
        policy_code,
        step_code,
        channel_code,
        count(*) as planned_count,
        count(case when fate_code in ('sent', 'delivered', 'bounced') then 1 end) as accepted_count,
        count(case when fate_code = 'delivered' then 1 end) as delivered_count,
        count(case when fate_code = 'bounced' then 1 end) as bounced_count,
        count(case when fate_code = 'not_sent' then 1 end) as not_sent_count,
        count(case when fate_code = 'unknown' then 1 end) as unknown_count,
        cast(sum(credited_count) as bigint) as credited_count,
        {{ money("sum(credited_amount)") }} as credited_amount,
        {{ money("sum(first_touch_amount)") }} as first_touch_amount
    from contacts
    group by
        {{ dbt.date_trunc("month", "planned_date") }},
        currency_code,
        segment_code,
        policy_code,
        step_code,
        channel_code
)

select * from final
