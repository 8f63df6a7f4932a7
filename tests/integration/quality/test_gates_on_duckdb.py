"""Both gates, through Great Expectations, on real DuckDB files. Each expectation is seen red once."""

from __future__ import annotations

import datetime as dt
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlalchemy
from tests.integration.quality.gate_warehouse import AS_OF, KNOWN_AT, build_healthy_home, changed_copy

from regua.contract.entities import Entity, load_contract
from regua.quality import gate as gate_module
from regua.quality import gx_checkpoint
from regua.quality.gate import Gate, GateReport, RedGateError, gate_expectations, run_gate
from regua.settings import Settings

pytestmark = pytest.mark.timeout(120)

Findings = dict[str, str]
CREDIT = (
    "insert into raw.credits by name select 'cre_1' as credit_id, 'cus_1' as customer_id, 'inv_1' as invoice_id, "
    "date '2026-03-01' as applied_date, 10.00 as amount, 'BRL' as currency_code, 's' as _source, 'k.csv' as _file, "
    "1 as _line, 'b_credits' as _batch_id, timestamp '2026-03-10 05:00:00.123456' as _loaded_at;"
    "insert into ops.batches select * replace ('b_credits' as _batch_id, 'credits' as file_set, 'credits' as entity, "
    "1 as read_count, 1 as accepted_count, 10.00 as read_amount, 10.00 as accepted_amount) "
    "from ops.batches where _batch_id = 'b_payments';"
)
SUBSCRIPTION = (
    "insert into raw.subscriptions by name select 'sub_1' as subscription_id, 'cus_1' as customer_id, "
    "'active' as status_code, date '2026-01-01' as start_date, 9.90 as monthly_amount, 'BRL' as currency_code, "
    "'s' as _source, 'u.csv' as _file, 1 as _line, 'b_subscriptions' as _batch_id, "
    "timestamp '2026-03-10 05:00:00.123456' as _loaded_at;"
    "insert into ops.batches select * replace ('b_subscriptions' as _batch_id, 'subscriptions' as file_set, "
    "'subscriptions' as entity, 1 as read_count, 1 as accepted_count, 0 as read_amount, 0 as accepted_amount) "
    "from ops.batches where _batch_id = 'b_payments';"
)
ENTITIES = tuple(load_contract())
BILLED = ("customers", "subscriptions", "invoices", "payments", "credits")
# Dated facts, touches and changes of standing: the rows of each are made up here.
DATED = tuple(entity for entity in load_contract().values() if entity.name not in BILLED)
PAID_IN_MONEY = tuple(entity.name for entity in load_contract().values() if entity.money)


def _one_fact(entity: Entity) -> str:
    """One good row of a dated entity, with its batch."""
    known = {"customers": "'cus_1'", "invoices": "'inv_1'", "agreements": "'agreements_1'"}
    samples = {"text": "'x'", "money": "10.00", "percentage": "50", "date": "date '2026-03-01'", "flag": "true"}
    values = {
        column.name: known.get(column.references or "") or samples.get(column.type) or f"'{(*column.values, 'x')[0]}'"
        for column in entity.columns
    } | {entity.key: f"'{entity.name}_1'"}
    written = ", ".join(f"{value} as {name}" for name, value in values.items())
    amount = "10.00" if entity.money else "0"
    return (
        f"insert into raw.{entity.name} by name select {written}, 's' as _source, 'f.csv' as _file, 1 as _line, "
        f"'b_{entity.name}' as _batch_id, timestamp '2026-03-10 05:00:00.123456' as _loaded_at;"
        f"insert into ops.batches select * replace ('b_{entity.name}' as _batch_id, '{entity.name}' as file_set, "
        f"'{entity.name}' as entity, 1 as read_count, 1 as accepted_count, {amount} as read_amount, "
        f"{amount} as accepted_amount) from ops.batches where _batch_id = 'b_payments';"
    )


FACTS = "".join(_one_fact(entity) for entity in DATED)


def _for_each(entities: tuple[str, ...], expectation: str, change: str, finding: str) -> tuple[str, Findings]:
    """One run in which every entity is broken in the same way: each must turn its own expectation red."""
    return (
        CREDIT + SUBSCRIPTION + FACTS + ";".join(change.format(entity) for entity in entities),
        {expectation.format(entity): finding.format(entity) for entity in entities},
    )


