"""Runs the models through dbt, in this process, one layer a call.

dbt keeps global state, so two of these must never run at once in one process; the warehouse's lock sees to that.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regua.durable_file import write_whole
from regua.errors import InputError
from regua.settings import Settings

if TYPE_CHECKING:
    from dbt.artifacts.schemas.results import NodeResult

# In the order in which they are built.
LAYERS: dict[str, tuple[str, ...]] = {
    "staging": ("path:seeds", "path:models/staging"),
    "intermediate": ("path:models/intermediate/receivables",),
    "marts": ("path:models/marts/receivables",),
    "dunning": ("path:models/intermediate/dunning", "path:models/marts/dunning", "path:models/intermediate/dispatch"),
    "kpis": ("path:models/intermediate/kpi", "path:models/marts/kpi"),
}
# What the aging of a day needs: a replay of it decides nothing.
RECEIVABLES_LAYERS = ("staging", "intermediate", "marts")
# Unit tests try the models' logic on invented rows: they belong to the project's tests, not to a night. An exposure
# only names who reads a model: there is nothing to build, and dbt says so with a status that is none of the good ones.
NOT_AT_NIGHT = ("unit_test", "exposure")
GOOD_STATUSES = ("success", "pass", "warn")


@dataclass(frozen=True, slots=True)
class CompiledModel:
    """One model as SQL that reads `as_of` and `known_at` from variables of its connection.

    `relation` is schema and table; `columns` are the described ones with their types; `upstream` the names of the
    models it reads.
    """

    name: str
    relation: str
    materialized: str
    sql: str
    columns: Mapping[str, str]
    upstream: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelOutcome:
    """What became of one model, seed or data test. `rows_affected` is None where dbt's adapter does not say."""

    model: str
    kind: str
    status: str
    seconds: float
    rows_affected: int | None
    message: str


def run_layer(
    settings: Settings,
    as_of: dt.date,
    known_at: dt.datetime,
    layer: str,
    *,
    previous_as_of: dt.date | None = None,
    previous_known_at: dt.datetime | None = None,
    tolerance_amount: Decimal = Decimal("0.00"),
) -> list[ModelOutcome]:
    """Build one layer of the warehouse, with its data tests.

    `previous_as_of` is the newest day before `as_of` already in fct_invoice_aging, and `previous_known_at` what was
    known when it was published; both stay None on a first night. Raises InputError naming what failed.
    """
    night = _night_variables(as_of, known_at, previous_as_of, previous_known_at, tolerance_amount)
    return _build(settings, LAYERS[layer], night, target="warehouse", path=settings.warehouse_path)


def replay(
    settings: Settings,
    as_of: dt.date,
    known_at: dt.datetime,
    path: Path,
    *,
    previous_as_of: dt.date | None = None,
    previous_known_at: dt.datetime | None = None,
    tolerance_amount: Decimal = Decimal("0.00"),
    layers: Sequence[str] = tuple(LAYERS),
) -> list[ModelOutcome]:
    """Build a night anew in a DuckDB file of its own at `path`, reading the warehouse and never writing to it.

    `path` must not exist: what lay there would become part of the history. Its stem becomes the database's name and
    may not be `warehouse`.
    """
    if path.exists():
        raise InputError(f"{path} exists; a replay builds a file of its own. Remove it or name another.")
    if path.stem == "warehouse":
        raise InputError(f"{path} cannot be called warehouse: that is the name the replay knows the warehouse by.")
    path.parent.mkdir(parents=True, exist_ok=True)
    night = _night_variables(as_of, known_at, previous_as_of, previous_known_at, tolerance_amount)
    selectors = [selector for layer in layers for selector in LAYERS[layer]]
    return _build(settings, selectors, night, target="replay", path=path)


def run_unit_tests(settings: Settings, path: Path) -> list[ModelOutcome]:
    """Run the models' unit tests against a built warehouse, which gives them the columns' types."""
    first_day = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    night = _night_variables(first_day.date(), first_day, None, None, Decimal("0.00"))
    arguments = ["test", "--select", "test_type:unit"]
    return _invoke(settings, arguments, night, target="warehouse", path=path)


def compile_models(settings: Settings) -> list[CompiledModel]:
    """Every model, those it reads before it."""
    # The night is not written into the SQL: any day will do.
    first_day = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    night = _night_variables(first_day.date(), first_day, None, None, Decimal("0.00"))
    nodes = _dbt(settings, ["compile", "--select", "path:models"], night, target="simulation", path=None)
    # Of the many kinds of node that dbt's types allow, these are models.
    compiled: dict[str, Any] = {
        node.node.unique_id: node.node for node in nodes if node.node.unique_id.startswith("model.")
    }
    ordered: dict[str, CompiledModel] = {}

    def place(unique_id: str) -> None:
        node = compiled[unique_id]
        upstream = [other for other in node.depends_on.nodes if other in compiled]
        for other in upstream:
            if other not in ordered:
                place(other)
        ordered[unique_id] = CompiledModel(
            name=node.name,
            relation=f"{node.schema}.{node.name}",
            materialized=str(node.config.materialized),
            sql=node.compiled_code,
            columns={column.name: column.data_type or "" for column in node.columns.values()},
            upstream=tuple(compiled[other].name for other in upstream),
        )

    for unique_id in compiled:
        if unique_id not in ordered:
            place(unique_id)
    return list(ordered.values())


