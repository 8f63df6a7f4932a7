"""The ledger's messages as touches for the night: what went out, what did not, and what became of it.

Each night that found something new gets a file of the touches that changed since the file before. Its name ends in the
number of the last event it knows, before which stands the beginning of that event's hash: events are chained, so
another hash under an old number means another ledger, whose nights would send again what this one sent.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from regua.contract.entities import OPERATORS
from regua.dispatch.outbox import name_leftovers
from regua.errors import InputError
from regua.ingest.arrival import LandingStore
from regua.ingest.inspection import MANIFEST_ENDING
from regua.instants import Clock, local_day
from regua.ledger.database import open_ledger, place
from regua.ledger.messages import EVENTS, EVIDENCE, MESSAGES, NOT_SENT, STEPS, State
from regua.settings import Settings

TOUCHES = "touches"
_NAME = re.compile(r"touches_([0-9a-f]{12})_([0-9]+)\.jsonl")
# What is planned or under way gives none: without a touch a decision counts as sent.
_FATES = {
    State.ACCEPTED: "sent",
    State.UNKNOWN: "unknown",
    State.SETTLED_SENT: "sent",
    State.DELIVERED: "delivered",
    State.BOUNCED: "bounced",
    State.DROPPED: "bounced",
    **dict.fromkeys(NOT_SENT, "not_sent"),
}
_DELIVERED_EVENTS = ("delivered", "read", "complained")


def expire_before(settings: Settings, day: date, clock: Clock) -> None:
    """Name what was planned or claimed for days before `day` and was left open, so that it gives a touch."""
    with open_ledger(settings) as engine:
        name_leftovers(engine, day, clock, keeps_hours=False)


def write_sent_touches(settings: Settings, folder: Path) -> int:
    """Write the file of what changed since the newest that landed, into the inbox of the source `operators`.

    Answers how many touches it holds; without any there is no file. Raises InputError when the ledger is not the one
    that the landed touches came from.
    """
    arrivals = [
        arrival
        for arrival in LandingStore(settings.landing_dir, OPERATORS).arrivals()
        if arrival.file_set == TOUCHES and not arrival.discarded
    ]
    landed = arrivals[-1] if arrivals else None
    with open_ledger(settings) as engine, engine.connect() as connection:
        known = 0
        if landed is not None:
            known = _same_event(connection, landed.file_name)
            if not known:
                raise InputError(
                    f"The ledger {place(engine)} does not hold the events that {landed.file_name} landed from: it is "
                    "another one, or an older copy. Nothing goes on, because what was sent would be decided again. "
                    "Correct REGUA_LEDGER_URL or restore the ledger. If its messages are lost for good, "
                    f"`regua source discard {OPERATORS} {landed.batch_id} --reason TEXT`."
                )
        newest = connection.execute(
            sa.select(EVENTS.c.event_number, EVENTS.c.event_hash).order_by(EVENTS.c.event_number.desc()).limit(1)
        ).one_or_none()
        # The end of the log is read first: what happens meanwhile is told twice rather than never.
        touches = [] if newest is None else _touches_since(connection, known)
    if newest is None or not touches:
        return 0
    content = "".join(json.dumps(touch) + "\n" for touch in touches).encode()
    path = folder / f"{TOUCHES}_{newest.event_hash[:12]}_{newest.event_number:09}.jsonl"
    manifest = {"sha256": hashlib.sha256(content).hexdigest(), "rows": len(touches)}
    path.write_bytes(content)
    path.with_name(path.name + MANIFEST_ENDING).write_text(json.dumps(manifest), encoding="utf-8")
    return len(touches)


def _same_event(connection: sa.Connection, file_name: str) -> int:
    """The number of the event that a file was named by, 0 when the ledger has no such event."""
    match = _NAME.fullmatch(file_name)
    if match is None:
        return 0
    query = sa.select(EVENTS.c.event_number).where(
        EVENTS.c.event_number == int(match[2]), EVENTS.c.event_hash.startswith(match[1])
    )
    return int(connection.execute(query).scalar_one_or_none() or 0)


def _touches_since(connection: sa.Connection, event_number: int) -> list[dict[str, Any]]:
    """A touch of each step of the messages that something happened to after an event, by step."""
    changed = sa.select(EVENTS.c.message_id).where(
        EVENTS.c.event_number > event_number, EVENTS.c.message_id.is_not(None)
    )
    proved = (
        sa.select(sa.func.min(EVIDENCE.c.occurred_at))
        .where(
            EVIDENCE.c.message_id == STEPS.c.message_id,
            EVIDENCE.c.applied_at.is_not(None),
            EVIDENCE.c.event_code.in_(_DELIVERED_EVENTS),
        )
        .scalar_subquery()
    )
    query = (
        sa.select(
            STEPS,
            MESSAGES.c.channel_code,
            MESSAGES.c.as_of_date,
            MESSAGES.c.state_code,
            MESSAGES.c.state_at,
            proved.label("proved_at"),
        )
        .join(MESSAGES, MESSAGES.c.message_id == STEPS.c.message_id)
        .where(STEPS.c.message_id.in_(changed), MESSAGES.c.state_code.in_(_FATES))
        .order_by(STEPS.c.step_key)
    )
    touches = []
    for row in connection.execute(query):
        fate_code = _FATES[State(row.state_code)]
        touches.append(
            {
                "touch_id": row.step_key,
                "customer_id": row.customer_id,
                "invoice_id": row.invoice_id,
                "step_code": row.step_code,
                "channel_code": row.channel_code,
                "cycle_date": row.cycle_date.isoformat(),
                "planned_date": row.as_of_date.isoformat(),
                "fate_code": fate_code,
                "delivered_date": (
                    local_day(row.proved_at or row.state_at).isoformat() if fate_code == "delivered" else None
                ),
            }
        )
    return touches