# What was done to the warehouse, and by expectation that must turn red, what its finding must say.
RAW_CASES = [
    _for_each(
        ENTITIES,
        "{}_have_the_columns_of_the_contract",
        "alter table raw.{} add column extra varchar",
        "column_name=extra",
    ),
    (
        "alter table raw.invoices alter amount type double",
        {"invoices_have_the_columns_of_the_contract": "found_type_code=DOUBLE"},
    ),
    ("drop table raw.payments", {"payments_have_the_columns_of_the_contract": "column_name=payment_id"}),
    _for_each(
        ENTITIES,
        "{}_have_one_current_version_a_key",
        "insert into raw.{0} select * from raw.{0} limit 1",
        "key_count=1, row_count=2",
    ),
    (
        "delete from raw.superseded",
        {"invoices_have_one_current_version_a_key": "key_count=1, row_count=2, example_id=inv_1"},
    ),
    (
        "update raw.payments set payment_id = null where _line = 7",
        {"payments_have_one_current_version_a_key": "key_count=1"},
    ),
    (
        "update raw.customers set state_code = 'XX' where _line = 1",
        {
            "customers_hold_values_of_the_contract": "column_name=state_code, rule_code=listed, row_count=1, "
            "example_id=cus_1"
        },
    ),
    (
        (SUBSCRIPTION + "update raw.subscriptions set monthly_amount = -1"),
        {"subscriptions_hold_values_of_the_contract": "rule_code=minimum"},
    ),
    (
        "update raw.invoices set due_date = '1899-12-31' where _line = 2",
        {"invoices_hold_values_of_the_contract": "column_name=due_date, rule_code=range"},
    ),
    (
        "update raw.payments set payment_date = null where _line = 2",
        {"payments_hold_values_of_the_contract": "column_name=payment_date, rule_code=required"},
    ),
    (
        (CREDIT + "update raw.credits set currency_code = 'ARS'"),
        {"credits_hold_values_of_the_contract": "column_name=currency_code, rule_code=listed"},
    ),
    (
        (SUBSCRIPTION + "update raw.subscriptions set customer_id = 'cus_x'"),
        {"subscriptions_refer_to_rows_that_exist": "orphan_pct=100.0"},
    ),
    (
        "update raw.invoices set customer_id = 'cus_x' where _line between 1 and 3",
        {"invoices_refer_to_rows_that_exist": "orphan_count=3, row_count=400, example_id=cus_x, orphan_pct=0.75"},
    ),
    (
        (
            "insert into raw.superseded select 'invoices', _batch_id, _line, _loaded_at, 'removed' from raw.invoices "
            "where _line between 5 and 6"
        ),
        {"payments_refer_to_rows_that_exist": "orphan_count=2, row_count=200"},
    ),
    (
        (CREDIT + "update raw.credits set invoice_id = 'inv_x'"),
        {"credits_refer_to_rows_that_exist": "example_id=inv_x"},
    ),
    _for_each(
        ENTITIES,
        "{}_are_as_many_as_their_batches_say",
        "delete from raw.{0} where _line = 1 and _batch_id = 'b_{0}'",
        "batch_id=b_{}",
    ),
    _for_each(
        ("touches",),
        "{}_hold_values_of_the_contract",
        "update raw.{0} set planned_date = null where touch_id = '{0}_1'",
        "column_name=planned_date, rule_code=required, row_count=1, example_id={}_1",
    ),
    _for_each(
        ("standing_changes",),
        "{}_hold_values_of_the_contract",
        "update raw.{0} set as_of_date = null where change_id = '{0}_1'",
        "column_name=as_of_date, rule_code=required, row_count=1, example_id={}_1",
    ),
    _for_each(
        tuple(entity.name for entity in DATED if entity.is_dated),
        "{}_hold_values_of_the_contract",
        "update raw.{} set valid_from_date = null",
        "column_name=valid_from_date, rule_code=required, row_count=1, example_id={}_1",
    ),
    _for_each(
        tuple(entity.name for entity in DATED if entity.needs_one_of),
        "{}_hold_values_of_the_contract",
        "update raw.{} set customer_id = null, invoice_id = null",
        "column_name=customer_id, rule_code=required, row_count=1",
    ),
    (
        (FACTS + "update raw.waivers set waived_pct = 100.01"),
        {"waivers_hold_values_of_the_contract": "column_name=waived_pct, rule_code=range"},
    ),
    (
        # What these refer to is gone.
        (
            FACTS + "insert into raw.superseded select entity, _batch_id, _line, _loaded_at, 'removed' from ("
            "select 'customers' as entity, * from raw.customers union all by name "
            "select 'invoices' as entity, * from raw.invoices union all by name "
            "select 'agreements' as entity, * from raw.agreements)"
        ),
        {
            f"{entity.name}_refer_to_rows_that_exist": "orphan_pct=100.0"
            for entity in DATED
            if entity.name != "agreements"
        },
    ),
    (
        (FACTS + "update raw.agreements set customer_id = 'cus_x'"),
        {"agreements_refer_to_rows_that_exist": "example_id=cus_x"},
    ),
    _for_each(
        PAID_IN_MONEY,
        "{}_are_as_many_as_their_batches_say",
        "update raw.{0} set amount = amount + 0.01 where _line = 1 and _batch_id = 'b_{0}'",
        "batch_id=b_{}",
    ),
    (
        "update ops.batches set _loaded_at = timestamp '2026-03-09 02:59:59' where _batch_id = 'b_payments'",
        {"file_sets_are_fresh": "file_set=s.payments, loaded_date=2026-03-08, age_days=2, max_age_days=1"},
    ),
    (
        "delete from ops.batches where file_set = 'customers'",
        {"file_sets_are_fresh": "file_set=s.customers, loaded_date=none"},
    ),
    ("delete from ops.batches", {"file_sets_are_fresh": "3 findings"}),
    (
        "update ops.batches set read_count = 84, accepted_count = 84 where _batch_id = 'b_payments'",
        {
            "batches_are_as_large_as_on_the_same_weekday": "file_set=s.payments, table_name=payments, row_count=84, "
            "usual_row_count=210.0"
        },
    ),
    (
        "update ops.batches set read_count = 0, accepted_count = 0 where _batch_id = 'b_payments'",
        {"batches_are_as_large_as_on_the_same_weekday": "row_count=0"},
    ),
    (
        "update ops.batches set read_count = 800 where _batch_id = 'b_invoices'",
        {"batches_are_as_large_as_on_the_same_weekday": "rows_per_file=800"},
    ),
    (
        "update ops.batches set duplicate_count = 1 where _batch_id = 'b_invoices_4'",
        {"batches_account_for_every_row": "duplicate_count=1"},
    ),
    (
        "update ops.batches set read_amount = 14015.01 where _batch_id = 'b_payments'",
        {"batches_account_for_every_row": "14015.01"},
    ),
    (
        ("update ops.batches set read_count = read_count + 1, quarantined_count = 1 where _batch_id = 'b_payments'"),
        {"quarantine_holds_what_the_batches_rejected": "quarantined_count=1, stored_count=0"},
    ),
]


