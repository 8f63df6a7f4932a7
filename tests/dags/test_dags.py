"""What a DAG must be before it may run: parsed without side effects, bounded, with its gates before its effects."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Every task is listed: one with an effect outside the stores names the gates that must stand before it.
GATES_BEFORE = {
    "receivables_nightly": {"serve": {"gate_raw", "gate_marts"}, "panel": {"gate_raw", "gate_marts", "serve"}},
    "regua_plan": {},
    "regua_dispatch": {"send": {"check_plan"}},
    "delivery_evidence": {},
    "suspensions_publish": {
        "publish": {"prove"},
        "publish_approved": {"prove", "publish", "is_held", "approve"},
        "hand_over": {"prove", "publish"},
        "hand_over_approved": {"prove", "approve", "publish_approved"},
    },
    # Gives access back and hands over what was published: nothing may hold that up.
    "suspensions_refresh": {},
    "bureau_removals": {},
}
WITHOUT_EFFECT = {
    "receivables_nightly": {
        "land", "load", "gate_raw", "staging", "intermediate", "marts", "dunning", "kpis",
        "gate_marts",
    },
    "regua_plan": {"plan", "gate_plan"},
    # Recalling only ever takes messages back: no gate may hold it up.
    "regua_dispatch": {"check_plan", "recall"},
    "delivery_evidence": {"poll", "link_orphans", "report_unknowns"},
    "suspensions_publish": {"give_back", "access_given_back", "prove", "is_held", "approve"},
    "suspensions_refresh": {"give_back", "access_given_back", "hand_over"},
    "bureau_removals": {"check_removals"},
}  # fmt: skip
DAG_IDS = set(GATES_BEFORE)
# Tasks that never open DuckDB.
OUTSIDE_THE_POOL = {
    ("regua_dispatch", "check_plan"),
    ("regua_dispatch", "recall"),
    *(("delivery_evidence", task_id) for task_id in WITHOUT_EFFECT["delivery_evidence"]),
    *(("suspensions_publish", task_id) for task_id in ("is_held", "approve", "hand_over", "hand_over_approved")),
    ("suspensions_refresh", "hand_over"),
    ("suspensions_publish", "access_given_back"),
    ("suspensions_refresh", "access_given_back"),
    # Reads the calendar only, and waits where that is busy.
    ("bureau_removals", "check_removals"),
}
# Of these the next run is the retry: it asks anew whether anything may be sent, or what became of it.
NEVER_RETRIED = {"regua_dispatch", "delivery_evidence", "suspensions_refresh", "bureau_removals"}
# A person is asked once.
ASKED_ONCE = ("suspensions_publish", "approve")
STAGES = [
    "land",
    "load",
    "gate_raw",
    "staging",
    "intermediate",
    "marts",
    "dunning",
    "kpis",
    "gate_marts",
    "serve",
    "panel",
]
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
        f"for path in {[str(path) for path in sorted((ROOT / 'dags').glob('*.py'))]!r}: runpy.run_path(path)\n"
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


@pytest.mark.parametrize("dag_id", sorted(DAG_IDS))
def test_every_task_with_an_effect_has_its_gates_upstream(dag_bag, dag_id: str) -> None:
    dag = dag_bag.dags[dag_id]
    assert {task.task_id for task in dag.tasks} == set(GATES_BEFORE[dag_id]) | WITHOUT_EFFECT[dag_id]
    for task_id, gates in GATES_BEFORE[dag_id].items():
        assert gates <= dag.get_task(task_id).get_flat_relative_ids(upstream=True), task_id


def test_planning_follows_what_was_published_and_dispatch_its_own_clock(dag_bag) -> None:
    """Rebuilding data can contact nobody: no asset starts a dispatch."""
    assert [asset.name for asset in dag_bag.dags["regua_plan"].timetable.asset_condition.objects] == ["serving"]
    dispatch = dag_bag.dags["regua_dispatch"]
    assert dispatch.timetable.expression == "*/15 8-19 * * 1-6"
    assert (dispatch.max_active_runs, dispatch.catchup) == (1, False)


def test_suspensions_follow_the_plan_and_silence_approves_nothing(dag_bag) -> None:
    publish = dag_bag.dags["suspensions_publish"]
    assert [asset.name for asset in publish.timetable.asset_condition.objects] == ["plan"]
    assert [outlet.name for outlet in dag_bag.dags["regua_plan"].get_task("plan").outlets] == ["plan"]
    approve = publish.get_task("approve")
    assert approve.defaults is None
    assert approve.fail_on_reject is True
    assert approve.response_timeout == timedelta(hours=6)
    # Access comes back whatever is wrong with the list, and the list comes out whatever is wrong with that.
    assert publish.get_task("give_back").upstream_task_ids == set()
    assert publish.get_task("prove").trigger_rule == "all_done"


@pytest.mark.parametrize("dag_id", ["suspensions_publish", "suspensions_refresh"])
def test_a_run_in_which_access_was_not_given_back_is_red_whatever_else_went_well(dag_id: str, dag_bag) -> None:
    """A run ends as its last tasks do, and those after `all_done` may all be green."""
    last = [task for task in dag_bag.dags[dag_id].get_task("give_back").downstream_list if not task.downstream_list]
    assert [(task.task_id, task.trigger_rule) for task in last if task.trigger_rule == "all_success"] == [
        ("access_given_back", "all_success")
    ]


@pytest.mark.parametrize(
    "answer",
    [None, {}, {"chosen_options": ["Reject"]}, {"chosen_options": []}],
    ids=["marked a success by hand", "empty", "refused", "no choice"],
)
def test_nothing_is_published_that_nobody_has_approved(answer: dict[str, object] | None) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    from regua.orchestration import suspension_tasks

    with pytest.raises(AirflowFailException, match="Nobody has approved"):
        suspension_tasks.publish_approved_task(1, answer)


def test_publishing_is_the_only_task_that_says_so(dag_bag) -> None:
    serve = dag_bag.dags["receivables_nightly"].get_task("serve")
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
        if (dag_id, task.task_id) not in OUTSIDE_THE_POOL:
            assert task.pool == "warehouse", "a task that opens DuckDB outside the pool fights for its lock"
        is_retried = dag_id not in NEVER_RETRIED and (dag_id, task.task_id) != ASKED_ONCE
        assert task.retries == (3 if is_retried else 0)


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


class Run:
    """A DAG run as a task sees it."""

    def __init__(self, logical_date: str, run_type: str = "scheduled") -> None:
        self.logical_date = datetime.fromisoformat(logical_date)
        self.run_after = self.logical_date
        self.run_type = run_type
        self.run_id = f"{run_type}__{logical_date}"


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (Run("2026-06-30T13:00:00+00:00", "backfill"), "A backfill sends nothing"),
        (Run("2026-06-29T13:00:00+00:00"), "2026-06-29 is not today, 2026-06-30"),
        (Run("2026-07-01T13:00:00+00:00", "manual"), "2026-07-01 is not today, 2026-06-30"),
        (Run("2026-06-30T13:00:00+00:00"), "There is no plan of 2026-06-30"),
    ],
    ids=["backfill", "yesterday", "tomorrow", "no plan"],
)
def test_a_dispatch_of_another_day_or_of_no_plan_sends_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: Run, reason: str
) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    from regua.orchestration import dispatch_tasks

    monkeypatch.setenv("REGUA_HOME", str(tmp_path))
    monkeypatch.setenv("REGUA_ENV", "production")
    monkeypatch.setattr(dispatch_tasks, "utc_clock", lambda: datetime.fromisoformat("2026-06-30 13:00"))
    with pytest.raises(AirflowFailException, match=reason):
        dispatch_tasks.check_plan_task({"dag_run": run})


def test_a_stop_that_somebody_was_told_of_does_not_alert_every_quarter_of_an_hour(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    from regua.dispatch import daily
    from regua.dispatch.outbox import StoppedError
    from regua.orchestration import dispatch_tasks

    def refuse(*_: object) -> int:
        raise StoppedError("The plan of 2026-06-30 has not passed its gate")

    monkeypatch.setenv("REGUA_HOME", str(tmp_path))
    monkeypatch.setattr(daily, "require_green_plan", refuse)
    with pytest.raises(AirflowSkipException, match="has not passed its gate"):
        dispatch_tasks.check_plan_task({"dag_run": Run("2026-06-30T13:00:00+00:00")})


def test_sending_refuses_a_day_that_is_not_today_even_when_the_check_before_it_was_skipped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Somebody may mark `check_plan` a success by hand."""
    from airflow.sdk.exceptions import AirflowFailException

    from regua.orchestration import dispatch_tasks

    monkeypatch.setenv("REGUA_HOME", str(tmp_path))
    monkeypatch.setenv("REGUA_ENV", "production")
    with pytest.raises(AirflowFailException, match="only the plan of today is sent"):
        dispatch_tasks.dispatch_task("2026-06-30", {"dag_run": Run("2026-06-30T13:00:00+00:00")})
