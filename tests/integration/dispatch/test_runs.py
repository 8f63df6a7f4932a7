"""Runs of a dispatch: every answer of a provider, every reason to hold a message back, every reason to stop."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from tests.conftest import PROJECT_DIR
from tests.integration.dispatch.made_plans import (
    CLOSES,
    DAY,
    House,
    PlainWriter,
    RememberingChannel,
    decided,
    made_message,
)

from regua.channels.dispatch_file import read_dispatch_file
from regua.channels.sending import Answer, Outcome
from regua.contract.entities import load_contract
from regua.dispatch.daily import CheckedWriter
from regua.dispatch.outbox import Answered, Hold, StoppedError, name_leftovers
from regua.dispatch.payments import note_payment
from regua.dispatch.planning import write_plan
from regua.dispatch.recalling import look_before_release, recall, resume, stop
from regua.errors import InputError
from regua.ledger.facts import record_fact
from regua.ledger.messages import CONTACT_DAYS
from regua.settings import load_settings

AT_ONCE = Hold(None, None)


def test_each_message_is_given_to_the_provider_once(house: House) -> None:
    house.plan(*(made_message(number) for number in range(30)))
    provider = RememberingChannel()
    report = house.send(provider, connections=4)
    assert report.ended is None
    assert report.answers == {Answer.ACCEPTED: 30}
    assert house.send(provider).attempted == 0
    assert len(set(provider.customers)) == len(provider.received) == 30
    assert set(house.states().values()) == {"accepted"}
    assert house.events("C7") == ["planned", "claimed", "accepted"]


@pytest.mark.parametrize(
    ("outcome", "state", "events"),
    [
        (Outcome(Answer.ACCEPTED, "", "id"), "accepted", ["planned", "claimed", "accepted"]),
        (Outcome(Answer.REJECTED, "400"), "rejected: 400", ["planned", "claimed", "rejected"]),
        (Outcome(Answer.UNKNOWN, "timeout"), "unknown: timeout", ["planned", "claimed", "unknown"]),
        # What is proved not to have been processed comes round again, and then goes out.
        (Outcome(Answer.LIMITED, "429", retry_after_seconds=3), "accepted", ["planned", "claimed"] * 2 + ["accepted"]),
        (Outcome(Answer.NOT_REACHED, "refused"), "accepted", ["planned", "claimed"] * 2 + ["accepted"]),
    ],
    ids=["accepted", "rejected", "unknown", "limited", "not_reached"],
)
def test_each_answer_has_its_state(house: House, outcome: Outcome, state: str, events: list[str]) -> None:
    house.plan(made_message(1))
    provider = RememberingChannel({"C1": [outcome]})
    house.send(provider)
    house.wait(90)
    house.send(provider)
    assert house.states()["C1"] == state
    assert house.events("C1") == events


@pytest.mark.parametrize("answer", [Answer.UNKNOWN, Answer.REJECTED])
def test_what_may_have_gone_out_or_was_refused_is_never_tried_again_that_day(house: House, answer: Answer) -> None:
    house.plan(made_message(1))
    provider = RememberingChannel({"C1": [Outcome(answer, "")]})
    for _ in range(3):
        house.send(provider)
        house.wait(3600)
    assert len(provider.received) == 1


def test_a_provider_that_will_not_have_us_ends_the_run_and_nothing_is_lost(house: House) -> None:
    house.plan(*(made_message(number) for number in range(5)))
    provider = RememberingChannel({f"C{number}": [Outcome(Answer.UNAUTHORISED, "401")] for number in range(5)})
    report = house.send(provider)
    assert report.ended == "unauthorised: 401"
    assert len(provider.received) == 1
    assert {state.split(":")[0] for state in house.states().values()} == {"planned"}


def test_five_unknowns_in_a_row_end_the_run(house: House) -> None:
    house.plan(*(made_message(number) for number in range(20)))
    provider = RememberingChannel({f"C{number}": [Outcome(Answer.UNKNOWN, "500")] for number in range(20)})
    report = house.send(provider)
    assert (report.ended, report.is_trouble) == ("breaker: 5 of 5 with unknown fate", True)
    assert len(provider.received) == 5


def test_more_unknowns_than_two_in_a_hundred_end_the_run(house: House) -> None:
    messages = sorted((made_message(number) for number in range(300)), key=lambda each: each.content.message_id)
    # A run begins among the ids where its own name says.
    begins = next(place for place, each in enumerate(messages) if each.content.message_id > house.outbox().first_id)
    messages = messages[begins:] + messages[:begins]
    house.plan(*messages)
    every_thirtieth = {each.content.customer_id: [Outcome(Answer.UNKNOWN, "500")] for each in messages[::30]}
    report = house.send(RememberingChannel(every_thirtieth))
    assert report.ended == "breaker: 4 of 100 with unknown fate"


def test_a_run_sends_no_more_than_its_cap(house: House) -> None:
    house.plan(*(made_message(number) for number in range(10)))
    provider = RememberingChannel()
    report = house.send(provider, messages=4, connections=8)
    assert (report.ended, report.is_trouble) == ("cap_reached", False)
    assert len(provider.received) == 4


def test_a_limit_that_lasts_long_ends_the_run_and_the_message_waits_for_a_later_one(house: House) -> None:
    house.plan(made_message(1))
    provider = RememberingChannel({"C1": [Outcome(Answer.LIMITED, "429", retry_after_seconds=600)]})
    assert "limited" in str(house.send(provider).ended)
    assert house.send(provider).attempted == 0
    house.wait(601)
    assert house.send(provider).answers == {Answer.ACCEPTED: 1}


def test_a_channel_that_breaks_leaves_the_message_unknown_and_tells(house: House) -> None:
    house.plan(made_message(1), made_message(2))

    def break_down(outgoing: object) -> None:
        raise ZeroDivisionError

    provider = RememberingChannel(during=break_down)
    with pytest.raises(ZeroDivisionError):
        house.send(provider)
    assert len(provider.received) == 1
    assert sorted(house.states().values()) == ["planned", "unknown: defect: ZeroDivisionError"]


def test_a_message_that_does_not_pass_its_check_is_never_attempted(house: House) -> None:
    house.plan(made_message(1), made_message(2))
    provider = RememberingChannel()
    report = house.send(provider, writer=PlainWriter({"C1": InputError("wrong_total: they do not add up")}))
    assert (report.refused, provider.customers) == (1, ["C2"])
    assert house.states()["C1"] == "suppressed: not_fit: wrong_total: they do not add up"


def test_one_address_gets_one_message_a_channel_and_day_whoever_it_belongs_to(house: House) -> None:
    """An accountant's mailbox, say, that two customers share."""
    house.plan(made_message(1, address="conta@escritorio.com.br"), made_message(2, address="conta@escritorio.com.br"))
    provider = RememberingChannel()
    house.send(provider, connections=4)
    assert len(provider.received) == 1
    assert sorted(house.states().values()) == ["accepted", "suppressed: contacted_that_day"]