def _said(entity: str, columns: str) -> str:
    """A dated fact that holds since the first of the month, known from the night on."""
    return (
        f"insert into raw.{entity} by name select {columns}, date '2026-03-01' as valid_from_date, 's' as _source, "
        f"'f.csv' as _file, 1 as _line, 'b_{entity}' as _batch_id, "
        "timestamp '2026-03-10 05:00:00.123456' as _loaded_at;"
    )


MARTS_CASES = [
    ("update marts.fct_invoices set as_of_date = '2026-03-09'", {"marts_are_of_this_night": "fct_invoices"}),
    ("update marts.dim_customers set as_of_date = null", {"marts_are_of_this_night": "dim_customers"}),
    (
        "delete from marts.agg_aging_daily where as_of_date = '2026-03-10'",
        {"marts_are_of_this_night": "agg_aging_daily"},
    ),
    ("delete from marts.agg_balance_movements_daily", {"marts_are_of_this_night": "agg_balance_movements_daily"}),
    (
        "insert into marts.fct_invoice_aging select * from marts.fct_invoice_aging where invoice_id = 'inv_3'",
        {"open_invoices_stand_in_one_bucket": "example_id=inv_3"},
    ),
    (
        "delete from marts.fct_invoice_aging where invoice_id = 'inv_5'",
        {"open_invoices_stand_in_one_bucket": "example_id=inv_5"},
    ),
    (
        (
            "update marts.fct_invoices set aging_bucket_code = null where invoice_id = 'inv_7';"
            "update marts.fct_invoice_aging set aging_bucket_code = null where invoice_id = 'inv_7'"
        ),
        {"open_invoices_stand_in_one_bucket": "example_id=inv_7"},
    ),
    (
        (
            "update marts.agg_aging_daily set open_amount = open_amount - 0.01 "
            "where as_of_date = '2026-03-10' and aging_bucket_code = '1-30'"
        ),
        {"buckets_partition_the_open_balance": "currency_code=BRL"},
    ),
    (
        (
            "update marts.agg_aging_daily set invoice_count = invoice_count + 1 "
            "where as_of_date = '2026-03-10' and aging_bucket_code = 'current'"
        ),
        {"buckets_partition_the_open_balance": "bucket_count=301, invoice_count=300"},
    ),
    (
        ("update marts.agg_balance_movements_daily set amount = amount + 0.01 where movement_code = 'paid'"),
        {"money_conserves_against_the_day_before": "currency_code=BRL"},
    ),
    (
        "update marts.agg_aging_daily set open_amount = 29999.99 where as_of_date = '2026-03-09'",
        {"money_conserves_against_the_day_before": "published_before_amount=29999.99"},
    ),
    (
        "delete from marts.agg_balance_movements_daily where movement_code = 'closing'",
        {"money_conserves_against_the_day_before": "closing_amount=none"},
    ),
    (
        "delete from marts.fct_invoices where invoice_id = 'inv_2'",
        {"invoices_agree_with_raw": "raw_count=400, mart_count=399"},
    ),
    (
        ("update marts.fct_invoices set amount = amount + 0.01 where invoice_id = 'inv_2'"),
        {"invoices_agree_with_raw": "raw_amount=40040.00, mart_amount=40040.01"},
    ),
    (
        "update raw.payments set reversed_date = '2026-03-10' where _line = 1",
        {"payments_agree_with_raw": "mart_amount=14015.00"},
    ),
    ("update marts.fct_invoices set paid_amount = 0", {"payments_agree_with_raw": "mart_amount=0.00"}),
    (
        "update marts.regua_decision_trace set as_of_date = '2026-03-09'",
        {"marts_are_of_this_night": "regua_decision_tr"},
    ),
    ("update marts.fct_payer_signals set as_of_date = '2026-03-09'", {"marts_are_of_this_night": "fct_payer_signals"}),
    (
        "insert into marts.fct_dunning_decisions select * replace ('over_limit' as outcome_code, null as step_key) "
        "from marts.fct_dunning_decisions where invoice_id = 'inv_3'",
        {"dunning_decides_each_candidate_once": "invoice_id=inv_3"},
    ),
    (
        "update marts.fct_dunning_decisions set step_key = null where invoice_id = 'inv_3'",
        {"dunning_decides_each_candidate_once": "invoice_id=inv_3"},
    ),
    (
        "insert into marts.fct_dunning_decisions select * replace (date '2026-03-05' as as_of_date) "
        "from marts.fct_dunning_decisions where invoice_id = 'inv_3'",
        {"dunning_repeats_no_step": "sent_date=2026-03-05"},
    ),
    (
        "update marts.fct_dunning_messages set open_amount = 60.06 where message_id = 'message_4'",
        {"dunning_messages_add_up": "open_amount=60.06, lines_amount=60.05"},
    ),
    (
        "update marts.fct_dunning_messages set open_amount = 60.06 where message_id = 'message_4';"
        "update marts.fct_dunning_message_lines set open_amount = 60.06 where message_id = 'message_4'",
        {"dunning_messages_add_up": "invoices_amount=60.05"},
    ),
    (
        "delete from marts.fct_dunning_message_lines where message_id = 'message_4';"
        "delete from marts.fct_dunning_messages where message_id = 'message_4'",
        {"dunning_messages_add_up": "message_id=message_4"},
    ),
    (
        "update marts.fct_dunning_decisions set invoice_id = 'inv_2' where invoice_id = 'inv_3';"
        "update marts.fct_dunning_message_lines set invoice_id = 'inv_2', open_amount = 0 where invoice_id = 'inv_3';"
        "update marts.fct_dunning_messages set open_amount = 0 where message_id = 'message_4'",
        {"dunning_writes_to_nobody_who_must_be_left_alone": "reason_code=paid, invoice_id=inv_2"},
    ),
    (
        _said("disputes", "'dis_1' as dispute_id, 'inv_3' as invoice_id"),
        {"dunning_writes_to_nobody_who_must_be_left_alone": "reason_code=disputed"},
    ),
    (
        _said("agreements", "'agr_1' as agreement_id, 'cus_4' as customer_id")
        + _said(
            "agreement_invoices", "'cov_1' as agreement_invoice_id, 'agr_1' as agreement_id, 'inv_3' as invoice_id"
        ),
        {"dunning_writes_to_nobody_who_must_be_left_alone": "reason_code=under_agreement"},
    ),
    (
        _said(
            "consents", "'con_1' as consent_id, 'cus_4' as customer_id, 'email' as channel_code, false as is_opted_in"
        ),
        {"dunning_writes_to_nobody_who_must_be_left_alone": "reason_code=opted_out"},
    ),
    (CREDIT, {"credits_agree_with_raw": "raw_amount=10.00, mart_amount=0.00"}),
    (
        "alter table marts.dim_customers add column customer_name varchar",
        {"marts_name_no_personal_column": "column_name=customer_name"},
    ),
]

