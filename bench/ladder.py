"""What the ladder costs: `python -m bench.ladder` decides one night of a large portfolio, and simulates past days.

Prints one line a figure; docs/benchmarks.md keeps those of a quiet machine. The floor is bench/floor.sql, as for the
night: one hand-written script over the same exports, which decides nothing.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import click
import duckdb

from bench.__main__ import AS_OF, NEXT_DAY
from bench.measuring import run_process, run_step
from bench.nights import Home, by_command

_DUNNING = "select max(seconds) from ops.stage_runs where stage = 'dunning' and state = 'succeeded'"
_COUNTS = """
select
    (select count(*) from marts.fct_invoices), (select count(*) from marts.fct_invoices where open_amount > 0),
    (select count(*) from marts.dim_customers), (select count(*) from marts.fct_dunning_decisions),
    (select count(*) from marts.fct_dunning_messages)
"""


@click.command()
@click.option("--customers", type=click.IntRange(min=10), default=100_000, show_default=True)
@click.option("--months", type=click.IntRange(min=2), default=24, show_default=True)
@click.option("--days", type=click.IntRange(min=0), default=365, show_default=True, help="Days to simulate.")
@click.option("--floor/--no-floor", default=True, show_default=True)
def main(customers: int, months: int, days: int, floor: bool) -> None:
    """Time the decisions of a night, the floor beside it, and a simulation of the policies in force."""
    with tempfile.TemporaryDirectory(prefix="regua-bench-") as folder:
        exports, home = Path(folder) / "exports", Home(Path(folder) / "home")
        home.path.mkdir()
        (exports / "first" / "sample").mkdir(parents=True)
        run_step(
            "generate",
            into=str(exports / "first" / "sample"),
            next_into=str(exports / "next" / "sample"),
            next_day=NEXT_DAY.isoformat(),
            as_of=AS_OF.isoformat(),
            customers=customers,
            months=months,
        )
        night = by_command(home, exports / "first", AS_OF)
        with duckdb.connect(str(home.warehouse), read_only=True) as warehouse:
            [(dunning,)] = warehouse.execute(_DUNNING).fetchall()
            [counts] = warehouse.execute(_COUNTS).fetchall()
        for name, count in zip(("invoices", "open", "customers", "decisions", "messages"), counts, strict=True):
            click.echo(f"{name}: {count:,}")
        click.echo(f"whole night by `regua run`: {night.seconds:.1f} s, peak {night.peak_mb:,.0f} MB")
        click.echo(f"of it the layer dunning, tests included: {dunning:.1f} s")
        if floor:
            into = Path(folder) / "floor"
            into.mkdir()
            cost, _ = run_step(
                "floor", exports=str(exports / "first" / "sample"), into=str(into), as_of=AS_OF.isoformat()
            )
            click.echo(f"floor: {cost.seconds:.1f} s; dunning is {dunning / cost.seconds:.2f} of it")
        if days:
            first_day = AS_OF - timedelta(days=days - 1)
            command = [str(Path(sys.executable).parent / "regua"), "simulate"]
            command += ["--from", first_day.isoformat(), "--to", AS_OF.isoformat(), "--format", "json"]
            cost, _ = run_process(command, home.environment(exports / "first"))
            click.echo(
                f"simulation of {days} days: {cost.seconds:.0f} s, {cost.seconds / days * 1000:.0f} ms a day, "
                f"peak {cost.peak_mb:,.0f} MB"
            )


if __name__ == "__main__":
    main()
