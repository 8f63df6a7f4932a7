"""How Airflow tasks plan, judge and send."""

from __future__ import annotations

import logging
from datetime import date
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from regua.errors import InputError
from regua.instants import utc_clock
from regua.orchestration.nightly_tasks import night_of
from regua.settings import load_settings

if TYPE_CHECKING:
    from airflow.sdk import Context

_log = logging.getLogger(__name__)


def plan_task() -> str:
    """Plan the published day and hand it on; skips where that is a past day, of which nothing is sent."""
    from regua.dispatch.daily import plan_day, require_today
    from regua.publish.serving import current_generation, read_serving_manifest

    settings = load_settings()
    day = date.fromisoformat(read_serving_manifest(current_generation(settings))["as_of"])
    try:
        require_today(settings, day, utc_clock)
    except InputError as error:
        raise AirflowSkipException(str(error)) from error
    try:
        plan = plan_day(settings, day, utc_clock)
    except InputError as error:
        raise AirflowFailException(str(error)) from error
    _log.info("plan of %s: %d messages, %d new, %d withdrawn", day, plan.message_count, plan.new, plan.withdrawn)
    return day.isoformat()


def gate_plan_task(day: str) -> str:
    """Judge the plan; a red gate fails without a retry."""
    from regua.dispatch.daily import judge_plan

    try:
        judge_plan(load_settings(), date.fromisoformat(day), utc_clock)
    except InputError as error:
        raise AirflowFailException(str(error)) from error
    return day


def recall_task() -> None:
    """Take back what is held and must not be released, whatever the plan says."""
    from regua.dispatch.daily import recall_what_must_not_go

    try:
        recalled = recall_what_must_not_go(load_settings(), utc_clock)
    except InputError as error:
        raise AirflowFailException(str(error)) from error
    _log.info("recalled %d messages of %d batches", recalled.recalled, recalled.batches)
    if recalled.unconfirmed_batch_ids:
        raise AirflowFailException(f"Not recalled, and may go out: batches {', '.join(recalled.unconfirmed_batch_ids)}")


def check_plan_task(context: Context) -> str:
    """The day of the run, when its plan may be sent from now.

    Skips where somebody was told already: a red gate failed in its own DAG, and a stop was somebody's doing.
    """
    from regua.dispatch.daily import require_green_plan
    from regua.dispatch.outbox import StoppedError

    run = context["dag_run"]
    day = night_of(context).as_of
    try:
        if run.run_type == "backfill":
            raise InputError("A backfill sends nothing: a day that is over is not sent any more.")
        planned = require_green_plan(load_settings(), day, utc_clock)
    except StoppedError as error:
        raise AirflowSkipException(str(error)) from error
    except InputError as error:
        raise AirflowFailException(str(error)) from error
    _log.info("plan of %s: %d messages are still to be sent", day, planned)
    return day.isoformat()


def dispatch_task(day: str, context: Context) -> None:
    """Send what may be sent now. Logs counts, never whom."""
    from regua.dispatch.daily import dispatch_day

    try:
        dispatch_day(load_settings(), date.fromisoformat(day), utc_clock, run_id=context["dag_run"].run_id[:64])
    except InputError as error:
        raise AirflowFailException(str(error)) from error
