"""`mf query` answers from the serving file what the marts say."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from regua.instants import utc_clock
from regua.nightly.stages import Night, run_night
from regua.publish.metrics_project import write_metrics_project
from regua.sample.portfolio import write_sample
from regua.settings import Settings, load_settings

DAY = date(2026, 6, 30)
MF = Path(sys.executable).parent / "mf"
SINCE = "--start-time 2026-01-01 --end-time 2026-06-30"
# What is asked, and the same of the marts.
QUESTIONS = {
    "balances are those of the last evening": (
        f"--metrics open_amount,overdue_amount --group-by metric_time__month --order metric_time__month {SINCE}",
        "select sum(open_amount), sum(overdue_amount) from kpi_daily "
        "where day_date in (select max(day_date) from kpi_daily where day_date >= '2026-01-01' "
        "group by date_trunc('month', day_date)) group by day_date order by day_date",
    ),
    "a rate is made from its sums": (
        f"--metrics delinquency_rate --group-by metric_time__day --order metric_time__day {SINCE}",
        "select sum(overdue_amount)::double / sum(billed_due_amount)::double from kpi_daily "
        "where day_date >= '2026-01-01' group by day_date order by day_date",
    ),
    "flows are added up over days": (
        f"--metrics collected_amount,recovered_amount --group-by metric_time__month --order metric_time__month {SINCE}",
        "select sum(collected_amount), sum(recovered_amount) from kpi_daily where day_date >= '2026-01-01' "
        "group by date_trunc('month', day_date) order by date_trunc('month', day_date)",
    ),
    "a cohort has its horizon": (
        "--metrics recovery_rate --group-by cohorts_row__horizon_days --order cohorts_row__horizon_days",
        "select sum(recovered_amount)::double / sum(observed_amount)::double from kpi_recovery_cohorts "
        "group by horizon_days order by horizon_days",
    ),
    "steps by channel": (
        "--metrics delivery_rate,credited_amount --group-by steps_row__channel_code --order steps_row__channel_code",
        "select sum(delivered_count) / nullif(sum(accepted_count), 0)::double, sum(credited_amount) "
        "from kpi_step_performance group by channel_code order by channel_code",
    ),
}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = load_settings({"REGUA_HOME": str(tmp_path_factory.mktemp("metrics")), "REGUA_ENV": "local"})
    write_sample(settings, customers=300, months=12, as_of=DAY, seed=6)
    run_night(settings, Night(DAY, None, "night"), utc_clock)
    return settings


@pytest.mark.parametrize("question", QUESTIONS)
def test_metricflow_says_what_the_marts_say(question: str, settings: Settings, tmp_path: Path) -> None:
    folder = write_metrics_project(settings)
    asked, query = QUESTIONS[question]
    answer = tmp_path / "answer.csv"
    done = subprocess.run(
        [str(MF), "query", *asked.split(), "--csv", str(answer)],
        cwd=folder, env=os.environ | {"DBT_PROFILES_DIR": ".", "DO_NOT_TRACK": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    with answer.open(encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    metrics = asked.split()[1].split(",")
    found = [[_number(row[head.index(metric)]) for metric in metrics] for row in rows]
    with duckdb.connect(str(settings.serving_dir / "current" / "serving.duckdb"), read_only=True) as serving:
        expected = [[_number(cell) for cell in row] for row in serving.execute(query).fetchall()]
    assert len(expected) > 2
    assert found == expected


def _number(cell: object) -> Decimal | None:
    """To eight digits behind the point: rates are quotients of whole sums."""
    return None if cell in (None, "", "nan") else round(Decimal(str(cell)), 8)
