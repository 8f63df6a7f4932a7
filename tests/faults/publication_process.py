"""Stages, places or copies a publication in processes that kill themselves where they are told to. Not a test.

    python -m tests.faults.publication_process < STEPS > REPORT

A step is a line of JSON: {"do": "stage", "place" or "deliver", "staged", "folder", "target", "edition"} with "kill",
the number of the call before which the process dies, and "at_once", how many processes do the same. The answer names
the calls that were made, and how each process ended. All are forked from this one, which has imported everything.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

from tests.unit.suspension.publications import BUREAU, ENTRIES, PUBLICATION

from regua.errors import InputError, ReguaError
from regua.suspension.artefacts import place, stage
from regua.suspension.targets import open_target

# Every way in which something changes on the disk.
CALLS = ("mkdir", "open", "fdopen", "fsync", "replace", "rename", "link", "unlink")
INPUT_ERROR, OTHER_ERROR, DEFECT = 3, 4, 5


def publication_of(edition: int):
    return replace(PUBLICATION, sequence=40 + edition, edition=edition)


def names_of(edition: int) -> list[str]:
    stem = publication_of(edition).stem
    endings = (".csv", "_changes.csv", "_banner.csv", "_bureau.csv", "_bureau_removals.csv", "_banner.json")
    return [f"{stem}{ending}" for ending in (*endings, "_manifest.json")]


def main() -> None:
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_run(json.loads(line))) + "\n")
        sys.stdout.flush()


def _run(step: dict[str, Any]) -> dict[str, Any]:
    reading, writing = os.pipe()
    # All of them begin when this end is closed.
    waiting, starting = os.pipe()
    pids = []
    for _ in range(step.get("at_once", 1)):
        pid = os.fork()
        if pid == 0:
            os.close(starting)
            os.read(waiting, 1)
            os._exit(_do(step, writing))
        pids.append(pid)
    for descriptor in (writing, waiting, starting):
        os.close(descriptor)
    with os.fdopen(reading) as calls:
        made = calls.read().split()
    ends = [os.waitpid(pid, 0)[1] for pid in pids]
    return {
        "calls": made,
        "ends": [-os.WTERMSIG(end) if os.WIFSIGNALED(end) else os.WEXITSTATUS(end) for end in ends],
    }


def _do(step: dict[str, Any], report: int) -> int:
    _arm(step.get("kill"), report)
    try:
        match step["do"]:
            case "stage":
                entries = ENTRIES[: step.get("entries")]
                stage(Path(step["staged"]), publication_of(step["edition"]), entries, BUREAU)
            case "place":
                place(Path(step["staged"]), Path(step["folder"]), names_of(step["edition"]))
            case "deliver":
                open_target(step["target"], {}).deliver(Path(step["folder"]), names_of(step["edition"]))
    except InputError:
        return INPUT_ERROR
    except ReguaError:
        traceback.print_exc()
        return OTHER_ERROR
    except BaseException:  # noqa: BLE001 - this process ends here, and its exit code tells of it
        traceback.print_exc()
        return DEFECT
    return 0


def _arm(kill: int | None, report: int) -> None:
    count = 0
    tell = os.write

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(real)
        def call(*arguments: Any, **keywords: Any) -> Any:
            nonlocal count
            count += 1
            tell(report, f"{name}\n".encode())
            if count != kill:
                return real(*arguments, **keywords)
            if name == "fdopen":
                return _TornFile(real(*arguments, **keywords))
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError("dead processes do nothing")

        return call

    for name in CALLS:
        setattr(os, name, counted(name, getattr(os, name)))


class _TornFile:
    """Dies when half of what is to be written is on the disk."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __enter__(self) -> _TornFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, content: bytes) -> None:
        self._file.write(content[: len(content) // 2])
        self._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
