"""Webhooks that leave: signed by Standard Webhooks, to public addresses only, over https."""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import socket
import time
from collections.abc import Callable, Iterable
from datetime import UTC
from typing import Any
from urllib.parse import urlsplit

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from regua.channels.answers import answer_of, pause_seconds
from regua.channels.provider_http import NotReachedError, ProviderHttp, Reply, UnansweredError
from regua.channels.sending import Answer
from regua.errors import BusyError, InputError
from regua.instants import Clock, utc_clock

_log = logging.getLogger(__name__)

# Before the second and the third attempt. The receiver drops what it has seen by `webhook-id`: repeating is safe.
_WAITS_SECONDS = (1.0, 5.0)
_LONGEST_WAIT_SECONDS = 20.0
_ANSWER_BYTES = 4096
# A second address is for hosts of which one family cannot be reached from here.
_MOST_ADDRESSES = 2
_NOT_ALLOWED = "address_not_allowed"
# The library would take a list with commas for one secret that nobody has.
_SECRET = re.compile(r"(whsec_)?[A-Za-z0-9+/]+={0,2}")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class WebhookOut:
    """One receiver, at public addresses and over https.

    `on_loopback`: at this machine's loopback and nowhere else, over http too. For trials; what is real is never there.
    """

    def __init__(
        self,
        url: str,
        secrets: str,
        timeout_seconds: float = 10,
        clock: Clock = utc_clock,
        on_loopback: bool = False,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """`secrets` are separated by spaces, and each of them signs.

        Raises InputError for a URL that may not be and a secret that is none.
        """
        self._host, self._port, self._target = _parts(url, on_loopback)
        self._signers = _signers(secrets)
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._on_loopback = on_loopback
        self._pause = pause

    def post(self, webhook_id: str, body: dict[str, Any]) -> None:
        """Deliver one event, or its repetition: the same `webhook_id` must carry the same body.

        Raises BusyError when the receiver cannot be reached or does not take it now, InputError when it refuses.
        """
        text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
        reason = ""
        for wait in (0.0, *_WAITS_SECONDS):
            self._pause(wait)
            answer, reason, wish = self.attempt(webhook_id, text)
            if answer is Answer.ACCEPTED:
                return
            if reason == _NOT_ALLOWED:
                raise InputError(f"The webhook's host has an address that is not {self._wanted}.")
            if answer in (Answer.REJECTED, Answer.UNAUTHORISED):
                raise InputError(f"The webhook's receiver refused event {webhook_id} ({reason}).")
            _log.warning("webhook %s: %s", webhook_id, reason)
            if wish:
                self._pause(min(wish, _LONGEST_WAIT_SECONDS))
        raise BusyError(f"The webhook's receiver did not take event {webhook_id} ({reason}). Try again later.")

    def attempt(self, webhook_id: str, text: str) -> tuple[Answer, str, float | None]:
        """Deliver `text` once: what came of it, a code that says why, the seconds for which the receiver wants peace.

        Raises nothing for what network and receiver do. A redirect, and a host with an address that is not allowed,
        are REJECTED.
        """
        now = self._clock().replace(tzinfo=UTC)
        headers = {
            "Content-Type": "application/json",
            "Connection": "close",
            "User-Agent": "regua",
            "webhook-id": webhook_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signer.sign(webhook_id, now, text) for signer in self._signers),
        }
        try:
            addresses = self._resolved()
            if not all(self._is_allowed(address) for address in addresses):
                return Answer.REJECTED, _NOT_ALLOWED, None
            reply = self._requested(addresses, headers, text.encode())
        except NotReachedError as error:
            return Answer.NOT_REACHED, str(error), None
        except UnansweredError as error:
            return Answer.UNKNOWN, str(error), None
        if 300 <= reply.status < 400:
            return Answer.REJECTED, f"redirect_{reply.status}", None
        return answer_of(reply), f"http_{reply.status}", pause_seconds(reply.headers, self._clock())

    @property
    def _wanted(self) -> str:
        return "this machine's loopback" if self._on_loopback else "public"

    def _requested(self, addresses: list[str], headers: dict[str, str], body: bytes) -> Reply:
        """From the first address that can be connected to. Another one gets no byte that the first may have had."""
        failure = NotReachedError("no_address")
        for address in addresses[:_MOST_ADDRESSES]:
            try:
                http = ProviderHttp(self._url, self._timeout_seconds, address=address)
                return http.request("POST", self._target, headers, body, _ANSWER_BYTES)
            except NotReachedError as error:
                failure = error
        raise failure

    def _resolved(self) -> list[str]:
        """The addresses to connect to: of a name with a public and a private address, neither is trusted."""
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise NotReachedError(type(error).__name__) from error
        return list(dict.fromkeys(str(where[0]) for *_, where in found))

    def _is_allowed(self, address: str) -> bool:
        if self._on_loopback:
            return ipaddress.ip_address(address.partition("%")[0]).is_loopback
        return is_public(address)


def _parts(url: str, on_loopback: bool) -> tuple[str, int, str]:
    """Host, port, and what is asked of it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InputError("A webhook's URL cannot be read.") from error
    # As it would stand in the request: what HTTP cannot carry would fail at every attempt.
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise InputError("A webhook's URL must be percent-encoded, and its host written as xn--….")
    if not (parts.scheme == "https" or (on_loopback and parts.scheme == "http")) or not parts.hostname:
        raise InputError("A webhook's URL must begin with https://.")
    if parts.username is not None:
        raise InputError("A webhook's URL must not hold a user or a password.")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.hostname, port or (443 if parts.scheme == "https" else 80), target


def _signers(secrets: str) -> list[Webhook]:
    told = "REGUA_WEBHOOK_SECRET holds no secret of Standard Webhooks, or one that is none (whsec_ and base64)."
    given = secrets.split()
    if not given or not all(_SECRET.fullmatch(secret) for secret in given):
        raise InputError(told)
    try:
        return [Webhook(secret) for secret in given]
    except (ValueError, EmptyWebhookSecretError):
        # The chain is cut: it holds the secret.
        raise InputError(told) from None


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
