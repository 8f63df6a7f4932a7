"""What a message's fate is, for everything a provider and the network can do to it (reliability, outcomes)."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from tests.faults.provider_process import ProviderProcess, running_provider
from tests.integration.channels.made_messages import (
    ACCOUNT_SID,
    CANARY_WORDS,
    NOW,
    SECRET,
    email,
    email_sending,
    sms,
    twilio_sending,
    whatsapp,
    whatsapp_sending,
)

from regua.channels.answers import pause_seconds
from regua.channels.provider_evidence import Fate
from regua.channels.provider_http import ProviderHttp, Reply
from regua.channels.sendgrid_mail import SendgridMail
from regua.channels.sending import Answer, Channel, Outgoing
from regua.channels.twilio_messages import TwilioMessages
from regua.errors import BusyError, InputError
from regua.instants import utc_clock

# Behaviour, what the client must conclude, and whether the provider has the message.
CASES = [
    ("ok", Answer.ACCEPTED, True),
    ("slow", Answer.ACCEPTED, True),
    ("cut_body", Answer.ACCEPTED, True),
    ("limited", Answer.LIMITED, False),
    ("limited_until", Answer.LIMITED, False),
    ("limited_badly", Answer.LIMITED, False),
    ("bad_address", Answer.REJECTED, False),
    ("bad_request", Answer.REJECTED, False),
    ("unauthorised", Answer.UNAUTHORISED, False),
    ("forbidden", Answer.UNAUTHORISED, False),
    ("error_before", Answer.UNKNOWN, False),
    ("error_after", Answer.UNKNOWN, True),
    ("hang_before", Answer.UNKNOWN, False),
    ("hang_after", Answer.UNKNOWN, True),
    ("delayed", Answer.UNKNOWN, True),
    ("reset_before", Answer.UNKNOWN, False),
    ("reset_after", Answer.UNKNOWN, True),
    ("cut_status", Answer.UNKNOWN, True),
    ("dripping", Answer.UNKNOWN, True),
]
CHANNELS = ("email", "sms", "whatsapp")


def channel_and_message(channel_code: str, url: str, message_id: str) -> tuple[Channel, Outgoing]:
    if channel_code == "email":
        return SendgridMail(email_sending(url), SECRET), email(message_id)
    if channel_code == "sms":
        return TwilioMessages("sms", twilio_sending(url), ACCOUNT_SID, SECRET), sms(message_id)
    return TwilioMessages("whatsapp", whatsapp_sending(url), ACCOUNT_SID, SECRET), whatsapp(message_id)


@pytest.mark.parametrize("channel_code", CHANNELS)
@pytest.mark.parametrize(("behaviour", "answer", "is_taken"), CASES, ids=[case[0] for case in CASES])
def test_each_answer(
    provider: ProviderProcess, channel_code: str, behaviour: str, answer: Answer, is_taken: bool
) -> None:
    """Nothing that was taken is ever said to be untaken; every call ends by its deadline."""
    message_id = f"{channel_code}-{behaviour}"
    provider.script({message_id: [behaviour]})
    channel, outgoing = channel_and_message(channel_code, provider.url, message_id)
    began = time.monotonic()
    outcome = channel.send(outgoing)
    assert time.monotonic() - began < 1.5
    assert outcome.answer is answer
    if behaviour in ("ok", "slow") or (behaviour == "cut_body" and channel_code == "email"):
        assert outcome.provider_message_id
    if answer is Answer.LIMITED and behaviour != "limited_badly":
        assert 1 <= (outcome.retry_after_seconds or 0) <= 3
    if behaviour == "limited_badly":
        assert outcome.retry_after_seconds is None
    assert outcome.is_address_fault is (behaviour == "bad_address")
    deadline = time.monotonic() + 3
    while is_taken and message_id not in provider.taken() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert provider.taken().count(message_id) == int(is_taken)
    assert not any(word in f"{outcome}".lower() for word in CANARY_WORDS)


@pytest.mark.parametrize("channel_code", CHANNELS)
def test_refused_before_any_byte(channel_code: str) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        channel, outgoing = channel_and_message(channel_code, url, "m-1")
        outcome = channel.send(outgoing)
    assert (outcome.answer, outcome.reason) == (Answer.NOT_REACHED, "ConnectionRefusedError")


@pytest.mark.parametrize("channel_code", CHANNELS)
def test_a_name_that_does_not_resolve(channel_code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unresolved(*_arguments: object, **_keywords: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    channel, outgoing = channel_and_message(channel_code, "https://provider.example", "m-1")
    assert channel.send(outgoing).answer is Answer.NOT_REACHED


@pytest.mark.parametrize("channel_code", CHANNELS)
def test_tls_that_fails(provider: ProviderProcess, channel_code: str) -> None:
    """The server speaks no TLS: the handshake fails, and no byte of the request has left."""
    channel, outgoing = channel_and_message(channel_code, provider.url.replace("http:", "https:"), "m-tls")
    assert channel.send(outgoing).answer is Answer.NOT_REACHED
    assert "m-tls" not in provider.taken()


def test_the_certificate_is_looked_at() -> None:
    context = ProviderHttp("https://provider.example", 1)._tls
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_connection_the_server_closed_meanwhile_leaves_no_unknown() -> None:
    """Kept connections die while idle: writing into one would leave a message unknown that nobody ever got."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        served: list[bytes] = []

        def serve() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                with connection:
                    served.append(connection.recv(65536))
                    connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        http = ProviderHttp(f"http://127.0.0.1:{server.getsockname()[1]}", 2)
        for _ in range(2):
            assert http.request("POST", "/", {}, b"x").status == 202
            time.sleep(0.1)
        thread.join()
    assert len(served) == 2


