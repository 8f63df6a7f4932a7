"""Runs nights, or single stages, each in a process of its own that kills itself where it is told to. Not a test.

    python -m tests.faults.killed_night PLAN.json > REPORT.jsonl

A plan is a list of steps: {"copy": [from, to]}, {"home", "delivered": a folder of exports}, {"home", "show": true}, or
{"home", "as_of", "landed_at"} with "stage" (else the whole night) and "kill". All processes are forked from one that
has imported dbt and Great Expectations, which takes longer than a night. The clock of the landing stands still, so that
the same files are known at the same instant in every home.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import date
from functools import partial, wraps
from pathlib import Path
from typing import Any

from regua.errors import ReguaError
from regua.instants import read_instant, utc_clock
from regua.nightly import stages
from regua.nightly.stages import Night, run_night, run_stage
from regua.nightly.summary import show_night
from regua.settings import Settings, load_settings

HEAVY = ("dbt.cli.main", "dbt.adapters.duckdb.connections", "regua.quality.gx_checkpoint")


def settings_of(home: str | Path) -> Settings:
    return load_settings(
        {
            "REGUA_ENV": "test",
            "REGUA_HOME": str(home),
            "REGUA_WAREHOUSE_MEMORY": "1GB",
            "REGUA_WAREHOUSE_THREADS": "2",
        }
    )


def main(plan_path: str) -> None:
    for name in HEAVY:
        importlib.import_module(name)
    for step in json.loads(Path(plan_path).read_text()):
        if "copy" in step:
            shutil.copytree(*step["copy"], symlinks=True)
            continue
        if "delivered" in step:
            shutil.copytree(step["delivered"], Path(step["home"]) / "inbox", dirs_exist_ok=True)
            continue
        pid = os.fork()
        if pid == 0:
            _run_and_exit(step)
        _, status = os.waitpid(pid, 0)
        ended = {"signal": os.WTERMSIG(status)} if os.WIFSIGNALED(status) else {"exit": os.WEXITSTATUS(status)}
        sys.stdout.write(json.dumps(step | ended) + "\n")
        sys.stdout.flush()


def _run_and_exit(step: dict[str, Any]) -> None:
    code = 1
    try:
        output = Path(step["home"]) / "output.txt"
        with output.open("a") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
            try:
                _run(step)
                code = 0
            except ReguaError as error:
                file.write(f"{error}\n")
            except Exception:  # noqa: BLE001 - this process ends here, and its output tells of it
                traceback.print_exc()
    finally:
        os._exit(code)


def _run(step: dict[str, Any]) -> None:
    settings = settings_of(step["home"])
    if step.get("show"):
        show_night(settings, None, require_success=True)
        return
    stage: str | None = step.get("stage")
    clock = _StandingClock(step["landed_at"])
    kept = Path(step["home"]) / f"night_{step['as_of']}.json"
    night = Night(date.fromisoformat(step["as_of"]), None, f"run__{step['as_of']}")
    if stage not in (None, "land"):
        night = Night.from_json(json.loads(kept.read_text()))
    if step.get("kill"):
        _arm(step["kill"], stage)
    if stage is None:
        night = run_night(settings, night, clock, on_stage=clock.begin)
        show_night(settings, night.as_of, require_success=True)
    else:
        clock.begin(stage)
        night = run_stage(settings, night, stage, clock)
    kept.write_text(json.dumps(night.to_json()))


class _StandingClock:
    def __init__(self, landed_at: str) -> None:
        self._landed_at = read_instant(landed_at)
        self._stage = "land"

    def begin(self, stage: str) -> None:
        self._stage = stage

    def __call__(self):
        return self._landed_at if self._stage == "land" else utc_clock()


def _kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _arm(kill: list[Any], stage: str | None) -> None:
    """["timer", seconds], ["done"] (the stage has run and is not on record), or ["call", dotted name, which call]."""
    match kill:
        case ["timer", seconds]:
            threading.Timer(seconds, _kill_myself).start()
        case ["done"]:
            assert stage is not None
            stages.STAGES[stage] = partial(_killed_after, stages.STAGES[stage])
        case ["call", name, count]:
            owner, attribute = _resolve(name)
            setattr(owner, attribute, _killed_at(getattr(owner, attribute), count))
        case _:
            raise ValueError(f"no such way to be killed: {kill}")


def _killed_after(function: Callable[..., Any], *arguments: Any) -> None:
    function(*arguments)
    _kill_myself()


def _killed_at(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    calls = iter(range(1, sys.maxsize))

    @wraps(function)
    def counted(*arguments: Any, **keywords: Any) -> Any:
        if next(calls) == count:
            _kill_myself()
        return function(*arguments, **keywords)

    return counted


def _resolve(name: str) -> tuple[Any, str]:
    path, attribute = name.rsplit(".", 1)
    try:
        return importlib.import_module(path), attribute
    except ModuleNotFoundError:
        owner, class_name = _resolve(path)
        return getattr(owner, class_name), attribute


if __name__ == "__main__":
    main(sys.argv[1])
