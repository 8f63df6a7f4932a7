"""Runs of a dispatch, plans and recalls in processes that die, or stop, where they are told to. Not a test.

A process is forked from one that has everything imported and no thread and no connection of its own: an import takes
longer than what is to be killed. The places are wrapped round the production code here, after the fork, and the code
knows nothing of them. The `…_PLACES` name them all.

    python -m tests.faults.dispatcher_process SPEC.json

runs one dispatch to its end, for tests that may not fork: {"home", "ledger_url", "provider_url", "day", "run_id",
"began" and "begins_at" of the clock, "connections", "hold_minutes", "batch_size", "timeout_seconds"}.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import signal
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from tests.integration.dispatch.made_plans import PlainWriter

from regua.channels import provider_http
from regua.channels.dispatch_file import EmailSending
from regua.channels.sendgrid_mail import SendgridMail
from regua.dispatch import dispatching
from regua.dispatch.dispatching import Bounds, Run
from regua.dispatch.outbox import Outbox
from regua.errors import ReguaError
from regua.ledger.database import open_ledger
from regua.settings import Settings, load_settings

# Where a dispatcher can be struck. "…:in_commit" strikes within the milliseconds from its beginning.
DISPATCH_PLACES = (
    "begin:before_commit",
    "begin:in_commit",
    "begin:committed",
    "between_exchanges",
    "batch:opened",
    "claim:wanted",
    "claim:before_commit",
    "claim:in_commit",
    "claim:committed",
    "send:lease_was_checked",
    "send:connected",
    "request:before",
    "request:half",
    "request:written",
    "answer:read",
    "answer:before_commit",
    "answer:in_commit",
    "answer:committed",
)
PLAN_PLACES = ("plan:before_commit", "plan:in_commit", "plan:committed")
RECALL_PLACES = ("recall:before_commit", "recall:in_commit", "recall:before_cancel", "recall:cancelled")
AT_RANDOM = "at_random"
_COMMIT_SECONDS = 0.004
# What the code under test may end with when others hold the ledger; anything else is a defect.
_EXPECTED = (ReguaError, sa.exc.OperationalError)


class MovableClock:
    """A clock that runs as the machine's does, and can be put forward in all processes at once."""

    def __init__(self, begins_at: datetime, began: float | None = None) -> None:
        self._begins_at = begins_at
        self._began = began or time.time()
        self._shared = mmap.mmap(-1, 8)

    def __call__(self) -> datetime:
        forward = struct.unpack("d", self._shared[:])[0]
        return self._begins_at + timedelta(seconds=time.time() - self._began + forward)

    def forward(self, seconds: float) -> None:
        """By its owner only: others read it."""
        self._shared[:] = struct.pack("d", struct.unpack("d", self._shared[:])[0] + seconds)

    def forward_to(self, instant: datetime) -> None:
        self.forward(max(0.0, (instant - self()).total_seconds()))


@dataclass(frozen=True)
class Fate:
    """What happens to a process when it reaches a place for the `count`-th time."""

    place: str
    count: int = 1
    signal: int = signal.SIGKILL
    # For places that are moments: after so many seconds the kernel ends the process where it stands.
    seconds: float = 0.0


@dataclass(frozen=True)
class Ground:
    """What the processes of a round share."""

    settings: Settings
    provider_url: str
    clock: Callable[[], datetime]
    writer: Any
    errors_path: Path
    lease: timedelta = timedelta(seconds=1.2)
    timeout_seconds: float = 0.2
    connections: int = 2
    hold_for: timedelta = timedelta(0)
    batch_size: int = 4
    outbox_class: type[Outbox] = field(default=Outbox)

    def channel(self) -> SendgridMail:
        sending = EmailSending(
            sender="sendgrid",
            from_email="financeiro@exemplo.com",
            from_name="Financeiro",
            reply_to="financeiro@exemplo.com",
            unsubscribe_group_id=1,
            messages_per_run=100_000,
            timeout_seconds=self.timeout_seconds,
            api_url=self.provider_url,
        )
        return SendgridMail(sending, "key", self.clock)

    def dispatch(self, engine: sa.Engine, day: date, run_id: str) -> dispatching.RunReport:
        outbox = self.outbox_class(
            engine,
            day,
            "email",
            run_id=run_id,
            sender_code="sendgrid",
            lease=self.lease,
            keeps_hours=True,
            stop_file=self.settings.stop_path,
            clock=self.clock,
        )
        bounds = Bounds(
            messages=100_000,
            connections=self.connections,
            timeout=timedelta(seconds=self.timeout_seconds),
            hold_for=self.hold_for,
            batch_size=self.batch_size,
        )
        return Run(outbox, self.channel(), self.writer, bounds, "email", self.clock, _short_pause).run()


def start(ground: Ground, work: Callable[[sa.Engine], Any], fate: Fate | None) -> int:
    """Fork a process that opens the ledger, does `work` and meets its fate. Answers its id.

    It exits with 0, with 3 for what the ledger or the provider may refuse, and with 1, the traceback in `errors_path`,
    for a defect.
    """
    assert threading.active_count() == 1, "a fork beside threads copies their locks"
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        # Shorter than the lease, as in production.
        dispatching._SLEPT = timedelta(seconds=0.3)
        with open_ledger(ground.settings) as engine, _met(fate, engine):
            work(engine)
        code = 0
    except _EXPECTED:
        code = 3
    except BaseException:  # noqa: BLE001 - this process ends here, and the file tells of it
        with ground.errors_path.open("a") as file:
            traceback.print_exc(file=file)
    finally:
        os._exit(code)


