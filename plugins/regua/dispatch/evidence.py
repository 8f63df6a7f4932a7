"""What providers say of messages, kept once and applied once, in whatever order and however often it is told.

Evidence can be told twice, late, in any order, and before our own answer is recorded. So a message's fate is computed
from all that was ever said of it, never from what was said last; what names no message yet waits to be linked.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from regua.dispatch.evidence_facts import AUTHOR, Addressee, EventCode, Evidence, Hasher, facts_from
from regua.errors import InputError
from regua.instants import Clock
from regua.ledger.database import slices
from regua.ledger.event_log import MessageEvent, append_events, writing_messages
from regua.ledger.facts import record_missing_facts
from regua.ledger.messages import CONTENTS, EVENTS, EVIDENCE, MARKS, MESSAGES, NOT_SENT, REACHED_FROM, State

__all__ = ["EventCode", "Evidence", "Recorded", "link_orphans", "record_evidence", "settle", "unknowns"]

CONTRADICTION = "contradiction"
_STATE_SHOWN = {
    EventCode.PROCESSED: State.ACCEPTED,
    EventCode.DEFERRED: State.ACCEPTED,
    EventCode.DELIVERED: State.DELIVERED,
    EventCode.READ: State.DELIVERED,
    EventCode.COMPLAINED: State.DELIVERED,
    EventCode.BOUNCED: State.BOUNCED,
    EventCode.DROPPED: State.DROPPED,
    EventCode.FAILED: State.DROPPED,
}
# A recall takes back what was accepted, so an acceptance from before it says nothing against it.
_TAKEN_BACK = (State.SUPPRESSED, State.CANCELLED_PAID)
_ORPHANS_WAIT = timedelta(days=30)
_ABSENT_COUNTS_AFTER = timedelta(hours=24)
_FATES = {"sent": State.SETTLED_SENT, "not_sent": State.SETTLED_NOT_SENT, "delivered": State.DELIVERED}


@dataclass(frozen=True, slots=True)
class Recorded:
    """What came of evidence: told for the first time, messages moved, facts recorded, and what cannot be placed.

    `orphans` name a message that the ledger does not know yet; `strangers` an address nobody was written to at.
    """

    new: int = 0
    moved: int = 0
    contradictions: int = 0
    facts: int = 0
    orphans: int = 0
    strangers: int = 0


@dataclass(frozen=True, slots=True)
class UnknownMessage:
    """A message of which nobody knows whether it went out."""

    message_id: str
    as_of_date: date
    channel_code: str
    customer_id: str
    reason_code: str | None
    state_at: datetime


@dataclass(frozen=True, slots=True)
class _Placed:
    """The message that evidence names (None where it names an address alone), and whom it concerns."""

    message_id: str | None
    addressee: Addressee


def address_hasher(engine: sa.Engine) -> Hasher:
    """By the ledger's own key. E-mail addresses are taken in lower case, as the night writes them."""
    with engine.connect() as connection:
        query = sa.select(MARKS.c.value).where(MARKS.c.mark_code == "hash_key")
        key: str | None = connection.execute(query).scalar_one_or_none()

    def hashed(address: str) -> str | None:
        if key is None:
            return None
        written = address.strip().lower() if "@" in address else address.strip()
        return hmac.digest(bytes.fromhex(key), written.encode(), "sha256").hex()

    return hashed


def record_evidence(engine: sa.Engine, items: Iterable[Evidence], clock: Clock) -> Recorded:
    """Keep what was not told before, record the facts in it, and move the messages it names, durably.

    The facts come first: if this is killed before the evidence is kept, it is told again and finds them recorded.
    """
    told = {_key(item): item for item in items}
    with engine.connect() as connection:
        known = _known_keys(connection, told)
        new = {key: item for key, item in told.items() if key not in known}
        placed = _place(connection, new)
    facts = _record_facts(engine, new, placed, clock)
    # An address without a message may belong to anybody: nothing is kept of it.
    kept = {key: item for key, item in new.items() if key in placed or item.message_id or item.provider_message_id}
    with writing_messages(engine) as connection:
        now = clock()
        known = _known_keys(connection, kept)
        rows = [
            {
                "evidence_key": key,
                "message_id": placed[key].message_id if key in placed else item.message_id,
                "provider_message_id": _provider_id(item),
                "sender_code": item.sender_code,
                "event_code": item.event_code,
                "reason": item.reason_code,
                "occurred_at": item.occurred_at or now,
                "recorded_at": now,
                "applied_at": now if key in placed else None,
            }
            for key, item in kept.items()
            if key not in known
        ]
        if rows:
            connection.execute(sa.insert(EVIDENCE), rows)
        moved, contradictions = _move(
            connection, {placed[str(row["evidence_key"])].message_id for row in rows if row["applied_at"]}, now
        )
    return Recorded(
        new=len(rows),
        moved=moved,
        contradictions=contradictions,
        facts=facts,
        orphans=sum(row["applied_at"] is None for row in rows),
        strangers=len(new) - len(kept),
    )


