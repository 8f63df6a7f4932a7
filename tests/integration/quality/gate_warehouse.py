"""A warehouse one small, healthy night old: raw tables as the loader leaves them, marts as the models do."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import replace
from pathlib import Path

import duckdb

from regua.settings import Settings, load_settings
from regua.warehouse.store import writing

PROJECT_DIR = Path(__file__).resolve().parents[3]
AS_OF = dt.date(2026, 3, 10)
KNOWN_AT = dt.datetime.fromisoformat("2026-03-10 05:00:00.123456")
MAPPING = """
description: The source of these tests
files:
  customers: {glob: "c*.csv", mode: snapshot, feeds: {customers: {columns: {customer_id: id}}}}
  invoices:
    glob: "i*.csv"
    mode: snapshot
    feeds: {invoices: {columns: {invoice_id: a, customer_id: b, issue_date: c, due_date: d, amount: e}}}
  payments:
    glob: "p*.csv"
    mode: delta
    feeds: {payments: {columns: {payment_id: a, invoice_id: b, payment_date: c, amount: d}}}
  credits:
    glob: "k*.csv"
    mode: delta
    optional: true
    feeds: {credits: {columns: {credit_id: a, customer_id: b, applied_date: c, amount: d}}}
"""
# Four Tuesdays before the night, and the night: rows each file brought to each table.
RAW = """
insert into raw.customers by name
    select 'cus_' || n as customer_id, 'Fulana ' || n as name, 'individual' as person_type_code,
        '529.982.247-25' as document, 'fulana' || n || '@example.com' as email, 'SP' as state_code,
        's' as _source, 'c.csv' as _file, n as _line, 'b_customers' as _batch_id,
        timestamp '2026-03-10 05:00:00.123456' as _loaded_at
    from range(1, 101) as numbers (n);
insert into raw.invoices by name
    select 'inv_' || n as invoice_id, 'cus_' || (1 + n % 100) as customer_id, date '2026-02-01' as issue_date,
        date '2026-02-10' + (n % 40)::integer as due_date, 100.10 as amount, 'BRL' as currency_code,
        'open' as status_code, 'br-bank' as calendar_code, 's' as _source, 'i.csv' as _file, n as _line,
        'b_invoices' as _batch_id, timestamp '2026-03-10 05:00:00.123456' as _loaded_at
    from range(1, 401) as numbers (n);
insert into raw.payments by name
    select 'pay_' || n as payment_id, 'inv_' || n as invoice_id, date '2026-02-20' as payment_date,
        case when n % 2 = 0 then 100.10 else 40.05 end as amount, 'BRL' as currency_code, 's' as _source,
        'p.csv' as _file, n as _line, 'b_payments' as _batch_id, timestamp '2026-03-10 05:00:00.123456' as _loaded_at
    from range(1, 201) as numbers (n);
-- A version that was replaced: the same key twice in the table, once among the current rows.
insert into raw.invoices by name
    select * replace (50.00 as amount, 'b_old' as _batch_id, timestamp '2026-03-03 05:00:00' as _loaded_at)
    from raw.invoices where invoice_id = 'inv_1';
insert into raw.superseded values
    ('invoices', 'b_old', 1, timestamp '2026-03-10 05:00:00.123456', 'replaced');
insert into ops.batches
    select 'b_' || file_set || '_' || week, 's', file_set, file_set, file_set || week || '.csv', 'sha',
        timestamp '2026-03-10 05:00:00' - to_days((7 * week)::integer), mode, rows, 0, 0, rows, rows, 0, 0,
        0, 0, 0, 0, '[]', date '2026-03-10' - (7 * week)::integer, 1
    from range(1, 5) as weeks (week)
    cross join (values ('invoices', 'snapshot', 390), ('payments', 'delta', 210)) as usual (file_set, mode, rows);
insert into ops.batches
    select 'b_' || file_set, 's', file_set, file_set, 'x.csv', 'sha', timestamp '2026-03-10 05:00:00.123456', mode,
        rows, rows, 0, 0, 0, 0, 0, amount, amount, 0, 0, '[]', date '2026-03-10', 1
    from (values
        ('customers', 'snapshot', 100, 0.00), ('invoices', 'snapshot', 400, 40040.00),
        ('payments', 'delta', 200, 14015.00)
    ) as tonight (file_set, mode, rows, amount);
