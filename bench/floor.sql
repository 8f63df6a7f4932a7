-- The floor: what a night costs when nothing but the numbers is wanted. Exports in, marts out, in one DuckDB process;
-- no history, no quarantine, no tests, no gates, no orchestration. Its results must be equal to the night's.
-- Reads the variables `exports` (a folder), `seeds` (the dbt project's) and `as_of`; writes Parquet to the current folder.
-- Right for clean exports of the sample only: one currency, each key once, nothing unreadable.
set preserve_insertion_order = false;

create temp table effective_days as
with days as (
    select unnest(generate_series(date '1990-01-01', date '2060-12-31', interval 1 day))::date as due_date
),

holidays as (
    select distinct holiday_date from read_csv([getvariable('seeds') || '/bank_holidays.csv', getvariable('seeds') || '/extra_bank_holidays.csv'],
        header = true, columns = {'calendar_code': 'varchar', 'holiday_date': 'date', 'holiday_name': 'varchar'})
)

select
    due_date,
    coalesce(
        min(due_date) filter (where isodow(due_date) < 6 and due_date not in (from holidays))
            over (order by due_date rows between current row and unbounded following),
        due_date
    ) as effective_due_date
from days;

create temp table payments as
select titulo as invoice_id, data_pagamento as payment_date, valor_recebido as amount
from read_csv(getvariable('exports') || '/payments_*.csv', header = true, columns = {
    'recebimento': 'varchar', 'titulo': 'varchar', 'data_pagamento': 'date', 'data_registro': 'date',
    'valor_recebido': 'decimal(18, 2)', 'meio': 'varchar', 'data_estorno': 'date'
})
where data_pagamento <= getvariable('as_of') and (data_estorno is null or data_estorno > getvariable('as_of'));

create temp table credits as
select titulo as invoice_id, data as applied_date, valor as amount
from read_json(getvariable('exports') || '/credits_*.jsonl.gz', format = 'newline_delimited', columns = {
    'titulo': 'varchar', 'data': 'date', 'valor': 'decimal(18, 2)'
})
where titulo is not null and data <= getvariable('as_of');

create table fct_invoices as
with invoices as (
    select
        titulo as invoice_id,
        cliente as customer_id,
        contrato as subscription_id,
        case forma_cobranca when 'BOL' then 'boleto' when 'PIX' then 'pix' when 'PXA' then 'pix_automatico' else 'card' end
            as payment_method_code,
        data_emissao as issue_date,
        data_vencimento as due_date,
        valor as amount,
        case when data_cancelamento is not null then data_cancelamento when situacao = 'C' then data_emissao end <= getvariable('as_of')
            as is_cancelled,
        case when data_baixa is not null then data_baixa when situacao = 'B' then data_emissao end <= getvariable('as_of')
            as is_written_off
    from read_csv(getvariable('exports') || '/invoices_*.csv', header = true, columns = {
        'titulo': 'varchar', 'cliente': 'varchar', 'contrato': 'varchar', 'nota_fiscal': 'varchar', 'data_emissao': 'date',
        'data_vencimento': 'date', 'valor': 'decimal(18, 2)', 'situacao': 'varchar', 'data_cancelamento': 'date',
        'data_baixa': 'date', 'forma_cobranca': 'varchar', 'link_pagamento': 'varchar', 'linha_digitavel': 'varchar',
        'pix_copia_e_cola': 'varchar'
    })
    where situacao <> 'R' and data_emissao <= getvariable('as_of')
),

paid as (
    select invoice_id, sum(amount)::decimal(18, 2) as amount, count(*) as payment_count, max(payment_date) as last_date
    from payments
    group by invoice_id
),

credited as (
    select invoice_id, sum(amount)::decimal(18, 2) as amount, count(*) as credit_count, max(applied_date) as last_date
    from credits
    group by invoice_id
),

balances as (
    select
        invoices.*,
        coalesce(effective_days.effective_due_date, due_date) as effective_due_date,
        coalesce(paid.amount, 0.00) as paid_amount,
        coalesce(credited.amount, 0.00) as credited_amount,
        (invoices.amount - paid_amount - credited_amount)::decimal(18, 2) as balance_amount,
        coalesce(is_cancelled, false) or coalesce(is_written_off, false) as is_gone,
        coalesce(payment_count, 0) + coalesce(credit_count, 0) as settlement_count,
        coalesce(greatest(paid.last_date, credited.last_date), issue_date) as last_settlement_date
    from invoices
    left join paid using (invoice_id)
    left join credited using (invoice_id)
    left join effective_days using (due_date)
),

-- Where more came than was owed, the invoice was settled on the day on which the sum first covered it.
overpaid_settlements as (
    select invoice_id, min(settling_date) as settled_date
    from (
        select
            invoice_id,
            balances.amount as invoice_amount,
            settling.settling_date,
            sum(settling.amount) over (partition by invoice_id order by settling.settling_date) as settled_amount
        from balances
        inner join (
            select invoice_id, payment_date as settling_date, amount from payments
            union all
            select invoice_id, applied_date, amount from credits
        ) as settling using (invoice_id)
        where balance_amount < 0 and settlement_count > 1
    )
    where settled_amount >= invoice_amount
    group by invoice_id
),

stated as (
    select
        * exclude (settled_date),
        if(not is_gone and balance_amount > 0, balance_amount, 0.00) as open_amount,
        case
            when is_cancelled then 'cancelled'
            when is_written_off then 'written_off'
            when balance_amount <= 0 then 'paid'
            when balance_amount < amount then 'partially_paid'
            else 'open'
        end as status_code,
        case when status_code = 'paid' then greatest(issue_date, coalesce(settled_date, last_settlement_date)) end as settled_date,
        open_amount > 0 and effective_due_date < getvariable('as_of') as is_overdue,
        case
            when open_amount = 0 then null
            when is_overdue then getvariable('as_of') - due_date
            else least(0, getvariable('as_of') - due_date)
        end::integer as days_past_due
    from balances
    left join overpaid_settlements using (invoice_id)
)

select
    getvariable('as_of') as as_of_date,
    invoice_id,
    customer_id,
    subscription_id,
    'br-bank' as calendar_code,
    payment_method_code,
    'BRL' as currency_code,
    issue_date,
    due_date,
    effective_due_date,
    amount,
    paid_amount,
    credited_amount,
    open_amount,
    case when is_cancelled then paid_amount when balance_amount < 0 then (-balance_amount)::decimal(18, 2) else 0.00 end
        as excess_amount,
    status_code,
    settled_date,
    days_past_due,
    case when settled_date > effective_due_date then settled_date - due_date when settled_date is not null then 0 end::integer
        as days_late,
    is_overdue,
    is_overdue and days_past_due <= 4 as is_small_delay,
    case
        when days_past_due <= 0 then 'current'
        when days_past_due <= 30 then '1-30'
        when days_past_due <= 60 then '31-60'
        when days_past_due <= 90 then '61-90'
        when days_past_due > 90 then '90+'
    end as aging_bucket_code
from stated;

create table fct_invoice_aging as
select
    as_of_date, invoice_id, customer_id, currency_code, due_date, effective_due_date, open_amount, days_past_due,
    aging_bucket_code, is_overdue, is_small_delay
from fct_invoices
where open_amount > 0;

create table agg_aging_daily as
select
    getvariable('as_of') as as_of_date,
    'BRL' as currency_code,
    aging_bucket_code,
    sort_order,
    count(invoice_id) as invoice_count,
    count(distinct customer_id) as customer_count,
    coalesce(sum(open_amount), 0)::decimal(18, 2) as open_amount,
    count(*) filter (where is_small_delay) as small_delay_count,
    coalesce(sum(open_amount) filter (where is_small_delay), 0)::decimal(18, 2) as small_delay_amount
from (values ('current', 1), ('1-30', 2), ('31-60', 3), ('61-90', 4), ('90+', 5)) as buckets (aging_bucket_code, sort_order)
left join fct_invoice_aging using (aging_bucket_code)
group by aging_bucket_code, sort_order;

create macro check_digit(document, weights) as
    (11 - list_sum(list_transform(weights, lambda weight, place: (ascii(document[place]) - 48) * weight)) % 11) % 11 % 10;
create macro is_right(document, weights) as check_digit(document, weights) = ascii(document[len(weights) + 1]) - 48;

create table dim_customers as
with customers as (
    select
        *,
        nullif(regexp_replace(upper(CNPJ_CPF), '[^0-9A-Z]', '', 'g'), '') as document,
        regexp_replace(TELEFONE, '[^0-9]', '', 'g') as phone_digits
    -- Names are not served, so it does not matter that cp1252 is not quite latin-1.
    from read_csv(getvariable('exports') || '/customers_*.csv', header = true, delim = ';', encoding = 'latin-1', columns = {
        'CODIGO': 'varchar', 'NOME_RAZAO_SOCIAL': 'varchar', 'TIPO_PESSOA': 'varchar', 'CNPJ_CPF': 'varchar', 'EMAIL': 'varchar',
        'TELEFONE': 'varchar', 'UF': 'varchar', 'SEGMENTO': 'varchar', 'DATA_CADASTRO': 'date', 'CODIGO_UNIFICADO': 'varchar'
    }, dateformat = '%d/%m/%Y')
),

active_subscriptions as (
    select CLIENTE as customer_id, count(*) as active_subscription_count
    from read_csv(getvariable('exports') || '/subscriptions_*.csv', header = true, delim = ';', encoding = 'latin-1', columns = {
        'CONTRATO': 'varchar', 'CLIENTE': 'varchar', 'PLANO': 'varchar', 'VENDEDOR': 'varchar', 'SITUACAO': 'varchar', 'INICIO_VIGENCIA': 'date',
        'FIM_VIGENCIA': 'date', 'VALOR_MENSAL': 'varchar', 'PRE_PAGO': 'varchar', 'CLAUSULA_SUSPENSAO': 'varchar'
    }, dateformat = '%d/%m/%Y')
    where SITUACAO = 'ATIVO' and INICIO_VIGENCIA <= getvariable('as_of')
        and (FIM_VIGENCIA is null or FIM_VIGENCIA >= getvariable('as_of'))
    group by CLIENTE
),

invoiced as (
    select
        customer_id,
        min(issue_date) as first_issue_date,
        count(*) as invoice_count,
        count(*) filter (where open_amount > 0) as open_invoice_count,
        count(*) filter (where is_overdue) as overdue_invoice_count,
        max(days_past_due) filter (where is_overdue) as max_days_past_due
    from fct_invoices
    group by customer_id
)

select
    getvariable('as_of') as as_of_date,
    coalesce(CODIGO, invoiced.customer_id) as customer_id,
    CODIGO is not null as is_registered,
    case TIPO_PESSOA when 'F' then 'individual' when 'J' then 'company' end as person_type_code,
    UF as state_code,
    SEGMENTO as segment_code,
    DATA_CADASTRO as created_date,
    CODIGO_UNIFICADO as merged_into_customer_id,
    coalesce(
        replace(document, document[1], '') <> '' and case
            when regexp_full_match(document, '[0-9]{11}') then
                is_right(document, [10, 9, 8, 7, 6, 5, 4, 3, 2]) and is_right(document, [11, 10, 9, 8, 7, 6, 5, 4, 3, 2])
            when regexp_full_match(document, '[0-9A-Z]{12}[0-9]{2}') then
                is_right(document, [5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2])
                and is_right(document, [6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2])
        end,
        false
    ) as is_document_valid,
    coalesce(regexp_full_match(
        lower(trim(EMAIL)), '[a-z0-9.!#$%&*+/=?^_`{|}~-]+@[a-z0-9-]+([.][a-z0-9-]+)*[.][a-z]{2,}'
    ), false) as has_email,
    coalesce(regexp_full_match(
        phone_digits,
        '(0|55|0055)?(1[1-9]|2[12478]|3[1-578]|4[1-9]|5[1345]|6[1-9]|7[134579]|8[1-9]|9[1-9])(9[0-9]{8}|[2-5][0-9]{7})'
    ) and (TELEFONE not like '+%' or phone_digits like '55%'), false) as has_phone,
    coalesce(active_subscription_count, 0) as active_subscription_count,
    first_issue_date,
    coalesce(invoice_count, 0) as invoice_count,
    coalesce(open_invoice_count, 0) as open_invoice_count,
    coalesce(overdue_invoice_count, 0) as overdue_invoice_count,
    max_days_past_due
from customers
full join invoiced on CODIGO = invoiced.customer_id
left join active_subscriptions on coalesce(CODIGO, invoiced.customer_id) = active_subscriptions.customer_id;

copy dim_customers to 'dim_customers.parquet' (format parquet);
copy fct_invoices to 'fct_invoices.parquet' (format parquet);
copy fct_invoice_aging to 'fct_invoice_aging.parquet' (format parquet);
copy agg_aging_daily to 'agg_aging_daily.parquet' (format parquet);
