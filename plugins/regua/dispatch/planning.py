"""Writing the plan of a day into the ledger. Contacts nobody."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

import sqlalchemy as sa

from regua.channels.contents import Line, MessageContent
from regua.contract.entities import OPERATORS
from regua.dispatch.payments import Notice, unknown_at
from regua.errors import InputError
from regua.instants import LOCAL, Clock, to_utc
from regua.ledger.database import slices
from regua.ledger.event_log import MessageEvent, append_events, writing_messages
from regua.ledger.messages import CONTENTS, MARKS, MESSAGES, NOT_SENT, PAYMENT_NOTICES, PLANS, STEPS, State
from regua.settings import Settings
from regua.warehouse.store import published_known_at, reading

_MESSAGES = """
select messages.*, recipients.name, recipients.address, recipients.action_date
from marts.fct_dunning_messages as messages
inner join intermediate.int_dispatch_recipients as recipients using (message_id)
where messages.as_of_date = ?
order by messages.message_id
"""
_LINES = """
select lines.*, codes.invoice_number, codes.payment_url, codes.boleto_line, codes.pix_code
from marts.fct_dunning_message_lines as lines
left join intermediate.int_dispatch_payment_codes as codes using (invoice_id)
where lines.as_of_date = ?
order by lines.message_id, lines.due_date, lines.invoice_id
"""
# The ledger's facts are files named by the number of their entity's last event.
_LANDED_FACTS = """
select file_set, arg_max(_file, _loaded_at) from ops.batches where _source = ? and _loaded_at <= ? group by file_set
"""
_MERGED = """
select contact_customer_id, list(customer_id order by customer_id)
from intermediate.int_contact_customers where customer_id <> contact_customer_id group by contact_customer_id
"""
_STEPS = """
select step_key, message_id, contact_customer_id as customer_id, invoice_id, step_code, cycle_date
from marts.fct_dunning_decisions
where as_of_date = ? and outcome_code = 'eligible'
order by step_key
"""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one invoice that a message carries; its key is what no second message may have."""

    step_key: str
    message_id: str
    customer_id: str
    invoice_id: str
    step_code: str
    cycle_date: date


