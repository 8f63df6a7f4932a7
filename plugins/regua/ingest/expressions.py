"""The SQL that a mapping may hold: one expression over one file's columns, understood by DuckDB before it is used."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import duckdb

from regua.errors import InputError
from regua.ingest.mapping import FeedingSet

PSEUDO_COLUMNS = ("_file", "_line")
_BARE = re.compile(r"[^\W\d]\w*")
_CONSTANTS = ("null", "true", "false")
# A version is told by its batch and its line, so rows that share a line would take each other's place.
_MULTIPLYING_FUNCTIONS = frozenset({"unnest", "unlist", "generate_subscripts"})


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
    """Names of the columns an expression reads, in order. Raises InputError when it is not one expression.

    What it gives may depend on the file alone: a mapping that asked the clock would load one file in two ways.
    """
    if (bare := bare_column(expression)) is not None:
        return [bare]
    if not expression.strip():
        raise InputError(f"{place}: {expression!r} is not SQL: it is blank. Write null for a column without a value.")
    tree = _parsed(f"select ({expression})")
    # An expression that closes the parenthesis around it by a comment is good SQL only while it ends the line.
    if not tree.get("error"):
        tree = _parsed(f"select ({expression}\n)")
    if tree.get("error"):
        raise InputError(f"{place}: {expression!r} is not SQL: {tree.get('error_message', 'cannot be read')}.")
    if len(tree["statements"]) != 1 or not _is_one_expression(tree["statements"][0]["node"]):
        raise InputError(
            f"{place}: {expression!r} must be one expression over the file's columns, without subqueries and without *."
        )
    if multiplying := sorted(set(_function_names(tree)) & _MULTIPLYING_FUNCTIONS):
        raise InputError(
            f"{place}: {expression!r} calls {', '.join(multiplying)}, which makes several rows of one; a line of a "
            "file is one row of an entity at most."
        )
    if unsteady := sorted(set(_function_names(tree)) & _unsteady_functions()):
        raise InputError(
            f"{place}: {expression!r} calls {', '.join(unsteady)}, which does not give the same for the same file "
            "every time. Use the file's columns, _file and _line."
        )
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


@cache
def _parsed(statement: str) -> dict[str, Any]:
    with duckdb.connect(config={"enable_external_access": "false"}) as connection:
        row = connection.execute("select json_serialize_sql($1)", [statement]).fetchone()
    tree: dict[str, Any] = json.loads(row[0]) if row else {"error": True}
    return tree


@cache
def _unsteady_functions() -> frozenset[str]:
    """Clocks, random numbers, sequences and the session's own state, as DuckDB itself lists them."""
    with duckdb.connect() as connection:
        found = connection.execute(
            "select function_name from duckdb_functions() where stability <> 'CONSISTENT'"
        ).fetchall()
    return frozenset(name for (name,) in found)


def _is_one_expression(node: Any) -> bool:
    """Whether a parsed `select (…)` has nothing but its one value: no table, no filter, no second value, no star."""
    clauses = ("modifiers", "group_expressions", "where_clause", "having", "qualify", "sample")
    return (
        node["type"] == "SELECT_NODE"
        and len(node["select_list"]) == 1
        and node["from_table"]["type"] == "EMPTY"
        and not any(node[clause] for clause in clauses)
        and not _holds_tables(node)
    )


def _function_names(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("class") == "FUNCTION":
            yield node["function_name"].lower()
        for child in node.values():
            yield from _function_names(child)
    elif isinstance(node, list):
        for child in node:
            yield from _function_names(child)


def _column_names(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("class") == "COLUMN_REF":
            # `address.city` is the field of a Parquet column: there is no table to name here.
            yield node["column_names"][0]
        for child in node.values():
            yield from _column_names(child)
    elif isinstance(node, list):
        for child in node:
            yield from _column_names(child)


def _holds_tables(node: Any) -> bool:
    if isinstance(node, dict):
        kinds = ("BASE_TABLE", "TABLE_FUNCTION", "SUBQUERY", "STAR")
        return node.get("type") in kinds or any(map(_holds_tables, node.values()))
    return isinstance(node, list) and any(map(_holds_tables, node))
