"""
### bureau_removals

Each morning: is a debt that must be taken off the credit bureau close to its last day? The law gives five business days
from full payment (Súmula STJ 548). It contacts nobody and changes nothing.

**Inputs** the ledger's listings. **Output** a failed task, so that somebody is told.

#### Triage

- **`check_removals`** names each invoice and its last day. Take it off the bureau, then confirm it:
  `regua suspensions removed INVOICE --author WHO`. It fails every morning until that is done.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import CronTriggerTimetable, dag, task

from regua.orchestration.dag_defaults import LOCAL_TIMEZONE, Tag, default_args
from regua.orchestration.suspension_tasks import check_removals_task


@dag(
    schedule=CronTriggerTimetable("0 9 * * *", timezone=LOCAL_TIMEZONE),
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=15),
    default_args=default_args() | {"retries": 0, "execution_timeout": timedelta(minutes=5)},
    tags=[Tag.SUSPENSION],
    doc_md=__doc__,
)
def bureau_removals() -> None:
    @task
    def check_removals() -> None:
        check_removals_task()

    check_removals()


bureau_removals()
