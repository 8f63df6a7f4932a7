"""How an Airflow task runs a stage of the night."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowFailException

from regua.errors import InputError
from regua.instants import local_day, to_utc, utc_clock
from regua.nightly.stages import Night, run_stage
from regua.settings import load_settings

if TYPE_CHECKING:
    from airflow.sdk import Context

WrittenNight = dict[str, str | None]


def night_of(context: Context) -> Night:
    """The business day of a run: the local date it stands for, whenever it is really run."""
    run = context["dag_run"]
    instant = run.logical_date or run.run_after
    return Night(local_day(to_utc(instant)), None, run.run_id)


def stage_task(stage: str, written: Mapping[str, str | None] | Night) -> WrittenNight:
    """Run one stage and hand the night on. What a retry cannot mend fails at once, without one."""
    night = written if isinstance(written, Night) else Night.from_json(written)
    try:
        return run_stage(load_settings(), night, stage, utc_clock).to_json()
    except InputError as error:
        raise AirflowFailException(str(error)) from error


def export_panel_task() -> str:
    """Write the panel of the served night as a file; answers where it lies."""
    from regua.panel.page import export_panel

    return str(export_panel(load_settings()))