def link_orphans(engine: sa.Engine, clock: Clock) -> Recorded:
    """Apply the evidence whose message the ledger has come to know. `orphans` are those that still wait."""
    with engine.connect() as connection:
        waiting = sa.select(EVIDENCE).where(
            EVIDENCE.c.applied_at.is_(None), EVIDENCE.c.recorded_at > clock() - _ORPHANS_WAIT
        )
        orphans = {
            row.evidence_key: Evidence(
                row.sender_code,
                EventCode(row.event_code),
                row.occurred_at,
                row.message_id,
                row.provider_message_id,
                row.reason,
            )
            for row in connection.execute(waiting)
        }
        placed = _place(connection, orphans)
    if not placed:
        return Recorded(orphans=len(orphans))
    facts = _record_facts(engine, orphans, placed, clock)
    with writing_messages(engine) as connection:
        now = clock()
        for key, place in placed.items():
            connection.execute(
                sa.update(EVIDENCE)
                .where(EVIDENCE.c.evidence_key == key, EVIDENCE.c.applied_at.is_(None))
                .values(message_id=place.message_id, applied_at=now)
            )
        moved, contradictions = _move(connection, {place.message_id for place in placed.values()}, now)
    return Recorded(0, moved, contradictions, facts, orphans=len(orphans) - len(placed))


def unknowns(engine: sa.Engine) -> list[UnknownMessage]:
    """Oldest first."""
    columns = [MESSAGES.c[name] for name in UnknownMessage.__dataclass_fields__]
    query = sa.select(*columns).where(MESSAGES.c.state_code == State.UNKNOWN)
    with engine.connect() as connection:
        rows = connection.execute(query.order_by(MESSAGES.c.state_at, MESSAGES.c.message_id))
        return [UnknownMessage(**row) for row in rows.mappings()]


def settle(engine: sa.Engine, message_id: str, fate: str, author: str, reason: str, clock: Clock) -> None:
    """A person says what became of a message of unknown fate: `sent`, `not_sent` or `delivered`.

    `not_sent` makes its step due again, so absence from the provider's log must mean something: a day has passed, and
    another message of the same run is proved to have arrived there since. Raises InputError saying what is missing.
    """
    if fate not in _FATES:
        raise InputError(f"{fate!r} is no fate; a message is {', '.join(_FATES)}.")
    if not (author.strip() and reason.strip()):
        raise InputError("Author or reason is empty; say who says it and why, for whoever reads it later.")
    with writing_messages(engine) as connection:
        now = clock()
        message: Any = connection.execute(sa.select(MESSAGES).where(MESSAGES.c.message_id == message_id)).one_or_none()
        if message is None:
            raise InputError(f"The ledger holds no message {message_id!r}; `regua ledger unknowns` lists what is open.")
        if message.state_code != State.UNKNOWN:
            raise InputError(f"{message_id} is {message.state_code}; only what is unknown can be settled.")
        if fate == "not_sent":
            _require_proved_absence(connection, message, now)
        _change(connection, message, _FATES[fate], "settled", now)
        event = MessageEvent(
            _FATES[fate], message_id, reason.strip()[:200], message.run_id, message.epoch, {"author": author.strip()}
        )
        append_events(connection, [event], now)


def _require_proved_absence(connection: sa.Connection, message: Any, now: datetime) -> None:
    age = now - message.state_at
    if age < _ABSENT_COUNTS_AFTER:
        hours = age.total_seconds() / 3600
        raise InputError(
            f"{message.message_id} is unknown for {hours:.0f} hours only: a provider's log lags, and what it does not "
            "show today it may show tomorrow. Settle it as not_sent once 24 hours have passed."
        )
    canary = (
        sa.select(EVIDENCE.c.evidence_key)
        .join(MESSAGES, MESSAGES.c.message_id == EVIDENCE.c.message_id)
        .where(
            MESSAGES.c.run_id == message.run_id,
            MESSAGES.c.sender_code == message.sender_code,
            MESSAGES.c.message_id != message.message_id,
            EVIDENCE.c.applied_at.is_not(None),
            EVIDENCE.c.recorded_at >= message.state_at,
            EVIDENCE.c.event_code.in_(list(_STATE_SHOWN)),
        )
    )
    if connection.execute(canary.limit(1)).first() is None:
        raise InputError(
            f"No other message of run {message.run_id} is proved by {message.sender_code} since: as long as the "
            "provider shows nothing of that run, that it does not show this one proves nothing. See that evidence "
            "arrives (docs/how-to/evidence.md), or settle it as sent."
        )


