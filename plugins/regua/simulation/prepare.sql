-- What a simulation knows before its first day. Attached: `warehouse`. Variables: first_day, last_day, share_number, share_count, customer_id (or null).

create schema raw;
create schema ops;
create schema quarantine;
create schema staging;
create schema intermediate;
create schema marts;
create schema simulation;

-- One row per simulated day: what its night knew. A day that no night described knows what the next night knew, and a
-- day after the newest night what that one knew. A past day that was run again later keeps what it knew first.
create table simulation.nights as
with runs as (
    select as_of, arg_min(known_at, started_at) as known_at
    from warehouse.ops.stage_runs
    where stage = 'marts' and state = 'succeeded'
    group by as_of
),

days as (
    select cast(unnest(generate_series(getvariable('first_day'), getvariable('last_day'), interval 1 day)) as date) as day
),

known as (
    select days.day, min(runs.known_at) as known_at, bool_or(runs.as_of = days.day) as is_as_known_then
    from days
    left join runs on days.day <= runs.as_of
    group by days.day
)

select
    day,
    coalesce(known_at, (select max(known_at) from runs)) as known_at,
    coalesce(is_as_known_then, false) as is_as_known_then
from known
order by day;

-- Whoever was ever merged with somebody belongs to the same share as that one.
create table simulation.shared_customers as
with recursive links as (
    select distinct customer_id, merged_into_customer_id as other_id
    from warehouse.raw.customers
    where merged_into_customer_id is not null
    union
    select distinct merged_into_customer_id, customer_id
    from warehouse.raw.customers
    where merged_into_customer_id is not null
),

reached (customer_id, other_id) as (
    select customer_id, other_id from links
    union
    select reached.customer_id, links.other_id
    from reached
    inner join links on reached.other_id = links.customer_id
),

roots as (
    select customer_id, least(customer_id, min(other_id)) as root_id from reached group by customer_id
),

everybody as (
    select customer_id from warehouse.raw.customers
    union
    select customer_id from warehouse.raw.invoices
    union
    select customer_id from warehouse.raw.credits
),

grouped as (
    select everybody.customer_id, coalesce(roots.root_id, everybody.customer_id) as root_id
    from everybody
    left join roots on everybody.customer_id = roots.customer_id
)

select customer_id
from grouped
where
    case
        when getvariable('customer_id') is null
            then hash(root_id) % getvariable('share_count') = getvariable('share_number')
        else root_id in (select root_id from grouped where customer_id = getvariable('customer_id'))
    end;

create table simulation.shared_invoices as
select distinct invoices.invoice_id
from warehouse.raw.invoices as invoices
semi join simulation.shared_customers as shared on invoices.customer_id = shared.customer_id;