def test_connections_are_kept(provider: ProviderProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", lambda sock, where: (opened.append(where), connect(sock, where))[1])
    channel, outgoing = channel_and_message("email", provider.url, "kept")
    for number in range(5):
        assert channel.send(replace(outgoing, send_at=NOW + timedelta(minutes=number))).answer is Answer.ACCEPTED
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "Tue, 30 Jun 2026 12:00:30 GMT"}, 30),
        ({"X-RateLimit-Reset": "1782820860"}, 60),
        ({"Retry-After": "Tue, 30 Jun 2026 11:00:00 GMT"}, 0),
        ({"Retry-After": "99999999"}, 900),
        ({"X-RateLimit-Reset": "99999999999"}, 900),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf", "X-RateLimit-Reset": "1782820860"}, 60),
        ({"Retry-After": "Tue, 99 Jun 99999 12:00:30 GMT"}, None),
        ({"X-RateLimit-Reset": "1e9"}, None),
        ({}, None),
    ],
)
def test_the_pause_a_provider_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    reply = Reply(429, _message(headers), b"")
    assert pause_seconds(reply.headers, NOW) == seconds


def _message(headers: dict[str, str]):
    from email.message import Message

    made = Message()
    for name, value in headers.items():
        made[name] = value
    return made


@pytest.mark.parametrize("channel_code", CHANNELS)
def test_no_personal_data_and_no_secret_in_any_log(
    provider: ProviderProcess, channel_code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The SendGrid client logs payload and key at DEBUG; nothing of it may come out, whatever level somebody sets."""
    loggers = ("python_http_client", "python_http_client.client", "urllib3", "twilio", "twilio.http_client", "regua")
    for name in (None, *loggers):
        caplog.set_level(logging.DEBUG, logger=name)
    for behaviour in ("ok", "bad_address", "error_after", "reset_after"):
        message_id = f"log-{channel_code}-{behaviour}"
        provider.script({message_id: [behaviour]})
        channel, outgoing = channel_and_message(channel_code, provider.url, message_id)
        channel.send(outgoing)
    assert not [
        record for record in caplog.records if any(word in record.getMessage().lower() for word in CANARY_WORDS)
    ]


# SendGrid: held, recalled, looked up


def due(minutes: float) -> datetime:
    return utc_clock() + timedelta(minutes=minutes)


def test_a_held_batch_is_recalled(provider: ProviderProcess) -> None:
    mail = SendgridMail(email_sending(provider.url), SECRET)
    kept, recalled = mail.open_batch(), mail.open_batch()
    for message_id, batch_id in (("held-kept", kept), ("held-recalled", recalled)):
        assert mail.send(email(message_id, send_at=due(45), batch_id=batch_id)).answer is Answer.ACCEPTED
    assert recalled is not None
    assert mail.recall(recalled)
    assert mail.recall(recalled), "a repetition is confirmed as well"
    out = provider.released(time.time() + 3600)
    assert ("held-kept" in out, "held-recalled" in out) == (True, False)


def test_too_late_or_too_many_is_not_called_recalled(tmp_path) -> None:
    """SendGrid refuses within 10 minutes of `send_at` and beyond 10 batches at one time."""
    with running_provider(tmp_path / "log.jsonl") as provider:
        mail = SendgridMail(email_sending(provider.url), SECRET)
        late = mail.open_batch()
        mail.send(email("late", send_at=due(5), batch_id=late))
        assert late is not None
        assert not mail.recall(late)
        batches = [mail.open_batch() or "" for _ in range(11)]
        for number, batch_id in enumerate(batches):
            mail.send(email(f"many-{number}", send_at=due(45), batch_id=batch_id))
        assert [mail.recall(batch_id) for batch_id in batches] == [True] * 10 + [False]


def test_a_batch_that_cannot_be_had() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        mail = SendgridMail(email_sending(f"http://127.0.0.1:{bound.getsockname()[1]}"), SECRET)
        with pytest.raises(BusyError):
            mail.open_batch()
        assert not mail.recall("batch")


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, InputError), (403, InputError), (400, InputError), (429, BusyError), (500, BusyError), (201, BusyError)],
)
def test_a_batch_that_is_refused(status: int, error: type[Exception], fixed_reply) -> None:
    """201 without an id in it is no batch either."""
    with pytest.raises(error):
        SendgridMail(email_sending(fixed_reply(status)), SECRET).open_batch()


@pytest.fixture
def fixed_reply() -> Iterator[object]:
    servers: list[socket.socket] = []

    def start(status: int) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(f"HTTP/1.1 {status} Word\r\nContent-Length: 2\r\n\r\n{{}}".encode())

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}"

    yield start
    for server in servers:
        server.close()


def test_what_became_of_an_email(provider: ProviderProcess) -> None:
    mail = SendgridMail(email_sending(provider.url), SECRET)
    sent = mail.send(email("seen"))
    provider.script({"lost": ["reset_after"]})
    assert mail.send(email("lost")).answer is Answer.UNKNOWN
    held = mail.send(email("seen-held", send_at=due(45), batch_id=mail.open_batch()))
    assert sent.provider_message_id is not None
    assert held.provider_message_id is not None
    found = mail.message_status(sent.provider_message_id)
    assert found is not None
    assert found.fate is Fate.DELIVERED
    found = mail.message_status(held.provider_message_id)
    assert found is not None
    assert found.fate is Fate.IN_TRANSIT
    found = mail.sent_message("lost")
    assert found is not None, "our own id finds a message whose answer was lost"
    assert mail.sent_message("never") is None
    assert mail.message_status("never' OR 1=1") is None


def test_accounts_without_email_activity_know_nothing(tmp_path) -> None:
    with running_provider(tmp_path / "log.jsonl", "--no-activity") as provider:
        mail = SendgridMail(email_sending(provider.url), SECRET)
        outcome = mail.send(email("seen"))
        assert outcome.provider_message_id is not None
        assert mail.message_status(outcome.provider_message_id) is None


def test_suppressions_are_read_page_by_page(provider: ProviderProcess) -> None:
    since = datetime.fromisoformat("2026-01-01")
    old, new = 1_700_000_000, 1_780_000_000
    bounces = [{"email": f"b{number}@x.example", "created": new, "reason": "x"} for number in range(1001)]
    provider.ask(
        "/_suppressions",
        {
            "bounces": [*bounces, {"email": "old@x.example", "created": old}],
            "spam_reports": [{"email": "spam@x.example", "created": new}],
            "asm": [
                {"email": "out@x.example", "group_id": 10001, "created_at": new},
                {"email": "old-out@x.example", "group_id": 10001, "created_at": old},
                {"email": "other@x.example", "group_id": 7, "created_at": new},
            ],
        },
    )
    found = list(SendgridMail(email_sending(provider.url), SECRET).suppressions(since))
    by_list = {
        code: [each.address for each in found if each.list_code == code] for code in {e.list_code for e in found}
    }
    assert len(by_list["bounces"]) == len(set(by_list["bounces"])) == 1001
    assert by_list["spam_reports"] == ["spam@x.example"]
    assert by_list["unsubscribe_group"] == ["out@x.example"]


# Twilio: scheduled, recalled one by one, looked up


def test_a_scheduled_sms_is_recalled_and_looked_up(provider: ProviderProcess) -> None:
    texts = TwilioMessages("sms", twilio_sending(provider.url), ACCOUNT_SID, SECRET)
    outcome = texts.send(sms("scheduled", send_at=due(45)))
    assert outcome.provider_message_id is not None
    found = texts.message_status(outcome.provider_message_id)
    assert found is not None
    assert found.fate is Fate.IN_TRANSIT
    assert "scheduled" not in provider.released(time.time())
    assert texts.recall_message(outcome.provider_message_id)
    found = texts.message_status(outcome.provider_message_id)
    assert found is not None
    assert found.fate is Fate.CANCELLED
    assert "scheduled" not in provider.released(time.time() + 3600)
    sent = texts.send(sms("at-once"))
    assert sent.provider_message_id is not None
    assert not texts.recall_message(sent.provider_message_id)
    assert texts.message_status("SM" + "f" * 32) is None


def test_opted_out_is_of_the_address(provider: ProviderProcess) -> None:
    provider.script({"stop": ["opted_out"]})
    outcome = TwilioMessages("sms", twilio_sending(provider.url), ACCOUNT_SID, SECRET).send(sms("stop"))
    assert (outcome.answer, outcome.reason, outcome.is_address_fault) == (Answer.REJECTED, "twilio_21610", True)


def test_what_twilio_would_refuse_does_not_leave() -> None:
    """No server is there: an attempt would be NOT_REACHED."""
    nowhere = "http://127.0.0.1:1"
    unapproved = TwilioMessages("whatsapp", whatsapp_sending(nowhere, content_sids={}), ACCOUNT_SID, SECRET)
    outcome = unapproved.send(whatsapp())
    assert (outcome.answer, outcome.reason) == (Answer.REJECTED, "no_approved_template")
    texts = TwilioMessages("sms", twilio_sending(nowhere), ACCOUNT_SID, SECRET)
    for address in ("11931415926", "messenger:123", "+55 11 93141-5926", ""):
        message = sms()
        outcome = texts.send(replace(message, content=replace(message.content, address=address)))
        assert (outcome.reason, outcome.is_address_fault) == ("address_not_e164", True)