PLAN_CASES = [
    ("delete from plan.messages", {"plan_is_what_the_night_decided": "message_id=message_4"}),
    (
        "insert into plan.messages select * replace ('message_5' as message_id) from plan.messages",
        {"plan_is_what_the_night_decided": "message_id=message_5"},
    ),
    ("update plan.messages set customer_id = 'cus_5'", {"plan_is_what_the_night_decided": "message_id=message_4"}),
    ("update plan.messages set channel_code = 'sms'", {"plan_is_what_the_night_decided": "state_code=planned"}),
    ("insert into plan.steps select * from plan.steps", {"plan_keys_are_unique": "invoice_id=inv_3"}),
    (
        "insert into plan.steps select * replace ('key_5' as step_key) from plan.steps",
        {"plan_keys_are_unique": "row_count=2"},
    ),
    ("delete from plan.steps", {"plan_keys_are_unique": "row_count=0"}),
    ("update plan.messages set address = 'fulana3'", {"plan_addresses_are_valid": "message_id=message_4"}),
    ("update plan.messages set address = null", {"plan_addresses_are_valid": "message_id=message_4"}),
    ("update plan.messages set name = ' '", {"plan_addresses_are_valid": "message_id=message_4"}),
    (
        "update plan.messages set channel_code = 'sms', address = '+551134567890'",
        {"plan_addresses_are_valid": "channel_code=sms"},
    ),
    ("update plan.messages set channel_code = 'letter', address = ' '", {"plan_addresses_are_valid": "letter"}),
    ("update plan.messages set closes_at = opens_at", {"plan_addresses_are_valid": "message_id=message_4"}),
    (
        "update plan.messages set opens_at = opens_at - interval 1 day, closes_at = closes_at - interval 1 day",
        {"plan_addresses_are_valid": "message_id=message_4"},
    ),
    (
        _said(
            "consents", "'con_1' as consent_id, 'cus_4' as customer_id, 'email' as channel_code, false as is_opted_in"
        ),
        {"plan_addresses_are_consented": "reason_code=opted_out"},
    ),
    (
        # Said of a record that was merged into the customer.
        "update raw.customers set merged_into_customer_id = 'cus_4' where customer_id = 'cus_9';"
        + _said(
            "consents", "'con_1' as consent_id, 'cus_9' as customer_id, 'email' as channel_code, false as is_opted_in"
        ),
        {"plan_addresses_are_consented": "customer_id=cus_9"},
    ),
    (
        "update plan.messages set channel_code = 'whatsapp', address = '+5511987654321'",
        {"plan_addresses_are_consented": "reason_code=not_opted_in"},
    ),
    (
        _said(
            "contact_points",
            "'op-1' as contact_point_id, 'cus_4' as customer_id, 'email' as contact_type_code, "
            "'Fulana3@Example.com' as address, date '2026-03-09' as undeliverable_date",
        ),
        {"plan_addresses_are_consented": "reason_code=bounced"},
    ),
    (
        "update plan.messages set channel_code = 'sms', address = '+5511987654321';"
        + _said(
            "contact_points",
            "'op-1' as contact_point_id, 'cus_4' as customer_id, 'phone' as contact_type_code, "
            "'(11) 98765-4321' as address, date '2026-03-09' as undeliverable_date",
        ),
        {"plan_addresses_are_consented": "reason_code=bounced"},
    ),
    ("update plan.messages set open_amount = 60.06", {"plan_adds_up": "open_amount=60.06, lines_amount=60.05"}),
    (
        "update plan.messages set open_amount = 60.06; update plan.lines set open_amount = 60.06",
        {"plan_adds_up": "invoices_amount=60.05"},
    ),
    ("update plan.messages set payable_amount = 61.76", {"plan_adds_up": "message_id=message_4"}),
    ("update plan.lines set fine_amount = 1.21", {"plan_adds_up": "message_id=message_4"}),
    ("delete from plan.lines", {"plan_adds_up": "message_id=message_4"}),
    ("update plan.messages set currency_code = 'USD'", {"plan_adds_up": "message_id=message_4"}),
    (
        "insert into raw.payments by name select * replace ('pay_x' as payment_id, 60.05 as amount) from raw.payments "
        "where payment_id = 'pay_3'",
        {"plan_reaches_nobody_excluded": "reason_code=paid,"},
    ),
    (
        "insert into raw.payments by name select * replace ('pay_x' as payment_id, date '2026-03-12' as payment_date, "
        "0.01 as amount) from raw.payments where payment_id = 'pay_3'",
        {"plan_reaches_nobody_excluded": "reason_code=paid_later"},
    ),
    (
        _said("disputes", "'dis_1' as dispute_id, 'inv_3' as invoice_id"),
        {"plan_reaches_nobody_excluded": "reason_code=disputed"},
    ),
    (
        _said("agreements", "'agr_1' as agreement_id, 'cus_4' as customer_id")
        + _said(
            "agreement_invoices", "'cov_1' as agreement_invoice_id, 'agr_1' as agreement_id, 'inv_3' as invoice_id"
        ),
        {"plan_reaches_nobody_excluded": "reason_code=under_agreement"},
    ),
    (
        _said("exemptions", "'exe_1' as exemption_id, 'cus_4' as customer_id"),
        {"plan_reaches_nobody_excluded": "reason_code=exempt"},
    ),
    (
        _said("pauses", "'pau_1' as pause_id, 'cus_4' as customer_id, date '2026-03-10' as valid_to_date"),
        {"plan_reaches_nobody_excluded": "reason_code=paused"},
    ),
    (
        _said("promises", "'pro_1' as promise_id, 'inv_3' as invoice_id, date '2026-03-10' as promised_date"),
        {"plan_reaches_nobody_excluded": "reason_code=promise_open"},
    ),
    ("update plan.volumes set message_count = 201", {"plan_volume_is_plausible": "message_count=201"}),
    ("update plan.supplier set address = ' '", {"plan_names_the_supplier": "supplier_count=0"}),
    ("update plan.supplier set cnpj = '11.222.333/0001-81'", {"plan_names_the_supplier": "supplier_count=0"}),
    ("delete from plan.supplier", {"plan_names_the_supplier": "supplier_count=0"}),
    (
        "insert into plan.faults values ('message_4', 'overdue', 'email', 'no_cnpj')",
        {"plan_messages_can_be_written": "fault_code=no_cnpj"},
    ),
]
_HELD_BACK = "suspension_list_names_nobody_who_paid_or_is_held_back"
_BUREAU = "bureau_list_names_nobody_who_paid_or_disputes"
_PAID = (
    "insert into raw.payments by name select * replace ('pay_x' as payment_id, '{0}' as invoice_id, 100.10 as amount) "
    "from raw.payments where payment_id = 'pay_3'"
)
_PAID_LATER = (
    "insert into raw.payments by name select * replace ('pay_x' as payment_id, '{0}' as invoice_id, 0.01 as amount, "
    "date '2026-03-12' as payment_date) from raw.payments where payment_id = 'pay_3'"
)
_COVERED = _said("agreements", "'agr_1' as agreement_id, 'cus_2' as customer_id")


