"""What a night did, for the person who ran it: rows, quarantine, aging, gates, times, places."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from regua.errors import InputError
from regua.nightly.stages import STAGES
from regua.publish.aging import Aging, read_aging
from regua.publish.day_plan import DayPlan, read_day_plan
from regua.settings import Settings
from regua.warehouse.store import reading

_WIDTH = 120
_StageRow = tuple[str, str, float, datetime | None, str]


def show_night(settings: Settings, as_of: date | None, *, require_success: bool) -> DayPlan | None:
    """Print the newest run of `as_of`, or of all; returns the plan of a night that was published.

    Raises InputError when there is none, or success is required.
    """
    plan = None
    console = Console(width=_WIDTH) if not Console().is_terminal else Console()
    with reading(settings) as warehouse:
        run = _newest_run(warehouse, as_of)
        if run is None:
            raise InputError(f"No night {f'of {as_of} ' if as_of else ''}was ever run in {settings.home}.")
        day, run_id = run
        stages = _newest_stages(warehouse, run_id)
        known_at = next((known for _, _, _, known, _ in reversed(stages) if known is not None), None)
        console.rule(f"[bold]night {day}[/bold], run {run_id}")
        if known_at is not None:
            console.print(_rows_in(warehouse, known_at))
            console.print(_quarantine(warehouse, known_at))
        console.print(_gates(warehouse, run_id))
        console.print(_stage_times(stages))
    failed = [(name, json.loads(detail).get("reason", "")) for name, state, _, _, detail in stages if state == "failed"]
    served = stages and stages[-1][0] == "serve" and stages[-1][1] == "succeeded"
    if served:
        generation = Path(json.loads(stages[-1][4])["generation"])
        # The re-run of a past day is a generation of its own: what is served then tells of a later day.
        place = generation if generation.is_dir() else None
        print_aging(read_aging(settings, day, generation=place), console)
        plan = read_day_plan(settings, day, generation=place)
        print_day_plan(plan, console)
    console.print(_places(settings, day))
    for name, reason in failed:
        console.print(f"[bold red]{name} failed:[/bold red] {escape(reason)}", soft_wrap=True)
    if require_success and not served:
        raise InputError(f"The night of {day} was not published; what was served before still is.")
    return plan


def print_aging(aging: Aging, console: Console | None = None) -> None:
    told = "as published" if aging.known_at is None else f"with what was known at {aging.known_at} UTC"
    table = Table(title=f"open receivables on {aging.as_of} in {aging.currency}, {told}", title_justify="left")
    for name in ("bucket", "invoices", "customers", "amount", "share"):
        table.add_column(name, justify="left" if name == "bucket" else "right")
    total = aging.open_amount
    for bucket in aging.buckets:
        share = f"{bucket.open_amount * 100 / total:.1f} %" if total else ""
        table.add_row(
            bucket.code, f"{bucket.invoice_count:,}", f"{bucket.customer_count:,}", f"{bucket.open_amount:,}", share
        )
    table.add_section()
    table.add_row("open", f"{sum(b.invoice_count for b in aging.buckets):,}", "", f"{total:,}", "")
    overdue = (aging.invoices_overdue, aging.customers_overdue, aging.overdue_amount)
    table.add_row("overdue", *(f"{number:,}" for number in overdue), "")
    (console or Console()).print(table)


def print_day_plan(plan: DayPlan, console: Console | None = None) -> None:
    """Print what would go out and what is held back. Nothing was sent by deciding it."""
    console = console or Console()
    title = f"the plan of {plan.as_of}: {plan.message_count:,} messages"
    names = ("step", "channel", "currency", "messages", "invoices", "asked for", "held back")
    console.print(_table(title, names, [astuple(step) for step in plan.steps], left=3))
    because = ("held back because", "candidates", "customers")
    console.print(_table("what does not go out, and why", because, plan.held_back, left=1))
    console.print(_table("customers past due", ("standing", "customers"), plan.standings, left=1))
    if plan.example_customer_id:
        console.print(f"one customer's story: regua explain {plan.example_customer_id} --as-of {plan.as_of}")


def _newest_run(warehouse: duckdb.DuckDBPyConnection, as_of: date | None) -> tuple[date, str] | None:
    row = warehouse.execute(
        "select as_of, run_id from ops.stage_runs where $1 is null or as_of = $1 order by started_at desc limit 1",
        [as_of],
    ).fetchone()
    return (row[0], row[1]) if row else None


def _newest_stages(warehouse: duckdb.DuckDBPyConnection, run_id: str) -> list[_StageRow]:
    """The last attempt of each stage of a run, in the order of the night."""
    rows = warehouse.execute(
        "select stage, arg_max(state, started_at), arg_max(seconds, started_at), max(known_at), "
        "arg_max(detail, started_at) from ops.stage_runs where run_id = ? group by stage",
        [run_id],
    ).fetchall()
    order = list(STAGES)
    return sorted(rows, key=lambda row: order.index(row[0]))


def _rows_in(warehouse: duckdb.DuckDBPyConnection, known_at: datetime) -> Table:
    rows = warehouse.execute(
        "select _file, entity, read_count, accepted_count, quarantined_count, duplicate_count, removed_count, "
        "read_amount from ops.batches where as_of = "
        "(select max_by(as_of, _loaded_at) from ops.batches where _loaded_at <= $1) "
        "and _loaded_at <= $1 order by _source, _file, entity",
        [known_at],
    ).fetchall()
    columns = ("file", "entity", "read", "accepted", "quarantined", "duplicate", "removed", "amount read")
    return _table("rows in, newest load", columns, rows, left=2)


def _quarantine(warehouse: duckdb.DuckDBPyConnection, known_at: datetime) -> Table:
    rows = warehouse.execute(
        "select _file, entity, reason_code, coalesce(column_name, ''), count(*), min(_line) "
        "from quarantine.rejected_rows where _loaded_at <= ? group by all order by 5 desc, 1, 2, 3 limit 25",
        [known_at],
    ).fetchall()
    return _table("quarantined, and why", ("file", "entity", "reason", "column", "rows", "first line"), rows, left=4)


def _gates(warehouse: duckdb.DuckDBPyConnection, run_id: str) -> Table:
    rows = warehouse.execute(
        "select gate, count(*), count(*) filter (where success), count(*) filter (where not success) "
        "from ops.gate_runs where run_id = ? group by gate order by gate desc",
        [run_id],
    ).fetchall()
    return _table("gates", ("gate", "expectations", "green", "red"), rows, left=1)


def _stage_times(stages: Iterable[_StageRow]) -> Table:
    rows = [(name, state, f"{seconds:.1f} s", _brief(detail)) for name, state, seconds, _, detail in stages]
    return _table("stages", ("stage", "state", "time", "detail"), rows, left=2, wide="detail")


def _brief(detail: str) -> str:
    values: dict[str, Any] = json.loads(detail)
    return ", ".join(
        f"{name} {value}" for name, value in values.items() if name not in ("reason", "docs", "generation")
    )


def _places(settings: Settings, as_of: date) -> Table:
    serving = settings.serving_dir / "current"
    quality = settings.quality_dir / as_of.isoformat()
    places = [
        ("for BI", serving / "serving.duckdb"),
        ("Parquet", serving / "parquet"),
        ("manifest", serving / "manifest.json"),
        *((f"Data Docs, gate {path.name}", path / "index.html") for path in sorted(quality.glob("*")) if path.is_dir()),
        ("warehouse", settings.warehouse_path),
        ("landed files", settings.landing_dir),
    ]
    found = [(what, str(path)) for what, path in places if path.exists()]
    return _table("where things lie", ("what", "path"), found, left=2)


def _table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, left: int, wide: str | None = None
) -> Table:
    table = Table(title=title, title_justify="left")
    for place, name in enumerate(columns):
        is_left = place < left or name == wide
        table.add_column(name, justify="left" if is_left else "right", overflow="fold")
    for row in rows:
        table.add_row(*(f"{value:,}" if isinstance(value, int | Decimal) else escape(str(value)) for value in row))
    return table
