"""What a DAG must be before it may run: parsed without side effects, bounded, and red where a gate is red."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DAG_IDS = {"receivables_nightly"}
STAGES = ["land", "load", "gate_raw", "staging", "intermediate", "marts", "dunning", "gate_marts", "serve"]
# Importing one of these takes seconds or more, at every parse of every DAG file.
HEAVY = ("great_expectations", "dbt", "pandas", "sqlfluff")

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def dag_bag():
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=str(ROOT / "dags"))


def test_every_dag_file_parses_and_gives_exactly_the_known_dags(dag_bag) -> None:
    assert dag_bag.import_errors == {}
    assert set(dag_bag.dags) == DAG_IDS


def test_parsing_imports_nothing_heavy_and_opens_no_database(tmp_path: Path) -> None:
    """A parse that opened the warehouse would take its lock every thirty seconds."""
    program = (
        "import runpy, sys, duckdb\n"
        "def forbidden(*a, **k): raise SystemExit('a DAG file opened DuckDB while being parsed')\n"
        "duckdb.connect = forbidden\n"
        f"sys.path.insert(0, {str(ROOT / 'plugins')!r})\n"
        f"runpy.run_path({str(ROOT / 'dags' / 'receivables_nightly.py')!r})\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    environment = os.environ | {"AIRFLOW_HOME": str(tmp_path), "REGUA_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "[]"
    assert not (tmp_path / "home").exists()


def test_the_night_runs_its_stages_in_order(dag_bag) -> None:
    dag = dag_bag.dags["receivables_nightly"]
    assert {task.task_id for task in dag.tasks} == set(STAGES)
    for earlier, later in pairwise(STAGES):
        assert earlier in dag.get_task(later).upstream_task_ids


def test_publishing_stands_behind_both_gates(dag_bag) -> None:
    serve = dag_bag.dags["receivables_nightly"].get_task("serve")
    assert {"gate_raw", "gate_marts"} <= serve.get_flat_relative_ids(upstream=True)
    assert [outlet.name for outlet in serve.outlets] == ["serving"]
    assert all(not task.outlets for task in dag_bag.dags["receivables_nightly"].tasks if task.task_id != "serve")


def test_one_night_at_a_time_at_two_in_the_morning_in_sao_paulo(dag_bag) -> None:
    dag = dag_bag.dags["receivables_nightly"]
    assert dag.max_active_runs == 1
    assert dag.catchup is False
    assert dag.timetable.expression == "0 2 * * *"
    assert str(dag.timetable.timezone) == "America/Sao_Paulo"


@pytest.mark.parametrize("dag_id", sorted(DAG_IDS))
def test_every_task_is_bounded_owned_and_reported(dag_bag, dag_id: str) -> None:
    dag = dag_bag.dags[dag_id]
    assert dag.tasks
    assert dag.dagrun_timeout is not None
    assert "Triage" in dag.doc_md
    for task in dag.tasks:
        assert timedelta(0) < task.execution_timeout <= timedelta(hours=1), task.task_id
        assert task.owner == "data-engineering"
        assert task.on_failure_callback, task.task_id
        assert task.pool == "warehouse", "a task that opens DuckDB outside the pool fights for its lock"
        assert task.retries == 3


@pytest.mark.parametrize("path", sorted((ROOT / "dags").glob("*.py")), ids=lambda path: path.name)
def test_a_dag_file_reads_like_a_table_of_contents(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.If | ast.For | ast.While | ast.Try)]
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 90


def test_a_failure_that_a_retry_cannot_mend_is_not_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    from regua.errors import BusyError, InputError
    from regua.orchestration import nightly_tasks

    night = {"as_of": "2026-06-30", "known_at": None, "run_id": "r"}

    def fail(error: Exception):
        def run_stage(*_: object) -> None:
            raise error

        return run_stage

    monkeypatch.setattr(nightly_tasks, "run_stage", fail(InputError("invoices.csv: line 7: bad")))
    with pytest.raises(AirflowFailException, match="line 7"):
        nightly_tasks.stage_task("land", night)
    monkeypatch.setattr(nightly_tasks, "run_stage", fail(BusyError("held by another")))
    with pytest.raises(BusyError):
        nightly_tasks.stage_task("land", night)
