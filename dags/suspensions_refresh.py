"""
### suspensions_refresh

Every half hour: gives access back to whom a payment or a fact since the last list gives it, and hands over files
and webhooks that have not arrived yet. It takes access from nobody, so no gate stands before it.

**Inputs** exports of payments that arrived since the night, payments and facts in the ledger. **Output** a new sequence
of the last list when somebody comes back, copies, webhooks.

#### Triage

Every task may run again at any time.

- **`give_back`** Somebody who has paid waits for access. An export cannot be read, or the ledger cannot be reached; the
  log says which. By hand: `regua suspensions refresh`.
- **`hand_over`** A target or the product cannot be reached, or webhooks were given up:
  `regua suspensions webhooks` lists them, docs/how-to/webhooks.md says what to do.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import CronTriggerTimetable, dag, task

from regua.orchestration.dag_defaults import LOCAL_TIMEZONE, WAREHOUSE_POOL, Tag, default_args
from regua.orchestration.suspension_tasks import give_back_task, hand_over_task


@dag(
    # Between two dispatches, and at night too: who has paid waits for no morning.
    schedule=CronTriggerTimetable("10,40 * * * *", timezone=LOCAL_TIMEZONE),
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=25),
    # The next run is the retry.
    default_args=default_args() | {"retries": 0, "execution_timeout": timedelta(minutes=15)},
    tags=[Tag.SUSPENSION, Tag.WAREHOUSE],
    doc_md=__doc__,
)
def suspensions_refresh() -> None:
    @task(pool=WAREHOUSE_POOL)
    def give_back() -> None:
        give_back_task()

    @task(trigger_rule="all_done")
    def hand_over() -> None:
        hand_over_task()

    # Who was kept out makes the run red, whatever was handed over.
    give_back() >> [hand_over(), EmptyOperator(task_id="access_given_back")]


suspensions_refresh()
