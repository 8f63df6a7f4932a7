"""The stages of a night, each a function of the night and the stores, each safe to run again.

    land → load → gate_raw → staging → intermediate → marts → dunning → kpis → gate_marts → serve

A stage reads what the one before it wrote; a failed one leaves what is served as it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any

from regua.contract.entities import OPERATORS
from regua.dispatch.sent_touches import expire_before, write_sent_touches
from regua.errors import InputError, ReguaError
from regua.ingest.landing import land
from regua.ingest.loading import load_pending
from regua.ingest.mapping import Source, read_source
from regua.instants import Clock, read_instant, write_instant
from regua.ledger.fact_entry import operators_source
from regua.ledger.fact_snapshots import fact_snapshots
from regua.policy.compilation import compile_policies
from regua.policy.policies import load_policies
from regua.publish.serving import publish
from regua.quality.gate import Gate, run_gate
from regua.settings import Settings
from regua.suspension.standing_changes import write_standing_changes
from regua.transform.dbt_run import run_layer
from regua.warehouse.store import reading, warehouse_lock, writing

Detail = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Night:
    """What a run describes. `known_at` is None until landing has found it, or a replay has named it."""

    as_of: date
    known_at: datetime | None
    run_id: str

    def to_json(self) -> dict[str, str | None]:
        known_at = write_instant(self.known_at) if self.known_at else None
        return {"as_of": self.as_of.isoformat(), "known_at": known_at, "run_id": self.run_id}

    @classmethod
    def from_json(cls, written: Mapping[str, str | None]) -> Night:
        known_at = written["known_at"]
        as_of = date.fromisoformat(str(written["as_of"]))
        return cls(as_of, read_instant(known_at) if known_at else None, str(written["run_id"]))

    @property
    def known(self) -> datetime:
        """`known_at` where landing must already have set it."""
        if self.known_at is None:
            raise InputError(f"The night of {self.as_of} has not landed anything yet: run its first stage.")
        return self.known_at


def land_night(settings: Settings, night: Night, clock: Clock) -> tuple[Night, Detail]:
    """Land what arrived, what people recorded by command, and what became of messages and of access.

    A replay (`known_at` given) lands nothing: it describes what was known then.
    """
    if night.known_at is not None:
        return night, {"landed": 0, "unchanged": 0, "replay": True}
    with fact_snapshots(settings) as operators:
        # What was planned for earlier days and never sent is decided anew tonight.
        expire_before(settings, night.as_of, clock)
        write_sent_touches(settings, Path(operators.inbox))
        write_standing_changes(settings, Path(operators.inbox))
        landing = land(settings.landing_dir, settings.inbox, [*_sources(settings), operators], clock)
    detail = {"landed": len(landing.landed), "unchanged": landing.unchanged_count}
    return Night(night.as_of, landing.known_at, night.run_id), detail


def load_night(settings: Settings, night: Night, clock: Clock) -> tuple[Night, Detail]:
    """Load what landed up to `known_at`, and the policies as their files say."""
    policies = load_policies(settings.policies_dir)
    with writing(settings, readable_dirs=[settings.landing_dir]) as warehouse:
        batches = load_pending(
            warehouse,
            settings.landing_dir,
            settings.work_dir,
            [*_sources(settings), operators_source()],
            as_of=night.as_of,
            known_at=night.known,
        )
        compile_policies(warehouse, policies)
    return night, {
        "batches": len(batches),
        "read": sum(batch.read_count for batch in batches),
        "accepted": sum(batch.accepted_count for batch in batches),
        "quarantined": sum(batch.quarantined_count for batch in batches),
        "duplicate": sum(batch.duplicate_count for batch in batches),
    }


def check_night(gate: Gate, settings: Settings, night: Night, clock: Clock) -> tuple[Night, Detail]:
    """Run one gate and keep its outcomes. Raises InputError listing what is red; nothing after it runs."""
    report = run_gate(settings, gate, as_of=night.as_of, known_at=night.known)
    with writing(settings) as warehouse:
        warehouse.execute(
            "delete from ops.gate_runs where as_of = ? and known_at = ? and run_id = ? and gate = ?",
            [night.as_of, night.known, night.run_id, gate],
        )
        warehouse.executemany(
            "insert into ops.gate_runs values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                [night.as_of, night.known, night.run_id, gate, o.expectation, o.target, o.success, o.observed, o.detail]
                for o in report.outcomes
            ],
        )
    report.raise_if_red()
    return night, {"expectations": len(report.outcomes), "docs": str(report.docs_path)}


def model_night(layer: str, settings: Settings, night: Night, clock: Clock) -> tuple[Night, Detail]:
    """Build one layer of models with its data tests."""
    # Every layer gets the same values: dbt parses the whole project anew when they differ.
    previous_as_of, previous_known_at = _previous_night(settings, night)
    outcomes = run_layer(
        settings,
        night.as_of,
        night.known,
        layer,
        previous_as_of=previous_as_of,
        previous_known_at=previous_known_at,
    )
    with writing(settings) as warehouse:
        warehouse.execute("delete from ops.model_runs where run_id = ? and layer = ?", [night.run_id, layer])
        warehouse.executemany(
            "insert into ops.model_runs values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                [
                    night.as_of,
                    night.known,
                    night.run_id,
                    layer,
                    o.model,
                    o.status,
                    o.seconds,
                    o.rows_affected,
                    o.message,
                ]
                for o in outcomes
            ],
        )
    kinds = [outcome.kind for outcome in outcomes]
    return night, {"models": kinds.count("model"), "tests": kinds.count("test")}


def serve_night(settings: Settings, night: Night, clock: Clock) -> tuple[Night, Detail]:
    """Publish the marts, when the gate before has passed on exactly these."""
    with reading(settings) as warehouse:
        _require_checked_marts(warehouse.execute, night)
    generation = publish(settings, as_of=night.as_of, known_at=night.known)
    return night, {
        "generation": str(generation.path),
        "is_new": generation.is_new,
        "is_current": generation.is_current,
        "tables": len(generation.manifest["tables"]),
    }


Stage = Callable[[Settings, Night, Clock], tuple[Night, Detail]]
STAGES: dict[str, Stage] = {
    "land": land_night,
    "load": load_night,
    "gate_raw": partial(check_night, "raw"),
    "staging": partial(model_night, "staging"),
    "intermediate": partial(model_night, "intermediate"),
    "marts": partial(model_night, "marts"),
    "dunning": partial(model_night, "dunning"),
    "kpis": partial(model_night, "kpis"),
    "gate_marts": partial(check_night, "marts"),
    "serve": serve_night,
}


def run_stage(settings: Settings, night: Night, stage: str, clock: Clock) -> Night:
    """One stage as an Airflow task runs it: alone in the warehouse, and on record. Raises BusyError when not alone."""
    with warehouse_lock(settings, f"{stage} of the night {night.as_of} (run {night.run_id})", clock):
        return _recorded(settings, night, stage, clock)


def run_night(
    settings: Settings,
    night: Night,
    clock: Clock,
    *,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Night:
    """All stages in one process under one lock. Raises what the first failing stage raises."""
    with warehouse_lock(settings, f"the night {night.as_of} (run {night.run_id})", clock):
        for stage in STAGES:
            on_stage(stage)
            night = _recorded(settings, night, stage, clock)
    return night


def _recorded(settings: Settings, night: Night, stage: str, clock: Clock) -> Night:
    started_at = clock()
    started = time.perf_counter()

    def keep(night: Night, state: str, detail: Detail) -> None:
        seconds = round(time.perf_counter() - started, 3)
        with writing(settings) as warehouse:
            warehouse.execute(
                "insert into ops.stage_runs values (?, ?, ?, ?, ?, ?, ?, ?)",
                [night.as_of, night.known_at, night.run_id, stage, started_at, seconds, state, json.dumps(detail)],
            )

    with _failure_kept(lambda reason: keep(night, "failed", {"reason": reason})):
        night, detail = STAGES[stage](settings, night, clock)
    keep(night, "succeeded", detail)
    return night


@contextmanager
def _failure_kept(keep: Callable[[str], None]) -> Iterator[None]:
    try:
        yield
    except ReguaError as error:
        keep(str(error))
        raise
    except Exception as error:
        # A defect's message may quote a row; only its kind is kept where BI people look.
        keep(f"{type(error).__name__}: see the task's log.")
        raise


def _sources(settings: Settings) -> list[Source]:
    if OPERATORS in settings.source_names:
        raise InputError(f"REGUA_SOURCES names {OPERATORS!r}: that is the source of the facts recorded by command.")
    return [read_source(settings.sources_dir, name) for name in settings.source_names]


def _previous_night(settings: Settings, night: Night) -> tuple[date | None, datetime | None]:
    """The newest day before this one in the aging history, and what was known when it was last built."""
    with reading(settings) as warehouse:
        exists = warehouse.execute(
            "select 1 from information_schema.tables where table_schema = 'marts' and table_name = 'agg_aging_daily'"
        ).fetchone()
        if exists is None:
            return None, None
        row = warehouse.execute(
            "select as_of, known_at from ops.stage_runs where stage = 'marts' and state = 'succeeded' and as_of = "
            "(select max(as_of_date) from marts.agg_aging_daily where as_of_date < ?) order by started_at desc limit 1",
            [night.as_of],
        ).fetchone()
    return (row[0], row[1]) if row else (None, None)


def _require_checked_marts(execute: Callable[[str], Any], night: Night) -> None:
    """What lies in the marts was built last by this night, and its gate passed since."""
    row = execute(
        "select stage, as_of, known_at, run_id from ops.stage_runs "
        "where stage in ('staging', 'intermediate', 'marts', 'dunning', 'kpis', 'gate_marts') and state = 'succeeded' "
        "order by started_at desc limit 1"
    ).fetchone()
    if row is None or row[0] != "gate_marts" or (row[1], row[2]) != (night.as_of, night.known):
        found = f"{row[0]} of the night {row[1]} (run {row[3]})" if row else "nothing"
        raise InputError(
            f"The marts of {night.as_of} were not checked last: the newest finished step is {found}. "
            f"Run {night.as_of} again from its models on."
        )
