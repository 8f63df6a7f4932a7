"""The ledger's facts as files for the night: one of each entity, landed and loaded as those of any source.

A file is named by the number of its entity's last event, so that the ledger can be held against what it said before:
events are only added, and the facts up to an old number must be those that landed then. Another answer means another
ledger (a wrong URL, an older backup), and going on with it would silently forget who must not be contacted.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from regua.contract.entities import OPERATORS, Entity
from regua.errors import InputError
from regua.ingest.arrival import Arrival, LandingStore
from regua.ingest.inspection import MANIFEST_ENDING
from regua.ingest.mapping import Source
from regua.ledger.database import open_ledger, place
from regua.ledger.fact_entry import dated_entities, operators_source
from regua.ledger.facts import FactEvent, facts_of, read_events
from regua.settings import Settings

_Row = dict[str, Any]


@contextmanager
def fact_snapshots(settings: Settings) -> Iterator[Source]:
    """The source `operators` with a file of each entity of which a fact was ever recorded; they go when the block ends.

    Raises InputError when the ledger does not say any more what it said in an earlier night.
    """
    # An absolute inbox stands wherever the others lie: the inbox itself may be read-only.
    folder = (settings.work_dir / OPERATORS).absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        with open_ledger(settings) as engine:
            events = _all_events(engine)
            _write_snapshots(events, LandingStore(settings.landing_dir, OPERATORS), folder, place(engine))
        yield operators_source(str(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _all_events(engine: sa.Engine) -> list[FactEvent]:
    with engine.connect() as connection:
        return read_events(connection)


def _write_snapshots(events: Sequence[FactEvent], store: LandingStore, folder: Path, ledger: str) -> None:
    newest = {arrival.file_set: arrival for arrival in store.arrivals()}
    for entity in dated_entities().values():
        own = [event for event in events if event.entity == entity.name]
        if (arrival := newest.get(entity.name)) and not arrival.discarded:
            _require_same_past(own, entity, arrival, store, ledger)
        if own:
            rows = _rows(own, entity)
            content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
            path = folder / f"{entity.name}_{own[-1].event_number:09}.jsonl"
            manifest = {"sha256": hashlib.sha256(content).hexdigest(), "rows": len(rows)}
            path.write_bytes(content)
            path.with_name(path.name + MANIFEST_ENDING).write_text(json.dumps(manifest), encoding="utf-8")


def _rows(events: Sequence[FactEvent], entity: Entity) -> list[_Row]:
    """What the events add up to, as rows of the contract; a column the contract got since is empty."""
    return [
        {
            **dict.fromkeys(entity.column_names),
            **fact.values,
            entity.key: fact.fact_id,
            "author_id": fact.author_id,
            "reason": fact.reason,
        }
        for fact in facts_of(events)
        if not fact.is_withdrawn
    ]


def _require_same_past(
    events: Sequence[FactEvent], entity: Entity, arrival: Arrival, store: LandingStore, ledger: str
) -> None:
    number = int(arrival.file_name.removesuffix(".jsonl").rpartition("_")[2])
    landed = store.content_path(arrival.sha256).read_text(encoding="utf-8")
    then = [json.loads(line) for line in landed.split("\n") if line]
    now = _rows([event for event in events if event.event_number <= number], entity)
    if [_filled(row) for row in then] != [_filled(row) for row in now]:
        raise InputError(
            f"The ledger {ledger} does not hold the {entity.name} that landed from it as {arrival.file_name}: it is "
            "another one, or an older copy. Nothing goes on, because who opted out or was promised a pause would be "
            "contacted. Correct REGUA_LEDGER_URL or restore the ledger. If what is missing is lost for good, record it "
            f"anew and `regua source discard {OPERATORS} {arrival.batch_id} --reason TEXT`."
        )


def _filled(row: _Row) -> _Row:
    return {name: value for name, value in row.items() if value is not None}
