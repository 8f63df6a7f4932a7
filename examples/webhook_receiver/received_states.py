"""What the events said last of each subscription, in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SCHEMA = """
    create table if not exists seen_webhooks (webhook_id text primary key);
    create table if not exists subscriptions (
        subscription_id text primary key,
        sequence integer not null,
        customer_id text not null,
        standing_code text not null,
        has_access integer not null,
        banner_code text,
        billing_hint_code text not null,
        unlocked_until_date text
    );
"""
_COLUMNS = (
    "subscription_id",
    "sequence",
    "customer_id",
    "standing_code",
    "has_access",
    "banner_code",
    "billing_hint_code",
    "unlocked_until_date",
)
# An event that is older than what is known changes nothing.
_APPLY = f"""
    insert into subscriptions ({", ".join(_COLUMNS)}) values ({", ".join(f":{name}" for name in _COLUMNS)})
    on conflict (subscription_id) do update set {", ".join(f"{name} = excluded.{name}" for name in _COLUMNS)}
    where excluded.sequence > subscriptions.sequence
"""


class ReceivedStates:
    """One row of each subscription that an event told of. One without a row has access and sees no banner."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._writing() as connection:
            connection.execute("pragma journal_mode = wal")
            connection.executescript(_SCHEMA)

    def apply(self, webhook_id: str, data: dict[str, Any]) -> str:
        """Answers `applied`, `seen` for a repetition, or `outdated` for what a newer event has overtaken.

        That it was seen and what it changed are committed together, before anybody is told that it was taken. Raises
        KeyError or TypeError for data that is not an event's.
        """
        row = {name: data[name] for name in _COLUMNS}
        with self._writing() as connection:
            connection.execute("begin immediate")
            noted = connection.execute("insert or ignore into seen_webhooks values (?)", (webhook_id,))
            if noted.rowcount == 0:
                answer = "seen"
            else:
                answer = "applied" if connection.execute(_APPLY, row).rowcount == 1 else "outdated"
            connection.execute("commit")
        return answer

    def all(self) -> list[dict[str, Any]]:
        """In the order of ids."""
        with self._writing() as connection:
            connection.row_factory = sqlite3.Row
            rows = connection.execute("select * from subscriptions order by subscription_id").fetchall()
        return [{**row, "has_access": bool(row["has_access"])} for row in rows]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        # A connection each time: requests run in several threads. Closing one undoes what it did not commit.
        connection = sqlite3.connect(self._path, timeout=10, isolation_level=None)
        try:
            yield connection
        finally:
            connection.close()
