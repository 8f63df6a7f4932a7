-- Messages that one side sends and the other does not on that day, through that channel, and what became of the same
-- invoice and step there. Only days that both sides know: not every past day was published. Tables: sides, decisions,
-- messages, of two sides.
with shared_days as (
    select as_of_date
    from (select distinct side, as_of_date from decisions)
    group by as_of_date
    having count(*) = 2
),

sent as (
    select side, as_of_date, contact_customer_id, channel_code, message_id, step_code
    from messages
    semi join shared_days using (as_of_date)
),

alone as (
    select sent.*, other.side as other_side
    from sent
    inner join sides as other on sent.side <> other.side
    anti join messages as same
        on
            other.side = same.side
            and sent.as_of_date = same.as_of_date
            and sent.contact_customer_id = same.contact_customer_id
            and sent.channel_code = same.channel_code
),

-- The invoice for which the message has its step.
topped as (
    select alone.*, min(decisions.invoice_id) as invoice_id
    from alone
    inner join decisions
        on
            alone.side = decisions.side
            and alone.as_of_date = decisions.as_of_date
            and alone.message_id = decisions.message_id
            and alone.step_code = decisions.step_code
    group by all
),

elsewhere as (
    select side, invoice_id, step_code, min(as_of_date) as sent_date
    from decisions
    where outcome_code = 'eligible'
    group by all
),

steps as (
    select distinct side, step_code from decisions
),

explained as (
    select
        topped.side,
        topped.step_code,
        topped.contact_customer_id,
        case
            when elsewhere.sent_date < topped.as_of_date then 'sent earlier'
            when elsewhere.sent_date > topped.as_of_date then 'sent later'
            when same_day.outcome_code is not null then same_day.outcome_code
            when steps.step_code is null then 'no such step'
            else 'no candidate'
        end as reason
    from topped
    left join elsewhere
        on
            topped.other_side = elsewhere.side
            and topped.invoice_id = elsewhere.invoice_id
            and topped.step_code = elsewhere.step_code
    left join decisions as same_day
        on
            topped.other_side = same_day.side
            and topped.as_of_date = same_day.as_of_date
            and topped.invoice_id = same_day.invoice_id
            and topped.step_code = same_day.step_code
    left join steps
        on topped.other_side = steps.side and topped.step_code = steps.step_code
)

select
    side,
    step_code,
    reason,
    count(*) as message_count,
    count(distinct contact_customer_id) as customer_count,
    min(contact_customer_id) as example_customer_id
from explained
inner join sides using (side)
group by place, side, step_code, reason
order by place, message_count desc, step_code, reason
