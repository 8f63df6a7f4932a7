"""HTTP that tells whether a byte of the request may have arrived, which decides if a message may be sent again.

urllib wraps failures to connect and failures to send in one exception, and neither it nor requests bounds the whole of
a request: a server that sends a byte a second holds the caller for ever. Used by the providers' own SDKs.
"""

from __future__ import annotations

import http.client
import io
import select
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from email.message import Message
from functools import partial
from typing import Any
from urllib.parse import urlsplit

# Shorter than any provider keeps an idle connection: what it closes while we write would leave an unknown.
_IDLE_SECONDS = 4.0
_BODY_BYTES = 1 << 20


class NotReachedError(Exception):
    """Refused, DNS, TLS, or no connection in time: no byte of the request has left. The text is a code."""


class UnansweredError(Exception):
    """The request may have arrived, and no status came back. The text is a code."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A status that the server gave. `body` may be cut; `headers` compare without case."""

    status: int
    headers: Message
    body: bytes


class ProviderHttp:
    """Connections to one host, one a thread, kept between requests. Redirects are not followed.

    `address`, where given, is connected to instead of what `url`'s host resolves to by then; the certificate must still
    be the host's.
    """

    def __init__(self, url: str, timeout_seconds: float, address: str | None = None) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._address = address or self._host
        self._timeout_seconds = timeout_seconds
        self._of_thread = threading.local()

    def request(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        body: bytes | None = None,
        body_bytes: int = _BODY_BYTES,
    ) -> Reply:
        """At most `timeout_seconds`, from connecting to the last byte. Raises NotReachedError and UnansweredError.

        `target` is path and query. Of the reply's body no more than `body_bytes` are read.
        """
        deadline = time.monotonic() + self._timeout_seconds
        connection = self._kept() or self._connected(deadline)
        connection.response_class = partial(_TimedResponse, deadline)  # type: ignore[assignment]
        try:
            _allow_until(connection.sock, deadline)
            connection.request(method, target, body, headers)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise UnansweredError(_code(error)) from error
        read, is_whole = _read_body(response, body_bytes)
        if is_whole and connection.sock is not None:
            self._of_thread.kept = (connection, time.monotonic())
        else:
            connection.close()
        return Reply(response.status, response.headers, read)

    def _kept(self) -> _Connection | None:
        connection, last_used = getattr(self._of_thread, "kept", (None, 0.0))
        self._of_thread.kept = (None, 0.0)
        if connection is None:
            return None
        poll = select.poll()
        poll.register(connection.sock, select.POLLIN)
        # Readable before a request means that the server has closed it.
        if time.monotonic() - last_used > _IDLE_SECONDS or poll.poll(0):
            connection.close()
            return None
        return connection  # type: ignore[no-any-return]

    def _connected(self, deadline: float) -> _Connection:
        connection = _Connection(self._host, self._port, self._tls)
        try:
            connection.connect_until(deadline, self._address)
        except OSError as error:
            raise NotReachedError(_code(error)) from error
        return connection


class _Connection(http.client.HTTPConnection):
    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self.default_port = 443 if tls else 80
        super().__init__(host, port)
        self._tls = tls
        # A connection lost is never made again behind our back.
        self.auto_open = 0

    def connect_until(self, deadline: float, address: str) -> None:
        failure: OSError = socket.gaierror("no address")
        for family, kind, protocol, _, where in socket.getaddrinfo(address, self.port, type=socket.SOCK_STREAM):
            bare = socket.socket(family, kind, protocol)
            try:
                bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _allow_until(bare, deadline)
                bare.connect(where)
                self.sock = self._tls.wrap_socket(bare, server_hostname=self.host) if self._tls else bare
                return
            except OSError as error:
                bare.close()
                failure = error
        raise failure


class _TimedResponse(http.client.HTTPResponse):
    """Every read ends at the deadline of the request, not at a time-out of its own."""

    def __init__(self, deadline: float, sock: socket.socket, *arguments: Any, **keywords: Any) -> None:
        super().__init__(sock, *arguments, **keywords)
        raw: Any = self.fp.detach()
        self.fp = io.BufferedReader(_TimedReader(raw, sock, deadline))


class _TimedReader(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        _allow_until(self._sock, self._deadline)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _allow_until(sock: socket.socket, deadline: float) -> None:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    sock.settimeout(remaining)


def _read_body(response: http.client.HTTPResponse, most_bytes: int) -> tuple[bytes, bool]:
    """The status is known: a body that breaks off changes nothing of it."""
    read = bytearray()
    try:
        while len(read) <= most_bytes:
            piece = response.read(65536)
            if not piece:
                return bytes(read), response.isclosed()
            read += piece
    except http.client.IncompleteRead as error:
        read += error.partial
    except (OSError, http.client.HTTPException):
        pass
    return bytes(read[:most_bytes]), False


def _code(error: Exception) -> str:
    return type(error).__name__
