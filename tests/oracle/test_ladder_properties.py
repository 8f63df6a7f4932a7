"""What must hold of the ladder whatever it decides: of random portfolios, and of a few made for one rule each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.oracle.ladder_oracle import Decision, Message, customers_of, debts_on, total
from tests.oracle.made_policies import policy_of
from tests.oracle.portfolios import random_recipe
from tests.oracle.scenario import SOURCE, DayResult, Scenario, Version, Workshop

from regua.policy.policies import Policies, combine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Decided = list[tuple[Scenario, dict[date, DayResult]]]

# Portfolios of random_recipe in which enough is sent, and enough held back.
SEEDS = (11, 25, 26)
FIRST_DAY = date(2026, 3, 2)
DAYS = [FIRST_DAY + timedelta(days=number) for number in range(12)]
AMOUNTS = ("open_amount", "credit_amount", "fine_amount", "interest_amount", "payable_amount")
ALWAYS = dict.fromkeys(("business_day", "saturday", "sunday", "holiday"), "0-24")
DAILY_STEPS = range(1, 13)


# On random portfolios ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def decided(workshop: Workshop) -> Decided:
    """Some portfolios in which much is sent."""
    scenarios = [random_recipe(seed).scenario() for seed in SEEDS]
    return [(scenario, workshop.decide(scenario)) for scenario in scenarios]


def each_decision(results: Mapping[date, DayResult]) -> Iterator[tuple[date, str, str, Decision]]:
    for day, result in results.items():
        for (invoice_id, step_code), decision in result.decisions.items():
            yield day, invoice_id, step_code, decision


def each_message(results: Mapping[date, DayResult]) -> Iterator[tuple[date, tuple[str, str, str], Message]]:
    for day, result in results.items():
        for key, message in result.messages.items():
            yield day, key, message


def test_the_order_of_the_rows_makes_no_difference(workshop: Workshop, decided: Decided) -> None:
    """Neither the order in which rows were loaded nor their line numbers are part of any rule."""
    for seed, (scenario, results) in enumerate(decided):
        assert workshop.decide(scenario.shuffled(seed)) == results


def test_each_candidate_has_exactly_one_outcome(decided: Decided) -> None:
    """Of an invoice's candidates of one channel one is judged; the others are superseded. Only `eligible` is sent.

    Two rows for one day, invoice and step fail when they are read.
    """
    judged_count = 0
    for _, results in decided:
        judged = Counter[tuple[date, str, str]]()
        for day, invoice_id, step_code, decision in each_decision(results):
            place = (day, invoice_id, decision.channel_code)
            assert decision.is_judged == (decision.outcome_code != "superseded"), (day, invoice_id, step_code, decision)
            assert (decision.in_message is not None) == (decision.outcome_code == "eligible"), (day, decision)
            if decision.open_amount > 0:
                judged[place] += decision.is_judged
        assert set(judged.values()) == {1}
        judged_count += len(judged)
    assert judged_count > 1000


def test_each_message_adds_up_to_what_its_invoices_owe(decided: Decided) -> None:
    """Σ lines = header = Σ open amount of its invoices, which all belong to its customer and are in its currency."""
    line_count = 0
    for scenario, results in decided:
        for day, (contact_id, _, currency), message in each_message(results):
            portfolio = scenario.known_on(day)
            debts = debts_on(portfolio, customers_of(portfolio), day)
            for name in AMOUNTS:
                assert getattr(message, name) == total(getattr(line, name) for line in message.lines.values())
            for invoice_id, line in message.lines.items():
                debt = debts[invoice_id]
                assert line.open_amount == debt.open_amount > 0
                assert (debt.contact_id, debt.currency_code) == (contact_id, currency)
            in_it = {
                invoice_id
                for (invoice_id, _), decision in results[day].decisions.items()
                if decision.in_message == (contact_id, _channel_of(results[day], message), currency)
            }
            assert in_it == {invoice_id for invoice_id, line in message.lines.items() if line.step_code is not None}
            line_count += len(message.lines)
    assert line_count > 100


def _channel_of(result: DayResult, message: Message) -> str:
    return next(channel for (_, channel, _), other in result.messages.items() if other is message)


def test_nobody_is_written_to_who_must_be_left_in_peace(decided: Decided) -> None:
    """No message speaks of an invoice that is paid, in dispute or under an agreement, or uses a forbidden channel."""
    held_back: Counter[str] = Counter()
    for scenario, results in decided:
        for day, result in results.items():
            forbidden = _forbidden_invoices(scenario, day)
            opted_out = _opted_out(scenario, day)
            for key, message in result.messages.items():
                assert not set(message.lines) & set(forbidden), (day, key, forbidden)
                assert key[:2] not in opted_out, (day, key)
            for (invoice_id, _), decision in result.decisions.items():
                held_back[forbidden.get(invoice_id, "")] += 1
                held_back["opted_out"] += (decision.contact_customer_id, decision.channel_code) in opted_out
    assert min(held_back[reason] for reason in ("paid", "disputed", "under_agreement", "opted_out")) > 0, held_back


def _forbidden_invoices(scenario: Scenario, day: date) -> dict[str, str]:
    portfolio = scenario.known_on(day)
    broken = {
        row["agreement_id"]
        for row in portfolio.of("agreements")
        if not _holds(row, day) or (row["broken_date"] is not None and row["broken_date"] <= day)
    }
    agreed = {
        row["invoice_id"]: "under_agreement"
        for row in portfolio.of("agreement_invoices")
        if _holds(row, day) and row["agreement_id"] not in broken
        if row["agreement_id"] in {agreement["agreement_id"] for agreement in portfolio.of("agreements")}
    }
    disputed = {row["invoice_id"]: "disputed" for row in portfolio.of("disputes") if _holds(row, day)}
    debts = debts_on(portfolio, customers_of(portfolio), day).values()
    paid = {debt.invoice_id: "paid" for debt in debts if not debt.is_open}
    return agreed | disputed | paid


def _opted_out(scenario: Scenario, day: date) -> set[tuple[str, str]]:
    """By the customer that said so; what a record said that was merged into another one is tested elsewhere."""
    return {
        (row["customer_id"], row["channel_code"])
        for row in scenario.known_on(day).of("consents")
        if not row["is_opted_in"] and _holds(row, day)
    }


def _holds(row: Mapping[str, Any], day: date) -> bool:
    return row["valid_from_date"] <= day and (row.get("valid_to_date") is None or day <= row["valid_to_date"])


def test_no_step_of_a_cycle_is_sent_twice(decided: Decided) -> None:
    """A step that went out is never repeated in its cycle, unless a touch says that it did not go out."""
    sent_count = 0
    for scenario, results in decided:
        taken_back = {
            (version.row["invoice_id"], version.row["step_code"])
            for version in scenario.versions
            if version.entity == "touches" and version.row["fate_code"] == "not_sent"
        }
        sent = Counter(
            (invoice_id, step_code, decision.cycle_date)
            for _, invoice_id, step_code, decision in each_decision(results)
            if decision.outcome_code == "eligible" and (invoice_id, step_code) not in taken_back
        )
        assert set(sent.values()) == {1}
        sent_count += len(sent)
    assert sent_count > 50


def test_nobody_who_was_merged_is_written_to(decided: Decided) -> None:
    """Whoever was merged into another customer gets no message of their own."""
    merged_count = 0
    for scenario, results in decided:
        for day, result in results.items():
            merged = {
                row["customer_id"]
                for row in scenario.known_on(day).of("customers")
                if row.get("merged_into_customer_id") not in (None, row["customer_id"])
            }
            assert not merged & {contact_id for contact_id, _, _ in result.messages}
            merged_count += len(merged)
    assert merged_count > 0


# On portfolios made for one rule ----------------------------------------------------------------------------------


def email_step(code: str, offset_days: int) -> dict[str, Any]:
    return {"code": code, "offset_days": offset_days, "channel": "email", "phase": "friendly", "template": "words"}


def email_policy(*versions: tuple[date | None, Sequence[tuple[str, int]]]) -> Policies:
    """E-mails only, on any day and without a limit, so that nothing but the ladder decides when they go out."""
    contents: list[dict[str, Any]] = []
    for effective_from, steps in versions:
        contents.append(
            {
                "late_charges": {"fine_pct": 2, "monthly_interest_pct": 1, "consumer_fine_cap_pct": 2},
                "limits": {"contacts_per_week": 7, "days_between_contacts": 0},
                "thresholds": {},
                "prescription_years": 5,
                "contact_windows": {"other": ALWAYS},
                "steps": [email_step(code, offset) for code, offset in steps],
            }
            | ({} if effective_from is None else {"effective_from": effective_from})
        )
    return combine([policy_of("default", contents, default=True)])


def daily_policy() -> Policies:
    """A step on each of the days 1 to 12."""
    return email_policy((None, [(f"day_{number}", number) for number in DAILY_STEPS]))


def customer(customer_id: str, **more: Any) -> Version:
    return Version("customers", {"customer_id": customer_id, "email": f"{customer_id}@example.com"} | more)


def invoice(invoice_id: str, customer_id: str, due_date: date) -> Version:
    row = {"invoice_id": invoice_id, "customer_id": customer_id, "issue_date": date(2026, 1, 2), "due_date": due_date}
    return Version("invoices", row | {"amount": Decimal("100.00"), "calendar_code": "plain"})


def small_scenario(policies: Policies, versions: Sequence[Version]) -> Scenario:
    return Scenario(policies, DAYS, versions, heard={SOURCE: DAYS})


def steps_sent(results: Mapping[date, DayResult], invoice_id: str) -> dict[date, str]:
    return {
        day: step_code
        for day, other_id, step_code, decision in each_decision(results)
        if other_id == invoice_id and decision.outcome_code == "eligible"
    }


def test_after_missed_nights_only_the_highest_step_goes_out(workshop: Workshop) -> None:
    """After three missed nights each customer gets one message by each channel, of the highest step that is due.

    The lower ones are superseded, and never made up for.
    """
    ages = range(-3, 5)
    versions = [customer(f"c{age}") for age in ages]
    versions += [invoice(f"i{age}", f"c{age}", FIRST_DAY - timedelta(days=age)) for age in ages]
    scenario = replace(small_scenario(daily_policy(), versions), missed_nights=frozenset(DAYS[3:6]))
    results = workshop.decide(scenario)
    for age in ages:
        due = {day: (day - FIRST_DAY).days + age for day in scenario.nights}
        assert steps_sent(results, f"i{age}") == {
            day: f"day_{number}" for day, number in due.items() if number in DAILY_STEPS
        }
        superseded = {
            step_code
            for day, invoice_id, step_code, decision in each_decision(results)
            if (day, invoice_id, decision.outcome_code) == (DAYS[6], f"i{age}", "superseded")
        }
        # The nights that were missed would have sent days 3, 4 and 5 of the window.
        assert superseded == {f"day_{age + number}" for number in (3, 4, 5) if age + number in DAILY_STEPS}
    assert Counter(contact_id for contact_id, _, _ in results[DAYS[6]].messages) == {f"c{age}": 1 for age in ages}


def test_the_next_invoice_keeps_to_its_own_days(workshop: Workshop) -> None:
    """When the oldest invoice is paid, the next one gets no step before its own days, and none is skipped."""
    paid_on = {f"c{number}": DAYS[number] for number in range(8)}
    versions: list[Version] = []
    for customer_id, day in paid_on.items():
        versions += [
            customer(customer_id),
            invoice(f"{customer_id}-old", customer_id, FIRST_DAY - timedelta(days=4)),
            invoice(f"{customer_id}-next", customer_id, FIRST_DAY + timedelta(days=3)),
            Version(
                "payments",
                {"payment_id": f"p{customer_id}", "invoice_id": f"{customer_id}-old", "payment_date": day},
                known_from=day,
            ),
        ]
    results = workshop.decide(small_scenario(daily_policy(), versions))
    for customer_id, day in paid_on.items():
        assert steps_sent(results, f"{customer_id}-old") == {
            before: f"day_{number}" for number, before in enumerate(DAYS, start=4) if before < day
        }
        assert steps_sent(results, f"{customer_id}-next") == {
            DAYS[3 + number]: f"day_{number}" for number in range(1, 9)
        }


def test_a_policy_that_changes_in_mid_ladder_repeats_nothing(workshop: Workshop) -> None:
    """What the old version sent the new one does not send again: the example of docs/how-to/policies.md."""
    change = DAYS[4]
    policies = email_policy(
        (None, [("overdue", 6), ("last_reminder", 12)]),
        (change, [("overdue", 3), ("second", 8), ("last_reminder", 12)]),
    )
    ages = range(1, 13)
    versions = [customer(f"c{age}") for age in ages]
    versions += [invoice(f"i{age}", f"c{age}", change - timedelta(days=age)) for age in ages]
    results = workshop.decide(small_scenario(policies, versions))
    by_age = {age: steps_sent(results, f"i{age}") for age in ages}
    assert by_age[9] == {DAYS[1]: "overdue", change: "second", DAYS[7]: "last_reminder"}
    assert by_age[4] == {change: "overdue", DAYS[8]: "second"}
    for sent in by_age.values():
        assert sorted({*sent.values()}) == sorted(sent.values())
    assert {code for sent in by_age.values() for code in sent.values()} == {"overdue", "second", "last_reminder"}


def test_merged_customers_get_one_message(workshop: Workshop) -> None:
    """Records that were merged are one customer: one message a day and channel, with the invoices of all of them."""
    versions = [
        customer("first", merged_into_customer_id="second"),
        customer("second", merged_into_customer_id="third"),
        customer("third"),
        invoice("i-first", "first", FIRST_DAY - timedelta(days=3)),
        invoice("i-second", "second", FIRST_DAY - timedelta(days=2)),
        invoice("i-third", "third", FIRST_DAY - timedelta(days=1)),
    ]
    results = workshop.decide(small_scenario(daily_policy(), versions))
    for day in DAYS[:9]:
        assert [*results[day].messages] == [("third", "email", "BRL")]
        [message] = results[day].messages.values()
        assert set(message.lines) == {"i-first", "i-second", "i-third"}
        assert message.open_amount == Decimal("300.00")


def test_a_reversed_payment_begins_the_ladder_anew(workshop: Workshop) -> None:
    """What was sent before an invoice was paid is sent again, from the first step on, once the payment is undone."""
    payment_date, reversed_date = DAYS[3], DAYS[5]
    versions = [
        customer("c"),
        invoice("i", "c", FIRST_DAY - timedelta(days=2)),
        Version(
            "payments",
            {"payment_id": "p", "invoice_id": "i", "payment_date": payment_date, "reversed_date": reversed_date},
        ),
    ]
    results = workshop.decide(small_scenario(daily_policy(), versions))
    before = {DAYS[number]: f"day_{number + 2}" for number in range(3)}
    after = {DAYS[number]: f"day_{number - 5}" for number in range(6, 12)}
    assert steps_sent(results, "i") == before | after
