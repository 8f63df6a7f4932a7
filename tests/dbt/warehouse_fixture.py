"""A small warehouse with the raw tables the contract describes, for tests of the models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb

from regua.contract.entities import LINEAGE_COLUMNS, load_contract
from regua.settings import Settings, load_settings

PROJECT_DIR = Path(__file__).resolve().parents[2]
SUPERSEDED_COLUMNS = {
    "entity": "VARCHAR",
    "_batch_id": "VARCHAR",
    "_line": "BIGINT",
    "_superseded_at": "TIMESTAMP",
    "reason_code": "VARCHAR",
}
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
    entities = {
        entity.name: {column.name: column.sql_type for column in entity.columns} | LINEAGE_COLUMNS
        for entity in load_contract().values()
    }
    return entities | {"superseded": SUPERSEDED_COLUMNS}


def warehouse_settings(home: Path) -> Settings:
    """Settings of a warehouse of its own below `home`, small enough to run beside other tests."""
    settings = load_settings({"REGUA_ENV": "test", "REGUA_HOME": str(home), "REGUA_PROJECT_DIR": str(PROJECT_DIR)})
    return replace(settings, warehouse_memory="1GB", warehouse_threads=2)


class RawWarehouse:
    """Appends versions to the raw tables, as the loader does, and reads what the models made of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._line = 0
        self._tables = raw_columns()
        path.parent.mkdir(parents=True, exist_ok=True)
        with duckdb.connect(str(path)) as connection:
            connection.execute("create schema if not exists raw")
            for table, columns in self._tables.items():
                described = ", ".join(f"{name} {column_type}" for name, column_type in columns.items())
                connection.execute(f"create table if not exists raw.{table} ({described})")

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