def test_what_was_not_processed_does_not_use_up_the_day_of_its_address(house: House) -> None:
    house.plan(made_message(1))
    house.send(RememberingChannel({"C1": [Outcome(Answer.REJECTED, "400")]}))
    with house.engine.connect() as connection:
        assert connection.execute(sa.select(CONTACT_DAYS)).all() == []


# Hours ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "state"),
    [
        (datetime.fromisoformat("2026-06-30 11:59:59"), "planned"),
        (datetime.fromisoformat("2026-06-30 12:00:00"), "accepted"),
        (datetime.fromisoformat("2026-06-30 21:59:59"), "accepted"),
        (datetime.fromisoformat("2026-06-30 22:00:00"), "expired: window_closed"),
    ],
)
def test_a_message_leaves_from_the_minute_its_window_opens_to_the_one_before_it_closes(
    house: House, now: datetime, state: str
) -> None:
    house.plan(made_message(1))
    house.now = now
    house.send(RememberingChannel())
    assert house.states()["C1"] == state


def test_what_would_be_released_after_hours_is_not_handed_over(house: House) -> None:
    house.plan(made_message(1))
    house.now = CLOSES - timedelta(minutes=44)
    provider = RememberingChannel(holds=True)
    house.send(provider, hold_for=timedelta(minutes=45), batch_size=10)
    assert provider.received == []
    assert house.states()["C1"] == "expired: window_closes_before_release"


# Last look -----------------------------------------------------------------------------------------------------------


def test_a_payment_since_the_night_cancels_the_message(house: House) -> None:
    house.plan(made_message(1, invoices=["A", "B"]), made_message(2))
    note_payment(house.engine, "pay-1", "B", "export", house.clock)
    provider = RememberingChannel()
    house.send(provider)
    assert provider.customers == ["C2"]
    assert house.states()["C1"] == "cancelled_paid: payment_received"


