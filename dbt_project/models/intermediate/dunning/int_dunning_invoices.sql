with invoices as (
    select * from {{ ref('fct_invoices') }}
    where open_amount > 0
),

excesses as (
    select
        customer_id,
        currency_code,
        excess_amount
    from {{ ref('fct_invoices') }}
    where excess_amount > 0
),

named as (
    select
        invoice_id,
        policy_code
    from {{ ref('stg_invoices') }}
    where policy_code is not null
),

subscriptions as (
    select * from {{ ref('stg_subscriptions') }}
),

contacts as (
    select * from {{ ref('int_contact_customers') }}
),

credits as (
    select * from {{ ref('stg_credits') }}
    where
        invoice_id is null
        and applied_date <= {{ as_of() }}
),

policies as (
    select * from {{ ref('stg_policies') }}
),

versions as (
    select * from {{ ref('stg_policy_versions') }}
    where
        effective_from <= {{ as_of() }}
        and effective_to >= {{ as_of() }}
),

assignments as (
    select assignments.*
    from {{ ref('stg_policy_assignments') }} as assignments
    inner join versions
        on assignments.version_hash = versions.version_hash
),

defaults as (
    select versions.*
    from versions
    inner join policies
        on versions.policy_code = policies.policy_code
    where policies.is_default
),

invoice_holds as (
    select * from {{ ref('int_invoice_holds') }}
),

customer_holds as (
    select * from {{ ref('int_customer_holds') }}
),

reopened as (
    select * from {{ ref('int_reopened_invoices') }}
),

signals as (
    select * from {{ ref('int_payer_scores') }}
),

payment_feed as (
    select * from {{ ref('int_payment_feed') }}
),

business_days as (
    select * from {{ ref('int_business_days') }}
),

yesterdays as (
    select
        calendar_code,
        business_day_number
    from business_days
    where calendar_date = {{ dbt.dateadd("day", -1, as_of()) }}
),

owed as (
    select
        invoices.invoice_id,
        invoices.customer_id,
        coalesce(contacts.contact_customer_id, invoices.customer_id) as contact_customer_id,
        invoices.subscription_id,
        invoices.calendar_code,
        invoices.payment_method_code,
        invoices.currency_code,
        invoices.due_date,
        invoices.effective_due_date,
        invoices.amount,
        invoices.open_amount,
        invoices.effective_due_date < {{ as_of() }} as is_past_due,
        {{ dbt.datediff("invoices.due_date", as_of(), "day") }}
            as days_since_due,
        coalesce(contacts.is_trusted, false) as is_customer_trusted,
        contacts.person_type_code,
        contacts.segment_code,
        contacts.state_code,
        contacts.policy_code as customer_policy_code,
        named.policy_code as invoice_policy_code,
        reopened.invoice_id is not null as is_reopened,
        coalesce(reopened.reopened_date, invoices.due_date) as cycle_date,
        coalesce(invoice_holds.has_rejected_row, false) as has_rejected_row,
        invoice_holds.dispute_id,
        invoice_holds.agreement_id,
        invoice_holds.announced_payment_date,
        coalesce(invoice_holds.exemption_id, customer_holds.exemption_id) as exemption_id,
        customer_holds.pause_id,
        customer_holds.paused_until_date,
        coalesce(invoice_holds.promise_id, customer_holds.promise_id) as promise_id,
        case
            when invoice_holds.promised_until_date > customer_holds.promised_until_date
                then invoice_holds.promised_until_date
            else coalesce(customer_holds.promised_until_date, invoice_holds.promised_until_date)
        end as promised_until_date,
        case
            when invoice_holds.last_promised_date > customer_holds.last_promised_date
                then invoice_holds.last_promised_date
            else coalesce(customer_holds.last_promised_date, invoice_holds.last_promised_date)
        end as last_promised_date,
        case
            when invoice_holds.waived_pct > customer_holds.waived_pct then invoice_holds.waived_pct
            else coalesce(customer_holds.waived_pct, invoice_holds.waived_pct, 0)
        end as waived_pct,
        customer_holds.trust_unlock_id,
        customer_holds.unlocked_until_date
    from invoices
    left join contacts
        on invoices.customer_id = contacts.customer_id
    left join named
        on invoices.invoice_id = named.invoice_id
    left join reopened
        on invoices.invoice_id = reopened.invoice_id
    left join invoice_holds
        on invoices.invoice_id = invoice_holds.invoice_id
    left join customer_holds
        on coalesce(contacts.contact_customer_id, invoices.customer_id) = customer_holds.contact_customer_id
),

counts as (
    select
        contact_customer_id,
        count(*) as open_invoice_count
    from owed
    group by contact_customer_id
),

-- Money that pays no invoice yet: paid in excess, or granted and not applied.
unapplied as (
    select
        coalesce(contacts.contact_customer_id, spare.customer_id) as contact_customer_id,
        spare.currency_code,
        sum(spare.amount) as credit_amount
    from (
        select
            customer_id,
            currency_code,
            excess_amount as amount
        from excesses
        union all
        select
            customer_id,
            currency_code,
            amount
        from credits
    ) as spare
    left join contacts
        on spare.customer_id = contacts.customer_id
    group by coalesce(contacts.contact_customer_id, spare.customer_id), spare.currency_code
),

covered as (
    select
        owed.invoice_id,
        unapplied.credit_amount - sum(owed.open_amount) over (
            partition by owed.contact_customer_id, owed.currency_code
            order by
                case when owed.dispute_id is null and owed.agreement_id is null then 0 else 1 end,
                owed.due_date,
                owed.invoice_id
            rows between unbounded preceding and current row
        ) + owed.open_amount as credit_left_amount
    from owed
    inner join unapplied
        on
            owed.contact_customer_id = unapplied.contact_customer_id
            and owed.currency_code = unapplied.currency_code
),

