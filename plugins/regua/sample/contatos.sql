-- What the system before régua wrote about overdue invoices: everything until the day before `as_of`, the day on which régua
-- takes over, and nothing from then on. Later exports only bring the proof of letters that were still on their way.
create table system_before_steps (place bigint, etapa varchar, meio varchar, offset_days integer);
insert into system_before_steps values
(1, 'COBRANCA_1', 'EMAIL', 6), (2, 'COBRANCA_2', 'EMAIL', 12), (3, 'AVISO_SUSPENSAO', 'EMAIL', 15),
(4, 'PROPOSTA', 'EMAIL', 25), (5, 'AVISO_NEGATIVACAO', 'EMAIL', 40), (6, 'AVISO_NEGATIVACAO', 'CARTA', 40);

-- The day on which what falls due on `moment` is posted or brought to the door: the next that is not a Sunday or bank holiday.
create table posting_days as
select moment::date as moment, min(moment::date + shift::integer) as posting_date
from generate_series(
    getvariable('window_start'), getvariable('as_of') + interval 1 month, interval 1 day
) as moments (moment)
cross join range(8) as shifts (shift)
where isodow(moment + to_days(shift::integer)) < 7
    and moment::date + shift::integer not in (select holiday_date from bank_holidays)
group by all;

-- Days were counted from the due date or, once a payment was taken back after it, from that day. What is contested is not
-- written about: the sample knows it by what became of it.
create view counted_invoices as
with late as (
    select *, known_from(first_payment_date, first_method_code) as first_known_date
    from invoices
    where cancelled_date is null and credit_reason is distinct from 'contestacao'
        and due_date < getvariable('as_of')
        -- Of the others nobody would be written to: the first step is six days after.
        and (coalesce(first_known_date > due_date + 6, true) or first_cents < cents or reversed_date is not null)
)

select *, due_date as counted_from, case when reversed_date > due_date then reversed_date end as counted_until
from late
union all
select *, reversed_date, null
from late
where reversed_date > due_date;

create view contacts as
with due_steps as (
    select
        counted_invoices.*,
        steps.place, steps.etapa, steps.meio,
        posting_days.posting_date as planned_date
    from counted_invoices
    cross join system_before_steps as steps
    inner join posting_days on counted_invoices.counted_from + steps.offset_days = posting_days.moment
    where posting_days.posting_date < getvariable('as_of')
        and coalesce(posting_days.posting_date < counted_invoices.counted_until, true)
),

-- What is known to be open on the day; a cent or so is let go.
unpaid as (
    select *
    from due_steps
    where coalesce(written_off_date > planned_date, true)
        and cents
        - case when credit_date <= planned_date then credit_cents else 0 end
        - case
            when first_known_date <= planned_date and coalesce(reversed_date > planned_date, true) then first_cents else 0
        end
        - case when known_from(second_payment_date, second_method_code) <= planned_date then second_cents else 0 end
        >= 100
),

sent as (
    select
        unpaid.*,
        contact_bits(customers.bits, unpaid.planned_date) as contact_bits,
        draw(unpaid.bits, 50 + unpaid.place) as fate_draw,
        draw(unpaid.bits, 60 + unpaid.place) as journey_draw
    from unpaid
    inner join customers on unpaid.customer_number = customers.customer_number
    where case when unpaid.meio = 'EMAIL' then has_email(customers.bits) else has_postal_address(customers.bits) end
),

-- An address bounces until the customer has a new one.
answered as (
    select *, meio = 'EMAIL' and draw(contact_bits, 3) < 200 as is_bounced
    from sent
)

select
    answered.*,
    case
        when is_bounced then null
        when meio = 'EMAIL' and fate_draw < 9700 then planned_date
        when meio = 'CARTA' and fate_draw < 8500 then arrivals.posting_date
    end as delivered_date
from answered
left join posting_days as arrivals on answered.planned_date + 4 + journey_draw % 5 = arrivals.moment;

create view contatos_export as
select
    concat('M', subscription_number, '-', period, '-', place, case when counted_from > due_date then '-2' end) as contato,
    concat('C', customer_number) as cliente,
    concat('T', subscription_number, '-', period) as titulo,
    etapa,
    meio,
    counted_from as contado_de,
    planned_date as data_envio,
    case
        when is_bounced then 'DEVOLVIDO'
        when delivered_date <= getvariable('day') then 'ENTREGUE'
        else 'ENVIADO'
    end as situacao,
    written(delivered_date) as data_entrega
from contacts
where is_new(planned_date) or coalesce(is_new(delivered_date), false)
order by subscription_number, period, counted_from, place;
