"""`python -m bench --invoices N [N …]`: times nights of N invoices beside the floor and pandas, and prints the tables.

In one run, on one machine, floors and nights in turn. Ends with an error where two of them do not say the same.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import click

from bench.measuring import BenchError, Cost, run_step
from bench.nights import Home, by_airflow, by_command, by_stages, is_airflow_here, prepare_airflow
from bench.report import NightCosts, PandasCost, SizeFigures, in_markdown, write_into_docs

AS_OF = date(2026, 6, 30)
NEXT_DAY = date(2026, 7, 1)
_FEWEST_CUSTOMERS = 10


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--invoices", type=int, nargs="+", default=[1_000_000], metavar="N")
    parser.add_argument("--write", action="store_true", help="also put the tables into docs/benchmarks.md")
    parser.add_argument("--no-airflow", action="store_true", help="leave out the nights through Airflow")
    parser.add_argument("--no-pandas", action="store_true", help="leave out pandas, where memory is short")
    parser.add_argument("--work", type=Path, help="folder to work in; takes 0.6 GB a million invoices")
    options = parser.parse_args()
    if options.work is not None:
        options.work.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="regua-bench-", dir=options.work))
    try:
        _, machine = run_step("describe_machine")
        home = Home(work / "home")
        home.path.mkdir()
        with_airflow = is_airflow_here() and not options.no_airflow
        if with_airflow:
            _say("setting up an Airflow for the bench")
            prepare_airflow(home)
        _say("the fixed cost")
        fixed = _smallest(work, home, with_airflow=with_airflow)
        sizes = [
            _size(work, home, invoices, with_airflow=with_airflow, with_pandas=not options.no_pandas)
            for invoices in sorted(options.invoices)
        ]
    except BenchError as error:
        click.echo(error, err=True)
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)
    report = in_markdown(machine, fixed, sizes)
    click.echo(report)
    if options.write:
        write_into_docs(report)
    return 0


def _smallest(work: Path, home: Home, *, with_airflow: bool) -> NightCosts:
    """The fixed cost: what a night takes when there is next to nothing to do."""
    exports = work / "smallest"
    _generate(exports, _FEWEST_CUSTOMERS)
    return _nights(home, exports, with_airflow=with_airflow)


def _size(work: Path, home: Home, invoices: int, *, with_airflow: bool, with_pandas: bool) -> SizeFigures:
    _, customers = run_step("customers_of", invoices=invoices)
    exports, by_floor, by_pandas = work / f"of-{invoices}", work / "floor", work / "pandas"
    _say(f"generating {invoices:,} invoices")
    row_counts = _generate(exports, customers)
    of_first_day = {"exports": str(exports / "first" / "sample"), "as_of": AS_OF.isoformat()}
    floors: list[Cost] = []
    pandas: list[PandasCost] = []

    def another_floor() -> None:
        _say("floor")
        cost, _ = run_step("floor", into=_emptied(by_floor), **of_first_day)
        floors.append(cost)

    def compare() -> None:
        _say("comparing with the floor")
        run_step("compare", warehouse=str(home.warehouse), floor=str(by_floor / "floor.duckdb"))
        if with_pandas:
            _say("pandas")
            cost, seconds = run_step("pandas", into=_emptied(by_pandas), **of_first_day)
            pandas.append(PandasCost(cost, **seconds))
            run_step("compare", warehouse=str(home.warehouse), pandas=str(by_pandas))

    another_floor()
    nights = _nights(home, exports, with_airflow=with_airflow, after_first=compare, between=another_floor)
    shutil.rmtree(exports)
    return SizeFigures(invoices, row_counts, tuple(floors), nights, pandas[0] if pandas else None)


def _nights(
    home: Home,
    exports: Path,
    *,
    with_airflow: bool,
    after_first: Callable[[], None] = lambda: None,
    between: Callable[[], None] = lambda: None,
) -> NightCosts:
    """A full night and the night after it, each way; the home is as before in the end."""
    first, following = exports / "first", exports / "next"
    _say("a night, stage by stage")
    stages = by_stages(home, first, AS_OF)
    after_first()
    between()
    _say("the night after it")
    next_stages = by_stages(home, following, NEXT_DAY)
    home.forget()
    _say("a night by `regua run`")
    command = by_command(home, first, AS_OF)
    between()
    _say("the night after it")
    next_command = by_command(home, following, NEXT_DAY)
    home.forget()
    airflow = next_airflow = None
    if with_airflow:
        _say("a night through Airflow")
        airflow = by_airflow(home, first, AS_OF)
        between()
        _say("the night after it")
        next_airflow = by_airflow(home, following, NEXT_DAY)
        home.forget()
    return NightCosts(stages, command, airflow, next_stages, next_command, next_airflow)


def _generate(into: Path, customers: int) -> dict[str, dict[str, int]]:
    _, row_counts = run_step(
        "generate",
        into=str(into / "first" / "sample"),
        next_into=str(into / "next" / "sample"),
        customers=customers,
        as_of=AS_OF.isoformat(),
        next_day=NEXT_DAY.isoformat(),
    )
    return dict(row_counts)


def _emptied(directory: Path) -> str:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    return str(directory)


def _say(text: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')} {text}", err=True)


if __name__ == "__main__":
    sys.exit(main())