def test_a_payment_between_two_messages_of_a_run_cancels_the_second(house: House) -> None:
    messages = sorted((made_message(number) for number in range(3)), key=lambda each: each.content.message_id)
    house.plan(*messages)
    last = messages[-1].content

    def pay(outgoing: object) -> None:
        note_payment(house.engine, "pay-1", last.lines[0].invoice_id, "export", house.clock)

    provider = RememberingChannel(during=pay)
    house.send(provider)
    assert last.customer_id not in provider.customers
    assert house.states()[last.customer_id] == "cancelled_paid: payment_received"


def test_a_payment_that_a_night_has_seen_holds_nothing_back(house: House) -> None:
    """It paid a part: the night decided what is left with it."""
    note_payment(house.engine, "pay-1", "I1", "export", house.clock)
    write_plan(
        house.engine,
        replace(decided([made_message(1)]), seen_notice_keys=frozenset(["payments:pay-1:I1"])),
        house.clock,
    )
    house.plan(made_message(1))
    provider = RememberingChannel()
    house.send(provider)
    assert provider.customers == ["C1"]


FROM_TODAY = {"valid_from_date": "2026-06-30", "valid_to_date": None}
ABOUT_THE_CUSTOMER = FROM_TODAY | {"customer_id": "C1", "invoice_id": None}
FACTS = {
    "disputes": FROM_TODAY | {"invoice_id": "I1"},
    "promises": ABOUT_THE_CUSTOMER | {"promised_date": "2026-07-03"},
    "pauses": ABOUT_THE_CUSTOMER | {"valid_to_date": "2026-07-30"},
    "exemptions": ABOUT_THE_CUSTOMER,
    "agreements": ABOUT_THE_CUSTOMER | {"broken_date": None},
    "consents": ABOUT_THE_CUSTOMER | {"channel_code": "email", "is_opted_in": "false"},
    "waivers": FROM_TODAY | {"customer_id": None, "invoice_id": "I1", "waived_pct": "100"},
}


@pytest.mark.parametrize("entity", FACTS)
def test_any_fact_recorded_since_the_night_holds_the_message_back(house: House, entity: str) -> None:
    house.plan(made_message(1), made_message(2))
    _record(house, entity, FACTS[entity])
    provider = RememberingChannel()
    house.send(provider)
    assert provider.customers == ["C2"]
    assert house.states()["C1"] == f"suppressed: new_{entity}"


def test_a_fact_that_the_night_knew_was_decided_with(house: House) -> None:
    _record(house, "waivers", FACTS["waivers"])
    house.plan(made_message(1), facts={"waivers": 1})
    provider = RememberingChannel()
    house.send(provider)
    assert provider.customers == ["C1"]


def test_an_opt_out_of_another_channel_holds_nothing_back(house: House) -> None:
    house.plan(made_message(1))
    _record(house, "consents", FACTS["consents"] | {"channel_code": "sms"})
    provider = RememberingChannel()
    house.send(provider)
    assert provider.customers == ["C1"]


# Leases --------------------------------------------------------------------------------------------------------------


def test_a_claim_whose_lease_is_over_becomes_unknown_and_is_never_sent_again(house: House) -> None:
    house.plan(made_message(1))
    outbox = house.outbox()
    [claim] = outbox.exchange([], outbox.candidates(10), AT_ONCE)
    provider = RememberingChannel()
    assert house.send(provider).left_open == 0
    house.wait(601)
    assert house.send(provider).left_open == 1
    assert house.states()["C1"] == "unknown: lease_over"
    assert provider.received == []
    assert not outbox.still_holds(claim)


def test_an_answer_that_comes_late_still_tells_that_it_was_sent(house: House) -> None:
    house.plan(made_message(1))
    outbox = house.outbox()
    [claim] = outbox.exchange([], outbox.candidates(10), AT_ONCE)
    house.wait(601)
    house.send(RememberingChannel())
    outbox.exchange([Answered(claim, Outcome(Answer.ACCEPTED, "", "id"))], [], AT_ONCE)
    assert house.states()["C1"] == "accepted"


