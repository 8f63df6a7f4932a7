"""What a person types becomes a fact's values: read by the loader's own rules, so that no night will refuse them."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

import duckdb
import sqlalchemy as sa

from regua.contract.entities import (
    FIRST_DATE,
    ID_PATTERN,
    LAST_DATE,
    OPERATORS,
    TEXT_LIMIT,
    Column,
    Entity,
    load_contract,
)
from regua.errors import InputError
from regua.ingest.conversion import create_typed
from regua.ingest.expressions import literal, quoted
from regua.ingest.mapping import Feed, FileSet, Source
from regua.ledger.facts import Values, facts_of, read_events
from regua.settings import Settings

_WRITTEN_BY = ("author_id", "reason")
# How a person writes a value of each type; a code's values are listed instead.
_FORMS = {
    "id": f"an id, {ID_PATTERN}",
    "text": f"one line of at most {TEXT_LIMIT} characters",
    "money": "an amount like 1234.56",
    "percentage": "a number from 0 to 100, like 12.5",
    "date": f"a day as YYYY-MM-DD, from {FIRST_DATE} to {LAST_DATE}",
    "flag": "yes or no",
}
_PUBLISHED = {"customers": ("dim_customers", "customer_id"), "invoices": ("fct_invoices", "invoice_id")}


def dated_entities() -> dict[str, Entity]:
    """The entities people may record facts of, by the name one fact has: `promise`."""
    return {name.removesuffix("s"): entity for name, entity in load_contract().items() if entity.is_dated}


def dated_entity(name: str) -> Entity:
    """By the name of one or of many, with `-` or `_`. Raises InputError listing what there is."""
    entities = dated_entities()
    entity = entities.get(name.lower().replace("-", "_").removesuffix("s"))
    if entity is None:
        raise InputError(f"There is no fact {name!r}; there are {', '.join(entities)}.")
    return entity


def enterable_columns(entity: Entity) -> list[Column]:
    """What is typed as NAME=VALUE: neither the key, which the ledger gives, nor who says it and why."""
    return [column for column in entity.columns if column.name not in (entity.key, *_WRITTEN_BY)]


def written_form(column: Column) -> str:
    return " or ".join(column.values) if column.values else _FORMS[column.type]


def operators_source(inbox: str = "") -> Source:
    """The built-in source: snapshots of each dated entity, and what is new of touches and standings, with manifests."""
    told = [load_contract()[name] for name in ("touches", "standing_changes")]
    return Source(
        name=OPERATORS,
        description="Facts that people recorded by command, what became of messages, and whose access was changed.",
        inbox=inbox,
        files={
            entity.name: FileSet(
                glob=f"{entity.name}_*.jsonl",
                format="jsonl",
                mode="delta" if entity in told else "snapshot",
                manifest="required",
                file_order="arrival",
                optional=True,
                # The ledger is whole or not read at all, and withdrawing the only fact takes away all of them.
                missing_limit_pct=100,
                feeds={entity.name: Feed(columns={name: quoted(name) for name in entity.column_names})},
            )
            for entity in (*dated_entities().values(), *told)
        },
    )


def read_values(entity: Entity, given: Mapping[str, str | None], *, author: str, reason: str) -> dict[str, str | None]:
    """All enterable columns as text of the contract's types; what is not given has its default or is empty.

    Raises InputError saying what is wrong with which column and how to write it.
    """
    columns = enterable_columns(entity)
    names = [column.name for column in columns]
    if unknown := [name for name in given if name not in names]:
        close = get_close_matches(unknown[0], names, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise InputError(f"{_one(entity)} has no {', '.join(unknown)}; it has {', '.join(names)}.{hint}")
    source = operators_source()
    values = {column.name: given.get(column.name, source.default_of(column)) for column in columns}
    if missing := [column for column in columns if column.required and not (values[column.name] or "").strip()]:
        wanted = ", ".join(f"{column.name} ({written_form(column)})" for column in missing)
        raise InputError(f"{_one(entity)} needs {wanted}.")
    if entity.needs_one_of and not any((values[name] or "").strip() for name in entity.needs_one_of):
        raise InputError(f"{_one(entity)} needs {' or '.join(entity.needs_one_of)}.")
    for name, value in {**values, "author_id": author, "reason": reason}.items():
        if value is not None and not value.isascii() and value.encode("utf-8", "replace").decode() != value:
            raise InputError(f"{name} holds what is no UTF-8; type it again.")
    if not (author.strip() and reason.strip()):
        raise InputError("Author or reason is empty; say who says it and why, for whoever reads it later.")
    typed = _typed(entity, source, {**values, entity.key: "op-0", "author_id": author, "reason": reason})
    read = {column.name: typed[column.name] for column in columns}
    first, last = str(read["valid_from_date"]), read["valid_to_date"]
    if last is not None and last < first:
        raise InputError(
            f"valid_to_date {last} is before valid_from_date {first}: it would never hold. To say that a recorded fact "
            "was never true, use `regua fact withdraw`."
        )
    return read


def unknown_references(settings: Settings, engine: sa.Engine, entity: Entity, values: Values) -> list[str]:
    """COLUMN=VALUE of what nothing known answers to: customers and invoices in what is published, facts in the ledger.

    The warehouse is not asked, because a night may be writing it.
    """
    unknown = []
    for column in entity.columns:
        value = values.get(column.name)
        if column.references is None or value is None:
            continue
        if column.references in _PUBLISHED:
            is_known = _is_published(settings, column, value)
        else:
            is_known = _is_recorded(engine, column, value)
        if not is_known:
            unknown.append(f"{column.name}={value}")
    return unknown


def _is_published(settings: Settings, column: Column, value: str) -> bool:
    table, key = _PUBLISHED[str(column.references)]
    path = settings.serving_dir / "current" / "serving.duckdb"
    if not path.is_file():
        return False
    with duckdb.connect(str(path), read_only=True) as serving:
        return serving.execute(f"select 1 from {table} where {key} = $1 limit 1", [value]).fetchone() is not None


def _is_recorded(engine: sa.Engine, column: Column, value: str) -> bool:
    with engine.connect() as connection:
        facts = facts_of(read_events(connection))
    return any((fact.fact_id, fact.entity, fact.is_withdrawn) == (value, column.references, False) for fact in facts)


def _typed(entity: Entity, source: Source, values: Values) -> dict[str, str | None]:
    """Through the loader's conversion of one row, and back to text."""
    with duckdb.connect() as connection:
        row = ", ".join(f"{literal(values[name])}::varchar as {quoted(name)}" for name in entity.column_names)
        connection.execute(f"create temp table records as select 1::bigint as _line, {row}")
        create_typed(connection, source, source.files[entity.name], entity, file_name="the command")
        texts = ", ".join(f"{quoted(name)}::varchar" for name in entity.column_names)
        fault, *found = connection.execute(f"select _fault, {texts} from typed").fetchall()[0]
    if fault is not None:
        name = fault.split(":", 1)[1]
        raise InputError(f"{name} cannot be {values[name]!r}: write {written_form(entity.column(name))}.")
    return dict(zip(entity.column_names, found, strict=True))


def _one(entity: Entity) -> str:
    return entity.name.removesuffix("s")