def _listed(column: str, value: str) -> str:
    return f"update suspension.list set {column} = {value}"


SUSPENSION_CASES = [
    (
        "alter table suspension.list rename column balance_amount to balance;"
        "alter table suspension.list add column balance_amount varchar;"
        "update suspension.list set balance_amount = '100.10'",
        {"suspension_list_has_its_columns": "column_name=balance"},
    ),
    ("alter table suspension.list add column name varchar", {"suspension_list_has_its_columns": "column_name=name"}),
    *(
        (_listed(column, value), {"suspension_list_holds_ids_and_codes_only": "subscription_id="})
        for column, value in (
            ("subscription_id", "'-sub'"),
            ("customer_id", "'=1+1'"),
            ("oldest_invoice_id", "'inv 201'"),
            ("notice_id", "null"),
            ("standing_code", "'notice'"),
            ("reason_code", "'Fulana não paga'"),
            ("billing_hint_code", "'invoice'"),
            ("currency_code", "'R$'"),
            ("balance_amount", "'0.00'"),
            ("days_past_due", "'vinte'"),
            ("invoice_count", "null"),
            ("since_date", "'2026-03-11'"),
            ("oldest_due_date", "'11/02/2026'"),
            ("notice_delivered_date", "null"),
        )
    ),
    (
        "insert into suspension.list select * from suspension.list",
        {"suspension_list_names_each_once": "subscription_id=con_1, row_count=2"},
    ),
    ("delete from suspension.suspending", {"suspension_list_names_each_once": "row_count=0"}),
    ("delete from suspension.changes", {"suspension_list_and_changes_agree": "subscription_id=con_1"}),
    ("update suspension.changes set change_code = 'reactivate'", {"suspension_list_and_changes_agree": "con_1"}),
    (
        "insert into suspension.changes values ('sub_2', 'suspend')",
        {"suspension_list_and_changes_agree": "subscription_id=sub_2"},
    ),
    (_PAID.format("inv_201"), {_HELD_BACK: "reason_code=paid,"}),
    (_PAID_LATER.format("inv_201"), {_HELD_BACK: "reason_code=paid_later"}),
    ("update raw.invoices set status_code = 'draft' where invoice_id = 'inv_201'", {_HELD_BACK: "not_owed"}),
    ("update raw.invoices set status_code = 'cancelled' where invoice_id = 'inv_201'", {_HELD_BACK: "not_owed"}),
    (
        "update raw.invoices set written_off_date = date '2026-03-10' where invoice_id = 'inv_201'",
        {_HELD_BACK: "not_owed"},
    ),
    ("delete from raw.invoices where invoice_id = 'inv_201'", {_HELD_BACK: "not_owed"}),
    (_said("disputes", "'dis_1' as dispute_id, 'inv_201' as invoice_id"), {_HELD_BACK: "reason_code=disputed"}),
    (
        _COVERED
        + _said(
            "agreement_invoices", "'cov_1' as agreement_invoice_id, 'agr_1' as agreement_id, 'inv_201' as invoice_id"
        ),
        {_HELD_BACK: "reason_code=under_agreement"},
    ),
    (_said("exemptions", "'exe_1' as exemption_id, 'cus_2' as customer_id"), {_HELD_BACK: "reason_code=exempt"}),
    (
        # Said of a record that was merged into the customer.
        "update raw.customers set merged_into_customer_id = 'cus_2' where customer_id = 'cus_9';"
        + _said("pauses", "'pau_1' as pause_id, 'cus_9' as customer_id, date '2026-03-10' as valid_to_date"),
        {_HELD_BACK: "reason_code=paused"},
    ),
    (
        _said("promises", "'pro_1' as promise_id, 'inv_201' as invoice_id, date '2026-03-10' as promised_date"),
        {_HELD_BACK: "reason_code=promise_open"},
    ),
    (
        _said(
            "trust_unlocks", "'unl_1' as trust_unlock_id, 'cus_2' as customer_id, date '2026-03-10' as valid_to_date"
        ),
        {_HELD_BACK: "reason_code=trust_unlock"},
    ),
    ("update raw.subscriptions set has_suspension_clause = null", {"suspension_list_is_allowed_by_contract": "con_1"}),
    ("update raw.subscriptions set status_code = 'cancelled'", {"suspension_list_is_allowed_by_contract": "con_1"}),
    ("update raw.subscriptions set end_date = '2026-03-09'", {"suspension_list_is_allowed_by_contract": "con_1"}),
    ("delete from raw.subscriptions", {"suspension_list_is_allowed_by_contract": "con_1"}),
    ("update raw.invoices set subscription_id = null", {"suspension_list_is_allowed_by_contract": "inv_201"}),
    ("update raw.touches set fate_code = 'bounced'", {"suspension_list_was_announced": "notice_id=touch_1"}),
    ("update raw.touches set delivered_date = '2026-03-10'", {"suspension_list_was_announced": "notice_id=touch_1"}),
    ("update raw.touches set invoice_id = 'inv_7'", {"suspension_list_was_announced": "notice_id=touch_1"}),
    (
        "update marts.fct_subscription_standing set is_feed_stale = true",
        {"suspension_payment_feed_is_fresh": "subscription_id=con_1"},
    ),
    (_listed("balance_amount", "'100.11'"), {"suspension_balances_are_those_of_the_marts": "mart_amount=100.10"}),
    (
        "update marts.fct_subscription_standing set level_code = 'notice'",
        {"suspension_balances_are_those_of_the_marts": "subscription_id=con_1"},
    ),
    (_PAID.format("inv_202"), {_BUREAU: "invoice_id=inv_202"}),
    (_PAID_LATER.format("inv_202"), {_BUREAU: "invoice_id=inv_202"}),
    (
        CREDIT + "update raw.credits set invoice_id = 'inv_202', amount = 100.10, applied_date = '2026-03-01'",
        {_BUREAU: "invoice_id=inv_202"},
    ),
    ("update raw.invoices set status_code = 'cancelled' where invoice_id = 'inv_202'", {_BUREAU: "inv_202"}),
    (
        "update raw.invoices set written_off_date = date '2026-03-10' where invoice_id = 'inv_202'",
        {_BUREAU: "inv_202"},
    ),
    (_said("exemptions", "'exe_1' as exemption_id, 'inv_202' as invoice_id"), {_BUREAU: "invoice_id=inv_202"}),
    ("update raw.invoices set due_date = date '2021-03-09' where invoice_id = 'inv_202'", {_BUREAU: "inv_202"}),
    ("update raw.touches set delivered_date = '2026-03-01' where touch_id = 'touch_2'", {_BUREAU: "inv_202"}),
    ("update raw.touches set fate_code = 'sent' where touch_id = 'touch_2'", {_BUREAU: "inv_202"}),
    (_said("disputes", "'dis_1' as dispute_id, 'inv_202' as invoice_id"), {_BUREAU: "invoice_id=inv_202"}),
    (
        _COVERED
        + _said(
            "agreement_invoices", "'cov_1' as agreement_invoice_id, 'agr_1' as agreement_id, 'inv_202' as invoice_id"
        ),
        {_BUREAU: "invoice_id=inv_202"},
    ),
]
CASES = {"raw": RAW_CASES, "marts": MARTS_CASES, "plan": PLAN_CASES, "suspension": SUSPENSION_CASES}


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return build_healthy_home(tmp_path_factory.mktemp("healthy") / "home")


