"""A ledger with webhooks to deliver, and a receiver that remembers what it was told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from regua.channels.sending import Answer
from regua.ledger.event_log import writing_messages
from regua.ledger.webhooks import WEBHOOK_DELIVERIES
from regua.suspension.standing import Entry, Standing
from regua.suspension.webhooks import (
    DeliveryReport,
    WebhookEvent,
    WebhookReceiver,
    deliver_due,
    enqueue_events,
    event_of,
)

DAY = date(2026, 6, 30)
NIGHT = datetime.fromisoformat("2026-06-30 05:00")
OK = (Answer.ACCEPTED, "http_204", None)
FAILED = (Answer.UNKNOWN, "http_500", None)


def made_entry(subscription: str, standing: str) -> Entry:
    return Entry(subscription, "C1", DAY, Standing(standing), standing, "regular", DAY, "over_threshold", None)


def made_event(sequence: int, subscription: str | None = None, standing: str = "suspended") -> WebhookEvent:
    """Of subscription S<sequence>, if no other is named."""
    entry = made_entry(subscription or f"S{sequence}", standing)
    before = made_entry(entry.subscription_id, "suspended") if entry.has_access else None
    event = event_of(entry, before, sequence, DAY, NIGHT)
    assert event is not None
    return event


@dataclass
class MadeReceiver:
    """Answers by `answer(webhook_id)`, or as it is told, and takes its time with it."""

    answer: Callable[[str], tuple[Answer, str, float | None]] = lambda _: OK
    told: list[tuple[str, str]] = field(default_factory=list)

    def attempt(self, webhook_id: str, text: str) -> tuple[Answer, str, float | None]:
        self.told.append((webhook_id, text))
        return self.answer(webhook_id)

    @property
    def told_ids(self) -> list[str]:
        return [webhook_id for webhook_id, _ in self.told]


@dataclass
class Ledger:
    """The clock stands until it is moved."""

    engine: sa.Engine
    environment: dict[str, str]
    now: datetime = NIGHT

    def clock(self) -> datetime:
        return self.now

    def wait(self, **time: float) -> None:
        self.now += timedelta(**time)

    def enqueue(self, *events: WebhookEvent, endpoints: Sequence[str] = ("product",)) -> int:
        with writing_messages(self.engine) as connection:
            return enqueue_events(connection, events, endpoints, self.now)

    def deliver(self, receiver: WebhookReceiver, limit: int = 1000, **others: WebhookReceiver) -> DeliveryReport:
        return deliver_due(self.engine, {"product": receiver, **others}, self.clock, limit=limit)

    def delivery(self, event: WebhookEvent, endpoint: str = "product") -> Any:
        query = sa.select(WEBHOOK_DELIVERIES).where(
            WEBHOOK_DELIVERIES.c.event_id == event.event_id, WEBHOOK_DELIVERIES.c.endpoint_code == endpoint
        )
        with self.engine.connect() as connection:
            return connection.execute(query).one()

    def states(self) -> dict[str, int]:
        query = sa.select(WEBHOOK_DELIVERIES.c.state_code, sa.func.count()).group_by(WEBHOOK_DELIVERIES.c.state_code)
        with self.engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}


def at_once(*acts: Callable[[], object]) -> None:
    """Each in a thread of its own; what one raises is raised here."""
    begin = threading.Barrier(len(acts))

    def run(act: Callable[[], object]) -> None:
        begin.wait()
        act()

    with ThreadPoolExecutor(len(acts)) as pool:
        for done in [pool.submit(run, act) for act in acts]:
            done.result()
