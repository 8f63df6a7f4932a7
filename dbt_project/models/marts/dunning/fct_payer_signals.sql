with scores as (
    select * from {{ ref('int_payer_scores') }}
),

invoices as (
    select * from {{ ref('fct_invoices') }}
),

contacts as (
    select
        customer_id,
        contact_customer_id
    from {{ ref('int_contact_customers') }}
),

disputes as (
    select * from {{ ref('stg_disputes') }}
    where
        valid_from_date <= {{ as_of() }}
        and valid_from_date > {{ dbt.dateadd("day", -365, as_of()) }}
),

delays as (
    select
        coalesce(contacts.contact_customer_id, invoices.customer_id) as contact_customer_id,
        invoices.invoice_id,
        invoices.settled_date,
        invoices.days_late,
        case
            when invoices.open_amount > 0 and invoices.effective_due_date < {{ as_of() }}
                then {{ dbt.datediff("invoices.due_date", as_of(), "day") }}
        end as open_delay_days
    from invoices
    left join contacts
        on invoices.customer_id = contacts.customer_id
),

recency as (
    select
        contact_customer_id,
        days_late,
        row_number() over (
            partition by contact_customer_id
            order by settled_date desc, invoice_id asc
        ) <= {{ var('payer_recent_count') }} as is_recent
    from delays
    where settled_date is not null
),

trends as (
    select
        contact_customer_id,
        {{ rounded_quotient(
            "sum(case when is_recent then days_late end)", "count(case when is_recent then 1 end)"
        ) }} as recent_days_late,
        {{ rounded_quotient(
            "sum(case when not is_recent then days_late end)", "count(case when not is_recent then 1 end)"
        ) }} as earlier_days_late
    from recency
    group by contact_customer_id
),

longest as (
    select
        contact_customer_id,
        max(coalesce(days_late, open_delay_days)) as longest_delay_days,
        max(open_delay_days) as oldest_past_due_days
    from delays
    group by contact_customer_id
),

disputed as (
    select
        delays.contact_customer_id,
        count(*) as dispute_count
    from disputes
    inner join delays
        on disputes.invoice_id = delays.invoice_id
    group by delays.contact_customer_id
),

described as (
    select
        scores.*,
        longest.longest_delay_days,
        longest.oldest_past_due_days,
        trends.recent_days_late,
        trends.earlier_days_late,
        trends.recent_days_late - trends.earlier_days_late as trend_days,
        coalesce(disputed.dispute_count, 0) as dispute_count
    from scores
    left join longest
        on scores.contact_customer_id = longest.contact_customer_id
    left join trends
        on scores.contact_customer_id = trends.contact_customer_id
    left join disputed
        on scores.contact_customer_id = disputed.contact_customer_id
),

final as (
    select
        {{ as_of() }} as as_of_date,
        contact_customer_id,
        settled_count,
        on_time_count,
        late_count,
        cast(on_time_pct as decimal(5, 2)) as on_time_pct,
        {{ money("weighted_days_late") }} as weighted_days_late,
        {{ money("mean_delay_days") }} as mean_delay_days,
        cast(longest_delay_days as integer) as longest_delay_days,
        {{ money("recent_days_late") }} as recent_days_late,
        {{ money("earlier_days_late") }} as earlier_days_late,
        {{ money("trend_days") }} as trend_days,
        cast(overdue_share_pct as decimal(5, 2)) as overdue_share_pct,
        dispute_count,
        cast(score as decimal(5, 2)) as score,
        case
            when settled_count < {{ var('payer_minimum_count') }} then 'undetermined'
            when dispute_count >= 2 then 'disputing'
            when
                coalesce(earlier_days_late, 0) <= 3
                and (coalesce(trend_days, 0) >= 10 or coalesce(oldest_past_due_days, 0) >= 20)
                then 'temporary_trouble'
            when late_count * 2 >= settled_count and mean_delay_days >= 10 then 'strategic'
            when late_count >= 2 then 'forgetful'
            else 'punctual'
        end as profile_code
    from described
)

select * from final
