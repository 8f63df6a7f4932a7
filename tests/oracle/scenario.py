"""A portfolio as both derivations take it: rows, the days on which they are known, policies, the days to decide."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import duckdb
from tests.dbt.warehouse_fixture import DEFAULTS, RawWarehouse, raw_columns, warehouse_settings
from tests.oracle.ladder_oracle import (
    BureauCandidate,
    DayResult,
    Decision,
    Line,
    Message,
    Portfolio,
    Signals,
    Standing,
    decide_days,
)

from regua.policy.policies import Policies
from regua.simulation.replaying import DECISIONS, LadderReplay
from regua.suspension.second_derivation import DerivedLevel
from regua.transform.dbt_run import CompiledModel, compile_models, run_layer

# A night is run at five in the morning, UTC, and knows what was loaded half an hour before. In São Paulo that is one
# o'clock of the same day.
LOADING, HEARING, KNOWING = time(4, 30), time(4), time(5)
LONG_BEFORE = date(2015, 1, 1)
SOURCE = "test"
SUBJECTS = ("customer_id", "invoice_id")
SUSPENSION_MARTS = ("fct_subscription_standing", "fct_bureau_candidates")
# Of a subscription above `regular`, with what suspends it.
LEVELS = """
select
    standing.subscription_id,
    standing.contact_customer_id as customer_id,
    standing.level_code,
    coalesce(
        list(invoices.invoice_id order by invoices.invoice_id) filter (invoices.level_rank >= 2), []
    ) as suspending_invoice_ids,
    standing.unlocked_until_date