def write_model_docs(settings: Settings, path: Path) -> None:
    """Every model, column, test and exposure as one HTML page that a browser opens without a server. Needs no night."""
    first_day = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    night = _night_variables(first_day.date(), first_day, None, None, Decimal("0.00"))
    _dbt(settings, ["docs", "generate", "--static", "--empty-catalog"], night, target="warehouse", path=None)
    write_whole(path, (settings.work_dir / "dbt" / "warehouse" / "static_index.html").read_bytes())


def parse_metrics(settings: Settings) -> dict[str, Any]:
    """The semantic models and metrics as dbt knows them (its semantic manifest)."""
    first_day = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    night = _night_variables(first_day.date(), first_day, None, None, Decimal("0.00"))
    _dbt(settings, ["parse"], night, target="warehouse", path=None)
    path = settings.work_dir / "dbt" / "warehouse" / "semantic_manifest.json"
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def _night_variables(
    as_of: dt.date,
    known_at: dt.datetime,
    previous_as_of: dt.date | None,
    previous_known_at: dt.datetime | None,
    tolerance_amount: Decimal,
) -> dict[str, str]:
    if (previous_as_of is None) != (previous_known_at is None):
        raise ValueError("previous_as_of and previous_known_at describe one night: give both or neither")
    return {
        "as_of": as_of.isoformat(),
        "known_at": _instant(known_at),
        "previous_as_of": previous_as_of.isoformat() if previous_as_of else "",
        "previous_known_at": _instant(previous_known_at) if previous_known_at else "",
        "tolerance_amount": f"{tolerance_amount:.2f}",
    }


def _instant(moment: dt.datetime) -> str:
    if moment.tzinfo is not None:
        moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
    return moment.isoformat(sep=" ", timespec="microseconds")


def _build(
    settings: Settings, selectors: Sequence[str], night: Mapping[str, str], *, target: str, path: Path
) -> list[ModelOutcome]:
    # "buildable" holds a test back until the layer in which the last of the models it reads is built.
    arguments = ["build", "--select", *selectors, "--indirect-selection", "buildable"]
    for kind in NOT_AT_NIGHT:
        arguments += ["--exclude-resource-type", kind]
    return _invoke(settings, arguments, night, target=target, path=path)


def _invoke(
    settings: Settings, arguments: Sequence[str], night: Mapping[str, str], *, target: str, path: Path
) -> list[ModelOutcome]:
    outcomes = [_outcome(node) for node in _dbt(settings, arguments, night, target=target, path=path)]
    # What runs before the first model is no model: it would hide that nothing was built.
    outcomes = [outcome for outcome in outcomes if outcome.kind != "operation"]
    if not outcomes:
        raise InputError(f"dbt found nothing to run for {' '.join(arguments)}: nothing was built and nothing tested.")
    return outcomes


def _dbt(
    settings: Settings, arguments: Sequence[str], night: Mapping[str, str], *, target: str, path: Path | None
) -> Sequence[NodeResult]:
    """What one dbt command did. Raises InputError naming what failed."""
    from dbt.cli.main import dbtRunner

    work_dir = settings.work_dir / "dbt"
    work_dir.mkdir(parents=True, exist_ok=True)
    variables = {
        "REGUA_DBT_PATH": str(path) if path else ":memory:",
        "REGUA_DBT_MEMORY": settings.warehouse_memory,
        "REGUA_DBT_THREADS": str(settings.warehouse_threads),
        "REGUA_DBT_WAREHOUSE": str(settings.warehouse_path),
        "DO_NOT_TRACK": "1",
    }
    with _environment(variables), _connections_closed():
        result = dbtRunner().invoke(
            [
                *arguments,
                *("--project-dir", str(settings.dbt_project_dir), "--profiles-dir", str(settings.dbt_project_dir)),
                # A target keeps its own parsed project, because switching targets parses everything anew.
                *("--target", target, "--target-path", str(work_dir / target), "--log-path", str(work_dir / "logs")),
                *("--vars", json.dumps(dict(night))),
                *("--log-level", "none", "--log-level-file", "info", "--quiet", "--no-use-colors"),
            ]
        )
    nodes: Sequence[NodeResult] = getattr(result.result, "results", None) or []
    failed = [outcome for outcome in map(_outcome, nodes) if outcome.status not in GOOD_STATUSES]
    if failed:
        raise InputError(_failure(failed, work_dir))
    if result.exception is not None:
        raise InputError(f"dbt could not run the models: {result.exception}") from result.exception
    return nodes


def _outcome(node: NodeResult) -> ModelOutcome:
    rows = node.adapter_response.get("rows_affected")
    return ModelOutcome(
        model=node.node.name,
        kind=str(node.node.resource_type),
        status=str(node.status),
        seconds=round(node.execution_time, 3),
        rows_affected=int(rows) if rows is not None else None,
        message=node.message or "",
    )


def _failure(failed: Sequence[ModelOutcome], work_dir: Path) -> str:
    reasons = [outcome for outcome in failed if outcome.status != "skipped"] or failed
    lines = [f"  {outcome.kind} {outcome.model}: {outcome.status}. {outcome.message}" for outcome in reasons]
    skipped = len(failed) - len(reasons)
    if skipped:
        lines.append(f"  {skipped} more skipped because they stand on these.")
    return "\n".join(["The models did not come out right:", *lines, f"dbt's log: {work_dir / 'logs' / 'dbt.log'}"])


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """dbt's profile reads the process's environment; it gets it back as it was."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _connections_closed() -> Iterator[None]:
    """dbt-duckdb holds its file open until the process ends; the next stage needs it, checkpointed, now."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    try:
        yield
    finally:
        DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
