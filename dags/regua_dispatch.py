"""
### regua_dispatch

Sends what may be sent now of today's plan: each message at most once, within the hours of its customer's state, after
a last look at payments and facts. Runs every quarter of an hour; what is left is taken up by the next run.

**Inputs** the ledger's plan of today, exports of payments that arrived since the night. **Output** messages, and their
state in the ledger. Backfills and runs of another day send nothing: `check_plan` fails them.

#### Triage

**Never clear or retry `send` to "make it go": the next run does that by itself.** It is safe all the same.

- **`recall`** takes back what a provider holds and must not release: all of it while sending is stopped, else what was
  paid or forbidden since. It failed: somebody may be written to who should not; see docs/runbooks/provider-down.md.
- **`check_plan`** says why nothing is sent: it fails without a plan and on another day than today, and is skipped while
  the gate of the plan is red or sending is stopped.
- **`send`** One or more channels ended early; the log names each and why. *unauthorised*: the key was withdrawn.
  *breaker*: too many messages of unknown fate, see docs/runbooks/provider-down.md before anything else.
  *not recalled*: somebody who paid may be written to; see the runbook.
- To stop everything: `regua ledger stop`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task

from regua.orchestration.dag_defaults import LOCAL_TIMEZONE, WAREHOUSE_POOL, Tag, default_args
from regua.orchestration.dispatch_tasks import check_plan_task, dispatch_task, recall_task


@dag(
    schedule=CronTriggerTimetable("*/15 8-19 * * 1-6", timezone=LOCAL_TIMEZONE),
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=30),
    # The next run is the retry: it asks again whether anything may be sent.
    default_args=default_args() | {"retries": 0, "execution_timeout": timedelta(minutes=25)},
    tags=[Tag.DISPATCH],
    doc_md=__doc__,
)
def regua_dispatch() -> None:
    @task
    def recall() -> None:
        recall_task()

    @task
    def check_plan() -> str:
        return check_plan_task(get_current_context())

    @task(pool=WAREHOUSE_POOL)
    def send(day: str) -> None:
        dispatch_task(day, get_current_context())

    recall()
    send(check_plan())


regua_dispatch()
