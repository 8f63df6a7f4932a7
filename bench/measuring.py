"""One step as a process of its own, with its time and its memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT_DIR = Path(__file__).resolve().parents[1]
_SHOWN_BYTES = 6_000


class BenchError(Exception):
    """A step ended badly, or two of them do not say the same."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process and its descendants took. `seconds` is wall time, and means little where `cpu_seconds` is far from
    what the cores could have given; `peak_mb` is the largest resident memory of any one of the processes.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
            max(self.peak_mb, other.peak_mb),
        )


NOTHING = Cost(0.0, 0.0, 0.0)


def run_step(step: str, environment: Mapping[str, str] | None = None, /, **arguments: Any) -> tuple[Cost, Any]:
    """Run a function of bench.steps in a process of its own; returns its cost and its answer."""
    command = [sys.executable, "-m", "bench.steps", step, json.dumps(arguments)]
    cost, output = run_process(command, environment or {})
    return cost, json.loads(output.splitlines()[-1])


def run_process(command: Sequence[str], environment: Mapping[str, str]) -> tuple[Cost, str]:
    """Run a command in the project's folder; returns its cost and its standard output. Raises BenchError with its end.

    Call it from a small process: Linux counts what the caller holds when it starts another one as that one's memory.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        # What lies here is timed, whatever project the environment was installed from.
        whole = {**os.environ, "PYTHONPATH": f"{PROJECT_DIR}:{PROJECT_DIR / 'plugins'}", **environment}
        process = subprocess.Popen(command, env=whole, cwd=PROJECT_DIR, stdout=output, stderr=errors)
        # wait4 rather than getrusage: its figures are of this process alone, descendants included.
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        written = output.read()
        if process.returncode:
            told = (written + errors.read())[-_SHOWN_BYTES:]
            raise BenchError(f"{' '.join(command)[:200]} ended with {process.returncode}:\n{told}")
    return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024), written