@pytest.fixture
def changed(healthy: Settings, tmp_path: Path) -> Any:
    return lambda change: changed_copy(healthy, tmp_path / "home", change)


def _run(settings: Settings, gate: Gate, as_of: dt.date = AS_OF) -> GateReport:
    return run_gate(settings, gate, as_of=as_of, known_at=KNOWN_AT)


def _red(report: GateReport) -> dict[str, str]:
    return {outcome.expectation: outcome.observed for outcome in report.red}


@pytest.mark.parametrize("gate", list(CASES))
def test_a_healthy_night_is_green_and_every_configured_expectation_was_evaluated(healthy: Settings, gate: Gate) -> None:
    report = _run(healthy, gate)
    assert _red(report) == {}
    assert report.success
    assert [o.expectation for o in report.outcomes] == [e.name for e in gate_expectations(healthy, gate)]
    assert all(o.observed.startswith("no finding") for o in report.outcomes)
    report.raise_if_red()


@pytest.mark.parametrize(("gate", "cases"), CASES.items())
def test_each_expectation_is_seen_red_below(healthy: Settings, gate: Gate, cases: list[tuple[str, Findings]]) -> None:
    seen = {expectation for _, findings in cases for expectation in findings}
    assert seen == {expectation.name for expectation in gate_expectations(healthy, gate)}


