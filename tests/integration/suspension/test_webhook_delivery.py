"""A webhook's way from the ledger to a receiver: attempts, failures, two processes at once, what is given up."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from tests.integration.suspension.made_webhooks import FAILED, OK, Ledger, MadeReceiver, at_once, made_event

from regua.channels.sending import Answer
from regua.errors import InputError
from regua.ledger.event_log import broken_link
from regua.ledger.messages import EVENTS
from regua.suspension.webhooks import DeliveryReport, dead_letters, deliver_due, redeliver

# The schedule of Standard Webhooks, after the first attempt.
WAITS = [
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    *(timedelta(hours=hours) for hours in (2, 5, 10, 14, 20, 24)),
]
REFUSED = (Answer.REJECTED, "http_404", None)
GONE = (Answer.REJECTED, "http_410", None)


def test_each_endpoint_is_told_once_and_the_oldest_publication_first(ledger: Ledger) -> None:
    events = [made_event(number) for number in (3, 1, 2)]
    assert ledger.enqueue(*events, endpoints=["product", "crm"]) == 6
    product, crm = MadeReceiver(), MadeReceiver()
    assert ledger.deliver(product, crm=crm) == DeliveryReport(delivered=6)
    oldest_first = sorted(events, key=lambda event: event.sequence)
    assert product.told == crm.told == [(event.event_id, event.body) for event in oldest_first]
    assert ledger.deliver(product, crm=crm) == DeliveryReport()
    assert len(product.told) == 3


def test_what_is_enqueued_again_stays_as_it_was(ledger: Ledger) -> None:
    """A publication that is placed twice after a crash: one delivery, with the bytes that were told first."""
    event, receiver = made_event(1), MadeReceiver()
    ledger.enqueue(event, event)
    assert ledger.enqueue(replace(event, body="{}")) == 0
    ledger.deliver(receiver)
    assert ledger.enqueue(event) == 0
    ledger.deliver(receiver)
    assert receiver.told == [(event.event_id, event.body)]


def test_an_endpoint_that_is_added_is_told_of_what_comes_after_it(ledger: Ledger) -> None:
    first, second = made_event(1), made_event(2)
    ledger.enqueue(first)
    ledger.enqueue(second, endpoints=["product", "crm"])
    crm = MadeReceiver()
    ledger.deliver(MadeReceiver(), crm=crm)
    assert crm.told_ids == [second.event_id]


def test_an_endpoint_that_nobody_asks_for_keeps_what_it_is_owed(ledger: Ledger) -> None:
    ledger.enqueue(made_event(1), endpoints=["product", "crm"])
    assert ledger.deliver(MadeReceiver()) == DeliveryReport(delivered=1, pending=1)


@pytest.mark.parametrize("answer", [FAILED, REFUSED, (Answer.REJECTED, "redirect_302", None)], ids=lambda it: it[1])
def test_attempts_follow_the_schedule_and_the_tenth_is_the_last(
    ledger: Ledger, answer: tuple[Answer, str, float | None]
) -> None:
    """A 404 too: the product's last deploy may be the fault, and the next one may cure it."""
    event, receiver = made_event(1), MadeReceiver(lambda _: answer)
    ledger.enqueue(event)
    for wait in WAITS:
        assert ledger.deliver(receiver) == DeliveryReport(retried=1, pending=1)
        chosen = ledger.delivery(event).next_attempt_at - ledger.now
        assert wait <= chosen <= wait * 1.2
        ledger.now += chosen - timedelta(microseconds=1)
        assert ledger.deliver(receiver) == DeliveryReport(pending=1)
        ledger.now += timedelta(microseconds=1)
    assert ledger.deliver(receiver) == DeliveryReport(dead=1)
    assert receiver.told == [(event.event_id, event.body)] * 10
    [letter] = dead_letters(ledger.engine)
    assert (letter.event_id, letter.endpoint_code, letter.subject_id) == (event.event_id, "product", "S1")
    assert (letter.attempt_count, letter.last_reason, letter.type_code) == (10, answer[1], "customer.suspended")
    ledger.wait(days=30)
    assert ledger.deliver(receiver) == DeliveryReport()


