with candidates as (
    select * from {{ ref('int_dunning_candidates') }}
),

recent_contacts as (
    select * from {{ ref('int_recent_contacts') }}
),

published as (
    select * from {{ ref('stg_published_decisions') }}
),

invoices as (
    select * from {{ ref('fct_invoices') }}
),

limited as (
    select
        candidates.*,
        recent_contacts.last_contact_date,
        coalesce(recent_contacts.week_contact_count, 0) as week_contact_count,
        candidates.hindrance_code is null
        and (
            recent_contacts.last_contact_date is null
            or {{ dbt.datediff("recent_contacts.last_contact_date", as_of(), "day") }}
            >= candidates.days_between_contacts
        )
        and coalesce(recent_contacts.week_contact_count, 0) < candidates.contacts_per_week as is_within_limits
    from candidates
    left join recent_contacts
        on candidates.contact_customer_id = recent_contacts.contact_customer_id
),

-- The step that a customer's message in a channel and currency would be of.
tops as (
    select
        *,
        row_number() over (
            partition by contact_customer_id, channel_code, currency_code
            order by {{ highest_step_first() }}
        ) as place
    from limited
    where is_within_limits
),

-- Amounts of two currencies never stand in one message, and a second message may be one too many.
messages as (
    select
        contact_customer_id,
        channel_code,
        currency_code,
        invoice_id as top_invoice_id,
        row_number() over (
            partition by contact_customer_id, channel_code
            order by {{ highest_step_first() }}
        ) <= messages_per_channel_and_day as is_allowed
    from tops
    where place = 1
),

decided as (
    select
        limited.*,
        case
            when limited.hindrance_code is not null then limited.hindrance_code
            when coalesce(messages.is_allowed, false) and limited.is_within_limits then 'eligible'
            else 'over_limit'
        end as outcome_code,
        coalesce(messages.is_allowed and messages.top_invoice_id = limited.invoice_id, false) as is_top
    from limited
    left join messages
        on
            limited.contact_customer_id = messages.contact_customer_id
            and limited.channel_code = messages.channel_code
            and limited.currency_code = messages.currency_code
),

newest as (
    select max(as_of_date) as as_of_date
    from published
),

-- Held back on the newest day before, and paid since: the ladder of that step ends here, and says why.
closed as (
    select
        published.*,
        invoices.due_date
    from published
    inner join newest
        on published.as_of_date = newest.as_of_date
    inner join invoices
        on published.invoice_id = invoices.invoice_id
    where
        published.outcome_code not in ('eligible', 'holdout', 'superseded', 'paid')
        and invoices.status_code = 'paid'
),

final as (
    select
        invoice_id,
        customer_id,
        contact_customer_id,
        currency_code,
        due_date,
        cycle_date,
        open_amount,
        policy_code,
        version_hash,
        step_code,
        offset_days,
        channel_code,
        phase_code,
        notice_code,
        template_code,
        contact_point_id,
        opens_minute,
        closes_minute,
        last_contact_date,
        week_contact_count,
        is_judged,
        is_top and outcome_code = 'eligible' as is_top,
        outcome_code,
        case
            when outcome_code = 'eligible'
                then md5(
                    contact_customer_id || '|' || invoice_id || '|' || step_code || '|' || channel_code || '|'
                    || cast(cycle_date as varchar)
                )
        end as step_key,
        case
            when outcome_code = 'eligible'
                then md5(
                    cast({{ as_of() }} as varchar) || '|' || contact_customer_id || '|' || channel_code || '|'
                    || currency_code
                )
        end as message_id
    from decided
    union all
    select
        invoice_id,
        customer_id,
        contact_customer_id,
        currency_code,
        due_date,
        cycle_date,
        {{ money("0") }} as open_amount,
        policy_code,
        version_hash,
        step_code,
        offset_days,
        channel_code,
        phase_code,
        notice_code,
        cast(null as varchar) as template_code,
        cast(null as varchar) as contact_point_id,
        cast(null as integer) as opens_minute,
        cast(null as integer) as closes_minute,
        cast(null as date) as last_contact_date,
        cast(null as bigint) as week_contact_count,
        true as is_judged,
        false as is_top,
        'paid' as outcome_code,
        cast(null as varchar) as step_key,
        cast(null as varchar) as message_id
    from closed
)

select * from final
