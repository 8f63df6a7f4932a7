"""Starts and asks the hostile provider (tests/faults/hostile_provider.py)."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import PROJECT_DIR


@dataclass(frozen=True)
class ProviderProcess:
    url: str
    log_path: Path

    def log(self) -> list[dict[str, Any]]:
        """What is on its disk: a line with a `message_id` is a message taken."""
        return [json.loads(line) for line in self.log_path.read_text().splitlines()]

    def taken(self) -> list[str]:
        """The `message_id` of each message taken, as often as it was."""
        return [line["message_id"] for line in self.log() if "message_id" in line]

    def released(self, at: float) -> list[str]:
        """What would have gone out by an instant (epoch seconds)."""
        return [taken["message_id"] for taken in self.ask(f"/_released?at={at}")]

    def script(self, behaviours: dict[str, list[str]]) -> None:
        self.ask("/_script", behaviours)

    def ask(self, target: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(self.url + target, data, timeout=10) as answer:  # noqa: S310 - our own loopback
            return json.load(answer)


@contextmanager
def running_provider(log_path: Path, *arguments: str) -> Iterator[ProviderProcess]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.hostile_provider", "--log", str(log_path), *arguments],
        cwd=PROJECT_DIR,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        yield ProviderProcess(f"http://127.0.0.1:{port}", log_path)
        assert process.poll() is None, "the provider died"
    finally:
        process.kill()
        process.wait()