"""
MARTS = """
create schema marts;
create table marts.fct_invoices as
    select date '2026-03-10' as as_of_date, invoices.invoice_id, invoices.customer_id, invoices.currency_code,
        invoices.amount, coalesce(payments.amount, 0.00)::decimal(18, 2) as paid_amount,
        0.00::decimal(18, 2) as credited_amount,
        (invoices.amount - coalesce(payments.amount, 0))::decimal(18, 2) as open_amount,
        case when invoices.amount > coalesce(payments.amount, 0)
            then case when invoices.due_date < date '2026-03-10' then '1-30' else 'current' end end as aging_bucket_code
    from raw.invoices as invoices left join raw.payments as payments using (invoice_id)
    where invoices._batch_id <> 'b_old';
create table marts.fct_invoice_aging as
    select as_of_date, invoice_id, currency_code, open_amount, aging_bucket_code
    from marts.fct_invoices where open_amount > 0;
create table marts.agg_aging_daily as
    select as_of_date, currency_code, aging_bucket_code, count(*) as invoice_count,
        sum(open_amount)::decimal(18, 2) as open_amount
    from marts.fct_invoice_aging group by all;
insert into marts.agg_aging_daily values (date '2026-03-09', 'BRL', 'current', 300, 30000.00);
create table marts.agg_balance_movements_daily as
    select date '2026-03-10' as as_of_date, date '2026-03-09' as previous_as_of_date, 'BRL' as currency_code,
        movement_code, amount::decimal(18, 2) as amount
    from (values ('opening', 30000.00), ('issued', 1025.00), ('paid', -5000.00), ('closing', 26025.00))
        as movements (movement_code, amount);
-- One message to the customer of invoice 3 by e-mail tonight, and yesterday's of invoice 5.
create table marts.fct_dunning_decisions as
    select as_of_date, invoice_id, 'overdue_email' as step_code, 'cus_' || number as customer_id,
        'cus_' || number as contact_customer_id, 'email' as channel_code, date '2026-02-13' as cycle_date,
        60.05::decimal(18, 2) as open_amount, 'eligible' as outcome_code, 'key_' || number as step_key,
        'message_' || number as message_id
    from (values (date '2026-03-10', 'inv_3', 4), (date '2026-03-09', 'inv_5', 6))
        as decided (as_of_date, invoice_id, number);
create table marts.fct_dunning_message_lines as
    select as_of_date, message_id, invoice_id, open_amount from marts.fct_dunning_decisions;
create table marts.fct_dunning_messages as
    select as_of_date, message_id, contact_customer_id, channel_code, open_amount, 1::bigint as line_count
    from marts.fct_dunning_decisions;
create table marts.fct_payer_signals as
    select date '2026-03-10' as as_of_date, 'cus_4' as contact_customer_id;
create table marts.regua_decision_trace as
    select date '2026-03-10' as as_of_date, 'inv_3' as invoice_id;
create table marts.dim_customers as
    select date '2026-03-10' as as_of_date, customer_id, true as has_email from raw.customers;
"""
# What was read back from the ledger of tonight's one message.
PLAN = """
create schema plan;
create table plan.messages as
    select 'message_4' as message_id, 'cus_4' as customer_id, 'email' as channel_code, 'BRL' as currency_code,
        'overdue_email' as step_code, 'planned' as state_code, 'Fulana 3' as name, 'fulana3@example.com' as address,
        timestamp '2026-03-10 12:00:00' as opens_at, timestamp '2026-03-10 22:00:00' as closes_at,
        60.05::decimal(18, 2) as open_amount, 0::decimal(18, 2) as credit_amount, 1.20::decimal(18, 2) as fine_amount,
        0.50::decimal(18, 2) as interest_amount, 61.75::decimal(18, 2) as payable_amount;
create table plan.lines as
    select message_id, 'inv_3' as invoice_id, customer_id, open_amount, credit_amount, fine_amount, interest_amount,
        payable_amount
    from plan.messages;
create table plan.steps as
    select 'key_4' as step_key, message_id, 'inv_3' as invoice_id, step_code, date '2026-02-13' as cycle_date
    from plan.messages;
