"""SendGrid and Twilio as they can be at their worst, in a process of its own. Not a test.

    python -m tests.faults.hostile_provider --port 0 --log accepted.jsonl --seed 7 --chances ok=0.9,hang_after=0.1

Prints {"port": …} once it listens. Every message it takes is on disk, synced, before an answer leaves: one line of
--log a message taken, whatever was answered. So a `message_id` that stands there twice has been sent twice, and nothing
that the client believes can hide it.

How a message is treated is drawn from --seed, the message and the attempt, so that no order of arrival changes it; a
script (POST /_script {"message_id": ["limited", "ok"]}, one word an attempt, the last for all that follow) goes before.
`message_id` is SendGrid's custom_args.message_id or the query of Twilio's StatusCallback.

    GET  /_log                what was taken
    GET  /_released?at=EPOCH  what would have gone out by then: taken, due, in no cancelled batch
    POST /_suppressions       {"bounces": [{"email", "created"}], …, "asm": [{"email", "group_id", "created_at"}]}
"""

from __future__ import annotations

import argparse
import asyncio
import calendar
import json
import os
import random
import re
import signal
import socket
import struct
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import uvloop

BEHAVIOURS = (
    "ok",
    "slow",  # taken and answered, after --slow-ms
    "limited",  # 429 with Retry-After
    "limited_until",  # 429 with X-RateLimit-Reset
    "limited_badly",  # 429 with headers that say nothing
    "bad_address",  # 400 that names the recipient
    "bad_request",  # 400 that names something else
    "opted_out",  # 400, the recipient does not want it
    "unauthorised",  # 401
    "forbidden",  # 403
    "error_before",  # 503, not taken
    "error_after",  # taken, then 500
    "hang_before",  # not taken, never answered
    "hang_after",  # taken, never answered
    "delayed",  # never answered, taken after --delayed-ms, when the client has long given up
    "reset_before",  # connection reset, not taken
    "reset_after",  # taken, connection reset
    "cut_body",  # taken and answered, but the body breaks off
    "cut_status",  # taken, but the answer breaks off in its first line
    "dripping",  # taken, answered a byte at a time
)
_NOT_TAKEN = {
    "limited": (429, {"Retry-After": "2"}),
    "limited_until": (429, {"X-RateLimit-Reset": "RESET"}),
    "limited_badly": (429, {"Retry-After": "soon", "X-RateLimit-Reset": "-1e999"}),
    "bad_address": (400, {}),
    "bad_request": (400, {}),
    "opted_out": (400, {}),
    "unauthorised": (401, {}),
    "forbidden": (403, {}),
    "error_before": (503, {}),
}
_TWILIO_CODES = {
    "bad_address": 21211,
    "bad_request": 21617,
    "opted_out": 21610,
    "unauthorised": 20003,
    "forbidden": 20403,
    "error_before": 20503,
}
_SENDGRID_FIELDS = {"bad_address": "personalizations.0.to.0.email", "bad_request": "content.0.value"}
_STATUS_WORDS = {200: "OK", 201: "Created", 202: "Accepted", 400: "Bad Request", 404: "Not Found"}
_TWILIO_MESSAGES = re.compile(r"/2010-04-01/Accounts/(AC[0-9a-f]{32})/Messages(?:/(SM[0-9a-f]{32}))?\.json")


@dataclass
class Options:
    log: str
    seed: int = 0
    chances: dict[str, float] = field(default_factory=lambda: {"ok": 1.0})
    latency_ms: float = 0
    slow_ms: float = 500
    delayed_ms: float = 3000
    # Until then the provider's own search shows nothing of a message.
    lag_seconds: float = 0
    has_activity: bool = True
    # What SendGrid documents.
    cancelled_batches: int = 10
    cancel_before_seconds: float = 600


@dataclass
class Taken:
    provider: str
    message_id: str | None
    provider_message_id: str
    taken_at: float
    send_at: float | None
    batch_id: str | None
    attempt: int
    is_cancelled: bool = False


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def written(self) -> bytes:
        body = b"" if self.body is None else json.dumps(self.body).encode()
        lines = [f"HTTP/1.1 {self.status} {_STATUS_WORDS.get(self.status, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}", "", ""]
        return "\r\n".join(lines).encode() + body


