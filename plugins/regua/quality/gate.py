"""Run one gate over one night. Red is the default: what was not seen to hold does not hold."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Literal

from regua.contract.entities import load_contract
from regua.errors import InputError
from regua.ingest.mapping import FileSet, read_source
from regua.quality.contract_expectations import contract_expectations
from regua.quality.suites import Expectation, load_suite
from regua.settings import Settings

Gate = Literal["raw", "marts", "plan", "suspension"]
_CONSEQUENCES = {
    "raw": "The last good night stays served.",
    "marts": "The last good night stays served.",
    "plan": "No message of this plan leaves.",
    "suspension": "No access is taken away: the list published last stays as it is.",
}


@dataclass(frozen=True, slots=True)
class ExpectationOutcome:
    """What one expectation saw. `observed` carries ids, codes, counts and amounts, never personal values."""

    expectation: str
    target: str
    description: str
    success: bool
    observed: str
    detail: str


@dataclass(frozen=True, slots=True)
class GateReport:
    """All outcomes of one gate in one night, in the order of the suite; `docs_path` is the Data Docs' index."""

    gate: Gate
    as_of: date
    success: bool
    outcomes: tuple[ExpectationOutcome, ...]
    docs_path: Path

    @property
    def red(self) -> tuple[ExpectationOutcome, ...]:
        return tuple(outcome for outcome in self.outcomes if not outcome.success)

    def raise_if_red(self) -> None:
        """Raises RedGateError when the gate is red; call it after the outcomes are stored."""
        if not self.success:
            raise RedGateError(self)


class RedGateError(InputError):
    """A red gate: what stands behind it does not happen."""

    def __init__(self, report: GateReport) -> None:
        self.report = report
        lines = [
            f"The {report.gate} gate is red for {report.as_of}: {len(report.red)} of {len(report.outcomes)} "
            f"expectations do not hold. {_CONSEQUENCES[report.gate]}"
        ]
        for outcome in report.red:
            lines += [
                f"- {outcome.target}, {outcome.expectation}",
                f"    expected: {outcome.description}",
                f"    observed: {outcome.observed}",
                f"    to do:    {outcome.detail}",
            ]
        lines.append(f"Whole report: {report.docs_path}")
        super().__init__("\n".join(lines))


def run_gate(settings: Settings, gate: Gate, *, as_of: date, known_at: datetime) -> GateReport:
    """Evaluate every expectation of the gate. The caller stores the outcomes, then calls `raise_if_red`.

    Raises InputError when the gate itself cannot be run: no warehouse, or a suite or mapping that cannot be read.
    """
    expectations = gate_expectations(settings, gate)
    file_sets = _file_sets(settings)
    night = {
        "as_of": as_of,
        "known_at": known_at,
        "file_sets": tuple(file_sets),
        "optional_file_sets": tuple(name for name, is_optional in file_sets.items() if is_optional),
        "is_business_day": _is_business_day(as_of, settings.dbt_project_dir / "seeds"),
    }
    statements = [(expectation, expectation.statement(night)) for expectation in expectations]
    if not settings.warehouse_path.is_file():
        raise InputError(f"{settings.warehouse_path} does not exist: load a night before its gate is run.")
    docs_dir = settings.quality_dir / as_of.isoformat() / gate

    from regua.quality.gx_checkpoint import run_checkpoint  # Ten seconds of import that nobody else should pay.

    is_success, evaluated = run_checkpoint(
        settings.warehouse_path, _duckdb_config(settings), gate, statements, known_at=known_at, docs_dir=docs_dir
    )
    outcomes = tuple(_outcome(expectation, evaluated.get(expectation.name)) for expectation in expectations)
    holds = is_success and bool(outcomes) and all(outcome.success for outcome in outcomes)
    return GateReport(gate, as_of, holds, outcomes, docs_dir / "index.html")


def gate_expectations(settings: Settings, gate: Gate) -> tuple[Expectation, ...]:
    """The gate's suite file, and for `raw` what the contract gives."""
    path = settings.expectations_dir / f"{gate}.yml"
    suite = load_suite(path)
    expectations = suite.expectations
    if gate == "raw":
        if "max_orphan_pct" not in suite.contract_thresholds:
            raise InputError(f"{path}: contract.thresholds must hold max_orphan_pct with its value and reason.")
        expectations = (*contract_expectations(load_contract(), suite.contract_thresholds), *expectations)
    names = [expectation.name for expectation in expectations]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise InputError(f"{path}: {', '.join(sorted(repeated))} is made from the contract already; rename it.")
    return expectations


def _outcome(expectation: Expectation, evaluated: tuple[bool, str] | None) -> ExpectationOutcome:
    success, observed = evaluated or (False, "it was not evaluated: an exception stopped it (see the Data Docs)")
    return ExpectationOutcome(
        expectation.name, expectation.target, expectation.sentence, success, observed, expectation.when_red
    )


def _file_sets(settings: Settings) -> dict[str, bool]:
    """SOURCE.FILE_SET of every set the configured sources should deliver, and whether it may never come."""
    sources = [read_source(settings.sources_dir, name) for name in settings.source_names]
    return {
        f"{source.name}.{name}": isinstance(file_set, FileSet) and file_set.optional
        for source in sources
        for name, file_set in {**source.files, **source.tables}.items()
    }


def _duckdb_config(settings: Settings) -> dict[str, str | int]:
    return {
        "memory_limit": settings.warehouse_memory,
        "threads": settings.warehouse_threads,
        "temp_directory": str(settings.work_dir / "spill"),
    }


def _is_business_day(day: date, seeds_dir: Path) -> bool:
    """Banks work on `day`, by the seeds that the models use too: on others an empty delta is no surprise."""
    if day.weekday() >= 5:
        return False
    for name in ("bank_holidays.csv", "extra_bank_holidays.csv"):
        path = seeds_dir / name
        if not path.is_file():
            raise InputError(f"{path} does not exist; without it a bank holiday cannot be told. Restore the file.")
        with path.open(encoding="utf-8", newline="") as seed:
            if any(row["holiday_date"] == day.isoformat() for row in csv.DictReader(seed)):
                return False
    return True
