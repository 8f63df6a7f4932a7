"""The keys a database table holds now, in the contract's terms: what is known and not among them is gone.

A table read by its cursor never shows the rows that are gone, nor those that left a feed's `where`. So the columns that
decide on a row's key and on whether it is fed at all are read whole each time, beside the rows that changed.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb

from regua.contract.entities import Entity, load_contract
from regua.ingest.conversion import create_typed
from regua.ingest.expressions import quoted, referenced_columns
from regua.ingest.mapping import Feed, Source, TableSet
from regua.ingest.reading import LandedFile, read_records


def key_part(table_set: TableSet, *, with_where: bool = True) -> TableSet:
    """The set reduced to what its keys are made of; without `where`, to what tells its rows apart."""
    contract = load_contract()
    feeds = {
        name: Feed.model_construct(
            columns={contract[name].key: feed.columns[contract[name].key]}, where=feed.where if with_where else None
        )
        for name, feed in table_set.feeds.items()
    }
    used = {
        column
        for name, feed in feeds.items()
        for expression in (*feed.columns.values(), feed.where)
        if expression is not None
        for column in referenced_columns(expression, name)
    }
    derived: dict[str, str] = {}
    for name, expression in reversed(table_set.derived.items()):
        if name in used:
            derived = {name: expression, **derived}
            used.update(referenced_columns(expression, f"derived.{name}"))
    return table_set.model_copy(update={"feeds": feeds, "derived": derived})


def read_present_keys(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    table_set: TableSet,
    content: Path,
    file_name: str,
    work_dir: Path,
) -> None:
    """Make the temporary table `present_<entity>` (key_text) for each entity that the set feeds."""
    part = key_part(table_set)
    read_records(connection, LandedFile(content, file_name, part.as_files(), (), 0), work_dir)
    for name in part.feeds:
        entity = load_contract()[name]
        create_typed(connection, source, part, _key_only(entity), file_name=file_name)
        connection.execute(
            f"create or replace temp table present_{name} as "
            f"select distinct {quoted(entity.key)} as key_text from typed where {quoted(entity.key)} is not null"
        )


def _key_only(entity: Entity) -> Entity:
    return replace(entity, columns=tuple(column for column in entity.columns if column.name == entity.key))
