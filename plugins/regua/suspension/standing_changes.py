"""What published lists changed, as rows for the night: from the ledger back into the warehouse, where KPIs are made."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from regua.contract.entities import OPERATORS
from regua.ingest.arrival import LandingStore
from regua.ingest.inspection import MANIFEST_ENDING
from regua.instants import local_day
from regua.ledger.database import open_ledger
from regua.ledger.suspensions import CHANGES, PUBLICATIONS
from regua.settings import Settings

STANDING_CHANGES = "standing_changes"


def write_standing_changes(settings: Settings, folder: Path) -> int:
    """Write the file of the publications since the newest that landed, into the inbox of the source `operators`.

    Its name ends in the sequence of the last one. Answers how many changes it holds; without any there is no file.
    """
    landed = [
        int(arrival.file_name.removesuffix(".jsonl").rpartition("_")[2])
        for arrival in LandingStore(settings.landing_dir, OPERATORS).arrivals()
        if arrival.file_set == STANDING_CHANGES and not arrival.discarded
    ]
    with open_ledger(settings) as engine, engine.connect() as connection:
        changes = _changes_after(connection, max(landed, default=0))
    if not changes:
        return 0
    content = "".join(json.dumps(change) + "\n" for _, change in changes).encode()
    path = folder / f"{STANDING_CHANGES}_{changes[-1][0]:09}.jsonl"
    path.write_bytes(content)
    manifest = {"sha256": hashlib.sha256(content).hexdigest(), "rows": len(changes)}
    path.with_name(path.name + MANIFEST_ENDING).write_text(json.dumps(manifest), encoding="utf-8")
    return len(changes)


def _changes_after(connection: sa.Connection, sequence: int) -> list[tuple[int, dict[str, Any]]]:
    """Each with its sequence, in the order of both."""
    query = (
        sa.select(CHANGES, PUBLICATIONS.c.recorded_at)
        .join(PUBLICATIONS, PUBLICATIONS.c.sequence == CHANGES.c.sequence)
        .where(CHANGES.c.sequence > sequence)
        .order_by(CHANGES.c.sequence, CHANGES.c.subscription_id)
    )
    changes = []
    for row in connection.execute(query):
        # Two ids of a source in one would be longer than an id may be.
        subject = hashlib.sha256(row.subscription_id.encode()).hexdigest()[:32]
        event = json.loads(row.event["body"])["data"] if row.event else {}
        changes.append(
            (
                row.sequence,
                {
                    "change_id": f"{row.sequence:09}-{subject}",
                    "subscription_id": row.subscription_id,
                    "customer_id": row.customer_id,
                    "invoice_id": event.get("oldest_invoice_id"),
                    "as_of_date": row.as_of_date.isoformat(),
                    "published_date": local_day(row.recorded_at).isoformat(),
                    "standing_before_code": row.standing_before_code,
                    "standing_code": row.standing_code,
                    "change_code": row.change_code,
                    "reason_code": row.reason_code,
                },
            )
        )
    return changes