create table plan.volumes as
    select 1::bigint as message_count, 1.0::double as mean_count, 200.0::double as highest_count;
create table plan.supplier as
    select 'Fornecedora Ltda.' as legal_name, '11222333000181' as cnpj, 'Rua A, 1, São Paulo' as address;
create table plan.faults (message_id varchar, template_code varchar, channel_code varchar, fault_code varchar);
"""
# Tonight's list: the subscription of invoice 201, 27 days past due; and invoice 202 for the credit bureau.
SUSPENSION = """
update raw.invoices set subscription_id = 'con_1' where invoice_id = 'inv_201';
insert into raw.subscriptions by name
    select 'con_1' as subscription_id, 'cus_2' as customer_id, 'active' as status_code, date '2025-01-01' as start_date,
        'BRL' as currency_code, true as has_suspension_clause, 's' as _source, 's.csv' as _file, 1 as _line,
        'b_subscriptions' as _batch_id, timestamp '2026-03-10 05:00:00.123456' as _loaded_at;
insert into raw.touches by name
    select touch_id, customer_id, invoice_id, 'notice' as step_code, 'email' as channel_code,
        planned_date, 'delivered' as fate_code, planned_date as delivered_date, 's' as _source, 't.csv' as _file,
        1 as _line, 'b_touches' as _batch_id, timestamp '2026-03-10 05:00:00.123456' as _loaded_at
    from (values
        ('touch_1', 'cus_2', 'inv_201', date '2026-03-02'), ('touch_2', 'cus_3', 'inv_202', date '2026-02-20')
    ) as delivered (touch_id, customer_id, invoice_id, planned_date);
create table marts.fct_subscription_standing as
    select date '2026-03-10' as as_of_date, 'con_1' as subscription_id, 'cus_2' as contact_customer_id,
        'suspended' as level_code, 100.10::decimal(18, 2) as balance_amount, 'touch_1' as notice_id,
        false as is_feed_stale;
create schema suspension;
create table suspension.list as
    select 'con_1' as subscription_id, 'cus_2' as customer_id, 'suspended' as standing_code, '2026-03-10' as since_date,
        'over_threshold' as reason_code, 'inv_201' as oldest_invoice_id, '2026-02-11' as oldest_due_date,
        '27' as days_past_due, '1' as invoice_count, '100.10' as balance_amount, 'BRL' as currency_code,
        'touch_1' as notice_id, '2026-03-02' as notice_delivered_date, 'stop_invoicing' as billing_hint_code;
create table suspension.changes as select subscription_id, 'suspend' as change_code from suspension.list;
create table suspension.suspending as
    select subscription_id, customer_id, oldest_invoice_id as invoice_id from suspension.list;
create table suspension.bureau as select 'inv_202' as invoice_id, 'cus_3' as customer_id, 'touch_2' as notice_id;
"""


def build_healthy_home(home: Path) -> Settings:
    """Settings of a home of its own, with the project's suites and a warehouse in which all gates are green."""
    sources_dir = home / "sources"
    sources_dir.mkdir(parents=True)
    (sources_dir / "s.yml").write_text(MAPPING, encoding="utf-8")
    settings = home_settings(home)
    with writing(settings) as warehouse:
        for statement in (RAW + MARTS + PLAN + SUSPENSION).split(";\n"):
            if statement.strip():
                warehouse.execute(statement)
    return settings


def home_settings(home: Path) -> Settings:
    settings = load_settings(
        {
            "REGUA_ENV": "test",
            "REGUA_HOME": str(home),
            "REGUA_PROJECT_DIR": str(PROJECT_DIR),
            "REGUA_SOURCES_DIR": str(home / "sources"),
            "REGUA_SOURCES": "s",
        }
    )
    return replace(settings, warehouse_memory="1GB", warehouse_threads=2)


def changed_copy(healthy: Settings, home: Path, change: str) -> Settings:
    """A copy of a healthy home in which `change` (SQL) was done to the warehouse."""
    shutil.copytree(healthy.home, home, ignore=shutil.ignore_patterns("quality"))
    settings = home_settings(home)
    with duckdb.connect(str(settings.warehouse_path)) as warehouse:
        warehouse.execute(change)
    return settings