@dataclass(frozen=True, slots=True)
class PlannedMessage:
    """A message with its hours (UTC) and the steps that it carries."""

    content: MessageContent
    policy_code: str
    version_hash: str
    contact_point_id: str | None
    opens_at: datetime
    closes_at: datetime
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class DecidedNight:
    """The messages a night decided, and what it knew: of each entity the number of its last fact event, and which of
    the payments the ledger was told of before.
    """

    as_of: date
    known_at: datetime
    messages: tuple[PlannedMessage, ...]
    fact_numbers: Mapping[str, int]
    seen_notice_keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the ledger was told. `withdrawn` are messages of an earlier plan of the day that this one has no more."""

    as_of: date
    message_count: int
    new: int
    kept: int
    withdrawn: int
    already_taken: int
    expired: int


def read_night(settings: Settings, as_of: date, notices: Sequence[Notice]) -> DecidedNight:
    """The messages that the newest night of `as_of` decided. `notices` are payments it may not have known.

    Raises InputError when the warehouse holds another day or one whose gate has not passed, BusyError while it is
    written.
    """
    with reading(settings) as warehouse:
        known_at = published_known_at(warehouse, as_of)
        headers, lines, steps = (_rows(warehouse, query, as_of) for query in (_MESSAGES, _LINES, _STEPS))
        # What was loaded after the night, by another that stopped at a gate, was not decided with.
        landed = warehouse.execute(_LANDED_FACTS, [OPERATORS, known_at]).fetchall()
        unknown = unknown_at(warehouse, notices, known_at)
        merged = dict(warehouse.execute(_MERGED).fetchall())
    lines_of, steps_of = _grouped(lines), _grouped(steps)
    messages = []
    for header in headers:
        key = header["message_id"]
        messages.append(
            PlannedMessage(
                content=_content(header, lines_of.get(key, []), merged.get(header["contact_customer_id"], [])),
                policy_code=header["policy_code"],
                version_hash=header["version_hash"],
                contact_point_id=header["contact_point_id"],
                opens_at=_instant(as_of, header["opens_minute"]),
                closes_at=_instant(as_of, header["closes_minute"]),
                steps=tuple(Step(**row) for row in steps_of.get(key, [])),
            )
        )
    return DecidedNight(
        as_of,
        known_at,
        tuple(messages),
        {entity: int(name.removesuffix(".jsonl").rpartition("_")[2]) for entity, name in landed},
        frozenset(notice.key for notice in notices) - {notice.key for notice in unknown},
    )


def write_plan(engine: sa.Engine, night: DecidedNight, clock: Clock) -> Plan:
    """Make the ledger's plan of a day what its night decided, in one transaction; it still has to pass its gate.

    A message that was claimed stays as it is. A planned one that the night decides no more is superseded, and those of
    earlier days expire. A step that another message carries, or may carry, is not planned again: that message is
    superseded. Raises InputError for a day before the newest plan's.
    """
    as_of, messages = night.as_of, night.messages
    with writing_messages(engine) as connection:
        now = clock()
        newest: date | None = connection.execute(sa.select(sa.func.max(PLANS.c.as_of_date))).scalar_one()
        if newest is not None and as_of < newest:
            raise InputError(
                f"There is a plan of {newest} already; one of {as_of}, an earlier day, would contact nobody."
            )
        key = _hash_key(connection)
        digest = _digest(messages)
        plan = {
            "known_at": night.known_at,
            "planned_at": now,
            "known_fact_numbers": dict(night.fact_numbers),
            "message_count": len(messages),
            "content_sha256": digest,
            "gate_code": "open",
            "gate_reason": None,
        }
        updated = connection.execute(sa.update(PLANS).where(PLANS.c.as_of_date == as_of).values(plan)).rowcount
        if not updated:
            connection.execute(sa.insert(PLANS).values(as_of_date=as_of, **plan))
        for some in slices(sorted(night.seen_notice_keys)):
            connection.execute(
                sa.update(PAYMENT_NOTICES)
                .where(PAYMENT_NOTICES.c.notice_key.in_(some), PAYMENT_NOTICES.c.seen_at.is_(None))
                .values(seen_at=night.known_at)
            )
        events = [MessageEvent("plan", detail={"as_of": as_of.isoformat(), "sha256": digest, "count": len(messages)})]

        expired = _leave(connection, MESSAGES.c.as_of_date < as_of, State.EXPIRED, "day_over", now)
        known = {
            row.message_id: row.state_code
            for row in connection.execute(
                sa.select(MESSAGES.c.message_id, MESSAGES.c.state_code).where(MESSAGES.c.as_of_date == as_of)
            )
        }
        ids = {message.content.message_id for message in messages}
        gone = [key for key, state in known.items() if state == State.PLANNED and key not in ids]
        # What a provider holds of them is recalled by the next dispatch.
        connection.execute(sa.update(MESSAGES).where(MESSAGES.c.as_of_date == as_of).values(is_decided=False))
        for some in slices(sorted(ids & set(known))):
            connection.execute(sa.update(MESSAGES).where(MESSAGES.c.message_id.in_(some)).values(is_decided=True))
        withdrawn = []
        for some in slices(gone):
            withdrawn += _leave(connection, MESSAGES.c.message_id.in_(some), State.SUPERSEDED, "planned_anew", now)
        events += [MessageEvent(State.EXPIRED, each, "day_over") for each in expired]
        events += [MessageEvent(State.SUPERSEDED, each, "planned_anew") for each in withdrawn]

        fresh = [message for message in messages if known.get(message.content.message_id) in (None, State.PLANNED)]
        new = [message for message in fresh if message.content.message_id not in known]
        _write_messages(connection, as_of, fresh, key, now, known=set(known))
        taken = _take_steps(connection, fresh)
        for some in slices(sorted(taken)):
            _leave(connection, MESSAGES.c.message_id.in_(some), State.SUPERSEDED, "step_taken", now)
        events += [
            MessageEvent(
                State.PLANNED, message.content.message_id, detail={"steps": [s.step_key for s in message.steps]}
            )
            for message in new
        ]
        events += [MessageEvent(State.SUPERSEDED, each, "step_taken") for each in sorted(taken)]
        append_events(connection, events, now)
    return Plan(
        as_of,
        message_count=len(messages),
        new=sum(1 for message in new if message.content.message_id not in taken),
        kept=len(messages) - len(new),
        withdrawn=len(withdrawn),
        already_taken=len(taken),
        expired=len(expired),
    )


def _write_messages(
    connection: sa.Connection,
    as_of: date,
    messages: Sequence[PlannedMessage],
    key: bytes,
    now: datetime,
    *,
    known: set[str],
) -> None:
    rows, contents = [], []
    for message in messages:
        content = message.content
        written = content.to_json()
        rows.append(
            {
                "message_id": content.message_id,
                "as_of_date": as_of,
                "customer_id": content.customer_id,
                "channel_code": content.channel_code,
                "currency_code": content.currency_code,
                "policy_code": message.policy_code,
                "version_hash": message.version_hash,
                "step_code": content.step_code,
                "contact_point_id": message.contact_point_id,
                "address_hash": hmac.digest(key, content.address.encode(), "sha256").hex(),
                "opens_at": message.opens_at,
                "closes_at": message.closes_at,
                "content_sha256": hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest(),
                "state_code": State.PLANNED,
                "reason_code": None,
                "state_at": now,
                "epoch": 0,
                "attempt_count": 0,
                "is_decided": True,
            }
        )
        contents.append({"message_id": content.message_id, "content": written})
    again = [row for row in rows if row["message_id"] in known]
    if again:
        # Its epoch goes on: an attempt that was proved not to have left is no reason to forget it.
        kept = ("message_id", "epoch", "attempt_count", "state_code")
        changed = [name for name in again[0] if name not in kept]
        statement = (
            sa.update(MESSAGES)
            .where(MESSAGES.c.message_id == sa.bindparam("its_id"))
            .values({name: sa.bindparam(f"new_{name}") for name in changed})
        )
        connection.execute(
            statement,
            [{"its_id": row["message_id"], **{f"new_{name}": row[name] for name in changed}} for row in again],
        )
    for table, some in ((MESSAGES, [row for row in rows if row["message_id"] not in known]), (CONTENTS, contents)):
        if table is CONTENTS and again:
            repeated = [str(row["message_id"]) for row in again]
            for ids in slices(repeated):
                connection.execute(sa.delete(CONTENTS).where(CONTENTS.c.message_id.in_(ids)))
        if some:
            connection.execute(sa.insert(table), some)


def _take_steps(connection: sa.Connection, messages: Sequence[PlannedMessage]) -> set[str]:
    """Give each step to its message; answers the messages of which a step is another's that went out or may have."""
    steps = [step for message in messages for step in message.steps]
    _release_steps(connection, messages)
    owners: dict[str, tuple[str, str]] = {}
    for some in slices([step.step_key for step in steps]):
        query = (
            sa.select(STEPS.c.step_key, STEPS.c.message_id, MESSAGES.c.state_code)
            .join(MESSAGES, MESSAGES.c.message_id == STEPS.c.message_id)
            .where(STEPS.c.step_key.in_(some))
        )
        owners |= {row.step_key: (row.message_id, row.state_code) for row in connection.execute(query)}
    taken = {
        step.message_id
        for step in steps
        if step.step_key in owners
        and owners[step.step_key][0] != step.message_id
        and owners[step.step_key][1] not in NOT_SENT
    }
    new = []
    for step in steps:
        if step.step_key not in owners:
            # Of a message that is superseded too: so it is known that this step was not sent either.
            new.append({name: getattr(step, name) for name in Step.__dataclass_fields__})
        elif step.message_id not in taken and owners[step.step_key][0] != step.message_id:
            # The row stays and changes hands: the key remains unique whatever happens to its messages.
            connection.execute(
                sa.update(STEPS).where(STEPS.c.step_key == step.step_key).values(message_id=step.message_id)
            )
    if new:
        connection.execute(sa.insert(STEPS), new)
    return taken


