"""The HTTP side: nothing is parsed before its signature is right, and 2xx means that it is kept."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from examples.webhook_receiver.received_states import ReceivedStates

_log = logging.getLogger(__name__)
_MOST_BYTES = 1 << 16
_TYPES = frozenset(
    f"customer.{what}" for what in ("notice", "suspended", "cancellation_proposed", "reactivated", "regular")
)


def receiver_app(secrets: Sequence[str], states: ReceivedStates) -> FastAPI:
    """`secrets`: while one takes the place of another both are given, and what either has signed is believed."""
    verifiers = [Webhook(secret) for secret in secrets]
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/webhooks")
    async def webhooks(request: Request) -> Response:
        # The signature is over the bytes as they came: JSON that is read and written again has others.
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > _MOST_BYTES:
                return Response(status_code=413)
        if not _is_signed(verifiers, body, dict(request.headers)):
            return Response(status_code=401)
        try:
            event = json.loads(body)
            type_code, data = event["type"], event["data"]
            if type_code in _TYPES:
                answer = await run_in_threadpool(states.apply, request.headers["webhook-id"], data)
            else:
                # What is not for us is taken all the same, or it would be sent for three days.
                answer = "not for us"
        except (ValueError, KeyError, TypeError):
            return Response(status_code=400)
        _log.info("%s of %s: %s", type_code, data.get("subscription_id"), answer)
        return Response(status_code=204)

    @app.get("/subscriptions")
    async def subscriptions() -> list[dict[str, Any]]:
        return await run_in_threadpool(states.all)

    return app


def _is_signed(verifiers: Sequence[Webhook], body: bytes, headers: dict[str, str]) -> bool:
    """By one of the secrets, and within five minutes of now: what somebody recorded cannot be played again later."""
    for verifier in verifiers:
        try:
            verifier.verify(body, headers, json_parse=False)
        except (WebhookVerificationError, ValueError):
            # ValueError: the library takes a signature apart before it looks at it.
            continue
        return True
    return False
