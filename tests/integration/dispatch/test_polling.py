"""Asking the providers: the hostile provider stands in for both, over real connections."""

from __future__ import annotations

import calendar
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from tests.conftest import PROJECT_DIR
from tests.faults.provider_process import ProviderProcess, running_provider
from tests.integration.dispatch.made_plans import TEN, House, RememberingChannel, made_message

from regua.channels.sending import Answer, Outcome
from regua.dispatch.evidence import EventCode, Evidence, record_evidence
from regua.dispatch.polling import poll_evidence, report_evidence
from regua.errors import BusyError, InputError
from regua.ledger.facts import facts_of, read_events
from regua.ledger.messages import MARKS, MESSAGES
from regua.settings import Settings

KEYS = {"SENDGRID_API_KEY": "SG.test", "TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "token"}
NONE = {"bounces": [], "blocks": [], "spam_reports": [], "invalid_emails": [], "unsubscribes": [], "asm": []}


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[ProviderProcess]:
    with running_provider(tmp_path / "accepted.jsonl") as running:
        yield running


def settings_of(house: House, url: str) -> Settings:
    written = yaml.safe_load((PROJECT_DIR / "include/dispatch.yml").read_text(encoding="utf-8"))
    for channel in ("email", "sms", "whatsapp"):
        written["channels"][channel] |= {"api_url": url, "timeout_seconds": 2}
    path = house.folder / "dispatch.yml"
    path.write_text(yaml.safe_dump(written, allow_unicode=True), encoding="utf-8")
    return replace(house.settings, dispatch_path=path)


def epoch(instant: datetime) -> int:
    return calendar.timegm(instant.timetuple())


def suppress(provider: ProviderProcess, **lists: Any) -> None:
    provider.ask("/_suppressions", NONE | lists)


def sent(house: House, customers: int = 1) -> None:
    house.plan(*(made_message(number) for number in range(1, customers + 1)))
    house.send(RememberingChannel())
    with house.engine.begin() as connection:
        connection.execute(sa.update(MESSAGES).values(sender_code="sendgrid"))


def facts(house: House) -> list[tuple[str, str | None]]:
    with house.engine.connect() as connection:
        return [(fact.entity, fact.values["customer_id"]) for fact in facts_of(read_events(connection))]


def test_suppressions_become_facts_once_however_often_they_are_read(house: House, provider: ProviderProcess) -> None:
    sent(house, customers=4)
    at = epoch(house.now)
    suppress(
        provider,
        bounces=[{"email": "Canario1@exemplo.com.br", "created": at}],
        blocks=[{"email": "canario4@exemplo.com.br", "created": at}],
        spam_reports=[{"email": "canario2@exemplo.com.br", "created": at}],
        unsubscribes=[{"email": "estranho@exemplo.com.br", "created": at}],
        asm=[{"email": "canario3@exemplo.com.br", "group_id": 10001, "created_at": at}],
    )
    settings = settings_of(house, provider.url)
    for expected in (3, 0, 0):
        assert poll_evidence(settings, house.clock, KEYS, lambda _: None).suppressions == expected
        house.wait(600)
    assert sorted(facts(house)) == [("consents", "C2"), ("consents", "C3"), ("contact_points", "C1")]
    assert {state.split(":")[0] for state in house.states().values()} == {"accepted"}


def test_the_mark_moves_only_when_all_is_kept(house: House, provider: ProviderProcess) -> None:
    sent(house)
    suppress(provider, bounces=[{"email": "canario1@exemplo.com.br", "created": epoch(house.now)}])
    nowhere = settings_of(house, "http://127.0.0.1:9")
    with pytest.raises(BusyError, match="suppressions"):
        poll_evidence(nowhere, house.clock, KEYS, lambda _: None)
    with house.engine.connect() as connection:
        mark = sa.select(MARKS.c.value).where(MARKS.c.mark_code == "sendgrid_polled")
        assert connection.execute(mark).all() == []
    house.wait(6 * 86_400)
    poll_evidence(settings_of(house, provider.url), house.clock, KEYS, lambda _: None)
    assert facts(house) == [("contact_points", "C1")]


def test_a_message_whose_answer_was_lost_is_found_by_our_own_id(house: House, provider: ProviderProcess) -> None:
    from regua.channels.dispatch_file import read_dispatch_file
    from regua.channels.sendgrid_mail import SendgridMail

    settings = settings_of(house, provider.url)
    house.plan(made_message(1), made_message(2))
    lost = RememberingChannel({f"C{n}": [Outcome(Answer.UNKNOWN, "timeout")] for n in (1, 2)}, sender_code="sendgrid")
    mail = SendgridMail(read_dispatch_file(settings.dispatch_path).channels.email, "SG.test")
    lost.during = lambda outgoing: mail.send(outgoing) if outgoing.content.customer_id == "C1" else None
    house.send(lost)
    with house.engine.begin() as connection:
        connection.execute(sa.update(MESSAGES).values(sender_code="sendgrid"))
    suppress(provider)
    poll = poll_evidence(settings, house.clock, KEYS, lambda _: None)
    assert (poll.asked, poll.recorded.moved) == (2, 1)
    found = {customer: state.split(":")[0] for customer, state in house.states().items()}
    assert found == {"C1": "delivered", "C2": "unknown"}
    assert poll_evidence(settings, house.clock, KEYS, lambda _: None).recorded.new == 0


def test_twilio_is_asked_for_what_it_accepted(house: House, provider: ProviderProcess) -> None:
    from regua.channels.dispatch_file import read_dispatch_file
    from regua.channels.twilio_messages import TwilioMessages

    settings = settings_of(house, provider.url)
    sending = read_dispatch_file(settings.dispatch_path).channels.sms
    twilio: Any = TwilioMessages("sms", sending, KEYS["TWILIO_ACCOUNT_SID"], KEYS["TWILIO_AUTH_TOKEN"])
    house.plan(made_message(1, channel="sms", step="overdue_sms"))
    house.send(twilio, channel="sms")
    with house.engine.begin() as connection:
        connection.execute(sa.update(MESSAGES).values(sender_code="twilio"))
    suppress(provider)
    keys = KEYS | {"SENDGRID_API_KEY": ""}
    assert poll_evidence(settings, house.clock, keys).asked == 0, "what was accepted just now tells of itself"
    house.wait(3600)
    # By this provider's own clock a message is only accepted for its first twentieth of a second.
    time.sleep(0.1)
    assert poll_evidence(settings, house.clock, keys).recorded.moved == 1
    assert house.states() == {"C1": "delivered: delivered"}


def test_where_nobody_is_contacted_nobody_is_asked(house: House) -> None:
    settings = replace(settings_of(house, "http://127.0.0.1:9"), environment="local")
    assert poll_evidence(settings, house.clock, KEYS).asked == 0


def test_without_keys_nothing_is_asked(house: House) -> None:
    sent(house)
    assert poll_evidence(settings_of(house, "http://127.0.0.1:9"), house.clock, {}).asked == 0


def test_accounts_that_show_nothing_are_not_asked_for_every_message(
    house: House, provider: ProviderProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regua.channels.sendgrid_mail import SendgridMail

    monkeypatch.setattr(SendgridMail, "message_status", lambda *_: None)
    sent(house, customers=12)
    suppress(provider)
    house.wait(3600)
    pauses: list[float] = []
    assert poll_evidence(settings_of(house, provider.url), house.clock, KEYS, pauses.append).asked == 3
    assert pauses == [10.0, 10.0]


def test_what_a_person_must_see_is_reported_once(house: House) -> None:
    house.plan(made_message(1), made_message(2))
    house.send(
        RememberingChannel({"C1": [Outcome(Answer.UNKNOWN, "timeout")], "C2": [Outcome(Answer.REJECTED, "400")]})
    )
    assert report_evidence(house.settings, house.clock) == 1
    rejected = house.message_of("C2").message_id
    item = Evidence("remembering", EventCode.DELIVERED, TEN, rejected)
    assert record_evidence(house.engine, [item], house.clock).contradictions == 1
    with pytest.raises(
        InputError, match=rf"prove 1 messages that were held for not sent: {rejected} \(rejected: 400\)"
    ):
        report_evidence(house.settings, house.clock)
    assert report_evidence(house.settings, house.clock) == 1
    house.now += timedelta(hours=25)
    with pytest.raises(InputError, match="1 messages are of unknown fate for a day"):
        report_evidence(house.settings, house.clock)
    assert report_evidence(house.settings, house.clock) == 1


def test_the_provider_of_these_tests_answers(provider: ProviderProcess) -> None:
    """Were it dead, the tests above would prove that nothing is asked."""
    with urllib.request.urlopen(provider.url + "/_log", timeout=5) as answer:  # noqa: S310 - our own loopback
        assert answer.status == 200