-- Invoice > customer > segment > default; a policy without a version in force says nothing.
chosen as (
    select
        owed.*,
        coalesce(
            by_invoice.version_hash, by_customer.version_hash, assignments.version_hash, defaults.version_hash
        ) as version_hash,
        case
            when covered.credit_left_amount >= owed.open_amount then owed.open_amount
            when covered.credit_left_amount > 0 then covered.credit_left_amount
            else 0
        end as credit_amount,
        (owed.invoice_policy_code is not null and invoice_policies.policy_code is null)
        or (owed.customer_policy_code is not null and customer_policies.policy_code is null) as is_policy_unknown
    from owed
    left join covered
        on owed.invoice_id = covered.invoice_id
    left join policies as invoice_policies
        on owed.invoice_policy_code = invoice_policies.policy_code
    left join policies as customer_policies
        on owed.customer_policy_code = customer_policies.policy_code
    left join versions as by_invoice
        on owed.invoice_policy_code = by_invoice.policy_code
    left join versions as by_customer
        on owed.customer_policy_code = by_customer.policy_code
    left join assignments
        on
            (assignments.segment_code is null or owed.segment_code = assignments.segment_code)
            and (assignments.person_type_code is null or owed.person_type_code = assignments.person_type_code)
    cross join defaults
),

placed as (
    select
        chosen.*,
        versions.policy_code,
        versions.tolerance_amount,
        versions.prescription_years,
        versions.feed_max_age_days,
        versions.pix_automatico_days,
        versions.boleto_business_days,
        case
            when chosen.announced_payment_date is not null then chosen.announced_payment_date
            when chosen.last_promised_date > chosen.effective_due_date then chosen.last_promised_date
            else chosen.effective_due_date
        end as clearing_from_date,
        {{ dbt.datediff("chosen.cycle_date", as_of(), "day") }}
            as ladder_days
    from chosen
    inner join versions
        on chosen.version_hash = versions.version_hash
),

judged as (
    select
        placed.*,
        cast({{ dbt.dateadd("year", "placed.prescription_years", "placed.due_date") }} as date) as prescription_date,
        placed.announced_payment_date is not null
        or placed.is_past_due and coalesce(
            (
                placed.payment_method_code = 'boleto'
                and yesterdays.business_day_number - (
                    business_days.business_day_number + case when business_days.is_business_day then 0 else 1 end
                ) < placed.boleto_business_days
            )
            or (
                placed.payment_method_code = 'pix_automatico'
                and placed.days_since_due <= placed.pix_automatico_days
            ),
            false
        ) as is_in_clearing,
        placed.is_past_due
        and coalesce(payment_feed.age_business_days > placed.feed_max_age_days, true) as is_feed_stale,
        payment_feed.last_heard_date,
        counts.open_invoice_count,
        coalesce(signals.late_count, 0) as late_count,
        signals.score
    from placed
    inner join counts
        on placed.contact_customer_id = counts.contact_customer_id
    left join signals
        on placed.contact_customer_id = signals.contact_customer_id
    left join business_days
        on
            placed.calendar_code = business_days.calendar_code
            and placed.clearing_from_date = business_days.calendar_date
    left join yesterdays
        on placed.calendar_code = yesterdays.calendar_code
    cross join payment_feed
),

final as (
    select
        judged.invoice_id,
        judged.customer_id,
        judged.contact_customer_id,
        judged.subscription_id,
        subscriptions.has_suspension_clause,
        judged.payment_method_code,
        judged.calendar_code,
        judged.currency_code,
        judged.due_date,
        judged.effective_due_date,
        judged.cycle_date,
        judged.is_reopened,
        judged.is_past_due,
        cast(judged.days_since_due as integer) as days_since_due,
        cast(judged.ladder_days as integer) as ladder_days,
        judged.amount,
        judged.open_amount,
        {{ money("judged.credit_amount") }} as credit_amount,
        judged.policy_code,
        judged.version_hash,
        judged.person_type_code,
        judged.segment_code,
        judged.state_code,
        judged.open_invoice_count,
        judged.late_count,
        judged.score,
        judged.waived_pct,
        judged.is_customer_trusted,
        judged.is_policy_unknown,
        judged.has_rejected_row,
        judged.prescription_date,
        judged.dispute_id,
        judged.agreement_id,
        judged.exemption_id,
        judged.pause_id,
        judged.paused_until_date,
        judged.promise_id,
        judged.promised_until_date,
        judged.tolerance_amount,
        judged.clearing_from_date,
        judged.last_heard_date,
        judged.trust_unlock_id,
        judged.unlocked_until_date,
        judged.is_feed_stale,
        case
            when not judged.is_customer_trusted or judged.is_policy_unknown or judged.has_rejected_row
                then 'quarantined'
            when judged.credit_amount >= judged.open_amount then 'paid'
            when judged.prescription_date < {{ as_of() }} then 'prescribed'
            when judged.dispute_id is not null then 'disputed'
            when judged.agreement_id is not null then 'under_agreement'
            when judged.exemption_id is not null then 'exempt'
            when judged.pause_id is not null then 'paused'
            when judged.promise_id is not null then 'promise_open'
            when judged.open_amount - judged.credit_amount <= judged.tolerance_amount then 'below_tolerance'
            when judged.is_in_clearing then 'in_clearing'
            when judged.is_feed_stale then 'stale_feed'
        end as hold_code
    from judged
    left join subscriptions
        on judged.subscription_id = subscriptions.subscription_id
)

select * from final
