"""What providers say afterwards: applied once, in any order, and never against what it proves."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.integration.dispatch.made_plans import DAY, House, RememberingChannel, made_message

from regua.channels.sending import Answer, Outcome
from regua.dispatch.evidence import (
    EventCode,
    Evidence,
    Recorded,
    address_hasher,
    link_orphans,
    record_evidence,
    settle,
    unknowns,
)
from regua.dispatch.recalling import recall
from regua.errors import InputError
from regua.ledger.event_log import broken_link
from regua.ledger.facts import Fact, change_fact, facts_of, read_events
from regua.ledger.messages import EVIDENCE, MESSAGES, State

AT = datetime.fromisoformat("2026-06-30 14:00")


def evidence(event: str, message: Any = None, minute: int = 0, **given: Any) -> Evidence:
    """By our own id, of a moment after the sending."""
    given = {"message_id": message.message_id if message is not None else None} | given
    return Evidence("remembering", EventCode(event), AT + timedelta(minutes=minute), **given)


def sent(house: House, *outcomes: Outcome, customers: int = 1, **made: Any) -> None:
    """Messages of which the first were answered as told, and the others accepted."""
    house.plan(*(made_message(number, **made) for number in range(1, customers + 1)))
    answers = {f"C{place}": [outcome] for place, outcome in enumerate(outcomes, start=1)}
    house.send(RememberingChannel(answers), channel=made.get("channel", "email"))
    house.wait(60)


def facts(house: House) -> list[Fact]:
    with house.engine.connect() as connection:
        return [fact for fact in facts_of(read_events(connection)) if not fact.is_withdrawn]


def state(house: House, customer: str = "C1") -> str:
    return str(house.message_of(customer).state_code)


UNKNOWN = Outcome(Answer.UNKNOWN, "timeout")


@pytest.mark.parametrize(
    ("outcome", "event", "after"),
    [
        (None, "processed", "accepted"),
        (None, "deferred", "accepted"),
        (None, "delivered", "delivered"),
        (None, "read", "delivered"),
        (None, "complained", "delivered"),
        (None, "opted_out", "accepted"),
        (None, "bounced", "bounced"),
        (None, "dropped", "dropped"),
        (None, "failed", "dropped"),
        (UNKNOWN, "processed", "accepted"),
        (UNKNOWN, "deferred", "accepted"),
        (UNKNOWN, "delivered", "delivered"),
        (UNKNOWN, "bounced", "bounced"),
        (UNKNOWN, "opted_out", "unknown"),
    ],
)
def test_each_event_has_its_state(house: House, outcome: Outcome | None, event: str, after: str) -> None:
    sent(house, *([outcome] if outcome else []))
    done = record_evidence(house.engine, [evidence(event, house.message_of("C1"))], house.clock)
    assert (done.new, done.contradictions, done.orphans) == (1, 0, 0)
    assert state(house) == after
    assert broken_link(house.engine) is None


def test_what_is_told_again_changes_nothing(house: House) -> None:
    sent(house)
    items = [evidence("delivered", house.message_of("C1")), evidence("bounced", house.message_of("C1"), 3)]
    first = record_evidence(house.engine, items, house.clock)
    told = house.events("C1")
    house.wait(86_400)
    again = record_evidence(house.engine, [*items, *items], house.clock)
    assert (first.new, first.facts, again) == (2, 1, Recorded())
    assert house.events("C1") == told
    assert len(facts(house)) == 1


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_order_and_any_repetition_come_to_the_same_end(house: House, data: st.DataObject) -> None:
    """Each example is a message of its own; the order of what happened counts, not the order in which it was told."""
    number = data.draw(st.integers(10_000, 99_999_999), label="customer")
    twins = []
    for place in (number, number + 100_000_000):
        message = made_message(place, address=f"canario{place}@exemplo.com.br", day=DAY)
        house.plan(message)
        house.send(RememberingChannel())
        twins.append(house.message_of(f"C{place}"))
    codes = st.sampled_from([code.value for code in EventCode])
    happened = data.draw(st.lists(st.tuples(codes, st.integers(0, 5)), min_size=1, max_size=5), label="happened")
    told = data.draw(st.permutations(happened + happened[: data.draw(st.integers(0, 3))]), label="told")
    for twin, order in zip(twins, (sorted(happened, key=lambda each: each[1]), told), strict=True):
        for event, minute in order:
            record_evidence(house.engine, [evidence(event, twin, minute)], house.clock)
    first, second = (state(house, twin.customer_id) for twin in twins)
    assert first == second
    said = [
        sorted(
            (fact.entity, str(fact.values.get("channel_code")))
            for fact in facts(house)
            if owner in fact.values.values()
        )
        for owner in (twin.customer_id for twin in twins)
    ]
    assert said[0] == said[1]
    assert len(said[0]) == len(set(said[0])), "a fact was recorded twice"


def test_a_callback_that_outruns_our_own_answer_waits_and_is_linked(house: House) -> None:
    house.plan(made_message(1))
    early = evidence("delivered", provider_message_id="id-1")

    def outrun(_: Any) -> None:
        assert record_evidence(house.engine, [early], house.clock).orphans == 1
        assert link_orphans(house.engine, house.clock).orphans == 1

    house.send(RememberingChannel(during=outrun))
    assert state(house) == "accepted"
    assert link_orphans(house.engine, house.clock) == Recorded(moved=1)
    assert state(house) == "delivered"
    assert link_orphans(house.engine, house.clock) == Recorded()
    assert record_evidence(house.engine, [early], house.clock) == Recorded()


def test_sendgrids_longer_id_is_known_by_its_beginning(house: House) -> None:
    house.plan(made_message(1))
    house.send(RememberingChannel({"C1": [Outcome(Answer.ACCEPTED, "", "14c5d75ce93")]}, sender_code="sendgrid"))
    with house.engine.begin() as connection:
        connection.execute(sa.update(MESSAGES).values(sender_code="sendgrid"))
    item = Evidence("sendgrid", EventCode.DELIVERED, AT, provider_message_id="14c5d75ce93.dfd.64b469.filter0001-0")
    assert record_evidence(house.engine, [item], house.clock).moved == 1


def test_evidence_during_the_attempt_stands_above_our_own_answer(house: House) -> None:
    """The callback names our id, so it finds the claimed message; then our answer is a time-out, or even a 429."""
    for number, outcome in enumerate((UNKNOWN, Outcome(Answer.LIMITED, "429")), start=1):
        customer = f"C{number}"
        house.plan(made_message(number))

        def outrun(_: Any, customer: str = customer) -> None:
            record_evidence(house.engine, [evidence("processed", house.message_of(customer))], house.clock)

        provider = RememberingChannel({customer: [outcome]}, during=outrun)
        house.send(provider)
        house.wait(3600)
        house.send(provider)
        assert state(house, customer) == "accepted"
        assert provider.customers == [customer], "sent a second time"


def test_what_was_put_back_and_is_proved_sent_does_not_go_out_again(house: House) -> None:
    house.plan(made_message(1))
    provider = RememberingChannel({"C1": [Outcome(Answer.NOT_REACHED, "refused")]})
    # Only one attempt: the run ends before the message comes round again.
    house.send(provider, messages=1)
    assert state(house) == "planned"
    done = record_evidence(house.engine, [evidence("delivered", house.message_of("C1"))], house.clock)
    assert (done.moved, done.contradictions) == (1, 1)
    house.wait(3600)
    house.send(provider)
    assert len(provider.received) == 1
    assert house.events("C1")[-3:] == ["contradiction", "claimed", "delivered"]


def test_proof_against_what_was_held_for_not_sent_is_applied_and_shown(house: House) -> None:
    house.plan(made_message(1), made_message(2))
    provider = RememberingChannel(holds=True)
    house.send(provider, hold_for=timedelta(minutes=45))
    assert recall(house.engine, lambda _: provider, house.clock).recalled == 2
    message = house.message_of("C1")
    # That it was accepted before the recall is no news; that it was processed after, or delivered, is.
    before = (message.state_at - AT).total_seconds() / 60 - 1
    assert record_evidence(house.engine, [evidence("processed", message, before)], house.clock).contradictions == 0
    after = before + 30
    assert record_evidence(house.engine, [evidence("processed", message, after)], house.clock) == Recorded(
        new=1, contradictions=1
    )
    assert record_evidence(house.engine, [evidence("delivered", message, after)], house.clock) == Recorded(
        new=1, moved=1, contradictions=1
    )
    assert house.events("C1")[-3:] == ["contradiction", "contradiction", "delivered"]
    assert state(house, "C2") == "suppressed"


def test_a_bounce_is_a_fact_of_the_address_once(house: House) -> None:
    sent(house)
    message = house.message_of("C1")
    late_evening = datetime.fromisoformat("2026-07-01 02:30")  # 23:30 of the day before in São Paulo
    bounce = Evidence("remembering", EventCode.BOUNCED, late_evening, message.message_id, reason="5.1.1")
    assert record_evidence(house.engine, [bounce], house.clock).facts == 1
    [fact] = facts(house)
    assert (fact.entity, fact.author_id, fact.reason) == ("contact_points", "evidence", "remembering bounced 5.1.1")
    assert {name: value for name, value in fact.values.items() if value is not None} == {
        "customer_id": "C1",
        "contact_type_code": "email",
        "address": "canario1@exemplo.com.br",
        "undeliverable_date": "2026-06-30",
        "valid_from_date": "2026-06-30",
    }
    assert record_evidence(house.engine, [evidence("bounced", message, 600)], house.clock).facts == 0
    assert len(facts(house)) == 1


@pytest.mark.parametrize(
    ("event", "reason", "entity"),
    [
        ("complained", None, "consents"),
        ("opted_out", None, "consents"),
        ("failed", "twilio_21610", "consents"),
        ("dropped", "unsubscribed_address", "consents"),
        ("dropped", "spam_reporting_address", "consents"),
        ("dropped", "bounced_address", "contact_points"),
        ("dropped", "invalid_address", "contact_points"),
        ("dropped", None, None),
        ("dropped", "spam_content", None),
        ("deferred", "4.2.2", None),
        ("failed", "twilio_30003", None),
        ("delivered", None, None),
    ],
)
def test_what_outlasts_a_message_becomes_a_fact(
    house: House, event: str, reason: str | None, entity: str | None
) -> None:
    sent(house)
    record_evidence(house.engine, [evidence(event, house.message_of("C1"), reason=reason)], house.clock)
    assert [fact.entity for fact in facts(house)] == ([entity] if entity else [])
    for fact in facts(house):
        if fact.entity == "consents":
            assert (fact.values["channel_code"], fact.values["is_opted_in"]) == ("email", "false")


def test_a_bounce_of_two_days_told_at_once_is_one_fact(house: House) -> None:
    sent(house)
    message = house.message_of("C1")
    bounces = [evidence("bounced", message, minute) for minute in (0, 3 * 1440)]
    assert record_evidence(house.engine, bounces, house.clock).facts == 1
    assert len(facts(house)) == 1


def test_who_came_back_and_leaves_again_has_left(house: House) -> None:
    sent(house)
    message = house.message_of("C1")
    record_evidence(house.engine, [evidence("opted_out", message)], house.clock)
    [fact] = facts(house)
    change_fact(
        house.engine, fact, {"valid_to_date": "2026-07-10"}, author="ana", reason="asked for it", clock=house.clock
    )
    done = record_evidence(house.engine, [evidence("opted_out", message, 30 * 1440)], house.clock)
    assert done.facts == 1
    assert [fact.values["valid_to_date"] for fact in facts(house)] == ["2026-07-10", None]


def test_an_opt_out_concerns_everybody_at_that_address(house: House) -> None:
    shared = "financeiro@exemplo.com.br"
    house.plan(made_message(1, address=shared), made_message(2, address=shared), made_message(3))
    house.send(RememberingChannel())
    hashed = address_hasher(house.engine)
    item = evidence("opted_out", address_hash=hashed("Financeiro@Exemplo.com.br"), channel_code="email")
    assert record_evidence(house.engine, [item], house.clock) == Recorded(new=1, facts=2)
    assert [fact.values["customer_id"] for fact in facts(house)] == ["C1", "C2"]
    stranger = evidence("opted_out", address_hash=hashed("ninguem@exemplo.com.br"), channel_code="email")
    assert record_evidence(house.engine, [stranger], house.clock) == Recorded(strangers=1)


def test_the_next_message_of_the_day_to_who_opted_out_is_held_back(house: House) -> None:
    house.plan(made_message(1), made_message(1, channel="sms", step="overdue_sms"))
    house.send(RememberingChannel(), channel="sms")
    sms = next(row for row in _messages(house) if row.channel_code == "sms")
    record_evidence(house.engine, [evidence("opted_out", sms, channel_code="email")], house.clock)
    house.send(RememberingChannel())
    email = next(row for row in _messages(house) if row.channel_code == "email")
    assert (email.state_code, email.reason_code) == ("suppressed", "new_consents")


def test_free_text_of_a_provider_is_not_kept(house: House) -> None:
    sent(house)
    told = "550 5.1.1 <canario1@exemplo.com.br> unknown user"
    record_evidence(house.engine, [evidence("bounced", house.message_of("C1"), reason=told)], house.clock)
    assert facts(house)[0].reason == "remembering bounced"
    with house.engine.connect() as connection:
        assert connection.execute(sa.select(EVIDENCE.c.reason)).scalars().all() == [None]


def test_evidence_of_another_sender_does_not_speak_of_our_message(house: House) -> None:
    sent(house)
    foreign = Evidence("twilio", EventCode.DELIVERED, AT, provider_message_id="id-1")
    assert record_evidence(house.engine, [foreign], house.clock).orphans == 1
    assert state(house) == "accepted"


def test_an_unknown_is_settled_as_not_sent_only_with_a_day_and_a_canary(house: House) -> None:
    sent(house, UNKNOWN, customers=2)
    unknown, canary = house.message_of("C1"), house.message_of("C2")
    assert [each.customer_id for each in unknowns(house.engine)] == ["C1"]

    def not_sent() -> None:
        settle(house.engine, unknown.message_id, "not_sent", "ana", "not in the activity feed", house.clock)

    with pytest.raises(InputError, match="for 0 hours only"):
        not_sent()
    house.wait(25 * 3600)
    with pytest.raises(InputError, match="No other message of run run is proved"):
        not_sent()
    record_evidence(house.engine, [evidence("delivered", canary)], house.clock)
    not_sent()
    assert state(house) == "settled_not_sent"
    with pytest.raises(InputError, match="only what is unknown"):
        not_sent()
    # A proof that comes later still stands above the person.
    done = record_evidence(house.engine, [evidence("delivered", unknown, 5)], house.clock)
    assert (done.moved, done.contradictions) == (1, 1)


def test_a_canary_from_before_proves_nothing_of_what_came_after(house: House) -> None:
    sent(house, UNKNOWN, customers=2)
    unknown = house.message_of("C1")
    record_evidence(house.engine, [evidence("delivered", house.message_of("C2"))], house.clock)
    with house.engine.begin() as connection:
        later = sa.update(MESSAGES).where(MESSAGES.c.message_id == unknown.message_id)
        connection.execute(later.values(state_at=house.now + timedelta(hours=1)))
    house.wait(26 * 3600)
    with pytest.raises(InputError, match="No other message of run run is proved"):
        settle(house.engine, unknown.message_id, "not_sent", "ana", "not in the activity feed", house.clock)


@pytest.mark.parametrize(("fate", "after"), [("sent", "settled_sent"), ("delivered", "delivered")])
def test_an_unknown_is_settled_as_sent_at_any_time(house: House, fate: str, after: str) -> None:
    sent(house, UNKNOWN)
    settle(house.engine, house.message_of("C1").message_id, fate, "ana", "the customer answered", house.clock)
    assert state(house) == after
    assert unknowns(house.engine) == []


@pytest.mark.parametrize(
    ("message_id", "fate", "author", "complaint"),
    [
        ("nobody", "sent", "ana", "holds no message"),
        ("nobody", "lost", "ana", "is no fate"),
        ("nobody", "sent", " ", "Author or reason is empty"),
    ],
)
def test_a_settlement_that_says_too_little_is_refused(
    house: House, message_id: str, fate: str, author: str, complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        settle(house.engine, message_id, fate, author, "because", house.clock)


def _messages(house: House) -> list[Any]:
    with house.engine.connect() as connection:
        return list(connection.execute(sa.select(MESSAGES)).all())


def test_every_state_that_evidence_shows_can_be_reached() -> None:
    """A guard against a fold that computes what the ledger refuses."""
    from regua.dispatch.evidence import _STATE_SHOWN
    from regua.ledger.messages import REACHED_FROM

    ends = {State.DELIVERED, State.BOUNCED, State.DROPPED}
    assert set(_STATE_SHOWN.values()) == {State.ACCEPTED, *ends}
    for after in ends:
        for before in ends - {after} - ({State.BOUNCED} if after is not State.BOUNCED else set()):
            assert before in REACHED_FROM[after]
