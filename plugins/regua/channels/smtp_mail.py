"""E-mail through a mail server of the company's own. Nothing is held and nothing can be recalled."""

from __future__ import annotations

import re
import smtplib
import ssl
import time
from contextlib import suppress

from regua.channels.dispatch_file import EmailSending
from regua.channels.mime_message import mime_message
from regua.channels.sending import Answer, Outcome, Outgoing

_IMPLICIT_TLS_PORT = 465
_QUEUE_ID = re.compile(r"queued as ([A-Za-z0-9._-]{1,64})", re.IGNORECASE)
_ENHANCED = re.compile(rb"5\.(\d{1,3})\.\d{1,3}")
_LOGIN_WANTED = (530, 534, 535, 538)


class SmtpMail:
    """One connection a message. The server must offer TLS: without it neither a password nor a debt is told.

    A reply of 4xx or 5xx, whenever it comes, says that the server did not take the message (RFC 5321 4.2.1). Only a
    connection that breaks once the message is on its way leaves it unknown, for the server may have taken it by then.
    """

    sender_code = "smtp"

    def __init__(self, sending: EmailSending, user: str, password: str, tls: ssl.SSLContext | None = None) -> None:
        self._sending = sending
        self._host = sending.smtp_host or ""
        self._domain = sending.from_email.partition("@")[2]
        self._user = user
        self._password = password
        self._tls = tls or ssl.create_default_context()

    def open_batch(self) -> str | None:
        return None

    def send(self, outgoing: Outgoing) -> Outcome:
        if not outgoing.content.address.isascii():
            return Outcome(Answer.REJECTED, "address_not_ascii", is_address_fault=True)
        attempt = _Attempt(time.monotonic() + self._sending.timeout_seconds)
        try:
            return self._send(outgoing, attempt)
        except smtplib.SMTPNotSupportedError:
            return Outcome(Answer.UNAUTHORISED, "smtp_without_tls_or_login")
        except smtplib.SMTPResponseException as error:
            if attempt.has_begun:
                # smtplib's own word for an answer that is too long: what the server had said is not known.
                return Outcome(Answer.UNKNOWN, type(error).__name__)
            return _refusal(error.smtp_code, refused=Answer.UNAUTHORISED)
        except (OSError, smtplib.SMTPException) as error:
            return Outcome(Answer.UNKNOWN if attempt.has_begun else Answer.NOT_REACHED, type(error).__name__)
        finally:
            attempt.end()

    def recall(self, batch_id: str) -> bool:
        return False

    def finish(self) -> None:
        """Nothing is handed over as a whole."""

    def _send(self, outgoing: Outgoing, attempt: _Attempt) -> Outcome:
        message = mime_message(outgoing, self._sending)
        server = self._connected(attempt)
        code, _ = attempt.step(server).mail(self._sending.from_email)
        if code != 250:
            return _refusal(code, refused=Answer.UNAUTHORISED)
        code, text = attempt.step(server).rcpt(outgoing.content.address)
        if code not in (250, 251):
            return _refusal(code, is_address_fault=500 <= code < 600 and _is_of_address(text))
        code, _ = attempt.step(server).docmd("DATA")
        if code != 354:
            return _refusal(code)
        stuffed = re.sub(rb"(?m)^\.", b"..", message.as_bytes())
        attempt.has_begun = True
        attempt.step(server).send(stuffed + (b"" if stuffed.endswith(b"\r\n") else b"\r\n") + b".\r\n")
        code, text = attempt.step(server).getreply()
        if code != 250:
            return _refusal(code)
        queued = _QUEUE_ID.search(text.decode("ascii", "replace"))
        return Outcome(Answer.ACCEPTED, "smtp_250", queued[1] if queued else message["Message-ID"])

    def _connected(self, attempt: _Attempt) -> smtplib.SMTP:
        seconds, port = attempt.remaining(), self._sending.smtp_port
        if port == _IMPLICIT_TLS_PORT:
            server: smtplib.SMTP = smtplib.SMTP_SSL(self._host, port, self._domain, timeout=seconds, context=self._tls)
            attempt.server = server
        else:
            server = smtplib.SMTP(self._host, port, self._domain, timeout=seconds)
            attempt.server = server
            attempt.step(server).starttls(context=self._tls)
        attempt.step(server).login(self._user, self._password)
        return server


class _Attempt:
    """One message's way: when it must be over, and whether the message itself has begun to leave."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self.has_begun = False
        self.server: smtplib.SMTP | None = None

    def remaining(self) -> float:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        return remaining

    def step(self, server: smtplib.SMTP) -> smtplib.SMTP:
        if server.sock is not None:
            server.sock.settimeout(self.remaining())
        return server

    def end(self) -> None:
        """What the server says to our goodbye changes nothing."""
        if self.server is not None:
            with suppress(OSError, smtplib.SMTPException):
                if not self.has_begun or self._deadline > time.monotonic():
                    self.step(self.server).quit()
            self.server.close()


def _refusal(code: int, *, refused: Answer = Answer.REJECTED, is_address_fault: bool = False) -> Outcome:
    """Before a recipient is named, a lasting refusal is of us: `refused` is then UNAUTHORISED."""
    answer = Answer.UNKNOWN
    if 400 <= code < 500:
        answer = Answer.LIMITED
    elif code in _LOGIN_WANTED:
        answer = Answer.UNAUTHORISED
    elif 500 <= code < 600:
        answer = refused
    return Outcome(answer, f"smtp_{code}", is_address_fault=is_address_fault)


def _is_of_address(text: bytes) -> bool:
    """With an enhanced status (RFC 3463) only 5.1.x speaks of the address; 5.7.x is a rule, 5.2.x a full mailbox."""
    enhanced = _ENHANCED.match(text)
    return enhanced is None or enhanced[1] == b"1"
