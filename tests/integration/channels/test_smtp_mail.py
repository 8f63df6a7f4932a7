"""What a message's fate is when a mail server refuses it or breaks off, at each step of the conversation."""

from __future__ import annotations

import asyncio
import email
import email.policy
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.integration.channels.made_messages import CANARY_WORDS, NOW, PNG, SECRET, email_sending
from tests.integration.channels.made_messages import email as email_message

from regua.channels.mime_message import mime_message
from regua.channels.sending import Answer
from regua.channels.smtp_mail import SmtpMail


class MailServer:
    """Answers as `replies` say, by command; None breaks the connection off, "hang" never answers."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.replies: dict[str, str | None] = {}
        self.has_tls = True
        self.received: list[bytes] = []
        self._tls = tls
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(5)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._talk, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        encrypted = False
        default = {"EHLO": "250-mx.example\r\n250-AUTH PLAIN\r\n250 HELP", "AUTH": "235 ok", "DATA": "354 go on"}
        default |= {
            "": "220 mx.example",
            "STARTTLS": "220 go on",
            ".": "250 2.0.0 Ok: queued as 4XyZ123",
            "QUIT": "221 bye",
        }
        command = ""
        while True:
            reply = self.replies.get(command, default.get(command, "250 ok"))
            if command == "EHLO" and self.has_tls and not encrypted and reply is not None:
                reply = reply.replace("250-AUTH", "250-STARTTLS\r\n250-AUTH")
            if reply == "hang":
                await asyncio.sleep(5)
            if reply is None or reply == "hang":
                writer.transport.abort()
                return
            writer.write(reply.encode() + b"\r\n")
            await writer.drain()
            if command == "QUIT":
                writer.close()
                return
            if command == "STARTTLS":
                try:
                    await writer.start_tls(self._tls)
                except OSError:
                    return
                encrypted = True
            try:
                if command == "DATA" and reply.startswith("354"):
                    self.received.append(await reader.readuntil(b"\r\n.\r\n"))
                    command = "."
                else:
                    command = (await reader.readuntil(b"\r\n")).decode().split()[0].upper()
            except (asyncio.IncompleteReadError, ConnectionError):
                return


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def server(certificate: Path) -> Iterator[MailServer]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    running = MailServer(tls)
    yield running
    running.stop()


def mail(server: MailServer, certificate: Path | None) -> SmtpMail:
    sending = email_sending(sender="smtp", smtp_host="localhost", smtp_port=server.port)
    trusting = ssl.create_default_context(cafile=str(certificate)) if certificate else None
    return SmtpMail(sending, "regua", SECRET, trusting)


def test_a_message_arrives_whole(server: MailServer, certificate: Path) -> None:
    outcome = mail(server, certificate).send(email_message(send_at=NOW))
    assert (outcome.answer, outcome.provider_message_id) == (Answer.ACCEPTED, "4XyZ123")
    (received,) = server.received
    assert received.isascii()
    text = received.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")
    parsed = email.message_from_bytes(text, policy=email.policy.default)
    assert parsed["Message-ID"] == "<m-1@nuvemfacil.example>"
    assert parsed["Date"].datetime == NOW.replace(tzinfo=UTC)
    assert parsed["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert parsed["Reply-To"] == "financeiro@nuvemfacil.example"
    plain, rich = parsed.iter_parts()
    assert plain.get_content_type() == "text/plain"
    assert plain.get_content().splitlines()[1] == ".", "a lone dot would have ended the message"
    html, image = rich.iter_parts()
    assert "cid:pix" in html.get_content()
    assert (image["Content-ID"], image.get_content_disposition(), image.get_content()) == ("<pix>", "inline", PNG)


def test_the_same_message_gives_the_same_bytes() -> None:
    sending = email_sending(sender="smtp", smtp_host="localhost")
    first, second = (mime_message(email_message(), sending).as_bytes() for _ in range(2))
    assert first == second
    rendered = replace(email_message().rendered, subject="a\r\nBcc: b@x.example")
    with pytest.raises(ValueError, match=r"(?i)linefeed|header"):
        mime_message(replace(email_message(), rendered=rendered), sending)


@pytest.mark.parametrize(
    ("command", "reply", "answer", "is_address_fault"),
    [
        ("", "554 no", Answer.UNAUTHORISED, False),
        ("", "421 busy", Answer.LIMITED, False),
        ("", None, Answer.NOT_REACHED, False),
        ("", "hang", Answer.NOT_REACHED, False),
        ("STARTTLS", None, Answer.NOT_REACHED, False),
        ("AUTH", "535 5.7.8 no", Answer.UNAUTHORISED, False),
        ("AUTH", "454 4.7.0 later", Answer.LIMITED, False),
        ("MAIL", "530 5.7.0 log in", Answer.UNAUTHORISED, False),
        ("MAIL", "550 5.7.1 not you", Answer.UNAUTHORISED, False),
        ("MAIL", "451 later", Answer.LIMITED, False),
        ("RCPT", "550 5.1.1 nobody of that name", Answer.REJECTED, True),
        ("RCPT", "550 nobody of that name", Answer.REJECTED, True),
        ("RCPT", "552 5.2.2 full", Answer.REJECTED, False),
        ("RCPT", "550 5.7.1 relaying denied", Answer.REJECTED, False),
        ("RCPT", "450 4.2.0 greylisted", Answer.LIMITED, False),
        ("RCPT", "hang", Answer.NOT_REACHED, False),
        ("DATA", "451 later", Answer.LIMITED, False),
        ("DATA", "554 no", Answer.REJECTED, False),
        ("DATA", None, Answer.NOT_REACHED, False),
        (".", None, Answer.UNKNOWN, False),
        (".", "hang", Answer.UNKNOWN, False),
        (".", "452 full", Answer.LIMITED, False),
        (".", "554 5.7.1 spam", Answer.REJECTED, False),
        ("QUIT", None, Answer.ACCEPTED, False),
        ("QUIT", "hang", Answer.ACCEPTED, False),
    ],
)
def test_each_answer(
    server: MailServer, certificate: Path, command: str, reply: str | None, answer: Answer, is_address_fault: bool
) -> None:
    server.replies[command] = reply
    began = time.monotonic()
    outcome = mail(server, certificate).send(email_message())
    assert time.monotonic() - began < 1.5
    assert (outcome.answer, outcome.is_address_fault) == (answer, is_address_fault)
    assert not any(word in f"{outcome}".lower() for word in CANARY_WORDS)


def test_nothing_is_told_without_tls(server: MailServer, certificate: Path) -> None:
    server.has_tls = False
    assert mail(server, certificate).send(email_message()).answer is Answer.UNAUTHORISED
    assert server.received == []


def test_nothing_is_told_to_a_server_nobody_vouches_for(server: MailServer) -> None:
    assert mail(server, None).send(email_message()).answer is Answer.NOT_REACHED
    assert server.received == []


def test_an_address_smtp_cannot_carry(server: MailServer, certificate: Path) -> None:
    message = email_message()
    outcome = mail(server, certificate).send(
        replace(message, content=replace(message.content, address="josé@x.example"))
    )
    assert (outcome.answer, outcome.is_address_fault) == (Answer.REJECTED, True)
