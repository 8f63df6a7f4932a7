"""The contract is written once: whatever else lists its columns is held against it here."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
import yaml

from regua.contract.contract_page import render_contract
from regua.contract.entities import SQL_TYPES, load_contract
from regua.errors import InputError
from regua.settings import load_settings
from regua.warehouse.store import writing

ROOT = Path(__file__).resolve().parents[3]
CONTRACT = load_contract()


def test_there_is_a_contract_with_every_entity() -> None:
    assert list(CONTRACT) == [
        "customers",
        "subscriptions",
        "invoices",
        "payments",
        "credits",
        "contact_points",
        "consents",
        "agreements",
        "agreement_invoices",
        "agreement_instalments",
        "promises",
        "disputes",
        "exemptions",
        "pauses",
        "trust_unlocks",
        "waivers",
        "touches",
        "standing_changes",
    ]


def test_every_dated_fact_says_since_when_until_when_who_and_why() -> None:
    dated = [entity for entity in CONTRACT.values() if entity.is_dated]
    assert [entity.name for entity in dated] == list(CONTRACT)[5:-2]
    for entity in dated:
        last = [(c.name, c.type) for c in entity.columns[-4:]]
        assert last == [("valid_from_date", "date"), ("valid_to_date", "date"), ("author_id", "id"), ("reason", "text")]
        assert entity.column("valid_from_date").required
        assert entity.column("reason").personal
        assert all(entity.column(name).type == "id" for name in entity.needs_one_of)


@pytest.mark.parametrize("entity", CONTRACT.values(), ids=lambda entity: entity.name)
def test_keys_are_required_ids_and_control_totals_are_money(entity) -> None:
    assert entity.column(entity.key).type == "id"
    assert entity.column(entity.key).required
    assert entity.money is None or entity.column(entity.money).type == "money"
    assert all(column.meaning.endswith(".") for column in entity.columns)


@pytest.mark.parametrize("entity", CONTRACT.values(), ids=lambda entity: entity.name)
def test_only_codes_have_values_and_every_code_has_them(entity) -> None:
    assert [c.name for c in entity.columns if bool(c.values) != (c.type == "code")] == []


def test_money_is_exact_and_dates_are_days() -> None:
    assert SQL_TYPES["money"] == "DECIMAL(18,2)"
    assert SQL_TYPES["date"] == "DATE"


def test_the_docs_page_is_the_contract() -> None:
    assert (ROOT / "docs" / "reference" / "contract.md").read_text(encoding="utf-8") == render_contract(), (
        "run `make docs`"
    )


@pytest.mark.parametrize("entity", CONTRACT.values(), ids=lambda entity: entity.name)
def test_dbt_sources_list_the_contracts_columns_and_types(entity) -> None:
    path = ROOT / "dbt_project" / "models" / "staging" / "raw" / "_raw__sources.yml"
    tables = {t["name"]: t for source in yaml.safe_load(path.read_text())["sources"] for t in source["tables"]}
    listed = {c["name"]: c["data_type"].replace(" ", "").upper() for c in tables[entity.name]["columns"]}
    written = {column.name: column.sql_type for column in entity.columns}
    assert {name: listed.get(name) for name in written} == written
    assert [name for name in listed if name not in written and not name.startswith("_")] == []


def test_raw_tables_have_the_contracts_columns_and_an_older_warehouse_gets_the_missing_ones(tmp_path: Path) -> None:
    settings = load_settings({"REGUA_HOME": str(tmp_path)})
    settings.warehouse_path.parent.mkdir(parents=True)
    with duckdb.connect(str(settings.warehouse_path)) as older:
        older.execute(
            "create schema raw; create table raw.invoices (invoice_id varchar); insert into raw.invoices values ('I1')"
        )
    with writing(settings) as warehouse:
        described = warehouse.execute("describe raw.invoices").fetchall()
        kept = warehouse.execute("select invoice_id, amount from raw.invoices").fetchall()
    types = {name: sql_type for name, sql_type, *_ in described}
    assert {c.name: types[c.name] for c in CONTRACT["invoices"].columns} == {
        c.name: c.sql_type for c in CONTRACT["invoices"].columns
    }
    assert kept == [("I1", None)]


def test_a_reference_to_no_entity_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "contract.yml"
    path.write_text(
        "entities: {things: {grain: g, key: id, columns: {id: {type: id, meaning: m, references: nothing}}}}"
    )
    with pytest.raises(InputError, match=r"things\.id references 'nothing'"):
        load_contract(path)
