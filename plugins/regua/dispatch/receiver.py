"""Where providers tell what became of messages, and where a payment is told at once. Runs behind a TLS proxy.

Nothing is stored, nor looked up, before a signature is right. 2xx means that it is committed, 503 "tell me again".
"""

from __future__ import annotations

import binascii
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from sendgrid.helpers.eventwebhook import EventWebhook
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook, WebhookVerificationError
from twilio.request_validator import RequestValidator

from regua.channels.dispatch_file import DispatchFile, read_dispatch_file
from regua.contract.entities import ID_PATTERN
from regua.dispatch.evidence import Evidence, Recorded, address_hasher, record_evidence
from regua.dispatch.payments import note_payment
from regua.dispatch.provider_events import inbound_evidence, sendgrid_evidence, twilio_evidence
from regua.errors import BusyError, InputError
from regua.instants import Clock, utc_clock
from regua.ledger.database import open_ledger
from regua.settings import Settings

_log = logging.getLogger(__name__)
_SKEW = timedelta(minutes=5)
# SendGrid's batches end below 1 MB; the other bodies are a form or two ids.
_BATCH_BYTES, _FORM_BYTES = 1 << 22, 1 << 16
_MOST_EVENTS = 10_000
_SENDGRID_SIGNATURE = "X-Twilio-Email-Event-Webhook-Signature"
_SENDGRID_TIMESTAMP = "X-Twilio-Email-Event-Webhook-Timestamp"


def receiver_app(settings: Settings, environ: Mapping[str, str], clock: Clock = utc_clock) -> FastAPI:
    """Raises InputError for a key that is none. What has no key refuses everything."""
    receiver = _Receiver(settings, environ, clock)

    @asynccontextmanager
    async def closed_at_the_end(_: FastAPI) -> AsyncIterator[None]:
        yield
        receiver.close()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=closed_at_the_end)

    @app.post("/sendgrid/events")
    async def sendgrid_events(request: Request) -> Response:
        return await _answered(request, _BATCH_BYTES, receiver.sendgrid_events)

    @app.post("/twilio/status")
    async def twilio_status(request: Request) -> Response:
        return await _answered(request, _FORM_BYTES, receiver.twilio_status)

    @app.post("/twilio/inbound")
    async def twilio_inbound(request: Request) -> Response:
        return await _answered(request, _FORM_BYTES, receiver.twilio_inbound)

    @app.post("/payments")
    async def payments(request: Request) -> Response:
        return await _answered(request, _FORM_BYTES, receiver.payment)

    @app.get("/health")
    async def health() -> Response:
        return await run_in_threadpool(_guarded, "/health", receiver.health)

    return app


