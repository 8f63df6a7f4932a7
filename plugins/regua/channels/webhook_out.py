"""Webhooks that leave: signed by Standard Webhooks, to public addresses only, over https."""

from __future__ import annotations

import ipaddress
import json
import logging
import socket
import time
from collections.abc import Callable, Iterable
from datetime import UTC
from typing import Any
from urllib.parse import urlsplit

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from regua.channels.answers import answer_of, pause_seconds
from regua.channels.provider_http import NotReachedError, ProviderHttp, UnansweredError
from regua.channels.sending import Answer
from regua.errors import BusyError, InputError
from regua.instants import Clock, utc_clock

_log = logging.getLogger(__name__)

# Before the second and the third attempt. The receiver drops what it has seen by `webhook-id`: repeating is safe.
_WAITS_SECONDS = (1.0, 5.0)
_LONGEST_WAIT_SECONDS = 20.0
_ANSWER_BYTES = 4096
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class WebhookOut:
    """One receiver. `allows_loopback` is for tests: http, and this machine."""

    def __init__(
        self,
        url: str,
        secret: str,
        timeout_seconds: float = 10,
        clock: Clock = utc_clock,
        allows_loopback: bool = False,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Raises InputError for a URL that is not https and a secret that is none."""
        parts = urlsplit(url)
        if not (parts.scheme == "https" or (allows_loopback and parts.scheme == "http")) or not parts.hostname:
            raise InputError("A webhook's URL must begin with https://.")
        if parts.username is not None:
            raise InputError("A webhook's URL must not hold a user or a password.")
        try:
            self._webhook = Webhook(secret)
        except (ValueError, EmptyWebhookSecretError) as error:
            raise InputError("REGUA_WEBHOOK_SECRET is no secret of Standard Webhooks (whsec_ and base64).") from error
        self._url = url
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._allows_loopback = allows_loopback
        self._pause = pause

    def post(self, webhook_id: str, body: dict[str, Any]) -> None:
        """Deliver one event, or its repetition: the same `webhook_id` must carry the same body.

        Raises BusyError when the receiver cannot be reached or does not take it now, InputError when it refuses.
        """
        text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
        reason = ""
        for wait in (0.0, *_WAITS_SECONDS):
            self._pause(wait)
            answer, reason, wish = self._attempt(webhook_id, text)
            if answer is Answer.ACCEPTED:
                return
            if answer in (Answer.REJECTED, Answer.UNAUTHORISED):
                raise InputError(f"The webhook's receiver refused event {webhook_id} ({reason}).")
            _log.warning("webhook %s: %s", webhook_id, reason)
            if wish:
                self._pause(min(wish, _LONGEST_WAIT_SECONDS))
        raise BusyError(f"The webhook's receiver did not take event {webhook_id} ({reason}). Try again later.")

    def _attempt(self, webhook_id: str, text: str) -> tuple[Answer, str, float | None]:
        now = self._clock().replace(tzinfo=UTC)
        headers = {
            "Content-Type": "application/json",
            "Connection": "close",
            "User-Agent": "regua",
            "webhook-id": webhook_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(webhook_id, now, text),
        }
        try:
            http = ProviderHttp(self._url, self._timeout_seconds, address=self._resolved())
            reply = http.request("POST", self._target, headers, text.encode(), _ANSWER_BYTES)
        except (NotReachedError, UnansweredError) as error:
            return Answer.NOT_REACHED, str(error), None
        if 300 <= reply.status < 400:
            return Answer.REJECTED, f"redirect_{reply.status}", None
        return answer_of(reply), f"http_{reply.status}", pause_seconds(reply.headers, self._clock())

    def _resolved(self) -> str:
        """The address to connect to: of a name with a public and a private address, neither is trusted."""
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise NotReachedError(type(error).__name__) from error
        addresses = [str(where[0]) for *_, where in found]
        if not all(self._is_allowed(address) for address in addresses):
            raise InputError("The webhook's host has an address that is not public.")
        return addresses[0]

    def _is_allowed(self, address: str) -> bool:
        return is_public(address) or (self._allows_loopback and ipaddress.ip_address(address).is_loopback)


def is_public(address: str) -> bool:
    """Neither private, loopback, link-local, reserved nor multicast, nor such an IPv4 address inside an IPv6 one."""
    parsed: Any = ipaddress.ip_address(address.partition("%")[0])
    inner = [parsed]
    if parsed.version == 6:
        teredo: Iterable[Any] = parsed.teredo or ()
        inner += [found for found in (parsed.ipv4_mapped, parsed.sixtofour, *teredo) if found is not None]
        if parsed in _NAT64:
            inner.append(ipaddress.ip_address(int(parsed) & 0xFFFFFFFF))
    return all(one.is_global and not one.is_multicast for one in inner)