@contextmanager
def reaching(strike: Callable[[str], None], engine: sa.Engine, doing_at_first: str = "plan") -> Iterator[None]:
    """Call `strike` with the name of each place as it is reached, from whichever thread reaches it."""
    undo: list[tuple[Any, str, Any]] = []

    def wrap(owner: Any, name: str, made: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        original = getattr(owner, name)
        undo.append((owner, name, original))
        setattr(owner, name, wraps(original)(made(original)))

    doing: list[str] = [doing_at_first]

    def named(*names: str, after: tuple[str, ...] = ()) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def made(original: Callable[..., Any]) -> Callable[..., Any]:
            def around(*arguments: Any, **keywords: Any) -> Any:
                for name in names:
                    strike(name)
                result = original(*arguments, **keywords)
                for name in after:
                    strike(name)
                return result

            return around

        return made

    def begun(original: Callable[..., Any]) -> Callable[..., Any]:
        def around(*arguments: Any) -> Any:
            doing[:] = ["begin"]
            result = original(*arguments)
            strike("begin:committed")
            return result

        return around

    def exchanged(original: Callable[..., Any]) -> Callable[..., Any]:
        def around(self: Any, answered: Any, wanted: Any, hold: Any) -> Any:
            doing[:] = [name for name, some in (("answer", answered), ("claim", wanted)) if some]
            if wanted:
                strike("claim:wanted")
            claims = original(self, answered, wanted, hold)
            if answered:
                strike("answer:committed")
            if claims:
                strike("claim:committed")
            return claims

        return around

    def half_sent(original: Callable[..., Any]) -> Callable[..., Any]:
        def around(self: Any, data: bytes) -> Any:
            if len(data) < 2:
                return original(self, data)
            # Cut in two whether or not the process is struck in between: TCP promises no more.
            original(self, data[: len(data) // 2])
            strike("request:half")
            return original(self, data[len(data) // 2 :])

        return around

    def committed(original: Callable[..., Any]) -> Callable[..., Any]:
        def around(connection: Any) -> Any:
            for name in doing:
                strike(f"{name}:before_commit")
            for name in doing:
                strike(f"{name}:in_commit")
            original(connection)
            if doing == ["plan"]:
                strike("plan:committed")

        return around

    def recalled(original: Callable[..., Any]) -> Callable[..., Any]:
        def around(self: Any, batch_id: str) -> bool:
            doing[:] = ["recall"]
            strike("recall:before_cancel")
            is_confirmed = bool(original(self, batch_id))
            strike("recall:cancelled")
            return is_confirmed

        return around

    wrap(Outbox, "begin", begun)
    wrap(Outbox, "exchange", exchanged)
    wrap(Run, "_refill", named("between_exchanges"))
    wrap(SendgridMail, "open_batch", named(after=("batch:opened",)))
    wrap(SendgridMail, "send", named("send:lease_was_checked", after=("answer:read",)))
    wrap(SendgridMail, "recall", recalled)
    wrap(provider_http._Connection, "connect_until", named(after=("send:connected",)))
    wrap(provider_http._Connection, "request", named("request:before", after=("request:written",)))
    wrap(provider_http._Connection, "send", half_sent)
    wrap(engine.dialect, "do_commit", committed)
    try:
        yield
    finally:
        for owner, name, original in reversed(undo):
            setattr(owner, name, original)


@contextmanager
def _met(fate: Fate | None, engine: sa.Engine) -> Iterator[None]:
    if fate is None:
        yield
        return
    if fate.place == AT_RANDOM:
        signal.setitimer(signal.ITIMER_REAL, fate.seconds)
        yield
        return
    lock = threading.Lock()
    reached = 0

    def strike(name: str) -> None:
        nonlocal reached
        if name != fate.place:
            return
        with lock:
            reached += 1
            if reached != fate.count:
                return
            if name.endswith(":in_commit"):
                # The signal's default action ends the process within the system call, as SIGKILL would.
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, _COMMIT_SECONDS))  # noqa: S311
            else:
                os.kill(os.getpid(), fate.signal)

    with reaching(strike, engine, fate.place.partition(":")[0]):
        yield


def _short_pause(seconds: float) -> None:
    """What the provider wants to be waited for stands in the ledger too, and there the clock is put forward."""
    time.sleep(min(seconds, 0.02))


def main(spec_path: str) -> None:
    spec = json.loads(Path(spec_path).read_text())
    environment = {"REGUA_ENV": "production", "REGUA_HOME": spec["home"]}
    if spec["ledger_url"]:
        environment["REGUA_LEDGER_URL"] = spec["ledger_url"]
    ground = Ground(
        load_settings(environment),
        spec["provider_url"],
        MovableClock(datetime.fromisoformat(spec["begins_at"]), spec["began"]),
        PlainWriter(),
        Path(spec_path).with_suffix(".errors"),
        lease=timedelta(minutes=10),
        timeout_seconds=spec["timeout_seconds"],
        connections=spec["connections"],
        hold_for=timedelta(minutes=spec["hold_minutes"]),
        batch_size=spec["batch_size"],
    )
    with open_ledger(ground.settings) as engine:
        report = ground.dispatch(engine, date.fromisoformat(spec["day"]), spec["run_id"])
    sys.stdout.write(json.dumps({"attempted": report.attempted, "ended": report.ended}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
