"""
### delivery_evidence

Asks the providers every hour what became of messages, and who must not be written to any more. It contacts nobody. What
providers tell by themselves comes through the receiver (`regua receive`) at once; this finds what got lost on the way.

**Inputs** SendGrid's suppressions and activity, Twilio's message log, evidence that waits for its message. **Output**
the ledger's messages, and facts: a dead address, an opt-out. The next night reads them.

#### Triage

Every task may run again at any time: what is told twice is kept once.

- **`poll`** A provider cannot be reached, or a key may not ask; the log says which. The next hour asks again for the
  same time. A day of it: docs/runbooks/provider-down.md.
- **`link_orphans`** The ledger cannot be reached. The next hour goes on.
- **`report_unknowns`** fails once for what it names. *Of unknown fate for a day*: look in the provider's own log, then
  `regua ledger settle`; until then they count as sent. *Providers prove … held for not sent*: somebody may have got a
  message that we recalled, or would get a second one. Read `regua ledger history` of the customer before the next
  dispatch. See docs/how-to/evidence.md.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import CronTriggerTimetable, dag, task

from regua.orchestration.dag_defaults import LOCAL_TIMEZONE, Tag, default_args
from regua.orchestration.evidence_tasks import link_orphans_task, poll_task, report_unknowns_task


@dag(
    # Five to the hour, between two dispatches.
    schedule=CronTriggerTimetable("55 * * * *", timezone=LOCAL_TIMEZONE),
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=30),
    # The next run is the retry.
    default_args=default_args() | {"retries": 0, "execution_timeout": timedelta(minutes=20)},
    tags=[Tag.DISPATCH],
    doc_md=__doc__,
)
def delivery_evidence() -> None:
    @task
    def poll() -> None:
        poll_task()

    # A provider that is down is no reason to leave what another one told unread.
    @task(trigger_rule="all_done")
    def link_orphans() -> None:
        link_orphans_task()

    @task(trigger_rule="all_done")
    def report_unknowns() -> None:
        report_unknowns_task()

    poll() >> link_orphans() >> report_unknowns()


delivery_evidence()
