"""Dated facts that people record: an event for each thing said, and the facts that the events add up to.

A fact is recorded by its first event, whose number it keeps; later events change some of its values or withdraw it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from regua.contract.entities import Entity
from regua.errors import InputError
from regua.instants import Clock
from regua.ledger.database import writing

METADATA = sa.MetaData()
FACT_EVENTS = sa.Table(
    "fact_events",
    METADATA,
    sa.Column("event_number", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("kind_code", sa.String(20), nullable=False),
    sa.Column("fact_number", sa.Integer, sa.ForeignKey("fact_events.event_number")),
    sa.Column("entity", sa.String(40), nullable=False),
    sa.Column("column_values", sa.JSON, nullable=False),
    sa.Column("author_id", sa.String(64), nullable=False),
    sa.Column("reason", sa.String(500), nullable=False),
    sa.Column("recorded_at", sa.DateTime, nullable=False),
    sqlite_autoincrement=True,
)
_FACT_ID = re.compile(r"op-([1-9][0-9]{0,8})")
Values = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class FactEvent:
    """One thing said. `column_values` are the columns it sets, as text of the contract's types; None empties one."""

    event_number: int
    kind_code: str
    fact_number: int | None
    entity: str
    column_values: Values
    author_id: str
    reason: str
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Fact:
    """What holds after all events. Author, reason and instant are of the event that recorded it."""

    number: int
    entity: str
    values: Values
    author_id: str
    reason: str
    recorded_at: datetime
    is_withdrawn: bool = False

    @property
    def fact_id(self) -> str:
        """The key it has in the warehouse, among the rows of every source."""
        return f"op-{self.number}"

    def holds_on(self, day: date) -> bool:
        last = self.values["valid_to_date"]
        return str(self.values["valid_from_date"]) <= day.isoformat() and (last is None or day.isoformat() <= last)


@dataclass(frozen=True, slots=True)
class NewFact:
    """A fact to be recorded, with validated values."""

    entity: Entity
    values: Values
    reason: str

    def is_said_by(self, values: Values) -> bool:
        """Whether a fact with `values` says the same, be it since another day."""
        return all(
            values.get(name) == value or (name.endswith("_date") and value and values.get(name))
            for name, value in self.values.items()
        )


def record_fact(engine: sa.Engine, entity: Entity, values: Values, *, author: str, reason: str, clock: Clock) -> Fact:
    """Append the event of a new fact, whose values the caller has validated."""
    with writing(engine, FACT_EVENTS) as connection:
        number = _append(connection, "recorded", None, entity.name, values, author, reason, clock())
        return facts_of(read_events(connection, fact_number=number))[0]


def record_missing_facts(engine: sa.Engine, facts: Sequence[NewFact], *, author: str, clock: Clock) -> int:
    """Append the events of those that no recorded fact says already. Answers how many were missing."""
    if not facts:
        return 0
    with writing(engine, FACT_EVENTS) as connection:
        said: dict[tuple[str, str | None], list[Values]] = {}
        for known in facts_of(read_events(connection)):
            if not known.is_withdrawn:
                said.setdefault((known.entity, known.values.get("customer_id")), []).append(known.values)
        missing = 0
        for fact in facts:
            same = said.setdefault((fact.entity.name, fact.values.get("customer_id")), [])
            if not any(fact.is_said_by(values) for values in same):
                same.append(fact.values)
                missing += 1
                _append(connection, "recorded", None, fact.entity.name, fact.values, author, fact.reason, clock())
    return missing


def change_fact(engine: sa.Engine, before: Fact, values: Values, *, author: str, reason: str, clock: Clock) -> Fact:
    """Append an event that sets `values`; `before` is the fact they were validated with.

    Raises InputError when nothing would change, or when the fact is not any more as `before` says.
    """
    changed = {column: value for column, value in values.items() if before.values.get(column) != value}
    if not changed:
        raise InputError(f"{before.fact_id} says so already.")
    return _append_later(engine, before, "changed", changed, author, reason, clock)


def withdraw_fact(engine: sa.Engine, before: Fact, *, author: str, reason: str, clock: Clock) -> Fact:
    """Append an event that says the fact was never true."""
    return _append_later(engine, before, "withdrawn", {}, author, reason, clock)


def find_fact(engine: sa.Engine, fact_id: str) -> tuple[Fact, list[FactEvent]]:
    """A fact with all its events. Raises InputError when no fact has this id."""
    match = _FACT_ID.fullmatch(fact_id)
    events = []
    if match is not None:
        with engine.connect() as connection:
            events = read_events(connection, fact_number=int(match[1]))
    if not events or events[0].kind_code != "recorded":
        raise InputError(f"No fact {fact_id!r} was recorded by command; `regua fact list` shows those that were.")
    return facts_of(events)[0], events