from marts.fct_subscription_standing as standing
left join intermediate.int_invoice_standing as invoices on standing.subscription_id = invoices.subscription_id
where standing.as_of_date = ? and standing.level_code <> 'regular'
group by all
"""
MESSAGE_KEY = ("contact_customer_id", "channel_code", "currency_code")


@dataclass(frozen=True)
class Version:
    """One row of an entity, from the day on which it was loaded to the day before another took its place."""

    entity: str
    row: Mapping[str, Any]
    known_from: date = LONG_BEFORE
    replaced_on: date | None = None

    def is_known_on(self, day: date) -> bool:
        return self.known_from <= day and (self.replaced_on is None or day < self.replaced_on)


@dataclass(frozen=True)
class Rejection:
    """One row in quarantine, until its file came again."""

    entity: str
    key_text: str
    invoice_key_text: str | None = None
    known_from: date = LONG_BEFORE
    replaced_on: date | None = None
    mode: str = "delta"

    def stands_on(self, day: date) -> bool:
        return self.known_from <= day and (self.replaced_on is None or day < self.replaced_on)


@dataclass(frozen=True, repr=False)
class Scenario:
    """`days` follow each other; `heard` are those on which each source of payments was heard of."""

    policies: Policies
    days: Sequence[date]
    versions: Sequence[Version]
    rejections: Sequence[Rejection] = ()
    heard: Mapping[str, Sequence[date]] = field(default_factory=dict)
    missed_nights: frozenset[date] = frozenset()
    name: str = "a scenario"

    def __repr__(self) -> str:
        """What it was made from: all of its rows would fill pages."""
        return self.name

    @property
    def nights(self) -> list[date]:
        """The days that are decided."""
        return [day for day in self.days if day not in self.missed_nights]

    def known_on(self, day: date) -> Portfolio:
        rows: dict[str, list[dict[str, Any]]] = {}
        for version in self.versions:
            if version.is_known_on(day):
                rows.setdefault(version.entity, []).append({**DEFAULTS.get(version.entity, {}), **version.row})
        return Portfolio(rows, [vars(rejection) for rejection in self.rejections if rejection.stands_on(day)])

    def heard_by(self, day: date) -> date | None:
        """The day up to which every source of payments was heard of."""
        newest = [max(heard) for days in self._hearings.values() if (heard := [hour for hour in days if hour <= day])]
        return min(newest, default=None)

    @property
    def _hearings(self) -> dict[str, list[date]]:
        """A file of payments with a row in quarantine is a word of its source, too."""
        hearings = {source: [*days] for source, days in self.heard.items()}
        for rejection in self.rejections:
            if rejection.entity == "payments":
                days = [rejection.known_from] + ([rejection.replaced_on] if rejection.replaced_on else [])
                hearings.setdefault(SOURCE, []).extend(days)
        return hearings

    def shuffled(self, seed: int) -> Scenario:
        """The same rows in another order."""
        order = random.Random(seed)  # noqa: S311 - a shuffle anybody can repeat
        return replace(
            self,
            versions=order.sample([*self.versions], len(self.versions)),
            rejections=order.sample([*self.rejections], len(self.rejections)),
        )

    def story_of(self, ids: Iterable[str]) -> list[str]:
        """Every row that speaks of one of these customers or invoices, to be read beside a difference."""
        wanted = set(ids)
        told = [
            f"{version.entity} {_brief(version.row)}{_span(version.known_from, version.replaced_on)}"
            for version in self.versions
            if any(version.row.get(name) in wanted for name in SUBJECTS)
        ]
        told += [
            f"in quarantine: {_brief(vars(rejection))}"
            for rejection in self.rejections
            if wanted & {rejection.key_text, rejection.invoice_key_text}
        ]
        return told


def _brief(row: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in row.items() if value is not None)


def _span(known_from: date, replaced_on: date | None) -> str:
    since = "" if known_from == LONG_BEFORE else f", known from {known_from}"
    return since if replaced_on is None else f"{since}, replaced on {replaced_on}"


def decide_by_oracle(scenario: Scenario) -> dict[date, DayResult]:
    return decide_days(scenario.known_on, scenario.policies, scenario.nights, scenario.heard_by)


@dataclass(frozen=True)
class Workshop:
    """An empty warehouse with the seeds, and the models as SQL: made once, used for every scenario."""

    home: Path
    empty: Path
    models: Mapping[str, CompiledModel]

    def decide(self, scenario: Scenario) -> dict[date, DayResult]:
        """What the SQL decides."""
        path = self.home / "scenario.duckdb"
        shutil.copy(self.empty, path)
        try:
            write_scenario(path, scenario)
            with duckdb.connect(config={"threads": 1}) as connection:
                first, last = min(scenario.days), max(scenario.days)
                wanted = (*DECISIONS, *SUSPENSION_MARTS)
                models = [*self.models.values()]
                replay = LadderReplay(connection, path, models, scenario.policies, first, last, wanted=wanted)
                known = {day: known_at for day, known_at, _ in replay.days}
                results = {}
                for day in scenario.nights:
                    replay.run_day(day, known[day])
                    results[day] = self._result(connection, day)
            return results
        finally:
            path.unlink()

    def _result(self, connection: duckdb.DuckDBPyConnection, day: date) -> DayResult:
        # The replay keeps of the standings what simulations need, and builds no signals; here all of both is wanted, so
        # their SQL is run once more on what the day left.
        standings = connection.sql(self.models["fct_customer_standing"].sql)
        signals = connection.sql(self.models["fct_payer_signals"].sql)
        return read_result(connection, day, standings, signals)


def open_workshop(home: Path) -> Workshop:
    settings = warehouse_settings(home)
    RawWarehouse(settings.warehouse_path)
    night = date(2026, 1, 1)
    run_layer(settings, night, datetime.combine(night, KNOWING), "staging")
    empty = home / "empty.duckdb"
    shutil.copy(settings.warehouse_path, empty)
    return Workshop(home, empty, {model.name: model for model in compile_models(settings)})


def read_result(
    connection: duckdb.DuckDBPyConnection,
    day: date,
    standings: duckdb.DuckDBPyRelation,
    signals: duckdb.DuckDBPyRelation,
) -> DayResult:
    """One day of the marts in the oracle's words. Fails where a table has two rows for one key."""

    def rows(table: str) -> list[dict[str, Any]]:
        return _as_rows(connection.sql(f"select * from marts.{table} where as_of_date = date '{day}'"))

    messages = rows("fct_dunning_messages")
    keys = {row["message_id"]: tuple(row[name] for name in MESSAGE_KEY) for row in messages}
    lines: dict[str, list[dict[str, Any]]] = {}
    for row in rows("fct_dunning_message_lines"):
        lines.setdefault(row["message_id"], []).append(row)
    assert set(lines) == set(keys), f"Lines without a message, or the reverse, on {day}"
    decisions = [
        row | {"in_message": keys[row["message_id"]] if row["message_id"] else None}
        for row in rows("fct_dunning_decisions")
    ]
    return DayResult(
        decisions=_by_key(decisions, ("invoice_id", "step_code"), Decision),
        messages=_by_key(
            [row | {"lines": _by_key(lines[row["message_id"]], ("invoice_id",), Line)} for row in messages],
            MESSAGE_KEY,
            Message,
        ),
        standings=_by_key(_as_rows(standings), ("contact_customer_id",), Standing),
        levels=_by_key(_levels(connection, day), ("subscription_id",), DerivedLevel),
        bureau_candidates=_by_key(rows("fct_bureau_candidates"), ("invoice_id",), BureauCandidate),
        signals=_by_key(_as_rows(signals), ("contact_customer_id",), Signals),
    )


def _levels(connection: duckdb.DuckDBPyConnection, day: date) -> list[dict[str, Any]]:
    rows = _as_rows(connection.sql(LEVELS, params=[day]))
    return [row | {"suspending_invoice_ids": tuple(row["suspending_invoice_ids"])} for row in rows]


