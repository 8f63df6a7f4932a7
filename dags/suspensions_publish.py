"""
### suspensions_publish

Publishes whose access is taken away and given back: CSV files for ops, webhooks for the product, lists for the credit
bureau. Nothing of it happens before two derivations agree and the gate of the list is green. What is above the caps of
`include/suspension.yml` waits for a person (*Required actions* of this run); who comes back waits for nobody.

**Inputs** the plan of `regua_plan`, the published night, payments since. **Output** files in `REGUA_HOME/suspensions`
and at the targets, webhooks, and the ledger's record of both. Backfills and past days publish nothing.

#### Triage

Every task may be cleared and run again: what was begun ends with the same bytes.

- **`give_back`** Somebody who has paid waits for access. Usually the ledger or the inbox cannot be read; the log says.
- **`prove`** The log says what is red; the list published last stays. See docs/runbooks/list-not-published.md.
- **`publish`** Another night was run since the proof: clear `prove`. Disk full: make room, clear `publish`.
- **`approve`** Refused, or nobody answered within six hours: nothing that was held is published; tomorrow asks again.
  With a "state mismatch" Airflow lost the answer, which came within a second: clear `approve`, it asks again.
- **`hand_over…`** A target or the product cannot be reached; `suspensions_refresh` tries again every half hour.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import Asset, dag, get_current_context, task

from regua.orchestration import suspension_tasks as run
from regua.orchestration.dag_defaults import WAREHOUSE_POOL, Tag, default_args

PLAN = Asset(name="plan", uri="regua://ledger/plan", group="regua")


@dag(
    schedule=[PLAN],
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=8),
    default_args=default_args(),
    tags=[Tag.SUSPENSION, Tag.WAREHOUSE],
    doc_md=__doc__,
)
def suspensions_publish() -> None:
    @task(pool=WAREHOUSE_POOL)
    def give_back() -> None:
        run.give_back_task()

    # The list gives access back as well, so it comes out whatever kept `give_back` from it.
    @task(pool=WAREHOUSE_POOL, trigger_rule="all_done")
    def prove() -> int:
        return run.prove_task(get_current_context())

    @task(pool=WAREHOUSE_POOL)
    def publish(proposal: int) -> str:
        return run.publish_task(proposal)

    @task
    def hand_over() -> None:
        run.hand_over_task()

    @task.short_circuit
    def is_held(summary: str) -> bool:
        return bool(summary)

    @task(pool=WAREHOUSE_POOL)
    def publish_approved(proposal: int, answer: dict[str, object]) -> None:
        run.publish_approved_task(proposal, answer)

    summary = publish(proposal := prove())
    # No default answer: silence ends red, and nothing is published.
    approve = run.RecordedApproval(
        task_id="approve",
        subject="Suspensões acima do limite: podem ser publicadas?",
        body=summary,
        proposal=proposal,
        response_timeout=timedelta(hours=6),
        fail_on_reject=True,
        retries=0,
    )
    # Who was kept out makes the run red, whatever became of the list.
    give_back() >> [proposal, EmptyOperator(task_id="access_given_back")]
    summary >> hand_over()
    is_held(summary) >> approve
    publish_approved(proposal, approve.output) >> hand_over.override(task_id="hand_over_approved")()


suspensions_publish()
