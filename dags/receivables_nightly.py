"""
### receivables_nightly

Lands what the company's systems exported, checks it, loads it, builds the models, decides who would be contacted
(`dunning`), checks all that, publishes it for BI. It contacts nobody: the DAGs that do start from the asset published
by `serve`.

**Inputs** the inbox folders of the sources in `REGUA_SOURCES`. **Output** the asset `serving`: a new generation below
`REGUA_HOME/serving`. **`as_of`** is the run's logical date in America/Sao_Paulo, so a backfill describes past days.

#### Triage

Whatever fails, the last good night is still served, and clearing a failed task is safe: every stage can run again.

- **`land`** A file is missing, damaged or not as the mapping says; the log names file, line and column. Have it sent
  again or correct the mapping, then clear `land`. See docs/runbooks/feed-late.md.
- **`load`** Too many bad rows, or too many keys gone from a snapshot. `regua source check NAME` says which; correct
  the export, then clear `land`.
- **`gate_raw`, `gate_marts`** What was loaded or built is not plausible. Open the Data Docs the log names; see
  docs/runbooks/gate-failed.md.
- **`staging`, `intermediate`, `marts`, `dunning`, `kpis`** A model or its test failed; the log names it. Mend it, then
  clear from there.
- **`panel`** The page was not written; what is served is as it should be. The log says why; clear it.
- **any, with "busy"** Somebody runs a night by hand. Wait: the task tries again three times, five minutes apart.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import Asset, CronTriggerTimetable, dag, get_current_context, task

from regua.orchestration.dag_defaults import LOCAL_TIMEZONE, WAREHOUSE_POOL, Tag, default_args
from regua.orchestration.nightly_tasks import WrittenNight, export_panel_task, night_of, stage_task

SERVING = Asset(name="serving", uri="regua://serving/current", group="regua")


@dag(
    schedule=CronTriggerTimetable("0 2 * * *", timezone=LOCAL_TIMEZONE),
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=4),
    default_args=default_args(),
    tags=[Tag.NIGHTLY, Tag.WAREHOUSE],
    doc_md=__doc__,
)
def receivables_nightly() -> None:
    @task(pool=WAREHOUSE_POOL)
    def land() -> WrittenNight:
        return stage_task("land", night_of(get_current_context()))

    @task(pool=WAREHOUSE_POOL)
    def stage(name: str, night: WrittenNight) -> WrittenNight:
        return stage_task(name, night)

    @task(pool=WAREHOUSE_POOL)
    def panel(night: WrittenNight) -> str:
        return export_panel_task()

    loaded = stage.override(task_id="load")("load", land())
    checked = stage.override(task_id="gate_raw")("gate_raw", loaded)
    staged = stage.override(task_id="staging")("staging", checked)
    intermediate = stage.override(task_id="intermediate")("intermediate", staged)
    marts = stage.override(task_id="marts")("marts", intermediate)
    dunning = stage.override(task_id="dunning")("dunning", marts)
    kpis = stage.override(task_id="kpis")("kpis", dunning)
    checked_marts = stage.override(task_id="gate_marts")("gate_marts", kpis)
    served = stage.override(task_id="serve", outlets=[SERVING])("serve", checked_marts)
    panel(served)


receivables_nightly()