def test_a_late_answer_that_nothing_was_sent_does_not_open_the_message_again(house: House) -> None:
    house.plan(made_message(1))
    outbox = house.outbox()
    [claim] = outbox.exchange([], outbox.candidates(10), AT_ONCE)
    house.wait(601)
    house.send(RememberingChannel())
    outbox.exchange([Answered(claim, Outcome(Answer.NOT_REACHED, "refused"))], [], AT_ONCE)
    assert house.states()["C1"] == "unknown: lease_over"


def test_a_message_is_claimed_by_one_of_two_who_both_want_it(house: House) -> None:
    house.plan(made_message(1))
    first, second = house.outbox(run_id="first"), house.outbox(run_id="second")
    wanted = first.candidates(10), second.candidates(10)
    assert len(first.exchange([], wanted[0], AT_ONCE)) == 1
    assert second.exchange([], wanted[1], AT_ONCE) == []


def test_a_message_that_was_planned_anew_since_it_was_read_is_not_claimed_as_it_was(house: House) -> None:
    house.plan(made_message(1, amount="100.00"))
    outbox = house.outbox()
    old = outbox.candidates(10)
    house.plan(made_message(1, amount="60.00"))
    assert outbox.exchange([], old, AT_ONCE) == []
    assert len(outbox.exchange([], outbox.candidates(10), AT_ONCE)) == 1


# Switch and recall ---------------------------------------------------------------------------------------------------


def test_the_switch_stops_a_run_that_is_under_way(house: House) -> None:
    house.plan(*(made_message(number) for number in range(10)))
    provider = RememberingChannel()

    def pull(outgoing: object) -> None:
        if len(provider.received) == 3:
            stop(house.engine, house.stop_file, lambda code: provider, house.clock, author="ana", reason="wrong text")

    provider.during = pull
    assert "wrong text" in str(house.send(provider).ended) or "STOP" in str(house.send(provider).ended)
    assert len(provider.received) == 3
    resume(house.engine, house.stop_file, house.clock, author="ana", reason="mended")
    house.send(provider)
    assert len(provider.received) == 10


@pytest.mark.parametrize("way", ["file", "ledger"])
def test_either_the_file_or_the_ledger_alone_stops_everything(house: House, way: str) -> None:
    house.plan(made_message(1))
    stop(house.engine, house.stop_file, lambda code: RememberingChannel(), house.clock, author="ana", reason="halt")
    if way == "file":
        resume(house.engine, house.stop_file, house.clock, author="ana", reason="half")
        house.stop_file.write_text("by hand")
    else:
        house.stop_file.unlink()
    provider = RememberingChannel()
    assert house.send(provider).ended
    assert provider.received == []


def test_what_is_held_can_be_recalled_whole(house: House) -> None:
    house.plan(*(made_message(number) for number in range(5)))
    provider = RememberingChannel(holds=True)
    house.send(provider, hold_for=timedelta(minutes=45), batch_size=2, connections=4)
    assert {outgoing.send_at for outgoing in provider.received} == {house.now + timedelta(minutes=45)}
    taken_back = recall(house.engine, lambda code: provider, house.clock, run_id="run")
    assert (taken_back.batches, taken_back.recalled) == (3, 5)
    assert set(house.states().values()) == {"suppressed: recalled"}


def test_a_batch_that_was_released_cannot_be_recalled(house: House) -> None:
    house.plan(made_message(1))
    provider = RememberingChannel(holds=True)
    house.send(provider, hold_for=timedelta(minutes=45), batch_size=2)
    house.wait(45 * 60)
    with pytest.raises(InputError, match="held any more"):
        recall(house.engine, lambda code: provider, house.clock, run_id="run")
    assert house.states()["C1"] == "accepted"


def test_a_payment_before_the_release_recalls_the_batch_and_no_other(house: House) -> None:
    house.plan(*(made_message(number) for number in range(4)))
    provider = RememberingChannel(holds=True)
    house.send(provider, hold_for=timedelta(minutes=45), batch_size=2)
    paid, beside = (outgoing.content.customer_id for outgoing in provider.received[:2])
    note_payment(house.engine, "pay-1", f"I{paid[1:]}", "export", house.clock)
    looked = look_before_release(house.engine, lambda code: provider, house.clock)
    assert (looked.batches, looked.recalled) == (1, 2)
    states = house.states()
    assert states[paid] == "cancelled_paid: payment_received"
    assert states[beside] == "suppressed: recalled_with_its_batch"
    assert sorted(states.values())[:2] == ["accepted", "accepted"]


