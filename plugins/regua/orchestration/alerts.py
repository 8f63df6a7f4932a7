"""Telling people that a task failed: in the log, in a file that outlives it, and where REGUA_ALERT_URL points."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

from airflow.sdk import BaseNotifier

from regua.errors import InputError, ReguaError
from regua.instants import utc_clock, write_instant
from regua.settings import load_settings

if TYPE_CHECKING:
    from airflow.sdk import Context

_TIMEOUT_SECONDS = 10


class FailureAlert(BaseNotifier):
    """Appends to <REGUA_HOME>/alerts.jsonl and posts `{"text": …}`, which Slack, Teams and Mattermost understand."""

    def notify(self, context: Context) -> None:
        settings = load_settings()
        text = _text(context)
        self.log.error("%s", text)
        settings.home.mkdir(parents=True, exist_ok=True)
        with (settings.home / "alerts.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"at": write_instant(utc_clock()), "text": text}, ensure_ascii=False) + "\n")
        if settings.alert_url is not None:
            _post(settings.alert_url, text)


def _text(context: Context) -> str:
    task = context["task_instance"]
    error = context.get("exception")
    cause = getattr(error, "__cause__", None) or error
    # Only our own messages are known to carry no personal value.
    reason = str(cause) if isinstance(cause, ReguaError) else f"{type(error).__name__}: see the task's log"
    return f"{task.dag_id}.{task.task_id} failed in run {task.run_id}: {reason}"


def _post(url: str, text: str) -> None:
    if not url.startswith("https://"):
        raise InputError("REGUA_ALERT_URL must begin with https://; the alert was not posted.")
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
        url, data=json.dumps({"text": text}).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS):  # noqa: S310
        pass
