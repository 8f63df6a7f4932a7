"""What published lists changed, told to the next night once."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from regua.contract.entities import OPERATORS
from regua.ingest.landing import land
from regua.ledger.database import open_ledger
from regua.ledger.event_log import writing_messages
from regua.ledger.fact_entry import operators_source
from regua.ledger.suspensions import CHANGES, PUBLICATIONS
from regua.settings import Settings, load_settings
from regua.suspension.standing_changes import write_standing_changes

# 22:30 in São Paulo, on the day before.
LATE = datetime.fromisoformat("2026-07-01 01:30")


def publish(settings: Settings, sequence: int, *changes: dict[str, Any]) -> None:
    with open_ledger(settings) as engine, writing_messages(engine) as connection:
        connection.execute(
            sa.insert(PUBLICATIONS).values(
                sequence=sequence,
                as_of_date=date(2026, 6, 30),
                edition=sequence,
                kind_code="daily" if sequence == 1 else "refresh",
                known_at=LATE,
                known_fact_numbers={},
                recorded_at=LATE,
                valid_until=LATE,
                staged_name="x",
                file_names=[],
                manifest_sha256="0" * 64,
                without_access_count=1,
                suspended_count=1,
                reactivated_count=0,
                held_count=0,
            )
        )
        usual = {"sequence": sequence, "customer_id": "c1", "as_of_date": date(2026, 6, 30), "event": None}
        connection.execute(sa.insert(CHANGES), [usual | change for change in changes])


def written(settings: Settings, tmp_path: Path, name: str) -> list[dict[str, Any]]:
    """What a night would land; the landing area remembers it."""
    folder = tmp_path / name / OPERATORS
    folder.mkdir(parents=True)
    if not write_standing_changes(settings, folder):
        return []
    [path] = folder.glob("standing_changes_*.jsonl")
    land(settings.landing_dir, folder.parent, [operators_source(str(folder))], lambda: LATE)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_publication_is_told_of_once(tmp_path: Path) -> None:
    settings = load_settings({"REGUA_HOME": str(tmp_path / "home")})
    assert written(settings, tmp_path, "nothing yet") == []
    event = {"body": json.dumps({"data": {"oldest_invoice_id": "i1"}})}
    off = {"subscription_id": "s1", "standing_before_code": "notice", "standing_code": "suspended"}
    publish(settings, 1, off | {"change_code": "suspend", "reason_code": "over_threshold", "event": event})
    [told] = written(settings, tmp_path, "first")
    assert told.pop("change_id").startswith("000000001-")
    assert told == {
        "subscription_id": "s1",
        "customer_id": "c1",
        "invoice_id": "i1",
        "as_of_date": "2026-06-30",
        "published_date": "2026-06-30",
        "standing_before_code": "notice",
        "standing_code": "suspended",
        "change_code": "suspend",
        "reason_code": "over_threshold",
    }
    assert written(settings, tmp_path, "again") == []
    back = {"subscription_id": "s1", "standing_before_code": "suspended", "standing_code": "reactivated"}
    publish(settings, 2, back | {"change_code": "reactivate", "reason_code": "paid"})
    assert [change["standing_code"] for change in written(settings, tmp_path, "second")] == ["reactivated"]
