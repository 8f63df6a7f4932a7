"""The receiver with real signatures: nothing unsigned is stored, nothing signed is lost, nothing personal is logged."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import sqlalchemy as sa
import yaml
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI
from standardwebhooks.webhooks import Webhook
from tests.conftest import PROJECT_DIR
from tests.integration.dispatch.made_plans import House, RememberingChannel, made_message
from twilio.request_validator import RequestValidator

from regua.channels.sending import Answer, Outcome
from regua.dispatch.receiver import receiver_app
from regua.errors import InputError
from regua.ledger.facts import facts_of, read_events
from regua.ledger.messages import EVIDENCE, PAYMENT_NOTICES

PUBLIC = "https://hooks.exemplo.com.br/regua/twilio/status"
TOKEN = "twilio-token-of-a-test"
SECRET = "whsec_" + base64.b64encode(b"a secret of payments").decode()
KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC_KEY = base64.b64encode(
    KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
).decode()
VECTORS = PROJECT_DIR.parent / "shared/data/vectors/standard_webhooks.json"
CANARIES = ("canario", "@exemplo", "55119")


@dataclass
class Door:
    """The receiver of a house, with everybody's keys."""

    house: House
    app: FastAPI

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> int:
        async def posted() -> int:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=True)
            async with httpx.AsyncClient(transport=transport, base_url="http://receiver") as client:
                return (await client.post(path, content=body, headers=dict(headers))).status_code

        return asyncio.run(posted())

    def get(self, path: str) -> int:
        async def got() -> int:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://receiver") as client:
                return (await client.get(path)).status_code

        return asyncio.run(got())

    def sendgrid(self, *events: Mapping[str, Any], at: datetime | None = None, **changed: Any) -> int:
        body = changed.get("body", json.dumps(events).encode())
        timestamp = changed.get("timestamp", str(epoch(at or self.house.now)))
        signature = KEY.sign(timestamp.encode() + changed.get("signed", body), ec.ECDSA(hashes.SHA256()))
        headers = {
            "X-Twilio-Email-Event-Webhook-Signature": changed.get("signature", base64.b64encode(signature).decode()),
            "X-Twilio-Email-Event-Webhook-Timestamp": timestamp,
        }
        return self.post("/sendgrid/events", body, headers)

    def twilio(self, ending: str, query: str = "", token: str = TOKEN, public: str = PUBLIC, **form: str) -> int:
        url = public.replace("/status", f"/{ending}") + (f"?{query}" if query else "")
        headers = {
            "X-Twilio-Signature": RequestValidator(token).compute_signature(url, form),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return self.post(f"/twilio/{ending}" + (f"?{query}" if query else ""), urlencode(form).encode(), headers)

    def pay(self, body: bytes, secret: str = SECRET, at: float | None = None) -> int:
        # The library asks the machine's clock.
        moment = datetime.fromtimestamp(at if at is not None else time.time(), UTC)
        signature = Webhook(secret).sign("msg_1", moment.replace(tzinfo=UTC), body.decode())
        headers = {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": signature,
        }
        return self.post("/payments", body, headers)

    def evidence(self) -> list[str]:
        with self.house.engine.connect() as connection:
            return sorted(connection.execute(sa.select(EVIDENCE.c.event_code)).scalars())

    def facts(self) -> list[tuple[Any, ...]]:
        with self.house.engine.connect() as connection:
            return [
                (fact.entity, fact.values["customer_id"], fact.values.get("channel_code"))
                for fact in facts_of(read_events(connection))
            ]


def epoch(instant: datetime) -> int:
    return int(instant.replace(tzinfo=UTC).timestamp())


def configured(folder: Path, **email: Any) -> Path:
    written = yaml.safe_load((PROJECT_DIR / "include/dispatch.yml").read_text(encoding="utf-8"))
    written["channels"]["email"] |= {"event_webhook_key": PUBLIC_KEY} | email
    for channel in ("sms", "whatsapp"):
        written["channels"][channel]["status_callback_url"] = PUBLIC
    path = folder / "dispatch.yml"
    path.write_text(yaml.safe_dump(written, allow_unicode=True), encoding="utf-8")
    return path


@pytest.fixture
def door(house: House) -> Door:
    settings = replace(house.settings, dispatch_path=configured(house.folder))
    environ = {"TWILIO_AUTH_TOKEN": TOKEN, "REGUA_PAYMENTS_SECRET": SECRET}
    return Door(house, receiver_app(settings, environ, house.clock))


@pytest.fixture(autouse=True)
def _no_canary_in_any_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    told = "\n".join(record.getMessage() + str(record.exc_info or "") for record in caplog.records).lower()
    assert [canary for canary in CANARIES if canary in told] == []


def sent(house: House, channel: str = "email", provider_id: str = "14c5d75ce93", sender: str = "sendgrid") -> str:
    """A message that was accepted; answers its id."""
    house.plan(made_message(1, channel=channel, step=f"overdue_{channel}"))
    outbox = house.outbox

    def named(*arguments: Any, **given: Any) -> Any:
        box = outbox(*arguments, **given)
        box._sender_code = sender
        return box

    house.outbox = named  # type: ignore[method-assign]
    house.send(RememberingChannel({"C1": [Outcome(Answer.ACCEPTED, "", provider_id)]}), channel=channel)
    return str(house.message_of("C1").message_id)


def event(kind: str, message_id: str | None, house: House, **more: Any) -> dict[str, Any]:
    told = {
        "email": "canario1@exemplo.com.br",
        "timestamp": epoch(house.now) + 60,
        "event": kind,
        "sg_event_id": f"id-{kind}",
        "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
        "smtp-id": "<14c5d75ce93.dfd.64b469@ismtpd-555>",
        "step_code": "overdue_email",
        **more,
    }
    return told | ({"message_id": message_id} if message_id else {})


class TestSendgrid:
    def test_a_batch_is_applied_and_a_retry_with_new_event_ids_changes_nothing(self, door: Door) -> None:
        message_id = sent(door.house)
        batch = [event("processed", message_id, door.house), event("delivered", message_id, door.house)]
        assert door.sendgrid(*batch) == 204
        assert door.house.states() == {"C1": "delivered: delivered"}
        again = [each | {"sg_event_id": "another"} for each in batch]
        assert door.sendgrid(*again) == 204
        assert door.evidence() == ["delivered", "processed"]

    def test_events_without_our_id_are_known_by_the_providers(self, door: Door) -> None:
        sent(door.house)
        assert door.sendgrid(event("delivered", None, door.house)) == 204
        assert door.house.states() == {"C1": "delivered: delivered"}

    @pytest.mark.parametrize(
        ("told", "state", "facts"),
        [
            ({"event": "bounce", "type": "bounce", "status": "5.1.1", "reason": "550 canario1@exemplo.com.br"},
             "bounced: 5.1.1", [("contact_points", "C1", None)]),
            ({"event": "bounce", "type": "blocked", "status": "4.7.1", "reason": "listed"}, "dropped: 4.7.1", []),
            ({"event": "dropped", "reason": "Bounced Address"}, "dropped: bounced_address",
             [("contact_points", "C1", None)]),
            ({"event": "dropped", "reason": "Spam Content (score 9)"}, "dropped: spam_content", []),
            ({"event": "dropped", "reason": "canario1@exemplo.com.br"}, "dropped: other", []),
            ({"event": "deferred", "response": "canario1@exemplo.com.br busy", "attempt": "5"}, "accepted", []),
            ({"event": "spamreport"}, "delivered: complained", [("consents", "C1", "email")]),
            ({"event": "unsubscribe"}, "accepted", [("consents", "C1", "email")]),
            ({"event": "group_unsubscribe", "asm_group_id": 10001}, "accepted", [("consents", "C1", "email")]),
            ({"event": "group_unsubscribe", "asm_group_id": 7}, "accepted", []),
            ({"event": "open"}, "accepted", []),
        ],
        ids=lambda value: value.get("event") if isinstance(value, dict) else None,
    )  # fmt: skip
    def test_each_event_means_what_it_says(
        self, door: Door, told: dict[str, Any], state: str, facts: list[Any]
    ) -> None:
        message_id = sent(door.house)
        assert door.sendgrid(event("x", message_id, door.house) | told) == 204
        assert door.house.states() == {"C1": state}
        assert door.facts() == facts

    @pytest.mark.parametrize(
        "changed",
        [
            {"signed": b"[]"},
            {"signature": "bm90IGEgc2lnbmF0dXJl"},
            {"signature": "%%%"},
            {"signature": ""},
            {"timestamp": "yesterday"},
            {"timestamp": ""},
            {"body": b"\xff\xfe"},
        ],
        ids=["another body", "no signature of that kind", "no base64", "none", "no number", "no time", "no text"],
    )
    def test_what_is_not_signed_is_refused_and_not_stored(self, door: Door, changed: dict[str, Any]) -> None:
        message_id = sent(door.house)
        assert door.sendgrid(event("delivered", message_id, door.house), **changed) == 403
        assert door.evidence() == []

    @pytest.mark.parametrize(("minutes", "answer"), [(-6, 403), (-4, 204), (4, 204), (6, 403)])
    def test_a_replay_after_five_minutes_is_refused(self, door: Door, minutes: int, answer: int) -> None:
        message_id = sent(door.house)
        at = door.house.now + timedelta(minutes=minutes)
        assert door.sendgrid(event("delivered", message_id, door.house), at=at) == answer

    @pytest.mark.parametrize("body", [b"{", b"{}", b"[1]", b"null", b"[" * 100_000])
    def test_what_is_signed_and_no_list_of_events_is_malformed(self, door: Door, body: bytes) -> None:
        assert door.sendgrid(body=body) == 400

    def test_one_event_nobody_can_use_does_not_cost_the_others(self, door: Door) -> None:
        message_id = sent(door.house)
        odd = [{}, {"event": 7}, event("delivered", message_id, door.house, timestamp="soon"),
               event("delivered", "x" * 300, door.house, sg_message_id="é")]  # fmt: skip
        assert door.sendgrid(*odd, event("delivered", message_id, door.house)) == 204
        assert door.evidence() == ["delivered"]

    def test_a_body_without_end_is_not_read_to_its_end(self, door: Door) -> None:
        assert door.sendgrid(body=b" " * ((1 << 22) + 1)) == 413


class TestTwilio:
    SID = "SM" + "a" * 32

    def test_a_callback_settles_a_message_whose_answer_was_lost(self, door: Door) -> None:
        message_id = sent(door.house, "sms", sender="twilio")
        query = urlencode({"message_id": message_id})
        assert door.twilio("status", query, MessageSid=self.SID, MessageStatus="sent", To="+5511900000001") == 204
        assert door.twilio("status", query, MessageSid=self.SID, MessageStatus="delivered", To="+5511900000001") == 204
        assert door.twilio("status", query, MessageSid=self.SID, MessageStatus="sent", To="+5511900000001") == 204
        assert door.house.states() == {"C1": "delivered: delivered"}
        assert door.evidence() == ["delivered", "processed"]

    @pytest.mark.parametrize(
        ("error", "state", "facts"),
        [
            ("30005", "bounced", [("contact_points", "C1", None)]),
            ("30006", "dropped", []),
            ("21610", "dropped", [("consents", "C1", "sms")]),
            ("30003", "dropped", []),
        ],
    )
    def test_a_failure_is_what_its_code_says(self, door: Door, error: str, state: str, facts: list[Any]) -> None:
        message_id = sent(door.house, "sms", sender="twilio")
        status = {"MessageSid": self.SID, "MessageStatus": "undelivered", "ErrorCode": error}
        assert door.twilio("status", f"message_id={message_id}", **status) == 204
        assert door.house.states() == {"C1": f"{state}: twilio_{error}"}
        assert door.facts() == facts

    def test_the_query_is_signed_too(self, door: Door) -> None:
        message_id = sent(door.house, "sms", sender="twilio")
        form = {"MessageSid": self.SID, "MessageStatus": "delivered"}
        signature = RequestValidator(TOKEN).compute_signature(f"{PUBLIC}?message_id=another", form)
        path = f"/twilio/status?message_id={message_id}"
        assert door.post(path, urlencode(form).encode(), {"X-Twilio-Signature": signature}) == 403
        assert door.twilio("status", token="wrong", MessageSid=self.SID, MessageStatus="sent") == 403
        assert door.twilio("status", public="https://other.example/twilio/status", MessageStatus="sent") == 403
        assert door.evidence() == []

    @pytest.mark.parametrize("text", ["PARAR", "  parar. ", "Sair", "STOP", "Pare!", "descadastrar"])
    def test_who_answers_stop_is_left_in_peace(self, door: Door, text: str) -> None:
        sent(door.house, "sms", sender="twilio")
        number = "+5511900000001"
        assert door.twilio("inbound", From=number, Body=text, MessageSid=self.SID) == 204
        assert door.twilio("inbound", From=number, Body=text, MessageSid=self.SID) == 204
        assert door.facts() == [("consents", "C1", "sms")]

    @pytest.mark.parametrize("text", ["já paguei", "não vou parar de usar", "", "obrigado"])
    def test_other_words_are_not_ours(self, door: Door, text: str) -> None:
        sent(door.house, "sms", sender="twilio")
        assert door.twilio("inbound", From="+5511900000001", Body=text, MessageSid=self.SID) == 204
        assert door.facts() == []

    def test_whatsapp_writes_brazilian_numbers_without_their_ninth_digit(self, door: Door) -> None:
        door.house.plan(made_message(1, channel="whatsapp", step="w", address="+5511987654321"))
        assert door.twilio("inbound", From="whatsapp:+551187654321", Body="sair", MessageSid=self.SID) == 204
        assert door.facts() == [("consents", "C1", "whatsapp")]

    def test_a_number_nobody_wrote_to_is_no_trouble(self, door: Door) -> None:
        assert door.twilio("inbound", From="+5511999999999", Body="SAIR", MessageSid=self.SID) == 204
        assert (door.facts(), door.evidence()) == ([], [])


class TestPayments:
    BODY = json.dumps({"payment_id": "PAY-9", "invoice_id": "I1"}).encode()

    def notices(self, door: Door) -> list[tuple[str, str, str]]:
        with door.house.engine.connect() as connection:
            columns = (PAYMENT_NOTICES.c.notice_id, PAYMENT_NOTICES.c.invoice_id, PAYMENT_NOTICES.c.origin_code)
            return [tuple(row) for row in connection.execute(sa.select(*columns))]

    def test_a_payment_stops_the_message_of_the_day(self, door: Door) -> None:
        door.house.plan(made_message(1), made_message(2))
        assert [door.pay(self.BODY), door.pay(self.BODY)] == [204, 204]
        assert self.notices(door) == [("PAY-9", "I1", "webhook")]
        door.house.send(provider := RememberingChannel())
        assert provider.customers == ["C2"]
        assert door.house.states()["C1"] == "cancelled_paid: payment_received"

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"webhook-id": "1", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"},
            {"webhook-id": "1", "webhook-timestamp": str(int(time.time())), "webhook-signature": "nonsense"},
            {"webhook-id": "1", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,%%%"},
        ],
    )
    def test_without_a_right_signature_nothing_is_noted(self, door: Door, headers: dict[str, str]) -> None:
        assert door.post("/payments", self.BODY, headers) == 403
        assert self.notices(door) == []

    def test_another_secret_and_an_old_signature_are_refused(self, door: Door) -> None:
        assert door.pay(self.BODY, secret="whsec_" + base64.b64encode(b"other").decode()) == 403
        assert door.pay(self.BODY, at=time.time() - 400) == 403
        assert self.notices(door) == []

    @pytest.mark.parametrize(
        "body",
        [b"{}", b"[]", b"no", b'{"payment_id": "P 1", "invoice_id": "I1"}', b'{"payment_id": 1, "invoice_id": "I1"}'],
    )
    def test_a_payment_of_nothing_is_malformed(self, door: Door, body: bytes) -> None:
        assert door.pay(body) == 400

    @pytest.mark.skipif(not VECTORS.is_file(), reason="the published vectors of Standard Webhooks are not here")
    def test_the_published_vector_is_signed_as_ours_are(self) -> None:
        vector = json.loads(VECTORS.read_text(encoding="utf-8"))["vetor"]
        moment = datetime.fromtimestamp(vector["webhook-timestamp"], UTC)
        signed = Webhook(vector["secret"]).sign(vector["webhook-id"], moment, vector["payload"])
        assert signed == vector["webhook-signature"]