def test_a_recall_that_the_provider_does_not_confirm_is_told_and_changes_no_state(house: House) -> None:
    house.plan(made_message(1))
    provider = RememberingChannel(holds=True, recall_works=False)
    house.send(provider, hold_for=timedelta(minutes=45), batch_size=2)
    taken_back = recall(house.engine, lambda code: provider, house.clock)
    assert len(taken_back.unconfirmed_batch_ids) == 1
    assert house.states()["C1"] == "accepted"


def test_nothing_is_claimed_into_a_batch_that_was_recalled(house: House) -> None:
    house.plan(made_message(1), made_message(2))
    provider = RememberingChannel(holds=True)
    provider.during = lambda outgoing: recall(house.engine, lambda code: provider, house.clock) and None
    report = house.send(provider, hold_for=timedelta(minutes=45), batch_size=10)
    assert len(provider.received) == 1
    assert "was recalled" in str(report.ended)
    assert sorted(house.states().values()) == ["planned", "suppressed: recalled"]


def test_without_a_plan_nothing_is_claimed(house: House) -> None:
    house.plan(made_message(1))
    outbox = house.outbox()
    wanted = outbox.candidates(10)
    house.plan(day=DAY + timedelta(days=1), gate="open")
    with pytest.raises(StoppedError):
        house.outbox(day=DAY + timedelta(days=1)).exchange([], wanted, AT_ONCE)


def _record(house: House, entity: str, values: dict[str, str | None]) -> None:
    record_fact(house.engine, load_contract()[entity], values, author="ana", reason="said so", clock=house.clock)


# Found by review -----------------------------------------------------------------------------------------------------


def test_a_message_that_breaks_its_writer_holds_up_no_other(house: House) -> None:
    """The project's own writer turns whatever goes wrong with one message into a refusal of that message."""
    named, other = made_message(1), made_message(2)
    # No host name can hold this character, and the error that says so quotes it.
    hostile = replace(named, content=replace(named.content, name="www.a\u2100b/[x"))
    house.plan(hostile, other)
    settings = load_settings({"REGUA_HOME": str(house.folder)})
    writer = CheckedWriter(settings, read_dispatch_file(PROJECT_DIR / "include" / "dispatch.yml"))
    provider = RememberingChannel()
    house.send(provider, writer=writer)
    assert provider.customers == ["C2"]
    assert house.states()["C1"].startswith("suppressed: not_fit: ")
    assert "\u2100" not in house.states()["C1"]


def test_a_fact_about_a_record_that_was_merged_into_the_customer_holds_the_message_back(house: House) -> None:
    message = made_message(1)
    house.plan(replace(message, content=replace(message.content, merged_customer_ids=("C9",))), made_message(2))
    _record(house, "pauses", FACTS["pauses"] | {"customer_id": "C9"})
    provider = RememberingChannel()
    house.send(provider)
    assert provider.customers == ["C2"]


def test_a_new_word_on_the_phone_holds_back_whatsapp_which_falls_back_on_it(house: House) -> None:
    house.plan(made_message(1, channel="whatsapp"))
    dead = FROM_TODAY | {"customer_id": "C1", "contact_type_code": "phone", "address": "+5511900000001"}
    _record(house, "contact_points", dead)
    provider = RememberingChannel()
    house.send(provider, channel="whatsapp")
    assert provider.received == []


def test_a_fact_about_an_agreement_concerns_whom_it_is_with(house: House) -> None:
    _record(house, "agreements", FACTS["agreements"])
    house.plan(made_message(1), facts={"agreements": 1})
    instalment = FROM_TODAY | {"agreement_id": "op-1", "due_date": "2026-07-10", "amount": "50.00"}
    _record(house, "agreement_instalments", instalment)
    provider = RememberingChannel()
    house.send(provider)
    assert provider.received == []
    assert house.states()["C1"].startswith("suppressed: new_agreement")


def test_a_day_planned_anew_still_recalls_what_was_paid_while_it_was_held(house: House) -> None:
    """The new night has seen the payment; the message went before it did."""
    house.plan(made_message(1), made_message(2))
    provider = RememberingChannel(holds=True)
    house.send(provider, hold_for=timedelta(minutes=45), batch_size=1)
    house.wait(60)
    note_payment(house.engine, "pay-1", "I1", "webhook", house.clock)
    night = decided([made_message(1), made_message(2)])
    write_plan(house.engine, replace(night, seen_notice_keys=frozenset(["payments:pay-1:I1"])), house.clock)
    assert look_before_release(house.engine, lambda code: provider, house.clock).recalled == 1
    assert house.states() == {"C1": "cancelled_paid: payment_received", "C2": "accepted"}