def _release_steps(connection: sa.Connection, messages: Sequence[PlannedMessage]) -> None:
    """Steps that planned messages no longer carry: kept, they would count as sent with what does not mention them."""
    carried = {(step.message_id, step.step_key) for message in messages for step in message.steps}
    gone: list[str] = []
    for some in slices([message.content.message_id for message in messages]):
        query = sa.select(STEPS.c.message_id, STEPS.c.step_key).where(STEPS.c.message_id.in_(some))
        gone += [row.step_key for row in connection.execute(query) if tuple(row) not in carried]
    for some in slices(gone):
        connection.execute(sa.delete(STEPS).where(STEPS.c.step_key.in_(some)))


def _leave(
    connection: sa.Connection, which: sa.ColumnElement[bool], state: State, reason: str, now: datetime
) -> list[str]:
    """Planned messages into a state they will not leave; answers which."""
    statement = (
        sa.update(MESSAGES)
        .where(which, MESSAGES.c.state_code == State.PLANNED)
        .values(state_code=state, reason_code=reason, state_at=now)
        .returning(MESSAGES.c.message_id)
    )
    return sorted(connection.execute(statement).scalars())


def _hash_key(connection: sa.Connection) -> bytes:
    """By which addresses are hashed: made once, so that equal addresses stay equal after they are erased."""
    query = sa.select(MARKS.c.value).where(MARKS.c.mark_code == "hash_key")
    found = connection.execute(query).scalar_one_or_none()
    if found is None:
        found = secrets.token_hex(32)
        connection.execute(sa.insert(MARKS).values(mark_code="hash_key", value=found))
    return bytes.fromhex(found)


def _digest(messages: Iterable[PlannedMessage]) -> str:
    whole = hashlib.sha256()
    for message in messages:
        told = {**message.content.to_json(), "steps": [step.step_key for step in message.steps]}
        whole.update(json.dumps(told, sort_keys=True).encode())
    return whole.hexdigest()


def _content(
    header: dict[str, Any], lines: Sequence[dict[str, Any]], merged_customer_ids: Sequence[str]
) -> MessageContent:
    given = {name: header[name] for name in MessageContent.__dataclass_fields__ if name in header}
    given["customer_id"] = header["contact_customer_id"]
    given["lines"] = tuple(Line(**{name: line[name] for name in Line.__dataclass_fields__}) for line in lines)
    return MessageContent(**given, merged_customer_ids=tuple(merged_customer_ids))


def _instant(day: date, minute: int) -> datetime:
    """A local minute of the day as UTC; minute 1440 is the next midnight."""
    local = datetime.combine(day, time(), tzinfo=LOCAL) + timedelta(minutes=minute)
    return to_utc(local)


def _rows(warehouse: Any, query: str, as_of: date) -> list[dict[str, Any]]:
    result = warehouse.execute(query, [as_of])
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _grouped(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        grouped.setdefault(row["message_id"], []).append(row)
    return grouped