class Provider:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.taken: list[Taken] = []
        self.script: dict[str, list[str]] = {}
        self.suppressions: dict[str, list[dict[str, Any]]] = defaultdict(list)
        # "" until it is cancelled.
        self.batches: dict[str, str] = {}
        self.due: dict[str, float] = {}
        self._attempts: Counter[str] = Counter()
        self._log = os.open(options.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._unsynced: list[bytes] = []
        self._syncing: asyncio.Future[None] | None = None
        self._count = 0

    # What has been taken

    async def take(self, taken: Taken) -> None:
        self.taken.append(taken)
        if taken.batch_id:
            self.due[taken.batch_id] = max(taken.send_at or 0, self.due.get(taken.batch_id, 0))
        await self.record(asdict(taken))

    async def record(self, line: dict[str, Any]) -> None:
        """One fsync for all that have come since the last began."""
        self._unsynced.append(json.dumps(line).encode() + b"\n")
        if self._syncing is None:
            self._syncing = asyncio.ensure_future(self._sync())
        await self._syncing

    async def _sync(self) -> None:
        await asyncio.sleep(0)
        lines, self._unsynced = self._unsynced, []
        self._syncing = None
        os.write(self._log, b"".join(lines))
        await asyncio.to_thread(os.fdatasync, self._log)

    def released(self, at: float) -> list[Taken]:
        return [
            taken
            for taken in self.taken
            if not taken.is_cancelled
            and (taken.send_at or 0) <= at
            and self.batches.get(taken.batch_id or "", "") not in ("cancel", "pause")
        ]

    # How a message is treated

    def behaviour(self, message_id: str | None) -> tuple[str, int]:
        key = message_id or ""
        attempt = self._attempts[key]
        self._attempts[key] += 1
        scripted = self.script.get(key)
        if scripted:
            return scripted[min(attempt, len(scripted) - 1)], attempt
        chances = self.options.chances
        if len(chances) == 1:
            return next(iter(chances)), attempt
        drawn = random.Random(f"{self.options.seed}:{key}:{attempt}")  # noqa: S311 - chance, not a secret
        return drawn.choices(list(chances), list(chances.values()))[0], attempt

    def next_id(self, prefix: str, digits: int) -> str:
        self._count += 1
        return f"{prefix}{self._count:0{digits}x}"


class Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, one request at a time."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._received = bytearray()
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None

    def _next(self) -> None:
        if self._task is not None:
            return
        request = _parsed(self._received)
        if request is not None:
            self._task = asyncio.ensure_future(self._serve(request))

    async def _serve(self, request: Request) -> None:
        try:
            await handle(self._provider, request, self)
        except Exception as error:  # noqa: BLE001 - a fault of this server must not look like one of the client
            sys.stderr.write(f"hostile provider: {request.method} {request.path}: {error!r}\n")
            sys.stderr.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        self._task = None
        if self._transport is not None:
            self._next()

    def write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        if self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    @property
    def is_open(self) -> bool:
        return self._transport is not None


def _parsed(received: bytearray) -> Request | None:
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *lines = bytes(received[:end]).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", 0))
    if len(received) < end + 4 + length:
        return None
    method, target, _ = first.split(" ", 2)
    parts = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    body = bytes(received[end + 4 : end + 4 + length])
    del received[: end + 4 + length]
    return Request(method, parts.path, query, headers, body)


async def handle(provider: Provider, request: Request, connection: Connection) -> None:
    if provider.options.latency_ms and not request.path.startswith("/_"):
        await asyncio.sleep(provider.options.latency_ms / 1000)
    if request.method == "POST" and request.path == "/v3/mail/send":
        await _send(provider, request, connection, _read_mail(provider, request), _sendgrid_refusal)
        return
    twilio = _TWILIO_MESSAGES.fullmatch(request.path)
    if twilio and request.method == "POST" and twilio[2] is None:
        await _send(provider, request, connection, _read_twilio(provider, request), _twilio_refusal)
        return
    connection.write((await _answer(provider, request, twilio)).written())


# Sending


@dataclass
class Mail:
    provider: str
    message_id: str | None
    send_at: float | None
    batch_id: str | None
    id_prefix: str
    id_digits: int
    accepted: Callable[[Taken], Answer]


def _read_mail(provider: Provider, request: Request) -> Mail:
    body = json.loads(request.body)
    custom_args = body["personalizations"][0].get("custom_args", {})
    return Mail(
        "sendgrid",
        custom_args.get("message_id"),
        body.get("send_at"),
        body.get("batch_id"),
        "sg",
        20,
        lambda taken: Answer(202, None, {"X-Message-Id": taken.provider_message_id}),
    )


def _read_twilio(provider: Provider, request: Request) -> Mail:
    form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
    callback = parse_qs(urlsplit(form.get("StatusCallback", "")).query)
    send_at = calendar.timegm(time.strptime(form["SendAt"], "%Y-%m-%dT%H:%M:%SZ")) if "SendAt" in form else None
    return Mail(
        "twilio",
        callback.get("message_id", [None])[0],
        send_at,
        None,
        "SM",
        32,
        lambda taken: Answer(201, _twilio_message(taken)),
    )


def _sendgrid_refusal(behaviour: str) -> dict[str, Any]:
    field_name = _SENDGRID_FIELDS.get(behaviour)
    return {"errors": [{"message": "refused for reasons of its own", "field": field_name, "help": None}]}


def _twilio_refusal(behaviour: str) -> dict[str, Any]:
    code = _TWILIO_CODES.get(behaviour, 20429)
    return {"code": code, "message": "refused for reasons of its own", "more_info": "", "status": 400}


async def _send(
    provider: Provider,
    request: Request,
    connection: Connection,
    mail: Mail,
    refusal: Callable[[str], dict[str, Any]],
) -> None:
    options = provider.options
    behaviour, attempt = provider.behaviour(mail.message_id)
    if behaviour in _NOT_TAKEN:
        status, headers = _NOT_TAKEN[behaviour]
        written = {name: str(int(time.time()) + 3) if value == "RESET" else value for name, value in headers.items()}
        connection.write(Answer(status, refusal(behaviour), written).written())
        return
    if behaviour == "reset_before":
        connection.reset()
        return
    if behaviour == "hang_before":
        await _hang(connection)
        return
    if behaviour == "slow":
        await asyncio.sleep(options.slow_ms / 1000)
    if behaviour == "delayed":
        await asyncio.sleep(options.delayed_ms / 1000)
    taken = Taken(
        mail.provider,
        mail.message_id,
        provider.next_id(mail.id_prefix, mail.id_digits),
        time.time(),
        mail.send_at,
        mail.batch_id,
        attempt,
    )
    await provider.take(taken)
    written_answer = mail.accepted(taken).written()
    if behaviour == "error_after":
        connection.write(Answer(500, refusal(behaviour)).written())
    elif behaviour in ("hang_after", "delayed"):
        await _hang(connection)
    elif behaviour == "reset_after":
        connection.reset()
    elif behaviour == "cut_body":
        cut = re.sub(rb"Content-Length: \d+", b"Content-Length: 900", written_answer)
        connection.write(cut[: cut.index(b"\r\n\r\n") + 14])
        connection.close()
    elif behaviour == "cut_status":
        connection.write(written_answer[:10])
        connection.close()
    elif behaviour == "dripping":
        for byte in written_answer:
            connection.write(bytes([byte]))
            await asyncio.sleep(0.2)
            if not connection.is_open:
                return
    else:
        connection.write(written_answer)


async def _hang(connection: Connection) -> None:
    while connection.is_open:
        await asyncio.sleep(0.05)


# Everything else


async def _answer(provider: Provider, request: Request, twilio: re.Match[str] | None) -> Answer:
    path, method = request.path, request.method
    if path.startswith("/_"):
        return _told(provider, request)
    if twilio:
        return await _twilio(provider, request, twilio[2])
    if (method, path) == ("POST", "/v3/mail/batch"):
        batch_id = provider.next_id("batch", 20)
        provider.batches[batch_id] = ""
        return Answer(201, {"batch_id": batch_id})
    if path.startswith("/v3/user/scheduled_sends"):
        return await _scheduled(provider, request)
    if path.startswith("/v3/suppression/"):
        entries = provider.suppressions[path.rpartition("/")[2]]
        start, offset = int(request.query.get("start_time", 0)), int(request.query.get("offset", 0))
        since = [entry for entry in entries if entry["created"] >= start]
        return Answer(200, since[offset : offset + int(request.query.get("limit", 500))])
    if path == "/v3/asm/suppressions":
        return Answer(200, provider.suppressions["asm"])
    if path == "/v3/messages":
        return _activity(provider, request.query.get("query", ""))
    return Answer(404, {"errors": [{"message": "not found", "field": None}]})


async def _scheduled(provider: Provider, request: Request) -> Answer:
    if request.method == "GET":
        batch_id = request.path.rpartition("/")[2]
        status = provider.batches.get(batch_id)
        return Answer(200, [{"batch_id": batch_id, "status": status}] if status else [])
    asked = json.loads(request.body)
    batch_id, status = asked["batch_id"], asked["status"]
    now = time.time()
    due = provider.due
    pending = [name for name, state in provider.batches.items() if state and due.get(name, now + 1) > now]
    refused = {"errors": [{"message": "refused for reasons of its own", "field": "batch_id"}]}
    if provider.batches.get(batch_id, status) or batch_id not in provider.batches:
        return Answer(400, refused)
    if len(pending) >= provider.options.cancelled_batches:
        return Answer(400, refused)
    if batch_id in due and due[batch_id] - now < provider.options.cancel_before_seconds:
        return Answer(400, refused)
    provider.batches[batch_id] = status
    await provider.record({"cancelled_batch_id": batch_id, "at": now})
    return Answer(201, {"batch_id": batch_id, "status": status})


def _activity(provider: Provider, query: str) -> Answer:
    if not provider.options.has_activity:
        return Answer(403, {"errors": [{"message": "access forbidden", "field": None}]})
    now = time.time()
    by_id = re.fullmatch(r"msg_id LIKE '([^'%]+)%'", query)
    by_ours = re.fullmatch(r"\(unique_args\['message_id'\]=\"([^\"]+)\"\)", query)
    if not by_id and not by_ours:
        return Answer(400, {"errors": [{"message": "bad query", "field": "query"}]})
    visible = [taken for taken in provider.taken if now - taken.taken_at >= provider.options.lag_seconds]
    found = [
        taken
        for taken in visible
        if (by_id and taken.provider_message_id.startswith(by_id[1])) or (by_ours and taken.message_id == by_ours[1])
    ]
    out = {id(taken) for taken in provider.released(now)}
    messages = [
        {"msg_id": f"{taken.provider_message_id}.0", "status": "delivered" if id(taken) in out else "processing"}
        for taken in found
    ]
    return Answer(200, {"messages": messages[:1]})


async def _twilio(provider: Provider, request: Request, sid: str | None) -> Answer:
    found = next((taken for taken in provider.taken if taken.provider_message_id == sid), None)
    if found is None:
        return Answer(404, {"code": 20404, "message": "not found", "status": 404})
    if request.method == "POST":
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        if form.get("Status") != "canceled" or (found.send_at or 0) <= time.time():
            return Answer(400, {"code": 30409, "message": "not scheduled", "status": 400})
        found.is_cancelled = True
        await provider.record({"cancelled_message": sid, "at": time.time()})
    return Answer(200, _twilio_message(found))


def _twilio_message(taken: Taken) -> dict[str, Any]:
    status = "delivered" if (taken.send_at or 0) <= time.time() else "scheduled"
    if time.time() - taken.taken_at < 0.05 and not taken.send_at:
        status = "accepted"
    if taken.is_cancelled:
        status = "canceled"
    return {
        "sid": taken.provider_message_id,
        "status": status,
        "error_code": None,
        "error_message": None,
        "num_segments": "1",
        "direction": "outbound-api",
        "date_created": None,
        "date_updated": None,
        "date_sent": None,
    }


def _told(provider: Provider, request: Request) -> Answer:
    if request.path == "/_log":
        return Answer(200, [asdict(taken) for taken in provider.taken])
    if request.path == "/_released":
        at = float(request.query.get("at", time.time()))
        return Answer(200, [asdict(taken) for taken in provider.released(at)])
    if request.path == "/_script":
        provider.script |= json.loads(request.body)
        return Answer(200, len(provider.script))
    if request.path == "/_suppressions":
        for name, entries in json.loads(request.body).items():
            provider.suppressions[name] += entries
        return Answer(200, {})
    return Answer(404, {})


def _chances(text: str) -> dict[str, float]:
    chances = {name: float(chance) for name, _, chance in (part.partition("=") for part in text.split(","))}
    unknown = set(chances) - set(BEHAVIOURS)
    if unknown:
        raise argparse.ArgumentTypeError(f"no such behaviour: {', '.join(sorted(unknown))}")
    return chances


async def _serve(options: Options, port: int, script: dict[str, list[str]]) -> None:
    provider = Provider(options)
    provider.script |= script
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(provider), "127.0.0.1", port, backlog=1024)
    sys.stdout.write(json.dumps({"port": server.sockets[0].getsockname()[1]}) + "\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", required=True)
    parser.add_argument("--script", type=argparse.FileType())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chances", type=_chances, default={"ok": 1.0})
    for name in ("latency-ms", "slow-ms", "delayed-ms", "lag-seconds", "cancel-before-seconds"):
        parser.add_argument(f"--{name}", type=float, default=getattr(Options, name.replace("-", "_")))
    parser.add_argument("--cancelled-batches", type=int, default=Options.cancelled_batches)
    parser.add_argument("--no-activity", dest="has_activity", action="store_false")
    given = vars(parser.parse_args())
    port, script = given.pop("port"), given.pop("script")
    uvloop.run(_serve(Options(**given), port, json.load(script) if script else {}))


if __name__ == "__main__":
    main()