def serve(settings: Settings, environ: Mapping[str, str], host: str, port: int) -> None:
    """Until it is told to stop. The access log stays off: an address may carry what no log should hold."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    app = receiver_app(settings, environ)
    uvicorn.run(app, host=host, port=port, log_config=None, access_log=False, server_header=False, limit_concurrency=64)


class _Refused(Exception):  # noqa: N818 - an answer, not a fault
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class _Receiver:
    def __init__(self, settings: Settings, environ: Mapping[str, str], clock: Clock) -> None:
        dispatch_file = read_dispatch_file(settings.dispatch_path)
        email = dispatch_file.channels.email
        self._settings = settings
        self._clock = clock
        self._group_id = email.unsubscribe_group_id
        self._sendgrid = _sendgrid_verifier(email.event_webhook_key)
        token, secret = environ.get("TWILIO_AUTH_TOKEN", ""), environ.get("REGUA_PAYMENTS_SECRET", "")
        self._twilio = RequestValidator(token) if token else None
        self._payments = _payments_verifier(secret)
        self._callbacks = _callback_urls(dispatch_file)
        self._opened = ExitStack()
        self._opening = Lock()
        self._engine: sa.Engine | None = None
        for path, is_ready in (
            ("/sendgrid/events", self._sendgrid),
            ("/twilio/", self._twilio is not None and self._callbacks),
            ("/payments", self._payments),
        ):
            if not is_ready:
                _log.warning("%s is not set up and refuses everything; see docs/how-to/evidence.md", path)

    def close(self) -> None:
        self._opened.close()

    def sendgrid_events(self, request: Request, body: bytes) -> None:
        signature = request.headers.get(_SENDGRID_SIGNATURE, "")
        timestamp = request.headers.get(_SENDGRID_TIMESTAMP, "")
        if self._sendgrid is None or not self._is_recent(timestamp):
            raise _Refused(403, "not set up, or too old")
        try:
            is_signed = self._sendgrid.verify_signature(body.decode(), signature, timestamp)
        except (UnicodeDecodeError, binascii.Error, ValueError):
            is_signed = False
        if not is_signed:
            raise _Refused(403, "wrong signature")
        events = _json(body)
        if not isinstance(events, list) or len(events) > _MOST_EVENTS or not all(isinstance(e, dict) for e in events):
            raise _Refused(400, "no list of events")
        hashed = address_hasher(self._ledger())
        found = [sendgrid_evidence(event, self._group_id, hashed) for event in events]
        self._record("sendgrid", [item for item in found if item is not None], len(events))

    def twilio_status(self, request: Request, body: bytes) -> None:
        form = self._twilio_form(request, body, "status")
        item = twilio_evidence(form, request.query_params.get("message_id"))
        self._record("twilio", [item] if item is not None else [], 1)

    def twilio_inbound(self, request: Request, body: bytes) -> None:
        form = self._twilio_form(request, body, "inbound")
        self._record("twilio inbound", inbound_evidence(form, self._clock(), address_hasher(self._ledger())), 1)

    def payment(self, request: Request, body: bytes) -> None:
        if self._payments is None:
            raise _Refused(403, "not set up")
        try:
            self._payments.verify(body, dict(request.headers), json_parse=False)
        except (WebhookVerificationError, ValueError):
            # ValueError: the library takes a signature apart before it looks at it.
            raise _Refused(403, "wrong signature") from None
        told = _json(body)
        ids = [told.get(name) for name in ("payment_id", "invoice_id")] if isinstance(told, dict) else []
        if len(ids) != 2 or not all(isinstance(each, str) and re.fullmatch(ID_PATTERN, each) for each in ids):
            raise _Refused(400, "payment_id or invoice_id is missing, or is no id")
        is_new = note_payment(self._ledger(), str(ids[0]), str(ids[1]), "webhook", self._clock)
        _log.info("payment of invoice %s: %s", ids[1], "noted" if is_new else "known")

    def health(self) -> None:
        with self._ledger().connect() as connection:
            connection.execute(sa.select(1))

    def _record(self, what: str, items: list[Evidence], told: int) -> None:
        done = record_evidence(self._ledger(), items, self._clock) if items else Recorded()
        _log.info("%s: %d told, %d of use, %s", what, told, len(items), done)

    def _ledger(self) -> sa.Engine:
        """Opened when it is first needed: a receiver that starts before its database need not be started again."""
        with self._opening:
            if self._engine is None:
                self._engine = self._opened.enter_context(open_ledger(self._settings))
            return self._engine

    def _is_recent(self, timestamp: str) -> bool:
        if not re.fullmatch(r"[0-9]{1,12}", timestamp):
            return False
        skew = self._clock() - datetime(1970, 1, 1) - timedelta(seconds=int(timestamp))  # noqa: DTZ001 - UTC
        return abs(skew) <= _SKEW

    def _twilio_form(self, request: Request, body: bytes, ending: str) -> dict[str, str]:
        """Signed over the public address, which the proxy does not pass on: it is the configured one."""
        try:
            form = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=200))
        except ValueError:
            raise _Refused(400, "no form") from None
        signature = request.headers.get("X-Twilio-Signature", "")
        query = request.url.query
        urls = [_beside(url, ending) + (f"?{query}" if query else "") for url in self._callbacks]
        if self._twilio is None or not any(self._twilio.validate(url, form, signature) for url in urls):
            raise _Refused(403, "wrong signature, or not set up")
        return form


async def _answered(request: Request, most: int, take: Callable[[Request, bytes], None]) -> Response:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            return Response(status_code=413)
    return await run_in_threadpool(_guarded, request.url.path, partial(take, request, body))


def _guarded(path: str, act: Callable[[], None]) -> Response:
    """204 once it is done. What a driver says may quote values: only its kind is told."""
    try:
        act()
    except _Refused as refusal:
        _log.warning("%s: refused with %d: %s", path, refusal.status, refusal)
        return Response(status_code=refusal.status)
    except (BusyError, sa.exc.DBAPIError) as error:
        _log.error("%s: the ledger cannot be used now (%s); asked to be told again", path, type(error).__name__)
        return Response(status_code=503, headers={"Retry-After": "60"})
    return Response(status_code=204)


def _sendgrid_verifier(key: str | None) -> EventWebhook | None:
    if key is None:
        return None
    try:
        return EventWebhook(key)
    except ValueError as error:
        raise InputError("channels.email.event_webhook_key is no public key as SendGrid shows it.") from error


def _payments_verifier(secret: str) -> Webhook | None:
    if not secret:
        return None
    try:
        return Webhook(secret)
    except (EmptyWebhookSecretError, ValueError):
        # The chain is cut: it holds the secret.
        raise InputError("REGUA_PAYMENTS_SECRET is no secret of Standard Webhooks: whsec_ and Base64.") from None


def _callback_urls(dispatch_file: DispatchFile) -> list[str]:
    given = (dispatch_file.channels.sms.status_callback_url, dispatch_file.channels.whatsapp.status_callback_url)
    return list(dict.fromkeys(url for url in given if url is not None))


def _beside(url: str, ending: str) -> str:
    """The address in the same folder: inbound messages come to where the callbacks come."""
    parts = urlsplit(url)
    folder, _, _ = parts.path.rpartition("/")
    return urlunsplit((parts.scheme, parts.netloc, f"{folder}/{ending}", "", ""))


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise _Refused(400, "no JSON") from None
