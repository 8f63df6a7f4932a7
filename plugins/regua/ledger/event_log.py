"""Events of messages, chained: each carries the hash of the one before, so none can be taken out or changed unseen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from regua.instants import write_instant
from regua.ledger.database import writing
from regua.ledger.messages import EVENTS

_BEFORE_ALL = "0" * 64
_READ_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class MessageEvent:
    """One thing that happened. `message_id` is None where it concerns all; `detail` holds ids and codes only."""

    kind_code: str
    message_id: str | None = None
    reason_code: str | None = None
    run_id: str | None = None
    epoch: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@contextmanager
def writing_messages(engine: sa.Engine) -> Iterator[sa.Connection]:
    """The one way to write: alone, because each event needs the hash of the one before it."""
    with writing(engine, EVENTS) as connection:
        yield connection


def append_events(connection: sa.Connection, events: Sequence[MessageEvent], recorded_at: datetime) -> None:
    """Within `writing_messages`."""
    if not events:
        return
    newest = sa.select(EVENTS.c.event_number, EVENTS.c.event_hash).order_by(EVENTS.c.event_number.desc()).limit(1)
    last = connection.execute(newest).first()
    number, previous = (int(last[0]), str(last[1])) if last else (0, _BEFORE_ALL)
    rows = []
    for event in events:
        number += 1
        row: dict[str, Any] = {
            "event_number": number,
            "message_id": event.message_id,
            "kind_code": event.kind_code,
            "reason_code": event.reason_code,
            "run_id": event.run_id,
            "epoch": event.epoch,
            "detail": dict(event.detail),
            "recorded_at": recorded_at,
            "previous_hash": previous,
        }
        previous = row["event_hash"] = _hash(row)
        rows.append(row)
    connection.execute(sa.insert(EVENTS), rows)


def broken_link(engine: sa.Engine) -> int | None:
    """The number of the first event that is not as it was written or does not follow the one before; None if all do."""
    with engine.connect() as connection:
        query = sa.select(EVENTS).order_by(EVENTS.c.event_number).execution_options(yield_per=_READ_AT_ONCE)
        expected, previous = 1, _BEFORE_ALL
        for row in connection.execute(query).mappings():
            if (row["event_number"], row["previous_hash"]) != (expected, previous) or row["event_hash"] != _hash(
                dict(row)
            ):
                return int(row["event_number"])
            expected, previous = expected + 1, row["event_hash"]
    return None


def _hash(row: Mapping[str, Any]) -> str:
    told = [row[column.name] for column in EVENTS.columns if column.name not in ("recorded_at", "event_hash")]
    text = json.dumps([*told, write_instant(row["recorded_at"])], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