def read_events(connection: sa.Connection, *, fact_number: int | None = None) -> list[FactEvent]:
    """All events, or those of one fact, in the order in which they were recorded."""
    query = sa.select(FACT_EVENTS).order_by(FACT_EVENTS.c.event_number)
    if fact_number is not None:
        columns = (FACT_EVENTS.c.event_number, FACT_EVENTS.c.fact_number)
        query = query.where(sa.or_(*(column == fact_number for column in columns)))
    return [FactEvent(**row) for row in connection.execute(query).mappings()]


def read_facts_since(connection: sa.Connection, known: Mapping[str, int] | datetime) -> list[tuple[Fact, datetime]]:
    """Facts of which anything was said since, with the instant it was last said.

    `known` is an instant, or by entity the number of the last event that is known; of an entity not named, none is.
    """
    if isinstance(known, datetime):
        is_new: sa.ColumnElement[bool] = FACT_EVENTS.c.recorded_at > known
    else:
        newer = [
            sa.and_(FACT_EVENTS.c.entity == entity, FACT_EVENTS.c.event_number > number)
            for entity, number in known.items()
        ]
        is_new = sa.or_(FACT_EVENTS.c.entity.not_in(list(known)), *newer)
    events = _events_of(
        connection, sa.select(sa.func.coalesce(FACT_EVENTS.c.fact_number, FACT_EVENTS.c.event_number)).where(is_new)
    )
    last_said = {event.fact_number or event.event_number: event.recorded_at for event in events}
    return [(fact, last_said[fact.number]) for fact in facts_of(events)]


def find_facts(connection: sa.Connection, fact_ids: Iterable[str]) -> list[Fact]:
    """Those of the ids that were recorded by command."""
    numbers = [int(match[1]) for fact_id in fact_ids if (match := _FACT_ID.fullmatch(fact_id)) is not None]
    return facts_of(_events_of(connection, numbers)) if numbers else []


def _events_of(connection: sa.Connection, numbers: sa.Select[Any] | list[int]) -> list[FactEvent]:
    """All events of the facts of these numbers, in their order."""
    query = (
        sa.select(FACT_EVENTS)
        .where(sa.or_(FACT_EVENTS.c.event_number.in_(numbers), FACT_EVENTS.c.fact_number.in_(numbers)))
        .order_by(FACT_EVENTS.c.event_number)
    )
    return [FactEvent(**row) for row in connection.execute(query).mappings()]


def facts_of(events: Iterable[FactEvent]) -> list[Fact]:
    """What the events add up to, withdrawn facts included, in the order in which the facts were recorded."""
    facts: dict[int, Fact] = {}
    for event in events:
        if event.fact_number is None:
            facts[event.event_number] = Fact(
                event.event_number,
                event.entity,
                event.column_values,
                event.author_id,
                event.reason,
                event.recorded_at,
            )
        else:
            fact = facts[event.fact_number]
            values = {**fact.values, **event.column_values}
            facts[event.fact_number] = replace(fact, values=values, is_withdrawn=event.kind_code == "withdrawn")
    return list(facts.values())


def _append_later(
    engine: sa.Engine, before: Fact, kind_code: str, values: Values, author: str, reason: str, clock: Clock
) -> Fact:
    with writing(engine, FACT_EVENTS) as connection:
        now = facts_of(read_events(connection, fact_number=before.number))[0]
        if now.is_withdrawn:
            raise InputError(f"{now.fact_id} was withdrawn; record a new fact instead.")
        if now != before:
            raise InputError(f"{now.fact_id} was changed by somebody else just now; look at it and try again.")
        _append(connection, kind_code, before.number, before.entity, values, author, reason, clock())
        return facts_of(read_events(connection, fact_number=before.number))[0]


def _append(
    connection: sa.Connection,
    kind_code: str,
    fact_number: int | None,
    entity: str,
    values: Values,
    author: str,
    reason: str,
    recorded_at: datetime,
) -> int:
    numbers = connection.execute(
        sa.insert(FACT_EVENTS)
        .returning(FACT_EVENTS.c.event_number)
        .values(
            kind_code=kind_code,
            fact_number=fact_number,
            entity=entity,
            column_values=dict(values),
            author_id=author,
            reason=reason,
            recorded_at=recorded_at,
        )
    )
    return int(numbers.scalar_one())
