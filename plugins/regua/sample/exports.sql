-- What the company's systems export on `day`: everything known by then (`since` is the first day of time) or, as deltas,
-- what became known after `since`. Boleto payments are known one weekday after they were made, all others at once.
create macro is_new(fact_day) as fact_day > getvariable('since') and fact_day <= getvariable('day');
create macro known_from(payment_date, method_code) as
    case when method_code = 'BOL' then next_weekday(payment_date) else payment_date end;
create macro written(moment) as case when moment <= getvariable('day') then moment end;
create macro brazilian(moment) as strftime(moment, '%d/%m/%Y');
create macro brazilian_money(cents) as
    replace(replace(replace(format('{:,.2f}', cents / 100.0), ',', '_'), '.', ','), '_', '.');

-- One customer in 500 has new contact data every day.
create macro contact_bits(bits, moment) as stirred(bits, 40 + (moment - date '2000-01-01' + draw(bits, 11)) // 500);
create macro has_email(bits) as draw(bits, 23) >= 200;
-- Half of the customers have an address on file.
create macro has_postal_address(bits) as draw(bits, 34) < 5000;

create view customers_export as
with contacts as (
    select
        *,
        contact_bits(bits, getvariable('day')) as contact_bits,
        picked(getvariable('first_names'), bits, 12) as first_name,
        picked(getvariable('last_names'), bits, 13) as last_name,
        picked(getvariable('trades'), bits, 14) as trade,
        picked(getvariable('company_words'), bits, 15) as word,
        lpad(((customer_number * 387420489 + getvariable('seed_bits')::bigint) % 1000000000)::varchar, 9, '0') as nine_digits,
        lpad(((customer_number * 43046721 + getvariable('seed_bits')::bigint) % 100000000)::varchar, 8, '0') as eight_digits,
        -- Alphanumeric CNPJs are given out since July 2026; older companies have one where they registered anew.
        draw(bits, 16) < case when created_date >= date '2026-07-01' then 6000 else 200 end as is_alphanumeric
    from customers
    where created_date <= getvariable('day')
),

identified as (
    select
        *,
        case
            when person_type_code = 'F' then cpf(nine_digits)
            when is_alphanumeric then cnpj(
                chr(65 + draw(bits, 17) % 26) || eight_digits[2:4] || chr(65 + draw(bits, 18) % 26) || eight_digits[6:7]
                || chr(65 + draw(bits, 19) % 26) || '0001'
            )
            else cnpj(eight_digits || '0001')
        end as document,
        lower(replace(strip_accents(
            case when person_type_code = 'F' then first_name || '.' || last_name else trade || '-' || word end
        ), ' ', '')) as mail_name
    from contacts
)

select
    'C' || customer_number as CODIGO,
    case
        when person_type_code = 'F'
            then first_name || ' ' || picked(getvariable('last_names'), bits, 20) || ' ' || last_name
        else trade || ' ' || word || ' ' || picked(getvariable('company_forms'), bits, 21)
    end as NOME_RAZAO_SOCIAL,
    person_type_code as TIPO_PESSOA,
    case
        when draw(bits, 22) < 4000 then document
        when person_type_code = 'F' then document[1:3] || '.' || document[4:6] || '.' || document[7:9] || '-' || document[10:11]
        else document[1:2] || '.' || document[3:5] || '.' || document[6:8] || '/' || document[9:12] || '-' || document[13:14]
    end as CNPJ_CPF,
    case
        when not has_email(bits) then null
        when person_type_code = 'F'
            then mail_name || customer_number || '@' || picked(getvariable('mail_domains'), contact_bits, 1)
        else ['financeiro', 'contas', 'Financeiro'][1 + draw(contact_bits, 1) % 3] || '@' || mail_name || customer_number || '.example'
    end as EMAIL,
    -- No operator has numbers that begin with 9 0000.
    case
        when draw(bits, 24) < 500 then null
        when draw(bits, 24) < 6000 then '(' || area_code || ') 90000-' || lpad(draw(contact_bits, 2)::varchar, 4, '0')
        when draw(bits, 24) < 8500 then area_code || '90000' || lpad(draw(contact_bits, 2)::varchar, 4, '0')
        else '+55 ' || area_code || ' 90000-' || lpad(draw(contact_bits, 2)::varchar, 4, '0')
    end as TELEFONE,
    state_code as UF,
    segment_code as SEGMENTO,
    brazilian(created_date) as DATA_CADASTRO,
    case
        when customer_number > 1 and draw(bits, 25) < 20 and created_date + 30 + draw(bits, 26) % 300 <= getvariable('day')
            then 'C' || (customer_number - 1)
    end as CODIGO_UNIFICADO
from identified;

create view subscriptions_export as
select
    'A' || subscription_number as CONTRATO,
    'C' || customer_number as CLIENTE,
    plan_code as PLANO,
    -- Who buys by himself has no seller.
    case when segment_code <> 'varejo' then 'V' || lpad((draw(bits, 8) % 12 + 1)::varchar, 2, '0') end as VENDEDOR,
    case
        when end_date <= getvariable('day') then 'CANCELADO'
        when draw(bits, 6) < 3000 and start_date > getvariable('day') - 14 then 'TESTE'
        when payer_kind = 'troubled' and getvariable('day') between trouble_from + 60 and trouble_from + trouble_days + 30
            then 'SUSPENSO'
        else 'ATIVO'
    end as SITUACAO,
    brazilian(start_date) as INICIO_VIGENCIA,
    brazilian(written(end_date)) as FIM_VIGENCIA,
    brazilian_money(
        monthly_cents + monthly_cents * 5 * (datediff('day', start_date, getvariable('day')) // 365) // 100
    ) as VALOR_MENSAL,
    case when payment_method_code = 'CAR' then 'S' else 'N' end as PRE_PAGO,
    case when draw(bits, 7) < 9000 then 'S' else 'N' end as CLAUSULA_SUSPENSAO
from subscriptions
where start_date <= getvariable('day');

create macro is_changed(draft_until, cancelled_date, written_off_date) as
    coalesce(is_new(draft_until), false) or coalesce(is_new(cancelled_date), false)
    or coalesce(is_new(written_off_date), false);

-- `reissued_below` (of 2^32) of the invoices known before are sent again on this day, because their note was numbered anew;
-- the due date of those still to be settled moves by five days.
create view delivered_invoices as
select *, false as is_reissued
from invoices
where issue_date <= getvariable('day')
    and (issue_date > getvariable('since') or is_changed(draft_until, cancelled_date, written_off_date));

create view reissued_invoices as
select *, true as is_reissued
from invoices
where issue_date <= getvariable('since') and not is_changed(draft_until, cancelled_date, written_off_date)
    and stirred(bits, getvariable('day') - date '2000-01-01') < getvariable('reissued_below');

-- An invoice that is settled by `as_of` is not to be paid any more. Not of `day`: what was once exported must not change.
create macro awaits_payment(first_payment_date, cancelled_date, written_off_date, first_cents, cents) as
    coalesce(first_payment_date > getvariable('as_of') - 5 or first_cents < cents, true)
    and coalesce(cancelled_date > getvariable('as_of'), true)
    and coalesce(written_off_date > getvariable('as_of'), true);

create view invoices_export as
select
    concat('T', subscription_number, '-', period) as titulo,
    concat('C', customer_number) as cliente,
    case when period > 0 then concat('A', subscription_number) end as contrato,
    concat('NF ', period, '/', subscription_number, case when is_reissued then '-2' end) as nota_fiscal,
    issue_date as data_emissao,
    due_date + case
        when is_reissued and coalesce(first_payment_date, written_off_date, cancelled_date, date '9999-12-31')
            > getvariable('day') then 5 else 0
    end as data_vencimento,
    money(cents) as valor,
    case
        when cancelled_date <= getvariable('day') then 'C'
        when written_off_date <= getvariable('day') then 'B'
        when draft_until > getvariable('day') then 'R'
        else 'A'
    end as situacao,
    case when not is_void then written(cancelled_date) end as data_cancelamento,
    written(written_off_date) as data_baixa,
    payment_method_code as forma_cobranca,
    case when is_payable then concat('https://pagar.nuvemfacil.example/f/', subscription_number, '-', period) end as link_pagamento,
    case
        when is_payable and payment_method_code = 'BOL'
            then sample_boleto_line(cents, due_date, lpad(concat(subscription_number, lpad(period::varchar, 6, '0')), 25, '0'))
    end as linha_digitavel,
    case
        when is_payable and payment_method_code = 'PIX'
            then sample_pix_code(cents, concat('T', subscription_number, 'P', period))
    end as pix_copia_e_cola
from (
    select *, awaits_payment(first_payment_date, cancelled_date, written_off_date, first_cents, cents) as is_payable
    from (from delivered_invoices union all from reissued_invoices)
);

create view payments as
select
    subscription_number, period, 1 as place, first_payment_date as payment_date, first_cents as cents,
    first_method_code as method_code, known_from(first_payment_date, first_method_code) as known_date, reversed_date
from invoices
where first_payment_date is not null
union all
select
    subscription_number, period, 2, second_payment_date, second_cents,
    second_method_code, known_from(second_payment_date, second_method_code), null
from invoices
where second_payment_date is not null;

create view payments_export as
select
    concat('R', subscription_number, '-', period, '-', place) as recebimento,
    concat('T', subscription_number, '-', period) as titulo,
    payment_date as data_pagamento,
    known_date as data_registro,
    money(cents) as valor_recebido,
    method_code as meio,
    written(reversed_date) as data_estorno
from payments
where known_date <= getvariable('day') and (known_date > getvariable('since') or coalesce(is_new(reversed_date), false));

create view credits_export as
select
    concat('N', subscription_number, '-', period) as id,
    concat('C', customer_number) as cliente,
    concat('T', subscription_number, '-', period) as titulo,
    credit_date as data,
    money(credit_cents)::varchar as valor,
    credit_reason as motivo
from invoices
where is_new(credit_date)
union all
-- Goodwill that nobody has applied to an invoice yet.
select
    concat('N', subscription_number, '-', period, '-G'), concat('C', customer_number), null,
    due_date + 3, money(cents // 10)::varchar, 'cortesia'
from invoices
where draw(bits, 8) < 8 and is_new(due_date + 3);

-- No post code begins with 00, so no letter arrives anywhere.
create view contact_points_export as
select
    concat('E', customer_number) as contato,
    concat('C', customer_number) as cliente,
    'ENDERECO' as tipo,
    concat(
        'Rua ', picked(getvariable('company_words'), bits, 30), ', ', 1 + draw(bits, 31) % 900, ', Centro, 00',
        lpad((draw(bits, 32) % 1000)::varchar, 3, '0'), '-', lpad((draw(bits, 33) % 1000)::varchar, 3, '0'), ' ', city, ' - ', state_code
    ) as endereco,
    created_date as desde
from customers
inner join state_capitals using (state_code)
where created_date <= getvariable('day') and has_postal_address(bits)
order by customer_number;

-- One customer in five wants to be written to on WhatsApp.
create view consents_export as
select
    concat('W', customer_number) as consentimento,
    concat('C', customer_number) as cliente,
    'WHATSAPP' as canal,
    'S' as aceita,
    created_date as desde
from customers
where created_date <= getvariable('day') and draw(bits, 35) < 2000
order by customer_number;
