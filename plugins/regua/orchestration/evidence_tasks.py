"""How Airflow tasks ask the providers, link what came too early, and report what a person must look at."""

from __future__ import annotations

import logging
import os

from airflow.sdk.exceptions import AirflowFailException

from regua.errors import InputError
from regua.instants import utc_clock
from regua.settings import load_settings

_log = logging.getLogger(__name__)


def poll_task() -> None:
    """Ask the providers; logs counts, never whom."""
    from regua.dispatch.polling import poll_evidence

    try:
        poll = poll_evidence(load_settings(), utc_clock, os.environ)
    except InputError as error:
        raise AirflowFailException(str(error)) from error
    _log.info("%d messages asked for, %d new suppressions, %s", poll.asked, poll.suppressions, poll.recorded)


def link_orphans_task() -> None:
    """Apply the evidence that came before the ledger knew its message."""
    from regua.dispatch.evidence import link_orphans
    from regua.ledger.database import open_ledger

    with open_ledger(load_settings()) as engine:
        _log.info("%s", link_orphans(engine, utc_clock))


def report_unknowns_task() -> None:
    """Fail once, so that it is told, for what has no certain fate after a day, or another one than was held."""
    from regua.dispatch.polling import report_evidence

    try:
        unknown = report_evidence(load_settings(), utc_clock)
    except InputError as error:
        raise AirflowFailException(str(error)) from error
    _log.info("%d messages are of unknown fate", unknown)
