"""
### regua_plan

Writes what the night decided into the ledger as the plan of the day, and judges it. It contacts nobody:
`regua_dispatch` does, and only from a plan whose gate is green.

**Inputs** the asset `serving` and the warehouse it was published from. **Output** the ledger's plan with its verdict,
and the asset `plan`. Only the plan of today is written: after a backfill or the re-run of a past day both tasks are
skipped.

#### Triage

Both tasks may run again at any time: what was claimed or sent stays as it is.

- **`plan`** The warehouse does not hold a published night of today, or the ledger cannot be reached. Finish the night,
  or see to the ledger, then clear `plan`.
- **`gate_plan`** The plan is not plausible, and **no message leaves** until it is. The log says which expectation is
  red and what to do; see docs/runbooks/gate-failed.md. When the cause is mended, clear `plan`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import Asset, dag, task

from regua.orchestration.dag_defaults import WAREHOUSE_POOL, Tag, default_args
from regua.orchestration.dispatch_tasks import gate_plan_task, plan_task

SERVING = Asset(name="serving", uri="regua://serving/current", group="regua")
PLAN = Asset(name="plan", uri="regua://ledger/plan", group="regua")


@dag(
    schedule=[SERVING],
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=1),
    default_args=default_args(),
    tags=[Tag.DISPATCH, Tag.WAREHOUSE],
    doc_md=__doc__,
)
def regua_plan() -> None:
    # Whatever the gate says of the messages: who pays, and who does not, is another matter.
    @task(pool=WAREHOUSE_POOL, outlets=[PLAN])
    def plan() -> str:
        return plan_task()

    @task(pool=WAREHOUSE_POOL)
    def gate_plan(day: str) -> str:
        return gate_plan_task(day)

    gate_plan(plan())


regua_plan()
