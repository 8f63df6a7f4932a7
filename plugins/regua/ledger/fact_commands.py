"""What `regua fact` does: each function opens the ledger, checks what was typed, and appends or shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

from regua.errors import InputError
from regua.instants import Clock, write_instant
from regua.ledger.database import open_ledger
from regua.ledger.fact_entry import (
    dated_entities,
    dated_entity,
    enterable_columns,
    read_values,
    unknown_references,
    written_form,
)
from regua.ledger.facts import (
    Fact,
    Values,
    change_fact,
    facts_of,
    find_fact,
    read_events,
    record_fact,
    withdraw_fact,
)
from regua.settings import Settings


def parsed_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """NAME=VALUE words. Raises InputError for one without `=` and for a name given twice."""
    given: dict[str, str] = {}
    for assignment in assignments:
        name, sign, value = assignment.partition("=")
        if not sign or not name:
            raise InputError(f"{assignment!r} is not NAME=VALUE, like promised_date=2026-07-03.")
        if name in given:
            raise InputError(f"{name} is given twice.")
        given[name] = value
    return given


def add_fact(
    settings: Settings,
    clock: Clock,
    entity_name: str,
    given: Mapping[str, str],
    *,
    author: str,
    reason: str,
    allow_unknown: bool = False,
) -> Fact:
    """Record a fact. Raises InputError for values the contract refuses and for ids that nothing known answers to."""
    entity = dated_entity(entity_name)
    values = read_values(entity, given, author=author, reason=reason)
    with open_ledger(settings) as engine:
        if not allow_unknown and (unknown := unknown_references(settings, engine, entity, values)):
            raise InputError(
                f"Nothing known has {', '.join(unknown)}: it is in no published night and no recorded fact. If it is "
                "right all the same, because it is new or came by a file, add --allow-unknown."
            )
        return record_fact(engine, entity, values, author=author, reason=reason.strip(), clock=clock)


def amend_fact(
    settings: Settings, clock: Clock, fact_id: str, given: Mapping[str, str], *, author: str, reason: str
) -> Fact:
    """Set columns of a recorded fact, from now on; an empty value empties the column."""
    with open_ledger(settings) as engine:
        before, _ = find_fact(engine, fact_id)
        values = read_values(dated_entity(before.entity), {**before.values, **given}, author=author, reason=reason)
        changed = {name: values[name] for name in given}
        return change_fact(engine, before, changed, author=author, reason=reason.strip(), clock=clock)


def retract_fact(settings: Settings, clock: Clock, fact_id: str, *, author: str, reason: str) -> Fact:
    """Say that a recorded fact was never true."""
    with open_ledger(settings) as engine:
        before, _ = find_fact(engine, fact_id)
        read_values(dated_entity(before.entity), before.values, author=author, reason=reason)
        return withdraw_fact(engine, before, author=author, reason=reason.strip(), clock=clock)


def recorded_facts(
    settings: Settings,
    entity_name: str | None,
    *,
    customer: str | None = None,
    invoice: str | None = None,
    as_of: date | None = None,
) -> list[Fact]:
    """Facts recorded by command and not withdrawn; with `as_of`, those that hold on that day."""
    entity = dated_entity(entity_name).name if entity_name else None
    with open_ledger(settings) as engine, engine.connect() as connection:
        facts = facts_of(read_events(connection))
    return [
        fact
        for fact in facts
        if not fact.is_withdrawn
        and entity in (None, fact.entity)
        and customer in (None, fact.values.get("customer_id"))
        and invoice in (None, fact.values.get("invoice_id"))
        and (as_of is None or fact.holds_on(as_of))
    ]


def described_fact(fact: Fact) -> str:
    """One line: id, what, since and until when, who said it and why."""
    until = fact.values["valid_to_date"]
    dates = f"from {fact.values['valid_from_date']}{f' until {until}' if until else ''}"
    written = _written(fact.values)
    return f"{fact.fact_id}  {fact.entity.removesuffix('s')}  {written}  {dates}  {fact.author_id}: {fact.reason}"


def described_history(settings: Settings, fact_id: str) -> list[str]:
    """A line for each thing that was said of a fact, with when (UTC), who and why."""
    with open_ledger(settings) as engine:
        fact, events = find_fact(engine, fact_id)
    lines = [described_fact(fact) + ("  (withdrawn)" if fact.is_withdrawn else "")]
    for event in events:
        is_later = event.fact_number is not None
        said = [f"{name}={value or ''}" for name, value in event.column_values.items() if value or is_later]
        what = f"{event.kind_code} {', '.join(said)}".strip()
        lines.append(f"  {write_instant(event.recorded_at)} UTC  {event.author_id}: {what} ({event.reason})")
    return lines


def described_entities() -> list[str]:
    """What can be recorded: each fact with its columns, those that must be given marked by *."""
    lines = []
    for name, entity in dated_entities().items():
        lines.append(f"{name}: {entity.grain}")
        for column in enterable_columns(entity):
            is_asked = column.required and column.default is None and column.name != "valid_from_date"
            either = " (one of these)" if column.name in entity.needs_one_of else ""
            lines.append(f"  {column.name}{'*' if is_asked else ''}: {written_form(column)}{either}. {column.meaning}")
    return lines


def _written(values: Values) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items() if value and not name.startswith("valid_"))
