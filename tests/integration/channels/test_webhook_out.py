"""Webhooks that leave: what is signed, and where they may not go."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from tests.integration.channels.made_messages import SHARED

from regua.channels.webhook_out import WebhookOut, is_public
from regua.errors import BusyError, InputError

VECTORS = SHARED / "data" / "vectors" / "standard_webhooks.json"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = {"type": "call_list.ready", "data": {"day": "2026-06-30"}}


class Receiver:
    """Answers with `statuses` in turn, the last for all that follow."""

    def __init__(self) -> None:
        self.statuses = [204]
        self.headers: dict[str, str] = {}
        self.received: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
                statuses = receiver.statuses
                self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?tenant=1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.server.shutdown()
    running.server.server_close()


def webhook(receiver: Receiver, pauses: list[float] | None = None) -> WebhookOut:
    pause = (pauses if pauses is not None else []).append
    return WebhookOut(receiver.url, SECRET, timeout_seconds=2, on_loopback=True, pause=pause)


def test_a_receiver_can_verify_it(receiver: Receiver) -> None:
    webhook(receiver).post("calls-1", BODY)
    ((headers, body),) = receiver.received
    assert Webhook(SECRET).verify(body, headers) == BODY
    assert headers["webhook-id"] == "calls-1"
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body + b" ", headers)


@pytest.mark.skipif(not VECTORS.is_file(), reason=f"the published vectors are not in {VECTORS}")
def test_published_vectors() -> None:
    """Those of the reference implementations; the time-stamp is of 2021, so the vector is signed anew, not verified."""
    vectors = json.loads(VECTORS.read_text(encoding="utf-8"))
    vector = vectors["vetor"]
    signer = Webhook(vector["secret"])
    at = datetime.fromtimestamp(vector["webhook-timestamp"], UTC)
    signed = signer.sign(vector["webhook-id"], at, vector["payload"])
    assert signed == vector["webhook-signature"]
    assert signed != vectors["negativos"][0]["webhook-signature"]
    headers = {"webhook-id": "m", "webhook-signature": "v1,x", "webhook-timestamp": str(vector["webhook-timestamp"])}
    with pytest.raises(WebhookVerificationError):
        signer.verify(vector["payload"], headers)


@pytest.mark.parametrize("offset", [timedelta(minutes=-6), timedelta(minutes=6)])
def test_a_receiver_refuses_what_is_old_or_of_the_future(receiver: Receiver, offset: timedelta) -> None:
    clock = lambda: datetime.now(UTC).replace(tzinfo=None) + offset  # noqa: E731
    WebhookOut(receiver.url, SECRET, clock=clock, on_loopback=True).post("calls-1", BODY)
    ((headers, body),) = receiver.received
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body, headers)


def test_each_of_several_secrets_signs(receiver: Receiver) -> None:
    """While one takes the place of another, a receiver that knows either believes it."""
    new = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
    WebhookOut(receiver.url, f"{new} {SECRET}", on_loopback=True).post("calls-1", BODY)
    ((headers, body),) = receiver.received
    assert [Webhook(secret).verify(body, headers) for secret in (new, SECRET)] == [BODY, BODY]
    assert headers["webhook-signature"].count("v1,") == 2
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").verify(body, headers)


def test_an_address_that_cannot_be_reached_gives_way_to_the_next(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """localhost is ::1 first, and most servers listen on 127.0.0.1 alone."""
    resolve = socket.getaddrinfo
    both = [*resolve("127.0.0.2", 1), *resolve("127.0.0.1", 1)]
    tried: list[str] = []

    def resolving_localhost(host: str, *given: Any, **named: Any) -> list[Any]:
        tried.append(host)
        return both if host == "localhost" else resolve(host, *given, **named)

    monkeypatch.setattr("socket.getaddrinfo", resolving_localhost)
    receiver.url = receiver.url.replace("127.0.0.1", "localhost")
    webhook(receiver).post("calls-1", BODY)
    assert tried == ["localhost", "127.0.0.2", "127.0.0.1"]
    assert len(receiver.received) == 1


def test_it_is_repeated_with_the_same_id_and_body(receiver: Receiver) -> None:
    receiver.statuses = [503, 429, 200]
    receiver.headers = {"Retry-After": "3"}
    pauses: list[float] = []
    webhook(receiver, pauses).post("calls-1", BODY)
    assert len(receiver.received) == 3
    assert {(headers["webhook-id"], body) for headers, body in receiver.received} == {
        ("calls-1", receiver.received[0][1])
    }
    assert sum(pauses) >= 6


def test_it_is_not_repeated_for_ever(receiver: Receiver) -> None:
    receiver.statuses = [503]
    with pytest.raises(BusyError):
        webhook(receiver).post("calls-1", BODY)
    assert len(receiver.received) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_refusal_is_not_repeated(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status]
    with pytest.raises(InputError):
        webhook(receiver).post("calls-1", BODY)
    assert len(receiver.received) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status]
    receiver.headers = {"Location": receiver.url}
    with pytest.raises(InputError, match=f"redirect_{status}"):
        webhook(receiver).post("calls-1", BODY)
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/x",
        "ftp://hooks.example",
        "https://u:p@hooks.example/",
        "https://",
        "https://hooks.example:99999/",
        "https://hooks.example/aviso/ação",
        "https://hooks.example/a b",
        "https://hooks.example/x\r\nHost: other",
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(InputError):
        WebhookOut(url, SECRET)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        " ",
        "whsec_",
        "whsec_%%%",
        f"{SECRET},{SECRET}",
        f"{SECRET} whsec_%%%",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS\u00e9",
    ],
)
def test_secrets_that_are_none(secret: str) -> None:
    with pytest.raises(InputError):
        WebhookOut("https://hooks.example/x", secret)


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    asked: list[str] = []

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr("regua.channels.webhook_out.socket.getaddrinfo", resolve)
    return asked


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("10.0.0.5",), ("169.254.169.254",), ("1.1.1.1", "192.168.0.1")])
def test_no_way_inside(monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]) -> None:
    """A name of the receiver's may point anywhere: to a cloud's metadata, to the warehouse."""
    resolving(monkeypatch, *addresses)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("connected"))
    with pytest.raises(InputError, match="not public"):
        WebhookOut("https://hooks.example/x", SECRET).post("calls-1", BODY)


def test_it_connects_to_the_address_it_has_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second answer of the name server must not count: the address is resolved once, and pinned."""
    connected: list[Any] = []

    def connect(_: socket.socket, where: Any) -> None:
        connected.append(where)
        raise ConnectionRefusedError

    asked = resolving(monkeypatch, "1.1.1.1")
    monkeypatch.setattr("socket.socket.connect", connect)
    with pytest.raises(BusyError):
        WebhookOut("https://hooks.example/x", SECRET, pause=lambda _: None).post("calls-1", BODY)
    assert connected == [("1.1.1.1", 443)] * 3
    assert set(asked) == {"hooks.example", "1.1.1.1"}


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("1.1.1.1", True),
        ("2606:4700:4700::1111", True),
        ("0.0.0.0", False),  # noqa: S104 - not bound to
        ("100.64.0.1", False),
        ("192.0.2.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
    ],
)
def test_public_addresses(address: str, expected: bool) -> None:
    assert is_public(address) is expected
