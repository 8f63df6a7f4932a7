"""The plan in the ledger: what a step's key forbids, and what a plan made anew may change."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from tests.integration.conftest import every_table
from tests.integration.dispatch.made_plans import DAY, House, RememberingChannel, made_message

from regua.channels.sending import Answer, Outcome
from regua.errors import InputError
from regua.ledger.event_log import broken_link
from regua.ledger.messages import EVENTS, STEPS

TOMORROW = DAY + timedelta(days=1)


def test_the_migrations_make_the_tables_that_the_code_uses(house: House) -> None:
    with house.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), every_table()) == []


def test_planning_the_same_night_twice_changes_nothing_but_the_gate(house: House) -> None:
    first = house.plan(made_message(1), made_message(2))
    before = house.message_of("C1")
    second = house.plan(made_message(1), made_message(2))
    assert (first.new, second.new, second.kept) == (2, 0, 2)
    assert house.message_of("C1") == before
    with house.engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(STEPS)).scalar_one() == 2


def test_a_plan_made_anew_takes_back_what_is_decided_no_more_and_leaves_what_was_sent(house: House) -> None:
    house.plan(made_message(1), made_message(2), made_message(3))
    provider = RememberingChannel()
    house.send(provider, messages=1)
    [sent] = provider.customers
    house.plan()
    assert {state for customer, state in house.states().items() if customer != sent} == {"superseded: planned_anew"}
    assert house.states()[sent] == "accepted"


def test_a_plan_made_anew_has_to_pass_its_gate_again(house: House) -> None:
    house.plan(made_message(1))
    house.plan(made_message(1), made_message(2), gate="open")
    provider = RememberingChannel()
    report = house.send(provider)
    assert "has not passed its gate" in str(report.ended)
    assert provider.received == []


@pytest.mark.parametrize("answer", [Answer.ACCEPTED, Answer.UNKNOWN])
def test_a_step_that_went_out_or_may_have_is_not_planned_again_on_another_day(house: House, answer: Answer) -> None:
    house.plan(made_message(1))
    house.send(RememberingChannel({"C1": [Outcome(answer, "")]}))
    plan = house.plan(made_message(1, day=TOMORROW), day=TOMORROW)
    assert (plan.new, plan.already_taken) == (0, 1)
    assert house.states()["C1"] == "superseded: step_taken"


def test_a_step_of_a_message_that_is_still_claimed_is_not_planned_again(house: House) -> None:
    house.plan(made_message(1))
    outbox = house.outbox()
    outbox.exchange([], outbox.candidates(10), _at_once())
    plan = house.plan(made_message(1, day=TOMORROW), day=TOMORROW)
    assert plan.already_taken == 1


def test_a_message_with_one_step_that_was_sent_is_not_sent_for_its_other_steps(house: House) -> None:
    """Its total and its lines were written for all of them."""
    house.plan(made_message(1, invoices=["A"]))
    house.send(RememberingChannel())
    plan = house.plan(made_message(1, day=TOMORROW, invoices=["A", "B"]), day=TOMORROW)
    assert (plan.new, plan.already_taken) == (0, 1)


def test_a_step_that_a_message_made_anew_no_longer_carries_is_free(house: House) -> None:
    """An invoice in dispute falls out of the night that is run again: it was not written of, and may be tomorrow."""
    house.plan(made_message(1, invoices=["A", "B"]))
    house.plan(made_message(1, invoices=["A"]))
    house.send(RememberingChannel())
    plan = house.plan(made_message(1, day=TOMORROW, invoices=["B"]), day=TOMORROW)
    assert (plan.new, plan.already_taken) == (1, 0)


def test_a_step_known_not_to_have_been_sent_may_be_planned_again(house: House) -> None:
    house.plan(made_message(1))
    house.send(RememberingChannel({"C1": [Outcome(Answer.REJECTED, "400")]}))
    plan = house.plan(made_message(1, day=TOMORROW), day=TOMORROW)
    assert (plan.new, plan.already_taken) == (1, 0)
    message = made_message(1, day=TOMORROW)
    assert house.owner_of(message.steps[0].step_key) == message.content.message_id


def test_what_was_not_sent_on_its_day_expires_when_the_next_is_planned(house: House) -> None:
    house.plan(made_message(1))
    plan = house.plan(made_message(2, day=TOMORROW), day=TOMORROW)
    assert plan.expired == 1
    assert house.states()["C1"] == "expired: day_over"


def test_an_earlier_day_than_the_newest_plan_is_refused(house: House) -> None:
    house.plan(made_message(1, day=TOMORROW), day=TOMORROW)
    with pytest.raises(InputError, match="an earlier day"):
        house.plan(made_message(1))
    assert house.states() == {"C1": "planned"}


def test_events_cannot_be_changed_and_a_changed_one_is_found(house: House) -> None:
    house.plan(made_message(1), made_message(2))
    house.send(RememberingChannel())
    assert broken_link(house.engine) is None
    with pytest.raises(sa.exc.DBAPIError), house.engine.begin() as connection:
        connection.execute(sa.update(EVENTS).where(EVENTS.c.event_number == 2).values(reason_code="otherwise"))
    with house.engine.begin() as connection:
        # Whoever owns the database can take the guard away; the chain shows what was done then.
        if house.engine.dialect.name == "postgresql":
            connection.execute(sa.text("alter table message_events disable trigger all"))
        else:
            connection.execute(sa.text("drop trigger message_events_refuse_update"))
        connection.execute(sa.update(EVENTS).where(EVENTS.c.event_number == 2).values(reason_code="otherwise"))
    assert broken_link(house.engine) == 2


def test_an_event_that_was_taken_out_is_missed(house: House) -> None:
    house.plan(made_message(1), made_message(2))
    with house.engine.begin() as connection:
        if house.engine.dialect.name == "postgresql":
            connection.execute(sa.text("alter table message_events disable trigger all"))
        else:
            connection.execute(sa.text("drop trigger message_events_refuse_delete"))
        connection.execute(sa.delete(EVENTS).where(EVENTS.c.event_number == 2))
    assert broken_link(house.engine) == 3


def _at_once():
    from regua.dispatch.outbox import Hold

    return Hold(None, None)
