"""The product is told of each change of access: which event says it, and its way to each receiver (how-to/webhooks.md).

Delivered at least once: an attempt whose answer was lost is repeated with the same id and the same bytes, and a
receiver drops what it has seen. Events carry the whole state of a subscription and may come in any order; `sequence`
tells which is the newest.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

from regua.channels.sending import Answer
from regua.channels.webhook_out import WebhookOut
from regua.errors import InputError
from regua.instants import Clock
from regua.ledger.database import slices, writing
from regua.ledger.event_log import MessageEvent, append_events, writing_messages
from regua.ledger.webhooks import WEBHOOK_DELIVERIES, WEBHOOK_EVENTS, DeliveryState
from regua.settings import Settings
from regua.suspension.standing import Entry, Standing

_log = logging.getLogger(__name__)

# After the first attempt, the second, … (Standard Webhooks: 75 hours and ten attempts in all).
_WAITS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
)
# Up to so much is added, so that what failed together does not come back together.
_JITTER = 0.2
# Resolving the name and the attempt itself end long before.
_LEASE = timedelta(minutes=2)
_TIMEOUT_SECONDS = 15.0
# An endpoint that fails so often is down: the rest of its events keep their attempts for later.
_FAILURES_IN_A_ROW = 20
_GONE = "http_410"


class EventType(StrEnum):
    NOTICE = "customer.notice"
    SUSPENDED = "customer.suspended"
    CANCELLATION_PROPOSED = "customer.cancellation_proposed"
    REACTIVATED = "customer.reactivated"
    REGULAR = "customer.regular"


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """What is told of one subscription by one publication. `body` is signed and sent as it stands here."""

    event_id: str
    sequence: int
    subscription_id: str
    type_code: str
    body: str

    def to_json(self) -> dict[str, Any]:
        """Plain values, from which `event_from_json` makes the same again."""
        return asdict(self)


class WebhookReceiver(Protocol):
    """One endpoint; `regua.channels.webhook_out.WebhookOut` is one."""

    def attempt(self, webhook_id: str, text: str) -> tuple[Answer, str, float | None]: ...


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What one run did, in deliveries: an event to an endpoint.

    `pending` are all that are still to be made when it ends, those of endpoints that nobody asked for included. `left`
    tells which endpoints it left early, and why.
    """

    delivered: int = 0
    retried: int = 0
    dead: int = 0
    superseded: int = 0
    pending: int = 0
    left: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that was given up. The subject is the subscription."""

    event_id: str
    endpoint_code: str
    type_code: str
    sequence: int
    subject_id: str
    attempt_count: int
    last_reason: str
    recorded_at: datetime


def event_of(
    entry: Entry, before: Entry | None, sequence: int, as_of: date, occurred_at: datetime
) -> WebhookEvent | None:
    """What publication `sequence` tells of an entry; `before` is what was published last, None where it was regular.

    None when the customer sees no difference.
    """
    type_code = _type_of(_shown(entry), _shown(before))
    if type_code is None:
        return None
    key = f"{sequence}|{as_of}|{entry.subscription_id}|{type_code}"
    data = {
        "sequence": sequence,
        "as_of": as_of.isoformat(),
        "customer_id": entry.customer_id,
        "subscription_id": entry.subscription_id,
        "standing_code": entry.standing_code.value,
        "has_access": entry.has_access,
        "banner_code": entry.banner_code,
        "billing_hint_code": entry.billing_hint_code,
        "reason_code": entry.reason_code,
        "oldest_invoice_id": entry.debt.oldest_invoice_id,
        "days_past_due": entry.debt.days_past_due,
        "balance_amount": f"{entry.debt.balance_amount:f}",
        "currency_code": entry.debt.currency_code,
        "unlocked_until_date": entry.unlocked_until_date.isoformat() if entry.unlocked_until_date else None,
    }
    timestamp = f"{occurred_at.isoformat(timespec='microseconds')}Z"
    return WebhookEvent(
        event_id=f"evt_{hashlib.sha256(key.encode()).hexdigest()[:32]}",
        sequence=sequence,
        subscription_id=entry.subscription_id,
        type_code=type_code.value,
        body=json.dumps({"type": type_code.value, "timestamp": timestamp, "data": data}, separators=(",", ":")),
    )


def event_from_json(written: Mapping[str, Any]) -> WebhookEvent:
    return WebhookEvent(**written)


def enqueue_events(
    connection: sa.Connection, events: Iterable[WebhookEvent], endpoint_codes: Collection[str], now: datetime
) -> int:
    """Within `writing_messages`: each event is to be told to each endpoint. Answers how many deliveries are new.

    What is enqueued already stays as it is, body included.
    """
    by_id = {event.event_id: event for event in events}
    known: set[str] = set()
    owed: set[tuple[str, str]] = set()
    for some in slices(list(by_id)):
        found = sa.select(WEBHOOK_EVENTS.c.event_id).where(WEBHOOK_EVENTS.c.event_id.in_(some))
        known |= set(connection.execute(found).scalars())
        pairs = sa.select(WEBHOOK_DELIVERIES.c.event_id, WEBHOOK_DELIVERIES.c.endpoint_code).where(
            WEBHOOK_DELIVERIES.c.event_id.in_(some)
        )
        owed |= {(row.event_id, row.endpoint_code) for row in connection.execute(pairs)}
    rows = [
        {
            "event_id": event.event_id,
            "sequence": event.sequence,
            "subject_id": event.subscription_id,
            "type_code": event.type_code,
            "body": event.body,
            "recorded_at": now,
        }
        for event in by_id.values()
        if event.event_id not in known
    ]
    deliveries = [
        {
            "event_id": event_id,
            "endpoint_code": endpoint_code,
            "state_code": DeliveryState.PENDING,
            "attempt_count": 0,
            "next_attempt_at": now,
        }
        for event_id in by_id
        for endpoint_code in endpoint_codes
        if (event_id, endpoint_code) not in owed
    ]
    if rows:
        connection.execute(sa.insert(WEBHOOK_EVENTS), rows)
    if deliveries:
        connection.execute(sa.insert(WEBHOOK_DELIVERIES), deliveries)
    return len(deliveries)


def open_receivers(
    endpoints: Mapping[str, str], secrets_text: str | None, settings: Settings, clock: Clock
) -> tuple[dict[str, WebhookOut], list[str]]:
    """By code the receiver at each URL, and what keeps others from being told: one trouble holds up no other.

    `local` reaches this machine alone, the other environments never do.
    """
    secrets = (secrets_text or "").strip()
    if endpoints and not secrets:
        return {}, ["REGUA_WEBHOOK_SECRET is not set. docs/how-to/webhooks.md says how to make one."]
    receivers: dict[str, WebhookOut] = {}
    troubles: list[str] = []
    for code, url in endpoints.items():
        try:
            receivers[code] = WebhookOut(
                url, secrets, _TIMEOUT_SECONDS, clock, on_loopback=settings.environment == "local"
            )
        except InputError as error:
            troubles.append(f"Webhook {code}: {error}")
    return receivers, troubles


def deliver_due(
    engine: sa.Engine,
    receivers: Mapping[str, WebhookReceiver],
    clock: Clock,
    *,
    limit: int = 20_000,
    run_for_seconds: float = 600.0,
) -> DeliveryReport:
    """Attempt once each delivery that is due: all endpoints at once, of each the oldest publication first.

    At most `limit` an endpoint; when time is over no attempt is begun. Several processes may do so at the same time.
    Raises what the ledger raises, once the other endpoints have come to their end.
    """
    stopped = threading.Event()
    over_at = time.monotonic() + run_for_seconds
    rounds = [_Round(engine, code, receiver, clock, stopped, over_at) for code, receiver in receivers.items()]
    with ThreadPoolExecutor(max(1, len(rounds)), thread_name_prefix="webhooks") as pool:
        done = [pool.submit(each.run, limit) for each in rounds]
        try:
            wait(done)
        except BaseException:
            # Airflow's time-out, or Ctrl-C: what is under way is recorded, and nothing is begun.
            stopped.set()
            raise
    for future in done:
        future.result()
    counts = sum((each.counts for each in rounds), Counter[str]())
    with engine.connect() as connection:
        query = sa.select(sa.func.count()).where(WEBHOOK_DELIVERIES.c.state_code == DeliveryState.PENDING)
        pending: int = connection.execute(query).scalar_one()
    return DeliveryReport(
        **counts, pending=pending, left={each.endpoint_code: each.left for each in rounds if each.left is not None}
    )


def dead_letters(engine: sa.Engine) -> list[DeadLetter]:
    """What was given up and is not overtaken by a newer event of its subject; oldest publication first."""
    newer = WEBHOOK_EVENTS.alias("newer")
    told = WEBHOOK_DELIVERIES.alias("told")
    overtaken = sa.exists().where(
        newer.c.subject_id == WEBHOOK_EVENTS.c.subject_id,
        newer.c.sequence > WEBHOOK_EVENTS.c.sequence,
        told.c.event_id == newer.c.event_id,
        told.c.endpoint_code == WEBHOOK_DELIVERIES.c.endpoint_code,
    )
    query = (
        sa.select(WEBHOOK_EVENTS, WEBHOOK_DELIVERIES)
        .join(WEBHOOK_DELIVERIES, WEBHOOK_DELIVERIES.c.event_id == WEBHOOK_EVENTS.c.event_id)
        .where(WEBHOOK_DELIVERIES.c.state_code == DeliveryState.DEAD, ~overtaken)
        .order_by(WEBHOOK_EVENTS.c.sequence, WEBHOOK_EVENTS.c.event_id, WEBHOOK_DELIVERIES.c.endpoint_code)
    )
    with engine.connect() as connection:
        return [
            DeadLetter(
                event_id=row.event_id,
                endpoint_code=row.endpoint_code,
                type_code=row.type_code,
                sequence=row.sequence,
                subject_id=row.subject_id,
                attempt_count=row.attempt_count,
                last_reason=row.last_reason,
                recorded_at=row.recorded_at,
            )
            for row in connection.execute(query)
        ]


def redeliver(engine: sa.Engine, event_ids: Sequence[str] | None, author: str, clock: Clock) -> int:
    """Make deliveries pending again, with all their attempts: those of the events, or with None all that are dead.

    Answers how many. Those of which a newer event says what is so now become `superseded` by the next run.
    Raises InputError for an event that was never enqueued, and without an author.
    """
    if not author.strip():
        raise InputError("Who delivers webhooks anew has to be named.")
    columns = (WEBHOOK_DELIVERIES.c.event_id, WEBHOOK_DELIVERIES.c.endpoint_code)
    with writing_messages(engine) as connection:
        now = clock()
        if event_ids is None:
            query = sa.select(*columns).where(WEBHOOK_DELIVERIES.c.state_code == DeliveryState.DEAD)
            pairs = [(row.event_id, row.endpoint_code) for row in connection.execute(query)]
        else:
            pairs = []
            for some in slices(list(dict.fromkeys(event_ids))):
                query = sa.select(*columns).where(WEBHOOK_DELIVERIES.c.event_id.in_(some))
                pairs += [(row.event_id, row.endpoint_code) for row in connection.execute(query)]
            unknown = sorted(set(event_ids) - {event_id for event_id, _ in pairs})
            if unknown:
                raise InputError(f"No webhook was ever to be sent of the event {', '.join(unknown)}.")
        for event_id, endpoint_code in sorted(pairs):
            connection.execute(
                sa.update(WEBHOOK_DELIVERIES)
                .where(*_key(event_id, endpoint_code))
                .values(state_code=DeliveryState.PENDING, attempt_count=0, next_attempt_at=now, delivered_at=None)
            )
        events = [
            MessageEvent(
                "webhook",
                reason_code="delivered_anew",
                detail={"event_id": event_id, "endpoint": endpoint_code, "author": author.strip()},
            )
            for event_id, endpoint_code in sorted(pairs)
        ]
        append_events(connection, events, now)
    return len(pairs)


class _Shown(NamedTuple):
    """What the customer sees. A trust unlock's last day stands on its banner."""

    has_access: bool = True
    banner_code: str | None = None
    unlocked_until_date: date | None = None
    is_cancellation_proposed: bool = False


