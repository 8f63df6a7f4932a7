"""The example receiver over HTTP: what it believes, what it drops, and where a webhook does not go."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.integration.suspension.made_webhooks import Ledger, MadeReceiver, made_event

from regua.channels.sending import Answer
from regua.channels.webhook_out import WebhookOut
from regua.instants import utc_clock
from regua.settings import load_settings
from regua.suspension.webhooks import DeliveryReport, deliver_due, open_receivers

OLD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
OTHER = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
# The product's last word, and a person who is killed between it and our record of it.
KILLED = """
import os, signal, sys
from regua.channels.sending import Answer
from regua.channels.webhook_out import WebhookOut
from regua.instants import utc_clock
from regua.ledger.database import open_ledger
from regua.settings import load_settings
from regua.suspension.webhooks import deliver_due

class Killed(WebhookOut):
    def attempt(self, webhook_id, text):
        if super().attempt(webhook_id, text)[0] is Answer.ACCEPTED:
            os.kill(os.getpid(), signal.SIGKILL)
        raise SystemExit("the receiver did not take it")

with open_ledger(load_settings()) as engine:
    deliver_due(engine, {"product": Killed(sys.argv[1], sys.argv[2], on_loopback=True)}, utc_clock)
"""


class RunningReceiver:
    """`python -m examples.webhook_receiver`, as a person would start it."""

    def __init__(self, project_dir: Path, folder: Path, secrets: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.log_path = folder / "receiver.log"
        self.base = f"http://127.0.0.1:{port}"
        self.url = f"{self.base}/webhooks"
        command = [sys.executable, "-m", "examples.webhook_receiver", "--port", str(port)]
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--database", str(folder / "product.sqlite")],
                cwd=project_dir,
                env=os.environ | {"REGUA_WEBHOOK_SECRET": secrets},
                stderr=log,
            )
        for _ in range(200):
            try:
                self.subscriptions()
                return
            except OSError:
                assert self.process.poll() is None, self.log_path.read_text()
                time.sleep(0.1)
        raise AssertionError("the receiver did not begin to listen")

    def subscriptions(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.base}/subscriptions", timeout=10) as answer:  # noqa: S310 - our own
            return json.load(answer)

    def answers(self) -> list[str]:
        """What it made of each event, in the order in which they came."""
        return [line.rpartition(": ")[2] for line in self.log_path.read_text().splitlines() if " customer." in line]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture
def start(project_dir: Path, tmp_path: Path) -> Iterator[Callable[[str], RunningReceiver]]:
    running = []

    def started(secrets: str) -> RunningReceiver:
        running.append(RunningReceiver(project_dir, tmp_path, secrets))
        return running[-1]

    yield started
    for each in running:
        each.stop()


def sender(url: str, secrets: str, environment: str = "local") -> WebhookOut:
    opened, _ = open_receivers({"product": url}, secrets, load_settings({"REGUA_ENV": environment}), utc_clock)
    return opened["product"]


def test_it_keeps_what_the_newest_event_says(ledger: Ledger, start: Callable[[str], RunningReceiver]) -> None:
    receiver = start(OLD)
    events = [made_event(1, "S1"), made_event(2, "S2"), made_event(3, "S1", "reactivated")]
    out = sender(receiver.url, OLD)
    for event in [events[2], events[0], events[2]]:
        assert out.attempt(event.event_id, event.body)[0] is Answer.ACCEPTED
    ledger.enqueue(*events)
    assert ledger.deliver(out) == DeliveryReport(delivered=2, superseded=1)
    assert receiver.answers() == ["applied", "outdated", "seen", "applied", "seen"]
    known = {row["subscription_id"]: row for row in receiver.subscriptions()}
    assert {(name, row["has_access"], row["sequence"]) for name, row in known.items()} == {
        ("S1", True, 3),
        ("S2", False, 2),
    }
    assert (known["S2"]["banner_code"], known["S2"]["billing_hint_code"]) == ("suspended", "stop_invoicing")


def test_killed_after_the_receivers_answer_it_is_told_again_and_applied_once(
    ledger: Ledger, start: Callable[[str], RunningReceiver], project_dir: Path
) -> None:
    receiver, event = start(OLD), made_event(1)
    ledger.now = utc_clock()
    ledger.enqueue(event)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, receiver.url, OLD],
        env=os.environ | ledger.environment | {"PYTHONPATH": str(project_dir / "plugins")},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert (ledger.delivery(event).state_code, receiver.answers()) == ("pending", ["applied"])
    out = sender(receiver.url, OLD)
    assert ledger.deliver(out) == DeliveryReport(pending=1), "its lease is over only in two minutes"
    ledger.wait(minutes=3)
    assert ledger.deliver(out) == DeliveryReport(delivered=1)
    assert receiver.answers() == ["applied", "seen"]
    assert [row["sequence"] for row in receiver.subscriptions()] == [1]


def test_while_a_secret_is_exchanged_nothing_is_refused(start: Callable[[str], RunningReceiver]) -> None:
    """First we sign with both, then the receiver takes the new one, then we leave out the old one."""
    receiver, event = start(OLD), made_event(1)
    for secrets in (OLD, f"{NEW} {OLD}", f"{OLD}  {NEW}"):
        assert sender(receiver.url, secrets).attempt(event.event_id, event.body)[0] is Answer.ACCEPTED
    receiver.stop()
    receiver = start(f"{NEW} {OLD}")
    for secrets in (OLD, NEW, f"{NEW} {OLD}"):
        assert sender(receiver.url, secrets).attempt(event.event_id, event.body)[0] is Answer.ACCEPTED
    receiver.stop()
    receiver = start(NEW)
    for secrets, answer in (
        (f"{OLD} {NEW}", Answer.ACCEPTED),
        (NEW, Answer.ACCEPTED),
        (OLD, Answer.UNAUTHORISED),
    ):
        assert sender(receiver.url, secrets).attempt(event.event_id, event.body)[0] is answer


def test_what_is_not_signed_or_too_old_is_refused_and_changes_nothing(
    ledger: Ledger, start: Callable[[str], RunningReceiver]
) -> None:
    receiver, event = start(OLD), made_event(1)
    ledger.enqueue(event)
    assert ledger.deliver(sender(receiver.url, OTHER)) == DeliveryReport(retried=1, pending=1)
    assert ledger.delivery(event).last_reason == "http_401"
    for offset in (timedelta(minutes=-6), timedelta(minutes=6)):
        clock = lambda offset=offset: datetime.now(UTC).replace(tzinfo=None) + offset  # noqa: E731
        out = WebhookOut(receiver.url, OLD, clock=clock, on_loopback=True)
        assert out.attempt(event.event_id, event.body)[1] == "http_401"
    for headers in ({}, {"webhook-id": "e", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1"}):
        request = urllib.request.Request(receiver.url, event.body.encode(), headers)  # noqa: S310 - our own
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(request, timeout=10)  # noqa: S310
    assert receiver.subscriptions() == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"type":"call_list.ready","data":{"day":"2026-06-30"}}', "http_204"),
        ('{"type":"customer.notice","data":{}}', "http_400"),
        ('{"type":"customer.notice","data":[]}', "http_400"),
        ("[]", "http_400"),
        ("no JSON", "http_400"),
    ],
)
def test_what_is_signed_and_not_for_it_is_taken_and_what_it_cannot_read_is_not(
    start: Callable[[str], RunningReceiver], body: str, reason: str
) -> None:
    receiver = start(OLD)
    assert sender(receiver.url, OLD).attempt("evt_1", body)[1] == reason
    assert receiver.subscriptions() == []


def test_a_redirect_is_not_followed(ledger: Ledger, start: Callable[[str], RunningReceiver]) -> None:
    receiver, event = start(OLD), made_event(1)

    class Elsewhere(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(307)
            self.send_header("Location", receiver.url)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ledger.enqueue(event)
    assert ledger.deliver(sender(f"http://127.0.0.1:{server.server_port}/", OLD)).retried == 1
    server.shutdown()
    server.server_close()
    assert ledger.delivery(event).last_reason == "redirect_307"
    assert receiver.subscriptions() == []


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    def resolve(_: str, port: int, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr("regua.channels.webhook_out.socket.getaddrinfo", resolve)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("connected"))


@pytest.mark.parametrize(
    ("environment", "addresses"),
    [
        ("production", ["127.0.0.1"]),
        ("production", ["10.0.0.5"]),
        ("production", ["1.1.1.1", "192.168.0.1"]),
        ("test", ["127.0.0.1"]),
        ("test", ["169.254.169.254"]),
        ("local", ["1.1.1.1"]),
        ("local", ["10.0.0.5"]),
        ("local", ["127.0.0.1", "10.0.0.5"]),
    ],
)
def test_where_a_webhook_does_not_go(monkeypatch: pytest.MonkeyPatch, environment: str, addresses: list[str]) -> None:
    """A real product is never on this machine, and a trial never speaks to a real product."""
    resolving(monkeypatch, *addresses)
    out = sender("https://hooks.example/x", OLD, environment)
    assert out.attempt("evt_1", "{}") == (Answer.REJECTED, "address_not_allowed", None)


def test_an_address_that_is_not_allowed_is_tried_again_like_any_failure(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    event, good = made_event(1), MadeReceiver()
    ledger.enqueue(event, endpoints=["product", "crm"])
    out = sender("https://hooks.example/x", OLD, "production")
    monkeypatch.setattr(
        "regua.channels.webhook_out.socket.getaddrinfo", lambda *_, **__: [(0, 0, 0, "", ("10.0.0.5", 443))]
    )
    report = deliver_due(ledger.engine, {"product": out, "crm": good}, ledger.clock)
    assert report == DeliveryReport(delivered=1, retried=1, pending=1)
    assert ledger.delivery(event).last_reason == "address_not_allowed"


@pytest.mark.parametrize(
    ("environment", "url", "secrets", "named"),
    [
        ("production", "http://127.0.0.1:8765/", OLD, "https"),
        ("test", "http://hooks.example/", OLD, "https"),
        ("local", "ftp://127.0.0.1/", OLD, "https"),
        ("production", "https://hooks.example:99999/", OLD, "cannot be read"),
        ("production", "https://hooks.example/", None, "REGUA_WEBHOOK_SECRET"),
        ("production", "https://hooks.example/", "  ", "REGUA_WEBHOOK_SECRET"),
        ("production", "https://hooks.example/", f"{OLD},{NEW}", "REGUA_WEBHOOK_SECRET"),
    ],
)
def test_receivers_that_are_not_opened(environment: str, url: str, secrets: str | None, named: str) -> None:
    settings = load_settings({"REGUA_ENV": environment})
    opened, [trouble] = open_receivers({"product": url}, secrets, settings, utc_clock)
    assert opened == {}
    assert re.search(named, trouble)
    assert "MfKQ9r8" not in trouble


def test_one_receiver_that_cannot_be_opened_keeps_no_other_from_being_told() -> None:
    urls = {"bad": "ftp://127.0.0.1/", "good": "http://127.0.0.1:8765/"}
    opened, troubles = open_receivers(urls, OLD, load_settings({"REGUA_ENV": "local"}), utc_clock)
    assert set(opened) == {"good"}
    assert [trouble.partition(":")[0] for trouble in troubles] == ["Webhook bad"]


def test_without_endpoints_nothing_is_needed() -> None:
    assert open_receivers({}, None, load_settings({"REGUA_ENV": "production"}), utc_clock) == ({}, [])
