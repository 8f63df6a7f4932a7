-- Most invoices of a portfolio are paid and stay so: each day need look at the others only. An invoice that is closed on
-- the last day has not changed since its last event, so from the next day on its row is the one of the last day.
-- Before it: marts.fct_invoices holds the last day, built from everything; simulation.nights.

create table simulation.first_days as
select arrivals.instant, min(nights.day) as day
from (
    select distinct _loaded_at as instant from raw.invoices
    union
    select distinct _loaded_at from raw.payments
    union
    select distinct _loaded_at from raw.credits
    union
    select distinct _superseded_at from raw.superseded
) as arrivals
inner join simulation.nights as nights on arrivals.instant <= nights.known_at
group by arrivals.instant;

create table simulation.closed_invoices as
with versions as (
    select 'invoices' as entity, _batch_id, _line, _loaded_at, invoice_id,
        unnest([issue_date, cancelled_date, written_off_date]) as event_date
    from raw.invoices
    union all
    select 'payments' as entity, _batch_id, _line, _loaded_at, invoice_id,
        unnest([payment_date, reversed_date]) as event_date
    from raw.payments
    union all
    select 'credits' as entity, _batch_id, _line, _loaded_at, invoice_id, applied_date as event_date
    from raw.credits
    where invoice_id is not null
),

-- A fact counts from its own day or from the night that learnt of it, whichever is later, until another replaces it.
events as (
    select versions.invoice_id, greatest(versions.event_date, first_days.day) as day
    from versions
    inner join simulation.first_days as first_days on versions._loaded_at = first_days.instant
    where versions.event_date is not null
    union all
    select versions.invoice_id, first_days.day
    from raw.superseded
    inner join versions using (entity, _batch_id, _line)
    inner join simulation.first_days as first_days on superseded._superseded_at = first_days.instant
),

last_events as (
    select invoice_id, max(day) as day
    from events
    where day <= getvariable('last_day')
    group by invoice_id
)

select last_events.day + 1 as closed_from_day, invoices.*
from marts.fct_invoices as invoices
inner join last_events on invoices.invoice_id = last_events.invoice_id
where invoices.open_amount = 0
order by closed_from_day, invoices.invoice_id;
