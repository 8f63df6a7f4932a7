"""Nights to be timed: stage by stage in processes of their own, by `regua run`, and through Airflow."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from bench.measuring import PROJECT_DIR, BenchError, Cost, run_process, run_step

STAGES = ("land", "load", "gate_raw", "staging", "intermediate", "marts", "dunning", "kpis", "gate_marts", "serve")
# What a company keeps from night to night although its data is new: the metadata of Airflow, what dbt has parsed.
_KEPT = ("airflow", "work")


@dataclass(frozen=True, slots=True)
class Home:
    """A REGUA_HOME of the bench's own."""

    path: Path

    @property
    def warehouse(self) -> Path:
        return self.path / "warehouse" / "warehouse.duckdb"

    def environment(self, exports: Path) -> dict[str, str]:
        """`exports` is the folder that holds `sample/`."""
        return {
            "REGUA_HOME": str(self.path),
            "REGUA_INBOX": str(exports),
            "REGUA_SOURCES": "sample",
            "REGUA_PROJECT_DIR": str(PROJECT_DIR),
        }

    def forget(self) -> None:
        """Back to before the first night."""
        for path in self.path.iterdir():
            if path.name not in _KEPT:
                shutil.rmtree(path)


def by_stages(home: Home, exports: Path, as_of: date, stages: Sequence[str] = STAGES) -> dict[str, Cost]:
    """The cost of each stage; each pays its own start, as an Airflow task does."""
    night: dict[str, str | None] = {"as_of": as_of.isoformat(), "known_at": None, "run_id": f"bench {as_of}"}
    costs = {}
    for name in stages:
        costs[name], night = run_step("stage", home.environment(exports), name=name, night=night)
    return costs


def by_command(home: Home, exports: Path, as_of: date) -> Cost:
    cost, _ = run_process([_program("regua"), "run", "--as-of", as_of.isoformat()], home.environment(exports))
    _require_served(home, as_of)
    return cost


def by_airflow(home: Home, exports: Path, as_of: date) -> Cost:
    cost, _ = _airflow(home, exports, f"airflow dags test receivables_nightly {as_of}T02:00:00-03:00")
    _require_served(home, as_of)
    return cost


def is_airflow_here() -> bool:
    return (PROJECT_DIR / "scripts" / "airflow-env").is_file() and Path(_program("airflow")).is_file()


def prepare_airflow(home: Home) -> None:
    create_pool = "airflow pools set warehouse 1 'The one writer of the warehouse'"
    _airflow(home, home.path / "inbox", f"airflow db migrate && {create_pool}")


def _airflow(home: Home, exports: Path, command: str) -> tuple[Cost, str]:
    environment = home.environment(exports) | {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    return run_process(["bash", "-c", f". scripts/airflow-env && {command}"], environment)


def _require_served(home: Home, as_of: date) -> None:
    manifest = home.path / "serving" / "current" / "manifest.json"
    if not manifest.is_file() or json.loads(manifest.read_text())["as_of"] != as_of.isoformat():
        raise BenchError(f"The night of {as_of} ended without a failure and without being served.")


def _program(name: str) -> str:
    return str(Path(sys.executable).parent / name)
