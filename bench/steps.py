"""What the bench runs in processes of its own: `python -m bench.steps NAME JSON` prints the answer as its last line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from bench.measuring import PROJECT_DIR, BenchError

MONTHS = 24
SEED = 20260630
SEEDS_DIR = PROJECT_DIR / "dbt_project" / "seeds"
MARTS = ("dim_customers", "fct_invoices", "fct_invoice_aging", "agg_aging_daily")


def generate(*, into: str, customers: int, as_of: str, next_into: str, next_day: str, months: int = MONTHS) -> Any:
    """Clean exports of a portfolio, and those of the day after with 1 % of its invoices changed; rows by file set.

    Clean, because the floor can neither quarantine nor tell a duplicate, and its results must be the night's.
    """
    from regua.sample.portfolio import generate as write_exports
    from regua.sample.portfolio import generate_next_day

    portfolio: dict[str, Any] = {
        "customers": customers, "months": months, "as_of": date.fromisoformat(as_of), "seed": SEED, "dirt": False,
        "memory": "6GB", "threads": os.cpu_count() or 2,
    }  # fmt: skip
    first = write_exports(Path(into), **portfolio)
    following = generate_next_day(Path(next_into), **portfolio, day=date.fromisoformat(next_day), changed_pct=1.0)
    return {"first": first.row_counts, "next": following.row_counts}


def customers_of(*, invoices: int) -> int:
    from regua.sample.portfolio import customers_for

    return customers_for(invoices, MONTHS)


def stage(*, name: str, night: dict[str, str | None]) -> dict[str, str | None]:
    """One stage as an Airflow task runs it; returns the night to hand on."""
    from regua.instants import utc_clock
    from regua.nightly.stages import Night, run_stage
    from regua.settings import load_settings

    return run_stage(load_settings(), Night.from_json(night), name, utc_clock).to_json()


def floor(*, exports: str, into: str, as_of: str) -> None:
    """bench/floor.sql into `into`/floor.duckdb and Parquet beside it, with the memory and threads a night has."""
    import duckdb

    from regua.settings import load_settings

    settings = load_settings()
    os.chdir(into)
    config = {"memory_limit": settings.warehouse_memory, "threads": settings.warehouse_threads}
    with duckdb.connect("floor.duckdb", config=config) as connection:
        variables = {"exports": exports, "seeds": str(SEEDS_DIR), "as_of": date.fromisoformat(as_of)}
        for name, value in variables.items():
            connection.execute(f"set variable {name} = $1", [value])
        connection.execute(Path(__file__).with_name("floor.sql").read_text(encoding="utf-8"))


def pandas(*, exports: str, into: str, as_of: str) -> dict[str, float]:
    """The same marts by pandas; seconds of reading, modelling and writing."""
    from bench.pandas_marts import build

    return build(Path(exports), Path(into), SEEDS_DIR, date.fromisoformat(as_of))


def compare(*, warehouse: str, floor: str | None = None, pandas: str | None = None) -> dict[str, int]:
    """Rows by mart, once every column of every row of a mart is the same. Raises BenchError where it is not."""
    import duckdb

    counts = {}
    with duckdb.connect(warehouse, read_only=True) as connection:
        if floor is not None:
            connection.execute(f"attach '{floor}' as other (read_only)")
        for mart in MARTS:
            described = f"select column_name, column_type from (describe marts.{mart})"
            columns = dict(connection.execute(described).fetchall())
            # pandas counts in cents, to stay exact.
            written = ", ".join(
                f"({column} * 0.01::decimal(2, 2))::{sql_type} as {column}"
                if pandas is not None and sql_type.startswith("DECIMAL")
                else f"{column}::{sql_type} as {column}"
                for column, sql_type in columns.items()
            )
            other = f"other.{mart}" if floor is not None else f"read_parquet('{pandas}/{mart}.parquet')"
            ours, theirs = f"select {', '.join(columns)} from marts.{mart}", f"select {written} from {other}"
            [(rows, lost, invented)] = connection.execute(
                f"select (select count(*) from marts.{mart}), (select count(*) from ({ours} except all {theirs})), "
                f"(select count(*) from ({theirs} except all {ours}))"
            ).fetchall()
            if lost or invented:
                raise BenchError(
                    f"{mart}: {lost} rows of the night's are not in {floor or pandas}, "
                    f"{invented} there are not the night's."
                )
            counts[mart] = rows
    return counts


def describe_machine() -> dict[str, str]:
    import importlib.metadata
    import platform

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    packages = ("duckdb", "dbt-core", "great-expectations", "apache-airflow", "pandas")
    versions = [
        f"Python {platform.python_version()}",
        *(f"{name} {importlib.metadata.version(name)}" for name in packages),
    ]
    system = f"{platform.system()} {platform.release()}"
    return {
        "machine": f"{os.cpu_count()} cores ({model}), {memory:.0f} GB of memory, {system}",
        "versions": ", ".join(versions),
    }


STEPS: dict[str, Callable[..., Any]] = {
    step.__name__: step for step in (generate, customers_of, stage, floor, pandas, compare, describe_machine)
}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(STEPS[sys.argv[1]](**json.loads(sys.argv[2]))) + "\n")