def test_the_waits_of_two_events_differ_and_are_always_the_same(ledger: Ledger) -> None:
    """What failed together does not come back together."""
    events = [made_event(number) for number in range(1, 6)]
    ledger.enqueue(*events, endpoints=["product", "crm"])
    ledger.deliver(MadeReceiver(lambda _: FAILED), crm=MadeReceiver(lambda _: FAILED))
    waits = [ledger.delivery(event, endpoint).next_attempt_at for event in events for endpoint in ("product", "crm")]
    assert len(set(waits)) == 10
    assert waits[0] == ledger.now.replace(second=5, microsecond=waits[0].microsecond)


def test_gone_is_given_up_at_once(ledger: Ledger) -> None:
    event = made_event(1)
    ledger.enqueue(event)
    assert ledger.deliver(MadeReceiver(lambda _: GONE)) == DeliveryReport(dead=1)
    assert [letter.last_reason for letter in dead_letters(ledger.engine)] == ["http_410"]


def test_what_was_given_up_matters_until_something_newer_is_said_of_its_subject(ledger: Ledger) -> None:
    ledger.enqueue(made_event(1, "S1"), made_event(2, "S2"))
    ledger.deliver(MadeReceiver(lambda _: GONE))
    assert [letter.subject_id for letter in dead_letters(ledger.engine)] == ["S1", "S2"]
    ledger.enqueue(made_event(3, "S1", "reactivated"))
    assert [letter.subject_id for letter in dead_letters(ledger.engine)] == ["S2"]


def test_a_failing_event_holds_up_no_other(ledger: Ledger) -> None:
    events = [made_event(number) for number in range(1, 6)]
    ledger.enqueue(*events)
    receiver = MadeReceiver(lambda webhook_id: FAILED if webhook_id == events[0].event_id else OK)
    assert ledger.deliver(receiver) == DeliveryReport(delivered=4, retried=1, pending=1)


def test_an_endpoint_that_is_down_is_left_after_twenty_failures_and_the_others_are_not(ledger: Ledger) -> None:
    ledger.enqueue(*(made_event(number) for number in range(1, 31)), endpoints=["product", "crm"])
    product, crm = MadeReceiver(lambda _: FAILED), MadeReceiver()
    report = ledger.deliver(product, crm=crm)
    assert report == DeliveryReport(delivered=30, retried=20, pending=30, left=report.left)
    assert report.left == {"product": "http_500: 20 failures in a row"}
    assert (len(product.told), len(crm.told)) == (20, 30)


def test_twenty_failures_among_successes_leave_nobody(ledger: Ledger) -> None:
    ledger.enqueue(*(made_event(number) for number in range(1, 61)))
    answers = iter([OK, FAILED] * 30)
    report = ledger.deliver(MadeReceiver(lambda _: next(answers)))
    assert report == DeliveryReport(delivered=30, retried=30, pending=30)


@pytest.mark.parametrize("answer", [Answer.LIMITED, Answer.UNKNOWN])
def test_a_receiver_that_wants_a_pause_gets_it_for_all_its_events(ledger: Ledger, answer: Answer) -> None:
    events = [made_event(number) for number in range(1, 4)]
    ledger.enqueue(*events, endpoints=["product", "crm"])
    busy, crm = MadeReceiver(lambda _: (answer, "http_503", 60.0)), MadeReceiver()
    report = ledger.deliver(busy, crm=crm)
    assert (report.delivered, report.retried, report.left) == (3, 1, {"product": "http_503: it wants a pause"})
    ledger.wait(seconds=59)
    assert ledger.deliver(busy).retried == 0
    ledger.wait(seconds=1)
    assert ledger.deliver(MadeReceiver()) == DeliveryReport(delivered=3)


