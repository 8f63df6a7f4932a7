-- The portfolio's life as dated facts, each known from a day on. Tables are filled in the order of their ids, because
-- the exports must be the same bytes with any number of threads and a join alone keeps no order.
-- Variables: seed_bits, customers, window_start (first day of the first month), as_of, day (the day whose exports are asked for).
set variable founding_customers = getvariable('customers') * 11 // 20;
set variable joining_customers = getvariable('customers') - getvariable('founding_customers');
set variable window_days = getvariable('as_of') - getvariable('window_start');

-- One row per customer. 55 % were there before the window; the others join evenly, up to as_of and, at the same pace, after it.
create table customers as
with numbered as (
    select
        customer_number,
        stirred(getvariable('seed_bits') + customer_number::ubigint, 1) as bits,
        case
            when customer_number <= getvariable('founding_customers')
                then getvariable('window_start') - 1
                    - ((getvariable('founding_customers') - customer_number) * 1095 // getvariable('founding_customers'))::integer
            else getvariable('window_start')
                + (((customer_number - getvariable('founding_customers')) * getvariable('window_days')
                + getvariable('joining_customers') - 1) // getvariable('joining_customers'))::integer
        end as created_date
    from range(
        1,
        getvariable('customers') + 2
        + (getvariable('day') - getvariable('as_of') + 1)
        * (getvariable('joining_customers') // getvariable('window_days') + 1)
    ) as numbers (customer_number)
),

characters as (
    select
        *,
        case when draw(bits, 2) < 4500 then 'F' else 'J' end as person_type_code,
        case
            when draw(bits, 2) < 4500 then 'varejo'
            when draw(bits, 3) < 7800 then 'pme'
            when draw(bits, 3) < 9600 then 'medio'
            else 'corporativo'
        end as segment_code,
        case
            when draw(bits, 4) < 6800 then 'punctual'
            when draw(bits, 4) < 8400 then 'forgetful'
            when draw(bits, 4) < 9200 then 'troubled'
            when draw(bits, 4) < 9700 then 'strategic'
            else 'disputing'
        end as payer_kind,
        getvariable('window_start') + (draw(bits, 5)::bigint * getvariable('window_days') // 10000)::integer as trouble_from,
        90 + draw(bits, 6) % 120 as trouble_days,
        draw(bits, 7) as state_draw
    from numbered
    where created_date <= getvariable('day')
)

select characters.*, states.state_code, states.area_code
from characters
inner join states on characters.state_draw >= states.from_share and characters.state_draw < states.to_share
order by characters.customer_number;

-- One row per subscription. Every seventh customer takes a second one later.
create table subscriptions as
with taken as (
    select
        customers.* exclude (bits),
        customer_number * 10 + place as subscription_number,
        stirred(bits, 20 + place) as bits,
        created_date + case place when 1 then draw(bits, 8) % 5 else 60 + draw(bits, 9) % 600 end as start_date
    from customers
    cross join (values (1), (2)) as places (place)
    where place = 1 or draw(customers.bits, 10) < 1500
),

ended as (
    select
        *,
        case
            when draw(bits, 1) < case payer_kind
                when 'punctual' then 1500 when 'forgetful' then 2000 else 4200
            end
                then greatest(start_date, getvariable('window_start')) + 45 + draw(bits, 2) % 1440
        end as end_date,
        [1, 5, 10, 10, 15, 20, 20, 25, 28][1 + draw(bits, 3) % 9] as billing_day,
        case
            when person_type_code = 'F'
                then case when draw(bits, 4) < 4000 then 'CAR' when draw(bits, 4) < 6000 then 'PIX'
                    when draw(bits, 4) < 7500 then 'PXA' else 'BOL' end
            when draw(bits, 4) < 6000 then 'BOL'
            when draw(bits, 4) < 8000 then 'PIX'
            when draw(bits, 4) < 9000 then 'PXA'
            else 'CAR'
        end as payment_method_code
    from taken
    where start_date <= getvariable('day')
)

select ended.*, plans.plan_code, plans.monthly_cents
from ended
inner join plans on ended.segment_code = plans.segment_code and draw(ended.bits, 5) % 3 = plans.choice
order by ended.subscription_number;

-- The months billed, by billing day: [{period, due_date, effective_due_date}].
create table billing_months as
with months as (
    select unnest(generate_series(
        getvariable('window_start'), getvariable('day') + interval 1 month, interval 1 month
    ))::date as month_start
),

due_dates as (
    select billing_day, year(month_start) * 100 + month(month_start) as period, month_start + (billing_day - 1) as due_date
    from months
    cross join (values (1), (5), (10), (15), (20), (25), (28)) as days (billing_day)
),

shifted as (
    select billing_day, period, due_date, min(due_date + shift::integer) as effective_due_date
    from due_dates
    cross join range(8) as shifts (shift)
    where isodow(due_date + shift::integer) < 6 and due_date + shift::integer not in (select holiday_date from bank_holidays)
    group by all
)

select
    billing_day,
    list({'period': period, 'due_date': due_date, 'effective_due_date': effective_due_date} order by due_date) as months
from shifted
group by billing_day;

create table billed_subscriptions as
select
    subscriptions.*,
    -- Companies that joined in the window also pay once for being set up; that invoice belongs to no subscription.
    case
        when person_type_code = 'J' and start_date >= getvariable('window_start') and subscription_number % 10 = 1
            then [{'period': 0, 'due_date': start_date + 15, 'effective_due_date': start_date + 15}]
        else []
    end || months as months
from subscriptions
inner join billing_months on subscriptions.billing_day = billing_months.billing_day
order by subscription_number;

-- One row per invoice with everything that ever happens to it: at most two payments and one credit.
-- How each kind of payer behaves is read here and described in docs/reference/sample.md.
create table invoices as
with billed as (
    select
        subscription_number, customer_number, payer_kind, bits, start_date, end_date, monthly_cents, trouble_from, trouble_days,
        payment_method_code as usual_method_code,
        unnest(months, recursive := true)
    from billed_subscriptions
),

issued as (
    select
        * exclude (bits, usual_method_code),
        stirred(bits + period::ubigint, 30) as bits,
        -- Pix Automático exists since 16 June 2025.
        case when usual_method_code = 'PXA' and due_date < date '2025-06-16' then 'PIX' else usual_method_code end
            as payment_method_code,
        due_date - case usual_method_code when 'CAR' then 3 when 'PXA' then 7 else 10 end as issue_date
    from billed
),

priced as (
    select
        * exclude (monthly_cents),
        case when period = 0 then monthly_cents * 3
            else monthly_cents + monthly_cents * 5 * (datediff('day', start_date, issue_date) // 365) // 100
        end
        + case when draw(bits, 1) < 2000 then monthly_cents * (draw(bits, 1) % 12 + 1) // 100 else 0 end as cents,
        draw(bits, 2) as outcome_draw,
        draw(bits, 3) as delay_draw,
        draw(bits, 4) as event_draw,
        draw(bits, 5) as size_draw,
        draw(bits, 6) as second_draw,
        case
            when payer_kind = 'troubled' and due_date not between trouble_from and trouble_from + trouble_days then 'punctual'
            else payer_kind
        end as behaviour
    from issued
    where issue_date >= greatest(start_date, getvariable('window_start')) and issue_date <= getvariable('day')
        and (end_date is null or issue_date < end_date)
),

behaved as (
    select
        *,
        case behaviour
            when 'punctual' then case
                when outcome_draw < 9450 then 0 when outcome_draw < 9930 then 1 + delay_draw % 4
                when outcome_draw < 9980 then 10 + delay_draw % 30
            end
            when 'forgetful' then case
                when outcome_draw < 4000 then 0 when outcome_draw < 8200 then 1 + delay_draw % 8
                when outcome_draw < 9700 then 9 + delay_draw % 14 when outcome_draw < 9900 then 23 + delay_draw % 40
            end
            when 'troubled' then case
                when outcome_draw < 1500 then 0 when outcome_draw < 5500 then 20 + delay_draw % 70
                when outcome_draw < 7500 then 5 + delay_draw % 25
            end
            when 'strategic' then case
                when outcome_draw < 2500 then 0 when outcome_draw < 8300 then 10 + delay_draw % 25
                when outcome_draw < 9300 then 36 + delay_draw % 45 when outcome_draw < 9600 then 5 + delay_draw % 25
            end
            else case
                when outcome_draw < 7500 then 0 when outcome_draw < 8300 then 5 + delay_draw % 25
                when outcome_draw < 9300 and size_draw % 2 = 0 then 20 + delay_draw % 40
            end
        end as delay_days,
        case
            when event_draw between 400 and 439 then 'cancelled'
            when behaviour = 'disputing' and outcome_draw between 8300 and 9299
                then case when size_draw % 2 = 0 then 'credited' else 'dispute_won' end
            when behaviour = 'troubled' and outcome_draw between 5500 and 7499 then 'partial'
            when behaviour = 'strategic' and outcome_draw between 9300 and 9599 then 'partial'
            when event_draw between 200 and 229 then 'rebated'
            when event_draw between 300 and 319 then 'short'
            when event_draw between 320 and 329 then 'over'
            when event_draw between 100 and 139 and payment_method_code in ('BOL', 'PIX') then 'double'
            when event_draw < 30 and payment_method_code = 'CAR' then 'reversed'
            when event_draw < 6 and payment_method_code in ('PIX', 'PXA') then 'reversed'
            else 'plain'
        end as event
    from priced
),

credited as (
    select
        *,
        case event
            when 'credited' then cents * (20 + size_draw % 30) // 100
            when 'rebated' then cents * (5 + size_draw % 15) // 100
        end as credit_cents,
        case event when 'credited' then due_date + 10 + size_draw % 9 when 'rebated' then issue_date + 1 end as credit_date,
        case
            when event in ('cancelled', 'dispute_won') then null
            -- Punctual payers use the days before; the others the last day on which it still counts as in time.
            when delay_days = 0 and payment_method_code in ('CAR', 'PXA') then due_date
            when delay_days = 0 and delay_draw % 10 < 6 then due_date - delay_draw % 6
            when delay_days = 0 then effective_due_date
            when event = 'credited' then due_date + 20 + delay_draw % 12
            else due_date + delay_days
        end as first_payment_date
    from behaved
),

paid as (
    select
        *,
        case event
            when 'partial' then cents * (30 + size_draw % 40) // 100
            when 'short' then cents - 1
            when 'over' then cents + 1
            else cents - coalesce(credit_cents, 0)
        end as first_cents,
        case
            when event = 'reversed' and payment_method_code = 'CAR' then first_payment_date + 15 + size_draw % 60
            when event = 'reversed' then first_payment_date + 1 + size_draw % 5
        end as reversed_date
    from credited
)

select
    subscription_number, customer_number, period, payer_kind, behaviour, bits, issue_date, due_date, cents, payment_method_code,
    case when draw(bits, 7) < 60 then issue_date + 2 end as draft_until,
    case
        when event = 'cancelled' then issue_date + 1 + size_draw % 4
        when event = 'dispute_won' then due_date + 15 + size_draw % 45
    end as cancelled_date,
    -- A tenth of what was issued by mistake is cancelled as if it had never been.
    event = 'cancelled' and size_draw % 10 = 0 as is_void,
    case when event <> 'cancelled' and event <> 'dispute_won' and first_payment_date is null and second_draw < 7000
        then due_date + 180 + second_draw % 30 end as written_off_date,
    credit_cents, credit_date,
    case when event = 'credited' then 'contestacao' when event = 'rebated' then 'indisponibilidade' end as credit_reason,
    first_payment_date,
    case when first_payment_date is not null then first_cents end as first_cents,
    case when payment_method_code = 'BOL' and second_draw % 10 = 0 then 'PIX' else payment_method_code end as first_method_code,
    reversed_date,
    case
        when first_payment_date is null then null
        when event = 'partial' and second_draw < 6000 then first_payment_date + 20 + second_draw % 40
        when event = 'double' then first_payment_date + size_draw % 6
        when event = 'reversed' and second_draw < 5000 then reversed_date + 5 + second_draw % 20
    end as second_payment_date,
    case when event = 'partial' then cents - first_cents else cents end as second_cents,
    case when payment_method_code = 'BOL' and event <> 'reversed' then 'BOL' else 'PIX' end as second_method_code
from paid;
