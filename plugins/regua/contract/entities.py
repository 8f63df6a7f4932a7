"""The contract as frozen objects: the loader, the docs page and the gates read them and list no column again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from regua.errors import InputError

CONTRACT_PATH = Path(__file__).with_name("contract.yml")
# One that begins with a hyphen would be a formula in somebody's spreadsheet, and machine files change no id.
ID_PATTERN = "[A-Za-z0-9._:][A-Za-z0-9._:-]{0,63}"
TEXT_LIMIT = 500
# A date outside is a typing error, not a fact: the bank calendar (bank_holidays.csv) knows these years and no others.
FIRST_DATE, LAST_DATE = "1990-01-01", "2060-12-31"

SQL_TYPES = {
    "id": "VARCHAR",
    "text": "VARCHAR",
    "code": "VARCHAR",
    "money": "DECIMAL(18,2)",
    "percentage": "DECIMAL(5,2)",
    "date": "DATE",
    "flag": "BOOLEAN",
}
# The built-in source of the facts that people record by command; no mapping may have its name.
OPERATORS = "operators"
# What every raw table carries beside the contract's columns: where a version came from and since when it is known.
LINEAGE_COLUMNS = {
    "_source": "VARCHAR",
    "_file": "VARCHAR",
    "_line": "BIGINT",
    "_batch_id": "VARCHAR",
    "_loaded_at": "TIMESTAMP",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an entity; `sql_type` is DuckDB's."""

    name: str
    type: str
    meaning: str
    required: bool = False
    personal: bool = False
    values: tuple[str, ...] = ()
    references: str | None = None
    minimum: str | None = None
    default: str | None = None

    @property
    def sql_type(self) -> str:
        return SQL_TYPES[self.type]


@dataclass(frozen=True, slots=True)
class Entity:
    """One table of the contract.

    `money` names the column that control totals are taken of, if it has one; `needs_one_of` columns of which each row
    fills at least one.
    """

    name: str
    grain: str
    key: str
    columns: tuple[Column, ...]
    money: str | None = None
    needs_one_of: tuple[str, ...] = ()

    def column(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def is_dated(self) -> bool:
        """Whether its rows are dated facts, which people may also record by command."""
        return "valid_from_date" in self.column_names


@cache
def load_contract(path: Path = CONTRACT_PATH) -> dict[str, Entity]:
    """All entities by name, in the order in which references between them can be checked."""
    entities = yaml.safe_load(path.read_text(encoding="utf-8"))["entities"]
    contract = {name: _entity(name, written) for name, written in entities.items()}
    for entity in contract.values():
        for column in entity.columns:
            if column.references is not None and column.references not in contract:
                raise InputError(f"{path}: {entity.name}.{column.name} references {column.references!r}, unknown here.")
    return contract


def _entity(name: str, written: dict[str, Any]) -> Entity:
    columns = tuple(
        Column(name=column, **{**properties, "values": tuple(properties.get("values", ()))})
        for column, properties in written["columns"].items()
    )
    needs_one_of = tuple(written.get("needs_one_of", ()))
    entity = Entity(name, written["grain"], written["key"], columns, written.get("money"), needs_one_of)
    for column in columns:
        if column.type not in SQL_TYPES:
            raise InputError(f"{name}.{column.name}: type {column.type!r} is none of {', '.join(SQL_TYPES)}.")
    for referred in filter(None, (entity.key, entity.money, *needs_one_of)):
        entity.column(referred)
    return entity