def test_a_held_message_that_the_day_planned_anew_has_no_more_is_recalled(house: House) -> None:
    house.plan(made_message(1), made_message(2))
    provider = RememberingChannel(holds=True)
    house.send(provider, hold_for=timedelta(minutes=45), batch_size=1)
    house.plan(made_message(2))
    assert look_before_release(house.engine, lambda code: provider, house.clock).recalled == 1
    assert house.states() == {"C1": "suppressed: no_longer_decided", "C2": "accepted"}


def test_a_batch_with_a_message_of_unknown_fate_is_recalled_when_it_is_paid(house: House) -> None:
    """A time-out is just what leaves a message with a provider that holds it."""
    house.plan(made_message(1))
    provider = RememberingChannel({"C1": [Outcome(Answer.UNKNOWN, "timeout")]}, holds=True)
    house.send(provider, hold_for=timedelta(minutes=45), batch_size=1)
    house.wait(60)
    note_payment(house.engine, "pay-1", "I1", "webhook", house.clock)
    looked = look_before_release(house.engine, lambda code: provider, house.clock)
    assert (looked.batches, len(provider.recalled)) == (1, 1)
    assert house.states()["C1"] == "unknown: timeout"


def test_a_recall_that_was_not_confirmed_is_asked_for_again(house: House) -> None:
    house.plan(made_message(1))
    provider = RememberingChannel(holds=True, recall_works=False)
    house.send(provider, hold_for=timedelta(minutes=45), batch_size=1)
    recall(house.engine, lambda code: provider, house.clock)
    provider.recall_works = True
    assert look_before_release(house.engine, lambda code: provider, house.clock).recalled == 1
    assert len(provider.recalled) == 2


def test_no_more_is_held_than_can_be_recalled(house: House) -> None:
    house.plan(*(made_message(number) for number in range(10)))
    provider = RememberingChannel(holds=True)
    report = house.send(provider, hold_for=timedelta(minutes=45), batch_size=2, batches=3)
    assert str(report.ended).startswith("held_full")
    assert len(provider.received) == 6


def test_a_provider_that_holds_nothing_is_given_everything_at_once(house: House) -> None:
    house.plan(*(made_message(number) for number in range(10)))
    provider = RememberingChannel(holds=False)
    report = house.send(provider, hold_for=timedelta(minutes=45), batch_size=2, batches=3)
    assert (report.ended, len(provider.received)) == (None, 10)
    assert {outgoing.send_at for outgoing in provider.received} == {None}


def test_an_address_that_the_provider_refuses_counts_as_bounced(house: House) -> None:
    house.plan(made_message(1))
    refusal = Outcome(Answer.REJECTED, "twilio_21211", is_address_fault=True)
    report = house.send(RememberingChannel({"C1": [refusal]}))
    assert house.states()["C1"] == "bounced: twilio_21211"
    assert [reason for _, reason in report.refused_addresses] == ["twilio_21211"]


def test_a_step_that_was_left_out_with_its_message_is_known_not_to_have_been_sent(house: House) -> None:
    """Otherwise nobody would ever hear that it was not, and its decision would count as sent for good."""
    house.plan(made_message(1, invoices=["A"]))
    house.send(RememberingChannel())
    both = made_message(1, day=DAY + timedelta(days=1), invoices=["A", "B"])
    house.plan(both, day=DAY + timedelta(days=1))
    [left_out] = [step for step in both.steps if step.invoice_id == "B"]
    assert house.owner_of(left_out.step_key) == both.content.message_id
    assert house.states()["C1"] == "superseded: step_taken"


def test_what_was_left_open_by_earlier_days_is_named_without_a_dispatch(house: House) -> None:
    house.plan(made_message(1), made_message(2))
    outbox = house.outbox()
    [candidate, _] = outbox.candidates(10)
    outbox.exchange([], [candidate], AT_ONCE)
    house.now += timedelta(hours=20)
    counts = name_leftovers(house.engine, DAY + timedelta(days=1), house.clock)
    assert sorted(house.states().values()) == ["expired: window_closed", "unknown: lease_over"]
    assert set(counts.values()) == {1}
