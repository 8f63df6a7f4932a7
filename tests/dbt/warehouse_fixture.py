"""A small warehouse with the raw tables the contract describes, for tests of the models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb

from regua.contract.entities import LINEAGE_COLUMNS, load_contract
from regua.policy.compilation import compile_policies
from regua.policy.policies import Policies, load_policies
from regua.settings import Settings, load_settings
from regua.warehouse.store import create_tables

PROJECT_DIR = Path(__file__).resolve().parents[2]
DEFAULTS: dict[str, dict[str, Any]] = {
    "customers": {"person_type_code": "company"},
    "subscriptions": {"status_code": "active", "start_date": "2024-01-01", "currency_code": "BRL"},
    "invoices": {
        "customer_id": "c1",
        "issue_date": "2026-01-02",
        "due_date": "2026-01-12",
        "amount": "100.00",
        "currency_code": "BRL",
        "status_code": "open",
        "calendar_code": "br-bank",
    },
    "payments": {"amount": "100.00", "currency_code": "BRL"},
    "credits": {"customer_id": "c1", "amount": "10.00", "currency_code": "BRL"},
}


def raw_columns() -> dict[str, dict[str, str]]:
    """Column types of each raw table, by table, in the contract's order."""
    return {
        entity.name: {column.name: column.sql_type for column in entity.columns} | LINEAGE_COLUMNS
        for entity in load_contract().values()
    }


def warehouse_settings(home: Path) -> Settings:
    """Settings of a warehouse of its own below `home`, small enough to run beside other tests."""
    settings = load_settings({"REGUA_ENV": "test", "REGUA_HOME": str(home), "REGUA_PROJECT_DIR": str(PROJECT_DIR)})
    return replace(settings, warehouse_memory="1GB", warehouse_threads=2)


class RawWarehouse:
    """Appends versions to the raw tables, as the loader does, and reads what the models made of them."""

    def __init__(self, path: Path, policies: Policies | None = None) -> None:
        self.path = path
        self._line = 0
        self._tables = raw_columns()
        path.parent.mkdir(parents=True, exist_ok=True)
        with duckdb.connect(str(path)) as connection:
            create_tables(connection)
            compile_policies(connection, policies or load_policies(PROJECT_DIR / "include" / "policies"))

    def add(self, entity: str, loaded_at: str, rows: Iterable[Mapping[str, Any]]) -> list[int]:
        """Append one version a row, as an arrival at `loaded_at`; gives their line numbers, unique in the warehouse."""
        lines = []
        columns = self._tables[entity]
        with duckdb.connect(str(self.path)) as connection:
            for row in rows:
                self._line += 1
                lines.append(self._line)
                version = DEFAULTS.get(entity, {}) | dict(row)
                unknown = set(version) - set(columns)
                assert not unknown, f"{entity} has no {unknown}"
                version |= {"_source": "test", "_file": f"{entity}.csv", "_line": self._line}
                version |= {"_batch_id": loaded_at, "_loaded_at": loaded_at}
                connection.execute(
                    f"insert into raw.{entity} ({', '.join(version)}) values ({', '.join('?' for _ in version)})",
                    list(version.values()),
                )
        return lines

    def supersede(self, entity: str, line: int, at: str, reason_code: str = "replaced") -> None:
        """Say that the version on `line` stopped being current."""
        with duckdb.connect(str(self.path)) as connection:
            connection.execute(
                f"insert into raw.superseded select ?, _batch_id, _line, ?, ? from raw.{entity} where _line = ?",
                [entity, at, reason_code, line],
            )

    def hear_of_payments(self, at: str) -> None:
        """Say that the payment feed was heard of, as the loader does of a batch."""
        self.execute(
            "insert into ops.batches by name select * from (select 'payments' as _batch_id, 'test' as _source, "
            "'payments' as file_set, 'payments' as entity, 'payments.csv' as _file, '' as sha256, "
            f"timestamp '{at}' as _loaded_at, 'delta' as mode, 0 as read_count, 0 as accepted_count, "
            "0 as quarantined_count, 0 as duplicate_count, 0 as unchanged_count, 0 as superseded_count, "
            "0 as removed_count, 0 as read_amount, 0 as accepted_amount, 0 as quarantined_amount, "
            "0 as duplicate_amount, '' as header, date '2000-01-01' as as_of, 1 as expected_max_age_days)"
        )

    def execute(self, statement: str) -> None:
        with duckdb.connect(str(self.path)) as connection:
            connection.execute(statement)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return read_rows(self.path, query)


def read_rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    """What a query gives, read without the right to write."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(query).fetchall()


def table_content(path: Path, tables: Iterable[str]) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of each table, sorted, so that two warehouses can be compared whatever order they store."""
    return {table: read_rows(path, f"select * from {table} order by all") for table in tables}