def _as_rows(relation: duckdb.DuckDBPyRelation) -> list[dict[str, Any]]:
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


def _by_key(rows: Sequence[Mapping[str, Any]], key: Sequence[str], kind: type) -> dict[Any, Any]:
    names = [part.name for part in fields(kind)]
    found = {}
    for row in rows:
        place = tuple(row[name] for name in key) if len(key) > 1 else row[key[0]]
        assert place not in found, f"Two rows of {kind.__name__} for {place}: {found[place]} and {row}"
        found[place] = kind(**{name: row[name] for name in names})
    return found


def write_scenario(path: Path, scenario: Scenario) -> None:
    with duckdb.connect(str(path)) as connection:
        lines: dict[str, list[dict[str, Any]]] = {}
        superseded = []
        for line, version in enumerate(scenario.versions, start=1):
            lineage = {"_source": SOURCE, "_file": f"{version.entity}.csv", "_line": line, "_batch_id": "rows"}
            loaded_at = datetime.combine(version.known_from, LOADING)
            row = DEFAULTS.get(version.entity, {}) | {**version.row} | lineage | {"_loaded_at": loaded_at}
            lines.setdefault(version.entity, []).append(row)
            if version.replaced_on is not None:
                at = datetime.combine(version.replaced_on, LOADING)
                superseded.append(
                    {"entity": version.entity, "_batch_id": "rows", "_line": line}
                    | {"_superseded_at": at, "reason_code": "replaced"}
                )
        columns = raw_columns()
        for entity, rows in lines.items():
            insert(connection, f"raw.{entity}", columns[entity], rows)
        insert(connection, "raw.superseded", superseded[0] if superseded else (), superseded)
        _write_batches(connection, scenario)
        runs = [
            {"as_of": day, "known_at": datetime.combine(day, KNOWING), "run_id": "test", "stage": "marts"}
            | {"started_at": datetime.combine(day, KNOWING), "seconds": 1.0, "state": "succeeded", "detail": "{}"}
            for day in scenario.days
        ]
        insert(connection, "ops.stage_runs", runs[0], runs)


def _write_batches(connection: duckdb.DuckDBPyConnection, scenario: Scenario) -> None:
    batches = [
        batch_row(f"heard-{source}-{day}", "payments", datetime.combine(day, HEARING), source=source)
        for source, days in scenario.heard.items()
        for day in days
    ]
    rejected = []
    for number, rejection in enumerate(scenario.rejections):
        loaded_at = datetime.combine(rejection.known_from, LOADING)
        batch_id = f"rejected-{number}"
        batches.append(batch_row(batch_id, rejection.entity, loaded_at, mode=rejection.mode, file=batch_id))
        if rejection.replaced_on is not None:
            again_at = datetime.combine(rejection.replaced_on, LOADING)
            batches.append(
                batch_row(f"{batch_id}-again", rejection.entity, again_at, mode=rejection.mode, file=batch_id)
            )
        rejected.append(
            {"_source": SOURCE, "_file": batch_id, "_line": 1, "_batch_id": batch_id, "_loaded_at": loaded_at}
            | {"entity": rejection.entity, "reason_code": "not_money", "message": "made for a test"}
            | {"key_text": rejection.key_text, "invoice_key_text": rejection.invoice_key_text}
        )
    insert(connection, "ops.batches", batches[0] if batches else (), batches)
    insert(connection, "quarantine.rejected_rows", rejected[0] if rejected else (), rejected)


def batch_row(
    batch_id: str, entity: str, loaded_at: datetime, *, source: str = SOURCE, mode: str = "delta", file: str = ""
) -> dict[str, Any]:
    counts = ("read", "accepted", "quarantined", "duplicate", "unchanged", "superseded", "removed")
    amounts = ("read", "accepted", "quarantined", "duplicate")
    name = file or entity
    return (
        {"_batch_id": batch_id, "_source": source, "file_set": name, "entity": entity, "_file": name, "sha256": ""}
        | {"_loaded_at": loaded_at, "mode": mode, "header": "", "as_of": LONG_BEFORE, "expected_max_age_days": 1}
        | {f"{count}_count": 0 for count in counts}
        | {f"{amount}_amount": 0 for amount in amounts}
    )


def insert(
    connection: duckdb.DuckDBPyConnection, table: str, columns: Iterable[str], rows: Sequence[Mapping[str, Any]]
) -> None:
    if not rows:
        return
    names = [*columns]
    for row in rows:
        assert set(row) <= set(names), f"{table} has no {set(row) - set(names)}"
    places = f"({', '.join('?' for _ in names)})"
    connection.execute(
        f"insert into {table} ({', '.join(names)}) values {', '.join([places] * len(rows))}",
        [row.get(name) for row in rows for name in names],
    )
