"""What providers call things: codes into ours, numbers as people have them, facts in the form a person's would take."""

from __future__ import annotations

from datetime import datetime

import pytest

from regua.channels.provider_evidence import Fate, FoundMessage, Suppression
from regua.dispatch.evidence_facts import Addressee, EventCode, Evidence, facts_from
from regua.dispatch.provider_events import (
    asks_to_stop,
    found_evidence,
    inbound_evidence,
    suppression_evidence,
    twilio_evidence,
    ways_to_write,
)
from regua.ledger.fact_entry import read_values

NOW = datetime.fromisoformat("2026-06-30 14:00")


@pytest.mark.parametrize("event", [EventCode.BOUNCED, EventCode.COMPLAINED, EventCode.OPTED_OUT])
@pytest.mark.parametrize("channel_code", ["email", "sms", "whatsapp"])
def test_a_fact_has_the_form_that_a_typed_one_would_have(event: EventCode, channel_code: str) -> None:
    """The values are not read again, which takes a twentieth of a second each: so they must be what reading gives."""
    addressee = Addressee(channel_code, "canário@exemplo.com.br", ("C1", "C2"))
    facts = list(facts_from(Evidence("sendgrid", event, NOW, reason="5.1.1"), addressee, NOW))
    assert len(facts) == 2
    for fact in facts:
        assert fact.values == read_values(fact.entity, fact.values, author="evidence", reason=fact.reason)
        assert fact.reason == f"sendgrid {event} 5.1.1"


@pytest.mark.parametrize("channel_code", ["letter", "call"])
def test_a_channel_without_evidence_has_no_dead_address(channel_code: str) -> None:
    addressee = Addressee(channel_code, "Rua A", ("C1",))
    assert list(facts_from(Evidence("x", EventCode.BOUNCED, NOW), addressee, NOW)) == []


def test_of_an_erased_address_nothing_is_said() -> None:
    gone = Addressee("email", None, ("C1",))
    assert list(facts_from(Evidence("sendgrid", EventCode.BOUNCED, NOW), gone, NOW)) == []
    assert len(list(facts_from(Evidence("sendgrid", EventCode.COMPLAINED, NOW), gone, NOW))) == 1


@pytest.mark.parametrize(
    ("text", "stops"),
    [
        ("PARAR", True),
        ("sair", True),
        (" Stop. ", True),
        ("¡PARE!", True),
        ("descadastrar", True),
        ("para", True),
        ("quero parar", False),
        ("PARAR de cobrar, já paguei", False),
        ("sairei amanhã", False),
        ("", False),
        ("🛑", False),
    ],
)
def test_the_words_by_which_people_leave(text: str, stops: bool) -> None:
    assert asks_to_stop(text) is stops


@pytest.mark.parametrize(
    ("number", "ways"),
    [
        ("+5511987654321", ("+5511987654321", "+551187654321")),
        ("+551187654321", ("+5511987654321", "+551187654321")),
        ("+551132654321", ("+551132654321",)),
        ("+14155550123", ("+14155550123",)),
    ],
    ids=["with the ninth digit", "without", "a landline", "abroad"],
)
def test_a_brazilian_mobile_is_written_in_two_ways(number: str, ways: tuple[str, ...]) -> None:
    assert ways_to_write(number) == ways


def test_twilios_own_opt_out_word_is_heard_too() -> None:
    form = {"From": "+5511987654321", "Body": "qualquer", "OptOutType": "STOP"}
    found = inbound_evidence(form, NOW, lambda number: f"hash of {number}")
    assert [(item.address_hash, item.channel_code) for item in found] == [
        ("hash of +5511987654321", "sms"),
        ("hash of +551187654321", "sms"),
    ]
    assert inbound_evidence(form | {"OptOutType": "HELP"}, NOW, lambda number: number) == []


@pytest.mark.parametrize(
    ("list_code", "event"),
    [
        ("bounces", EventCode.BOUNCED),
        ("invalid_emails", EventCode.BOUNCED),
        ("spam_reports", EventCode.COMPLAINED),
        ("unsubscribes", EventCode.OPTED_OUT),
        ("unsubscribe_group", EventCode.OPTED_OUT),
        ("blocks", None),
        ("a list of tomorrow", None),
    ],
)
def test_what_each_list_of_sendgrids_means(list_code: str, event: EventCode | None) -> None:
    found = suppression_evidence(Suppression(list_code, "a@b.co", NOW), lambda address: "hash")
    assert (found.event_code if found else None) == event
    assert suppression_evidence(Suppression(list_code, "a@b.co", NOW), lambda address: None) is None


@pytest.mark.parametrize(
    ("sender_code", "fate", "reason", "event"),
    [
        ("twilio", Fate.IN_TRANSIT, None, EventCode.PROCESSED),
        ("twilio", Fate.DELIVERED, None, EventCode.DELIVERED),
        ("twilio", Fate.BOUNCED, "twilio_30005", EventCode.BOUNCED),
        ("twilio", Fate.BOUNCED, "twilio_30003", EventCode.FAILED),
        # Its activity does not say whether a bounce is for good; its list of bounces does.
        ("sendgrid", Fate.BOUNCED, None, EventCode.FAILED),
        ("twilio", Fate.CANCELLED, None, None),
    ],
)
def test_what_an_answer_to_a_question_proves(
    sender_code: str, fate: Fate, reason: str | None, event: EventCode | None
) -> None:
    found = found_evidence(sender_code, "m-1", FoundMessage("id", fate, reason))
    assert (found.event_code if found else None) == event
    assert found is None or found.occurred_at is None


@pytest.mark.parametrize(
    "form",
    [{}, {"MessageStatus": "delivered"}, {"MessageStatus": "canceled", "MessageSid": "SM1"}, {"MessageSid": "SM1"}],
)
def test_a_callback_that_says_nothing_is_none(form: dict[str, str]) -> None:
    assert twilio_evidence(form, "m-1") is None


def test_a_callbacks_own_id_is_taken_only_if_it_is_one() -> None:
    form = {"MessageStatus": "sent", "MessageSid": "SM1", "ErrorCode": "'; --"}
    found = twilio_evidence(form, "x" * 65)
    assert found is not None
    assert (found.message_id, found.reason) == (None, None)