def _shown(entry: Entry | None) -> _Shown:
    if entry is None:
        return _Shown()
    return _Shown(
        entry.has_access,
        entry.banner_code,
        entry.unlocked_until_date if entry.banner_code == "trust_unlock" else None,
        entry.standing_code is Standing.CANCELLATION_PROPOSED,
    )


def _type_of(shown: _Shown, before: _Shown) -> EventType | None:
    if shown == before:
        return None
    if not shown.has_access:
        if before.has_access or not shown.is_cancellation_proposed:
            return EventType.SUSPENDED
        return EventType.CANCELLATION_PROPOSED
    if not before.has_access:
        return EventType.REACTIVATED
    return EventType.REGULAR if shown.banner_code is None else EventType.NOTICE


@dataclass(frozen=True, slots=True)
class _Claim:
    """The right to one attempt until `lease_until`, by which a later owner is told from this one."""

    event_id: str
    body: str
    attempt_count: int
    lease_until: datetime


class _Round:
    """One endpoint's deliveries that are due when it begins, each attempted once."""

    def __init__(
        self,
        engine: sa.Engine,
        endpoint_code: str,
        receiver: WebhookReceiver,
        clock: Clock,
        stopped: threading.Event,
        over_at: float,
    ) -> None:
        self.endpoint_code = endpoint_code
        self.counts: Counter[str] = Counter()
        self.left: str | None = None
        self._engine = engine
        self._receiver = receiver
        self._clock = clock
        self._stopped = stopped
        self._over_at = over_at

    def run(self, limit: int) -> None:
        started = self._clock()
        failures = 0
        for event_id in self._due(started, limit):
            if self._stopped.is_set() or time.monotonic() >= self._over_at:
                self.left = "time_over"
                return
            claim = self._claim(event_id, started)
            if claim is None:
                continue
            answer, reason, wish = self._receiver.attempt(event_id, claim.body)
            if answer is Answer.ACCEPTED:
                self._record_delivered(claim, reason)
                failures = 0
                continue
            # A pause is meant for the whole endpoint where it is about load; then the others would only add to it.
            is_loaded = answer is Answer.LIMITED or (answer is Answer.UNKNOWN and bool(wish))
            self._record_failed(claim, reason, wish or 0.0, is_loaded)
            failures += 1
            if is_loaded:
                self.left = f"{reason}: it wants a pause"
            elif failures >= _FAILURES_IN_A_ROW:
                self.left = f"{reason}: {failures} failures in a row"
            if self.left is not None:
                _log.warning("webhooks to %s: left for now, %s", self.endpoint_code, self.left)
                return

    def _due(self, started: datetime, limit: int) -> list[str]:
        query = (
            sa.select(WEBHOOK_DELIVERIES.c.event_id)
            .join(WEBHOOK_EVENTS, WEBHOOK_EVENTS.c.event_id == WEBHOOK_DELIVERIES.c.event_id)
            .where(WEBHOOK_DELIVERIES.c.endpoint_code == self.endpoint_code, *_claimable(started, started))
            .order_by(WEBHOOK_EVENTS.c.sequence, WEBHOOK_EVENTS.c.event_id)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def _claim(self, event_id: str, started: datetime) -> _Claim | None:
        """None when somebody else has it, or when it is superseded."""
        with writing(self._engine) as connection:
            now = self._clock()
            lease_until = now + _LEASE
            updated = connection.execute(
                sa.update(WEBHOOK_DELIVERIES)
                .where(*_key(event_id, self.endpoint_code), *_claimable(started, now))
                .values(lease_until=lease_until)
            ).rowcount
            if updated != 1:
                return None
            query = (
                sa.select(WEBHOOK_EVENTS, WEBHOOK_DELIVERIES.c.attempt_count)
                .join(WEBHOOK_DELIVERIES, WEBHOOK_DELIVERIES.c.event_id == WEBHOOK_EVENTS.c.event_id)
                .where(*_key(event_id, self.endpoint_code))
            )
            event = connection.execute(query).one()
            if self._is_superseded(connection, event.subject_id, event.sequence):
                self._leave(connection, event_id, DeliveryState.SUPERSEDED)
                self.counts["superseded"] += 1
                return None
        return _Claim(event_id, event.body, event.attempt_count, lease_until)

    def _is_superseded(self, connection: sa.Connection, subject_id: str, sequence: int) -> bool:
        """Told late that access is gone, a product would lock out who has paid since."""
        newer = (
            sa.select(WEBHOOK_EVENTS.c.event_id)
            .join(WEBHOOK_DELIVERIES, WEBHOOK_DELIVERIES.c.event_id == WEBHOOK_EVENTS.c.event_id)
            .where(
                WEBHOOK_EVENTS.c.subject_id == subject_id,
                WEBHOOK_EVENTS.c.sequence > sequence,
                WEBHOOK_DELIVERIES.c.endpoint_code == self.endpoint_code,
            )
            .limit(1)
        )
        return connection.execute(newer).first() is not None

    def _record_delivered(self, claim: _Claim, reason: str) -> None:
        """Whoever holds the claim by now, and whatever was thought meanwhile: the receiver has it."""
        with writing(self._engine) as connection:
            now = self._clock()
            updated = self._leave(
                connection,
                claim.event_id,
                DeliveryState.DELIVERED,
                attempt_count=claim.attempt_count + 1,
                last_reason=reason,
                delivered_at=now,
            )
        self.counts["delivered"] += updated

    def _record_failed(self, claim: _Claim, reason: str, wish_seconds: float, is_loaded: bool) -> None:
        attempts = claim.attempt_count + 1
        is_dead = reason == _GONE or attempts > len(_WAITS)
        with writing(self._engine) as connection:
            now = self._clock()
            pause_until = now + timedelta(seconds=wish_seconds)
            owned = (
                WEBHOOK_DELIVERIES.c.lease_until == claim.lease_until,
                WEBHOOK_DELIVERIES.c.state_code == DeliveryState.PENDING,
            )
            told = {"attempt_count": attempts, "last_reason": reason[:200]}
            if is_dead:
                updated = self._leave(connection, claim.event_id, DeliveryState.DEAD, *owned, **told)
            else:
                chosen = _wait(f"{claim.event_id}|{self.endpoint_code}", attempts)
                updated = connection.execute(
                    sa.update(WEBHOOK_DELIVERIES)
                    .where(*_key(claim.event_id, self.endpoint_code), *owned)
                    .values(next_attempt_at=max(now + chosen, pause_until), lease_until=None, **told)
                ).rowcount
            if is_loaded:
                connection.execute(
                    sa.update(WEBHOOK_DELIVERIES)
                    .where(
                        WEBHOOK_DELIVERIES.c.endpoint_code == self.endpoint_code,
                        WEBHOOK_DELIVERIES.c.state_code == DeliveryState.PENDING,
                        WEBHOOK_DELIVERIES.c.next_attempt_at < pause_until,
                    )
                    .values(next_attempt_at=pause_until)
                )
        if updated:
            self.counts["dead" if is_dead else "retried"] += 1
            _log.warning(
                "webhook %s to %s: %s%s", claim.event_id, self.endpoint_code, reason, ", given up" if is_dead else ""
            )

    def _leave(
        self,
        connection: sa.Connection,
        event_id: str,
        state: DeliveryState,
        *conditions: sa.ColumnElement[bool],
        **values: Any,
    ) -> int:
        """From `pending`, or from what is less certain, into a state in which nothing more is tried."""
        return connection.execute(
            sa.update(WEBHOOK_DELIVERIES)
            .where(
                *_key(event_id, self.endpoint_code),
                WEBHOOK_DELIVERIES.c.state_code != DeliveryState.DELIVERED,
                *conditions,
            )
            .values(state_code=state, next_attempt_at=None, lease_until=None, **values)
        ).rowcount


def _key(event_id: str, endpoint_code: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return WEBHOOK_DELIVERIES.c.event_id == event_id, WEBHOOK_DELIVERIES.c.endpoint_code == endpoint_code


def _claimable(due_at: datetime, now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        WEBHOOK_DELIVERIES.c.state_code == DeliveryState.PENDING,
        WEBHOOK_DELIVERIES.c.next_attempt_at <= due_at,
        sa.or_(WEBHOOK_DELIVERIES.c.lease_until.is_(None), WEBHOOK_DELIVERIES.c.lease_until <= now),
    )


def _wait(delivery_key: str, attempts: int) -> timedelta:
    """Before the next attempt, after so many: the same whenever it is computed."""
    drawn = int.from_bytes(hashlib.sha256(f"{delivery_key}|{attempts}".encode()).digest()[:4])
    return _WAITS[attempts - 1] * (1 + _JITTER * drawn / 0xFFFFFFFF)