def test_a_run_makes_no_more_attempts_than_it_may(ledger: Ledger) -> None:
    ledger.enqueue(*(made_event(number) for number in range(1, 6)))
    receiver = MadeReceiver()
    assert ledger.deliver(receiver, limit=2) == DeliveryReport(delivered=2, pending=3)
    assert ledger.deliver(receiver, limit=10) == DeliveryReport(delivered=3)


def test_when_time_is_over_no_attempt_is_begun(ledger: Ledger) -> None:
    ledger.enqueue(made_event(1))
    receiver = MadeReceiver()
    report = deliver_due(ledger.engine, {"product": receiver}, ledger.clock, run_for_seconds=0)
    assert (report, receiver.told) == (DeliveryReport(pending=1, left={"product": "time_over"}), [])
    assert ledger.deliver(receiver) == DeliveryReport(delivered=1)


def test_a_run_that_is_interrupted_records_what_is_under_way_and_begins_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow's time-out is raised while the endpoints' threads are at work."""
    ledger.enqueue(*(made_event(number) for number in range(1, 21)))
    under_way, interrupted = threading.Event(), threading.Event()

    def slow(_: str) -> tuple[Answer, str, float | None]:
        under_way.set()
        interrupted.wait(10)
        return OK

    def interrupt(_: object) -> None:
        under_way.wait(10)
        # The answer comes after the interruption.
        threading.Timer(0.2, interrupted.set).start()
        raise TimeoutError

    monkeypatch.setattr("regua.suspension.webhooks.wait", interrupt)
    receiver = MadeReceiver(slow)
    with pytest.raises(TimeoutError):
        ledger.deliver(receiver)
    assert len(receiver.told) == 1
    assert ledger.states() == {"delivered": 1, "pending": 19}


def test_a_suspension_is_not_told_once_a_reactivation_is_to_be(ledger: Ledger) -> None:
    """The receiver was down; the customer has paid since. Told of it in turn, the product would lock him out again."""
    suspended, back, other = made_event(1, "S1"), made_event(2, "S1", "reactivated"), made_event(1, "S2")
    ledger.enqueue(suspended, other)
    ledger.deliver(MadeReceiver(lambda _: FAILED))
    ledger.wait(hours=1)
    ledger.enqueue(back)
    receiver = MadeReceiver()
    assert ledger.deliver(receiver) == DeliveryReport(delivered=2, superseded=1)
    assert receiver.told_ids == [other.event_id, back.event_id]
    assert ledger.delivery(suspended).state_code == "superseded"
    assert dead_letters(ledger.engine) == []


def test_what_one_endpoint_is_told_supersedes_nothing_of_another(ledger: Ledger) -> None:
    first, second = made_event(1, "S1"), made_event(2, "S1", "reactivated")
    ledger.enqueue(first, endpoints=["product", "crm"])
    ledger.enqueue(second, endpoints=["product"])
    crm = MadeReceiver()
    ledger.deliver(MadeReceiver(), crm=crm)
    assert crm.told_ids == [first.event_id]


def test_two_deliverers_at_once_tell_everything_once(ledger: Ledger) -> None:
    events = [made_event(number) for number in range(1, 31)]
    ledger.enqueue(*events)
    reports = []

    def slow(_: str) -> tuple[Answer, str, float | None]:
        time.sleep(0.01)
        return OK

    receivers = [MadeReceiver(slow), MadeReceiver(slow)]
    at_once(*(lambda receiver=receiver: reports.append(ledger.deliver(receiver)) for receiver in receivers))
    told = Counter(webhook_id for receiver in receivers for webhook_id in receiver.told_ids)
    assert told == Counter(event.event_id for event in events)
    assert all(receiver.told for receiver in receivers), "one of them did all: nothing was at once"
    assert sum(report.delivered for report in reports) == 30
    assert ledger.states() == {"delivered": 30}


def test_a_claim_that_nobody_answered_for_is_taken_up_when_its_lease_is_over(ledger: Ledger) -> None:
    event = made_event(1)
    ledger.enqueue(event)

    def killed(_: str) -> tuple[Answer, str, float | None]:
        raise SystemExit

    with pytest.raises(SystemExit):
        ledger.deliver(MadeReceiver(killed))
    receiver = MadeReceiver()
    assert ledger.deliver(receiver) == DeliveryReport(pending=1)
    ledger.wait(minutes=3)
    assert ledger.deliver(receiver) == DeliveryReport(delivered=1)
    assert receiver.told == [(event.event_id, event.body)]


@pytest.mark.parametrize(
    ("late_answer", "later_answer", "expected"),
    [(FAILED, OK, ("delivered", 1)), (OK, FAILED, ("delivered", 1)), (FAILED, GONE, ("dead", 1))],
)
def test_an_answer_that_comes_after_the_lease_counts_where_it_proves_delivery(
    ledger: Ledger,
    late_answer: tuple[Answer, str, float | None],
    later_answer: tuple[Answer, str, float | None],
    expected: tuple[str, int],
) -> None:
    """The first deliverer was paused; a second one has made an attempt of its own meanwhile."""
    event = made_event(1)
    ledger.enqueue(event)

    def paused(_: str) -> tuple[Answer, str, float | None]:
        ledger.wait(minutes=3)
        ledger.deliver(MadeReceiver(lambda _: later_answer))
        return late_answer

    ledger.deliver(MadeReceiver(paused))
    delivery = ledger.delivery(event)
    assert (delivery.state_code, delivery.attempt_count) == expected
    assert (delivery.next_attempt_at, delivery.lease_until) == (None, None)


def test_what_was_given_up_is_delivered_anew_and_the_log_names_who_wanted_it(ledger: Ledger) -> None:
    events = [made_event(number) for number in range(1, 4)]
    ledger.enqueue(*events)
    ledger.deliver(MadeReceiver(lambda webhook_id: OK if webhook_id == events[2].event_id else GONE))
    assert redeliver(ledger.engine, [events[0].event_id], " ana ", ledger.clock) == 1
    assert redeliver(ledger.engine, None, "bia", ledger.clock) == 1
    assert redeliver(ledger.engine, None, "bia", ledger.clock) == 0
    receiver = MadeReceiver()
    assert ledger.deliver(receiver) == DeliveryReport(delivered=2)
    assert receiver.told == [(event.event_id, event.body) for event in events[:2]]
    query = sa.select(EVENTS.c.detail).where(EVENTS.c.kind_code == "webhook").order_by(EVENTS.c.event_number)
    with ledger.engine.connect() as connection:
        recorded = list(connection.execute(query).scalars())
    assert recorded == [
        {"event_id": event.event_id, "endpoint": "product", "author": author}
        for event, author in zip(events[:2], ("ana", "bia"), strict=True)
    ]
    assert broken_link(ledger.engine) is None


def test_what_was_delivered_can_be_told_again_with_all_its_attempts(ledger: Ledger) -> None:
    """A receiver that lost its database."""
    event = made_event(1)
    ledger.enqueue(event)
    ledger.deliver(MadeReceiver())
    redeliver(ledger.engine, [event.event_id], "ana", ledger.clock)
    assert ledger.deliver(MadeReceiver(lambda _: FAILED)) == DeliveryReport(retried=1, pending=1)
    assert ledger.delivery(event).attempt_count == 1


@pytest.mark.parametrize(("event_id", "author"), [("evt_unheard_of", "ana"), (None, " ")])
def test_nothing_is_delivered_anew_without_an_author_or_by_an_unknown_id(
    ledger: Ledger, event_id: str | None, author: str
) -> None:
    event = made_event(1)
    ledger.enqueue(event)
    ledger.deliver(MadeReceiver(lambda _: GONE))
    with pytest.raises(InputError):
        redeliver(ledger.engine, [event.event_id, event_id] if event_id else None, author, ledger.clock)
    assert ledger.states() == {"dead": 1}
