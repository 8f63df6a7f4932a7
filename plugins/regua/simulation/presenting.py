"""A simulation for people: tables in the terminal, and one page with charts that needs no network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from regua.durable_file import write_whole
from regua.settings import Settings
from regua.simulation.comparing import Row, Simulation, simulate

_WIDTH = 120
# Okabe and Ito's colours, told apart by the colour-blind as well.
_COLOURS = ("#0072B2", "#E69F00")
_CHART_WIDTH = 560
_OF_STEP = (
    "step", "channel", "phase", "currency", "messages", "invoices listed", "asked for", "cost"
)  # fmt: skip


def simulate_with_progress(settings: Settings, files: Sequence[Path], first_day: date, last_day: date) -> Simulation:
    """`simulate`, with the day it is at on the screen."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("compiling the models", total=None)
        return simulate(
            settings,
            files,
            first_day,
            last_day,
            on_day=lambda side, day: progress.update(task, description=f"{escape(side)} {day}"),
        )


def show_simulation(found: Simulation, console: Console | None = None) -> None:
    """Print what each side sends, what it costs, whom it suspends, and where the two differ."""
    console = console or (Console() if Console().is_terminal else Console(width=_WIDTH))
    console.rule(f"[bold]{found.first_day} to {found.last_day}[/bold]")
    console.print(_knowledge(found), highlight=False)
    for side in found.sides:
        steps = [row[1:] for row in found.steps if row[0] == side]
        console.print(_table(f"messages, {side}", _OF_STEP, steps, left=4))
    console.print(_table("candidates a day by outcome", ("outcome", *found.sides), _outcomes(found), left=1))
    console.print(_table("suspended", ("", "customers", "customer-days", "on the last day"), found.suspended, left=1))
    if found.differences:
        columns = ("sent by", "step", "and by the other", "messages", "customers", "for example")
        title = f"who differs, on days that both decided ({found.shared_day_count})"
        console.print(_table(title, columns, found.differences[:25], left=3))
    for side, total in _totals(found):
        console.print(f"{escape(side)}: {total}", highlight=False)


def write_page(found: Simulation, path: Path) -> None:
    """One HTML file with the tables and, as pictures, the charts."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = lambda value: f"{value:,}" if not isinstance(value, str) else value
    page = environment.get_template("page.html").render(
        found=found,
        knowledge=_knowledge(found),
        step_columns=_OF_STEP,
        outcomes=_outcomes(found),
        totals=_totals(found),
        charts=[(title, _svg(chart)) for title, chart in _charts(found)],
        colours=dict(zip(found.sides, _COLOURS, strict=False)),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, page)


def _knowledge(found: Simulation) -> str:
    days = (found.last_day - found.first_day).days + 1
    return (
        f"{days} days; {found.known_then_count} of them as their own night knew the data, "
        f"{days - found.known_then_count} as the next night did."
    )


def _outcomes(found: Simulation) -> list[Row]:
    counts = {(side, outcome): count for side, outcome, count in found.outcomes}
    names = dict.fromkeys(outcome for _, outcome, _ in found.outcomes)
    return [(name, *(counts.get((side, name), 0) for side in found.sides)) for name in names]


def _totals(found: Simulation) -> list[tuple[str, str]]:
    return [
        (
            side,
            f"{sum(row[5] for row in found.steps if row[0] == side):,} messages, cost "
            f"{sum(row[8] or 0 for row in found.steps if row[0] == side):,}",
        )
        for side in found.sides
    ]


def _charts(found: Simulation) -> Iterable[tuple[str, dict[str, Any]]]:
    scale = {"domain": list(found.sides), "range": list(_COLOURS[: len(found.sides)])}
    sides = {"field": "side", "type": "nominal", "title": None, "scale": scale}
    legend = {**sides, "legend": {"orient": "top"}}
    yield (
        "Messages a week, by channel",
        _chart(
            [
                {"side": side, "week": week.isoformat(), "channel": channel, "messages": count}
                for side, week, channel, count in found.weeks
            ],
            {
                "facet": {"field": "channel", "type": "nominal", "title": None, "columns": 1},
                "columns": 1,
                "resolve": {"scale": {"y": "independent"}},
                "spec": {
                    "width": _CHART_WIDTH,
                    "height": 110,
                    "mark": {"type": "bar"},
                    "encoding": {
                        "x": {"field": "week", "type": "ordinal", "title": None, "axis": {"labelOverlap": True}},
                        "xOffset": {"field": "side", "sort": list(found.sides)},
                        "y": {"field": "messages", "type": "quantitative", "title": None},
                        "color": legend,
                    },
                },
            },
        ),
    )
    yield (
        "Messages by step",
        _chart(
            [{"side": row[0], "step": f"{row[1]} ({row[2]})", "messages": row[5]} for row in found.steps],
            {
                "width": _CHART_WIDTH - 160,
                "mark": "bar",
                "encoding": {
                    "y": {"field": "step", "type": "nominal", "title": None, "sort": "-x"},
                    "yOffset": {"field": "side", "sort": list(found.sides)},
                    "x": {"field": "messages", "type": "quantitative", "title": None},
                    "color": legend,
                },
            },
        ),
    )
    yield (
        "Suspended customers, day by day",
        _chart(
            [
                {"side": side, "day": day.isoformat(), "customers": int(count)}
                for side, day, count in found.suspended_days
            ],
            {
                "width": _CHART_WIDTH,
                "height": 180,
                "mark": {"type": "line", "point": len(found.suspended_days) < 60},
                "encoding": {
                    "x": {"field": "day", "type": "temporal", "title": None, "axis": {"format": "%Y-%m-%d"}},
                    "y": {"field": "customers", "type": "quantitative", "title": None},
                    "color": legend,
                    "strokeDash": {"field": "side", "type": "nominal", "sort": list(found.sides), "legend": None},
                },
            },
        ),
    )


def _chart(rows: list[dict[str, Any]], specification: dict[str, Any]) -> dict[str, Any]:
    font = "sans-serif"
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "data": {"values": rows},
        "background": "transparent",
        "config": {"font": font, "axis": {"labelLimit": 240}, "view": {"stroke": None}},
        **specification,
    }


def _svg(chart: dict[str, Any]) -> str:
    import vl_convert

    return str(vl_convert.vegalite_to_svg(chart))


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, left: int) -> Table:
    table = Table(title=title, title_justify="left")
    for place, name in enumerate(columns):
        is_text = place < left or name == "for example"
        table.add_column(name, justify="left" if is_text else "right", overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) if isinstance(cell, str) else f"{cell:,}" for cell in row))
    return table