def test_a_ledger_that_cannot_be_written_asks_to_be_told_again(door: Door) -> None:
    """The provider repeats what gets 503; a 2xx without a commit would lose it."""
    message_id = sent(door.house)
    with door.house.engine.begin() as connection:
        connection.execute(sa.text("alter table evidence_events rename to gone"))
    assert door.sendgrid(event("delivered", message_id, door.house)) == 503
    with door.house.engine.begin() as connection:
        connection.execute(sa.text("alter table gone rename to evidence_events"))
    assert door.sendgrid(event("delivered", message_id, door.house)) == 204
    assert door.evidence() == ["delivered"]


def test_health_is_the_ledgers(door: Door, tmp_path: Path) -> None:
    assert door.get("/health") == 204
    nowhere = replace(
        door.house.settings,
        dispatch_path=tmp_path / "dispatch.yml",
        ledger_url="postgresql://nobody:secret@127.0.0.1:1/ledger",
    )
    assert Door(door.house, receiver_app(nowhere, {}, door.house.clock)).get("/health") == 503


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/"])
def test_it_shows_nothing_else(door: Door, path: str) -> None:
    assert door.get(path) == 404


def test_what_is_not_set_up_refuses_everything(house: House) -> None:
    path = configured(house.folder, event_webhook_key=None)
    door = Door(house, receiver_app(replace(house.settings, dispatch_path=path), {}, house.clock))
    answers: list[Callable[[], int]] = [
        lambda: door.sendgrid({"event": "delivered"}),
        lambda: door.twilio("status", MessageStatus="sent"),
        lambda: door.twilio("inbound", Body="STOP"),
        lambda: door.pay(b"{}"),
    ]
    assert [answer() for answer in answers] == [403] * 4


@pytest.mark.parametrize(
    ("key", "secret", "complaint"),
    [
        ("bm9uZQ==", "", "event_webhook_key is no public key"),
        (PUBLIC_KEY, "whsec_", "REGUA_PAYMENTS_SECRET is no secret"),
    ],
    ids=["webhook key", "payments secret"],
)
def test_a_key_that_is_none_does_not_start(tmp_path: Path, key: str, secret: str, complaint: str) -> None:
    from regua.settings import load_settings

    path = configured(tmp_path, event_webhook_key=key)
    settings = replace(load_settings({"REGUA_HOME": str(tmp_path)}), dispatch_path=path)
    with pytest.raises(InputError, match=complaint):
        receiver_app(settings, {"REGUA_PAYMENTS_SECRET": secret})