@pytest.mark.parametrize(
    ("gate", "change", "findings"),
    [(gate, *case) for gate, cases in CASES.items() for case in cases],
    ids=[next(iter(findings)) for cases in CASES.values() for _, findings in cases],
)
def test_a_broken_warehouse_turns_its_expectation_red(
    changed: Any, gate: Gate, change: str, findings: Findings
) -> None:
    report = _run(changed(change), gate)
    assert not report.success
    for expectation, finding in findings.items():
        assert finding in _red(report)[expectation]
    with pytest.raises(RedGateError, match=next(iter(findings))):
        report.raise_if_red()


def test_without_the_buffering_listener_nothing_can_be_evaluated(
    healthy: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every finding was lost so, and a gate looking for findings was green. The day this fails, the listener can go."""
    monkeypatch.setattr(gx_checkpoint, "buffer_results", lambda engine: None)
    report = _run(healthy, "marts")
    assert not report.success
    assert all("was lost" in outcome.observed for outcome in report.outcomes)
    assert len(report.red) == len(report.outcomes)


def test_an_exception_inside_an_expectation_is_red(healthy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object, **__: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(gx_checkpoint.ExpectOnlyAcceptedFindings, "_validate", explode)
    report = _run(healthy, "marts")
    assert not report.success
    assert all("not evaluated" in outcome.observed for outcome in report.outcomes)


@pytest.mark.parametrize("evaluated", [{}, {"marts_are_of_this_night": (True, "no finding")}], ids=["none", "fewer"])
def test_fewer_evaluated_than_configured_is_red(
    healthy: Settings, monkeypatch: pytest.MonkeyPatch, evaluated: dict[str, tuple[bool, str]]
) -> None:
    monkeypatch.setattr(gx_checkpoint, "run_checkpoint", lambda *_, **__: (True, evaluated))
    report = _run(healthy, "marts")
    assert not report.success
    assert len(report.red) == len(report.outcomes) - len(evaluated)


def test_a_failure_that_gx_alone_saw_is_red(healthy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated = {e.name: (True, "no finding") for e in gate_expectations(healthy, "marts")}
    monkeypatch.setattr(gx_checkpoint, "run_checkpoint", lambda *_, **__: (False, evaluated))
    report = _run(healthy, "marts")
    assert not report.success


def test_a_missing_schema_names_what_is_missing(changed: Any) -> None:
    report = _run(changed("drop schema marts cascade"), "marts")
    assert '"marts.fct_invoices" does not exist' in _red(report)["invoices_agree_with_raw"]


def test_more_findings_than_can_be_judged_are_red(healthy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accepted rows may hide one that is not: freshness has four accepted rows here, and room for two."""
    monkeypatch.setattr(gx_checkpoint, "FINDING_LIMIT", 2)
    assert "4 rows in all" in _red(_run(healthy, "raw"))["file_sets_are_fresh"]


def test_few_orphans_are_accepted_and_shown(changed: Any) -> None:
    report = _run(changed("update raw.payments set invoice_id = 'inv_gone' where _line = 1"), "raw")
    outcome = next(o for o in report.outcomes if o.expectation == "payments_refer_to_rows_that_exist")
    assert outcome.success
    assert "1 accepted" in outcome.observed
    assert "example_id=inv_gone" in outcome.observed


def test_an_entity_that_no_source_feeds_is_not_looked_up(changed: Any) -> None:
    report = _run(changed("update raw.invoices set subscription_id = 'sub_9'"), "raw")
    assert report.success
    outcome = next(o for o in report.outcomes if o.expectation == "invoices_refer_to_rows_that_exist")
    assert "400 accepted" not in outcome.observed
    assert "orphan_count=400" in outcome.observed


@pytest.mark.parametrize(
    ("as_of", "is_green"),
    [(dt.date(2026, 4, 21), True), (dt.date(2026, 4, 28), False)],
    ids=["Tiradentes, a bank holiday", "an ordinary Tuesday"],
)
def test_an_empty_delta_is_legitimate_on_a_bank_holiday_only(changed: Any, as_of: dt.date, is_green: bool) -> None:
    days = (as_of - AS_OF).days
    settings = changed(
        "delete from raw.payments; update ops.batches set read_count = 0, accepted_count = 0, read_amount = 0, "
        f"accepted_amount = 0 where _batch_id = 'b_payments'; update ops.batches set as_of = as_of + {days}, "
        f"_loaded_at = _loaded_at + interval {days} day"
    )
    report = run_gate(settings, "raw", as_of=as_of, known_at=KNOWN_AT + dt.timedelta(days=days))
    assert ("batches_are_as_large_as_on_the_same_weekday" in _red(report)) is not is_green


def test_a_night_that_catches_up_with_two_files_is_no_excess(changed: Any) -> None:
    settings = changed(
        "insert into ops.batches select * replace ('b_second' as _batch_id, 0 as accepted_count, 0 as accepted_amount, "
        "0 as read_amount, 200 as duplicate_count) from ops.batches where _batch_id = 'b_payments'"
    )
    assert _red(_run(settings, "raw")) == {}


def test_a_past_night_may_be_run_again_although_its_files_came_later(healthy: Settings) -> None:
    assert "file_sets_are_fresh" not in _red(_run(healthy, "raw", as_of=dt.date(2025, 6, 30)))


def test_what_was_learnt_after_known_at_does_not_count(changed: Any) -> None:
    later = "timestamp '2026-03-10 05:00:00.123457'"
    settings = changed(
        f"insert into raw.invoices select * replace ({later} as _loaded_at) from raw.invoices;"
        f"insert into raw.superseded select 'invoices', _batch_id, _line, {later}, 'removed' from raw.invoices"
    )
    report = _run(settings, "marts")
    assert _red(report) == {}


CANARIES = ("Zuleica Canária", "390.533.447-05", "39053344705", "canaria@segredo.example", "+5511998877665")


def test_no_personal_value_reaches_the_data_docs_or_the_report(changed: Any, tmp_path: Path) -> None:
    name, document, digits, email, phone = CANARIES
    settings = changed(
        f"update raw.customers set name = '{name}', document = '{document}', email = '{email}', phone = '{phone}', "
        f"state_code = 'XX', segment_code = null; insert into raw.customers select * from raw.customers; "
        f"update raw.invoices set invoice_number = '{digits}', amount = -1, customer_id = '{email}'"
    )
    suites = tmp_path / "project" / "include" / "expectations"
    shutil.copytree(settings.expectations_dir, suites)
    (tmp_path / "project" / "dbt_project").symlink_to(settings.dbt_project_dir)
    with (suites / "raw.yml").open("a", encoding="utf-8") as suite:
        for key, query in {
            "shows_them": "select name, document, email, phone, email as contact_id, "
            "[name] as list_id from raw.customers",
            "quotes_them_in_an_error": "select email::integer as number from raw.customers",
        }.items():
            suite.write(f"\n  {key}:\n    target: raw\n    description: d\n    when_red: w\n    query: {query}\n")
    report = _run(replace(settings, project_dir=tmp_path / "project"), "raw")
    red = _red(report)
    assert {"shows_them", "quotes_them_in_an_error", "customers_have_one_current_version_a_key"} <= set(red)
    assert "name=(hidden)" in red["shows_them"]
    assert "ConversionException" in red["quotes_them_in_an_error"]
    pages = [path for path in report.docs_path.parent.rglob("*") if path.is_file()]
    assert any("shows_them" in path.read_text(encoding="utf-8") for path in pages if path.suffix == ".html")
    said = [path.read_bytes() for path in pages] + [str(RedGateError(report)).encode(), repr(report).encode()]
    for canary in CANARIES:
        for text in said:
            assert canary.encode() not in text


def test_data_docs_are_kept_per_night_and_gate_and_open_from_their_index(healthy: Settings) -> None:
    report = _run(healthy, "raw")
    assert report.docs_path == healthy.quality_dir / "2026-03-10" / "raw" / "index.html"
    index = report.docs_path.read_text(encoding="utf-8")
    pages = list((report.docs_path.parent / "validations").rglob("*.html"))
    assert len(pages) == 1, "a second run of a night replaces the first"
    assert str(pages[0].relative_to(report.docs_path.parent)) in index
    assert "invoices_have_one_current_version_a_key" in pages[0].read_text(encoding="utf-8")


def test_a_writer_may_follow_at_once_and_the_gate_changed_nothing(healthy: Settings) -> None:
    before = healthy.warehouse_path.read_bytes()
    _run(healthy, "raw")
    assert healthy.warehouse_path.read_bytes() == before
    duckdb.connect(str(healthy.warehouse_path)).close()


def test_an_expectation_cannot_write(healthy: Settings) -> None:
    context = gx_checkpoint.gx.get_context(mode="ephemeral")
    with (
        gx_checkpoint._read_only_source(context, healthy.warehouse_path, {}) as source,
        source.get_execution_engine().engine.connect() as connection,
        pytest.raises(sqlalchemy.exc.DBAPIError, match="read-only"),
    ):
        connection.execute(sqlalchemy.text("create table raw.own (a integer)"))


def test_the_gate_never_speaks_to_the_network(healthy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert _run(healthy, "marts").success


def test_importing_the_gate_does_not_import_great_expectations() -> None:
    """Ten seconds that a command line or a DAG file must not pay."""
    code = f"import sys, {gate_module.__name__}; assert 'great_expectations' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
