"""The SQL that a mapping may hold: one expression over one file's columns, understood by DuckDB before it is used."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import duckdb

from regua.errors import InputError
from regua.ingest.mapping import FeedingSet

PSEUDO_COLUMNS = ("_file", "_line")
_BARE = re.compile(r"[^\W\d]\w*")
_CONSTANTS = ("null", "true", "false")


def quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str | None) -> str:
    return "null" if text is None else "'" + text.replace("'", "''") + "'"


def bare_column(expression: str) -> str | None:
    """The column an expression names when it is nothing but a name, plain or in double quotes."""
    text = expression.strip()
    if _BARE.fullmatch(text):
        return None if text.lower() in _CONSTANTS else text
    if len(text) > 2 and text[0] == text[-1] == '"' and '"' not in text[1:-1]:
        return text[1:-1]
    return None


def referenced_columns(expression: str, place: str) -> list[str]:
    """Names of the columns an expression reads, in order. Raises InputError when it is not one expression."""
    if (bare := bare_column(expression)) is not None:
        return [bare]
    with duckdb.connect(config={"enable_external_access": "false"}) as connection:
        parsed = connection.execute("select json_serialize_sql($1)", [f"select ({expression})"]).fetchone()
    tree = json.loads(parsed[0]) if parsed else {"error": True}
    if tree.get("error"):
        raise InputError(f"{place}: {expression!r} is not SQL: {tree.get('error_message', 'cannot be read')}.")
    if len(tree["statements"]) != 1 or _tables_read(tree):
        raise InputError(f"{place}: {expression!r} must be one expression over the file's columns, without subqueries.")
    return list(dict.fromkeys(_column_names(tree)))


def needed_columns(feeding_set: FeedingSet) -> dict[str, str]:
    """Columns that the file must have, each with what needs it first (`invoices.due_date`)."""
    needed: dict[str, str] = {}
    for place, expression in _expressions(feeding_set):
        for column in referenced_columns(expression, place):
            if column not in PSEUDO_COLUMNS and column not in feeding_set.derived:
                needed.setdefault(column, place)
    return needed


def _expressions(feeding_set: FeedingSet) -> Iterator[tuple[str, str]]:
    for name, expression in feeding_set.derived.items():
        yield f"derived.{name}", expression
    for entity, feed in feeding_set.feeds.items():
        if feed.where is not None:
            yield f"{entity}.where", feed.where
        for column, expression in feed.columns.items():
            yield f"{entity}.{column}", expression


def _column_names(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("class") == "COLUMN_REF":
            yield node["column_names"][-1]
        for child in node.values():
            yield from _column_names(child)
    elif isinstance(node, list):
        for child in node:
            yield from _column_names(child)


def _tables_read(node: Any) -> bool:
    if isinstance(node, dict):
        return node.get("type") in ("BASE_TABLE", "TABLE_FUNCTION", "SUBQUERY") or any(map(_tables_read, node.values()))
    return isinstance(node, list) and any(map(_tables_read, node))