def _key(item: Evidence) -> str:
    """The same for the same thing told again; SendGrid's own event id is not, it changes with each try."""
    told = [
        item.sender_code,
        item.message_id or _provider_id(item),
        item.event_code,
        item.occurred_at.isoformat() if item.occurred_at else None,
        item.address_hash,
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _provider_id(item: Evidence) -> str | None:
    """As our answer to the attempt has it: SendGrid lengthens the id it gave us, after a point."""
    given = item.provider_message_id
    return given.partition(".")[0] if given is not None and item.sender_code == "sendgrid" else given


def _known_keys(connection: sa.Connection, keys: Iterable[str]) -> set[str]:
    known: set[str] = set()
    for some in slices(sorted(keys)):
        known |= set(
            connection.execute(sa.select(EVIDENCE.c.evidence_key).where(EVIDENCE.c.evidence_key.in_(some))).scalars()
        )
    return known


def _place(connection: sa.Connection, items: Mapping[str, Evidence]) -> dict[str, _Placed]:
    """By our id, else by the provider's, else by the address."""
    by_id = _messages_by(connection, MESSAGES.c.message_id, [item.message_id for item in items.values()])
    rest = [item for item in items.values() if item.message_id not in by_id]
    by_provider = _messages_by(connection, MESSAGES.c.provider_message_id, [_provider_id(item) for item in rest])
    by_address = _messages_by(connection, MESSAGES.c.address_hash, [item.address_hash for item in rest])
    found: dict[str, tuple[Any, str | None]] = {}
    for key, item in items.items():
        provider_id = _provider_id(item)
        message = by_id.get(item.message_id) or by_provider.get(provider_id)
        if message is not None and message.sender_code in (None, item.sender_code):
            found[key] = (message, message.message_id)
        elif item.message_id is None and provider_id is None and item.address_hash in by_address:
            found[key] = (by_address[item.address_hash], None)
    hashes = [message.address_hash for message, _ in found.values()]
    customers: dict[str, set[str]] = {}
    for some in slices(sorted(set(hashes))):
        query = sa.select(MESSAGES.c.address_hash, MESSAGES.c.customer_id).where(MESSAGES.c.address_hash.in_(some))
        for row in connection.execute(query.distinct()):
            customers.setdefault(row.address_hash, set()).add(row.customer_id)
    return {
        key: _Placed(
            message_id,
            Addressee(message.channel_code, message.address, tuple(sorted(customers[message.address_hash]))),
        )
        for key, (message, message_id) in found.items()
    }


def _messages_by(
    connection: sa.Connection, column: sa.Column[Any], values: Iterable[str | None]
) -> dict[str | None, Any]:
    """The newest message of each value, with its address while it is kept."""
    found: dict[str | None, Any] = {}
    for some in slices(sorted({value for value in values if value is not None})):
        query = (
            sa.select(
                column.label("value"),
                MESSAGES.c.message_id,
                MESSAGES.c.channel_code,
                MESSAGES.c.address_hash,
                MESSAGES.c.sender_code,
                CONTENTS.c.content["address"].as_string().label("address"),
            )
            .outerjoin(CONTENTS, CONTENTS.c.message_id == MESSAGES.c.message_id)
            .where(column.in_(some))
            .order_by(MESSAGES.c.as_of_date, MESSAGES.c.message_id)
        )
        found |= {row.value: row for row in connection.execute(query)}
    return found


def _record_facts(engine: sa.Engine, items: Mapping[str, Evidence], placed: Mapping[str, _Placed], clock: Clock) -> int:
    now = clock()
    facts = [fact for key, place in placed.items() for fact in facts_from(items[key], place.addressee, now)]
    return record_missing_facts(engine, facts, author=AUTHOR, clock=clock)


def _move(connection: sa.Connection, message_ids: Iterable[str | None], now: datetime) -> tuple[int, int]:
    """Bring messages to the state that all evidence of them shows. Answers how many moved, and how many contradict."""
    moved = contradictions = 0
    for some in slices(sorted(key for key in message_ids if key is not None)):
        said: dict[str, list[Any]] = {}
        evidence = sa.select(EVIDENCE).where(EVIDENCE.c.message_id.in_(some), EVIDENCE.c.applied_at.is_not(None))
        for row in connection.execute(evidence):
            said.setdefault(row.message_id, []).append(row)
        events: list[MessageEvent] = []
        for message in connection.execute(sa.select(MESSAGES).where(MESSAGES.c.message_id.in_(some))).all():
            shown = _shown(said[message.message_id])
            if shown is None:
                continue
            state, proof = shown
            detail = {"evidence": proof.event_code, "sender": proof.sender_code}
            if _contradicts(message, state, proof):
                contradictions += 1
                was = f"{message.state_code}: {message.reason_code}" if message.reason_code else message.state_code
                events.append(
                    MessageEvent(CONTRADICTION, message.message_id, was[:200], message.run_id, message.epoch, detail)
                )
            if message.state_code == State.PLANNED:
                # The provider has what we hold for not sent: it must not go out a second time.
                message = _claimed_by_evidence(connection, message, events, now)
            if message.provider_message_id is None and proof.provider_message_id is not None:
                own = MESSAGES.c.message_id == message.message_id
                connection.execute(sa.update(MESSAGES).where(own).values(provider_message_id=proof.provider_message_id))
            if message.state_code not in REACHED_FROM[state]:
                continue
            _change(connection, message, state, proof.reason or proof.event_code, now)
            events.append(MessageEvent(state, message.message_id, proof.reason, message.run_id, message.epoch, detail))
            moved += 1
        append_events(connection, events, now)
    return moved, contradictions


def _shown(said: Sequence[Any]) -> tuple[State, Any] | None:
    """The state that evidence comes to, with the row that shows it: the same whatever order it came in.

    A bounce stands above all, for nothing reaches that address; of other ends the latest counts.
    """
    shown = [(_STATE_SHOWN[EventCode(row.event_code)], row) for row in said if row.event_code in _STATE_SHOWN]
    if not shown:
        return None
    return max(
        shown,
        key=lambda each: (
            each[0] is State.BOUNCED,
            each[0] is not State.ACCEPTED,
            each[1].occurred_at,
            each[0] is State.DELIVERED,
            each[1].evidence_key,
        ),
    )


def _contradicts(message: Any, state: State, proof: Any) -> bool:
    if message.state_code == State.PLANNED:
        return True
    if message.state_code not in NOT_SENT:
        return False
    is_old_news = (
        state is State.ACCEPTED and message.state_code in _TAKEN_BACK and proof.occurred_at <= message.state_at
    )
    return not is_old_news


def _claimed_by_evidence(connection: sa.Connection, message: Any, events: list[MessageEvent], now: datetime) -> Any:
    _change(connection, message, State.CLAIMED, "provider_has_it", now, epoch=message.epoch + 1, lease_until=now)
    events.append(MessageEvent(State.CLAIMED, message.message_id, "provider_has_it", message.run_id, message.epoch + 1))
    return connection.execute(sa.select(MESSAGES).where(MESSAGES.c.message_id == message.message_id)).one()


def _change(connection: sa.Connection, message: Any, state: State, reason: str, now: datetime, **values: Any) -> None:
    """From the state that `message` was read in, and no other."""
    updated = connection.execute(
        sa.update(MESSAGES)
        .where(MESSAGES.c.message_id == message.message_id, MESSAGES.c.state_code == message.state_code)
        .values(state_code=state, reason_code=reason[:200], state_at=now, **values)
    ).rowcount
    if updated != 1:
        raise RuntimeError(f"{message.message_id} was changed under a lock: the ledger is written from elsewhere")


def contradictions_since(engine: sa.Engine, event_number: int) -> list[tuple[int, str, str]]:
    """Number, message and what we held for true, of each contradiction after an event."""
    query = (
        sa.select(EVENTS.c.event_number, EVENTS.c.message_id, EVENTS.c.reason_code)
        .where(EVENTS.c.kind_code == CONTRADICTION, EVENTS.c.event_number > event_number)
        .order_by(EVENTS.c.event_number)
    )
    with engine.connect() as connection:
        return [(row.event_number, row.message_id, row.reason_code) for row in connection.execute(query)]
