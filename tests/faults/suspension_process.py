"""Publishes, refreshes and hands over in processes that kill themselves where they are told to. Not a test.

    python -m tests.faults.suspension_process < STEPS > REPORT

A step is a line of JSON: {"do": one of ACTS, "environ", "now", "proposal"} with "kill", one of PLACES, and "at_once",
how many processes do the same; "meet" lets none of them record anything before all are about to. The answer tells how
each process ended, and what it said. All are forked from this one, which has imported everything.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from regua.errors import BusyError, InputError
from regua.settings import load_settings
from regua.suspension import artefacts, publishing, webhooks

INPUT_ERROR, BUSY, DEFECT = 3, 4, 5
KILLED = -signal.SIGKILL
# Where a publisher dies, in the order in which it comes there.
PLACES = (
    "before staging",
    "first file half staged",
    "while staging",
    "staged",
    "before the commit",
    "committed",
    "between two files",
    "before the manifest is placed",
    "placed",
    "before the commit that it is placed",
    "placed and recorded",
)
# Those at which the ledger and the files say different things.
COMMIT_PLACES = (
    "before the commit",
    "committed",
    "between two files",
    "before the commit that it is placed",
    "placed and recorded",
)
DELIVERY_PLACES = ("before delivering", "a webhook heard and not recorded", "between two webhooks")


def main() -> None:
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_run(json.loads(line))) + "\n")
        sys.stdout.flush()


def _run(step: dict[str, Any]) -> dict[str, Any]:
    count = step.get("at_once", 1)
    # Each writes that it is there, and goes on when the last has.
    arrived, arriving = os.pipe()
    starting, start = os.pipe()
    processes = []
    for _ in range(count):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(start)

            def meet() -> None:
                os.write(arriving, b".")
                os.read(starting, 1)

            os._exit(_do(step, writing, meet if step.get("meet") else None))
        os.close(writing)
        processes.append((pid, reading))
    os.close(arriving)
    if step.get("meet"):
        # Nothing more comes when the last of them has ended before it got there.
        for _ in range(count):
            os.read(arrived, 1)
    os.close(start)
    said, ends = [], []
    for pid, reading in processes:
        with os.fdopen(reading) as words:
            said.append(words.read())
        end = os.waitpid(pid, 0)[1]
        ends.append(-os.WTERMSIG(end) if os.WIFSIGNALED(end) else os.WEXITSTATUS(end))
    os.close(arrived)
    os.close(starting)
    return {"ends": ends, "said": said}


def _do(step: dict[str, Any], report: int, meet: Callable[[], None] | None) -> int:
    signal.alarm(60)
    environ = {**step["environ"]}
    settings = load_settings(environ)
    clock = _Clock(datetime.fromisoformat(step["now"]))
    if meet is not None:
        _patiently(publishing, "note_new_payments")
        _before(publishing, "_record", meet)
    if step.get("kill"):
        _arm(step["kill"])
    said: Any = None
    code = 0
    try:
        match step["do"]:
            case "publish":
                said = publishing.publish(settings, step["proposal"], clock).sequence
            case "publish_approved":
                said = publishing.publish_approved(
                    settings, step["proposal"], clock, author="ana", decided_at=clock()
                ).sequence
            case "refresh":
                published = publishing.refresh(settings, clock)
                said = published and published.sequence
            case "hand_over":
                said = publishing.hand_over(settings, clock, environ).deliveries.delivered
            case _:
                raise ValueError(step["do"])
    except InputError as error:
        code, said = INPUT_ERROR, error
    except BusyError as error:
        code, said = BUSY, error
    except BaseException:  # noqa: BLE001 - this process ends here, and what it says tells of it
        code, said = DEFECT, traceback.format_exc()
    os.write(report, str(said).encode())
    return code


class _Clock:
    def __init__(self, now: datetime) -> None:
        self._now = now

    def __call__(self) -> datetime:
        self._now += timedelta(milliseconds=1)
        return self._now


def _die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _arm(place: str) -> None:
    match place:
        case "before staging":
            _before(publishing, "stage", _die)
        case "first file half staged":
            _half_written()
        case "while staging":
            _before(artefacts, "write_whole", _die, call=4)
        case "staged":
            _after(publishing, "stage", _die)
        case "before the commit":
            _after(publishing, "stage", _die_at_commit)
        case "committed":
            _before(publishing, "_place", _die)
        case "between two files":
            _before(artefacts, "_move", _die, call=4)
        case "before the manifest is placed":
            _before(artefacts, "_move", _die, call=7)
        case "placed":
            _after(publishing, "place", _die)
        case "before the commit that it is placed":
            _after(publishing, "place", _die_at_commit)
        case "placed and recorded":
            publishing.shutil = SimpleNamespace(rmtree=_die)  # type: ignore[assignment]
        case "before delivering":
            _before(publishing, "deliver_due", _die)
        case "a webhook heard and not recorded":
            _before(webhooks._Round, "_record_delivered", _die, call=3)
        case "between two webhooks":
            _after(webhooks._Round, "_record_delivered", _die, call=3)
        case _:
            raise ValueError(f"no such place to die in: {place}")


def _die_at_commit() -> None:
    """Everything is said to the database, and the word that makes it so is not."""
    sa.event.listen(sa.Engine, "commit", _die)


def _half_written() -> None:
    real = artefacts.write_whole

    def half(path: Any, content: bytes) -> None:
        real(path, content[: len(content) // 2])
        _die()

    artefacts.write_whole = half  # type: ignore[assignment]


def _patiently(owner: Any, name: str) -> None:
    """Files of payments are landed by one at a time; who is told that somebody else does comes again, as tasks do."""
    real = getattr(owner, name)

    @wraps(real)
    def around(*arguments: Any, **keywords: Any) -> Any:
        while True:
            try:
                return real(*arguments, **keywords)
            except BusyError:
                time.sleep(0.02)

    setattr(owner, name, around)


def _before(owner: Any, name: str, act: Callable[[], None], call: int = 1) -> None:
    real, count = getattr(owner, name), 0

    @wraps(real)
    def around(*arguments: Any, **keywords: Any) -> Any:
        nonlocal count
        count += 1
        if count == call:
            act()
        return real(*arguments, **keywords)

    setattr(owner, name, around)


def _after(owner: Any, name: str, act: Callable[[], None], call: int = 1) -> None:
    real, count = getattr(owner, name), 0

    @wraps(real)
    def around(*arguments: Any, **keywords: Any) -> Any:
        nonlocal count
        count += 1
        result = real(*arguments, **keywords)
        if count == call:
            act()
        return result

    setattr(owner, name, around)


if __name__ == "__main__":
    main()
