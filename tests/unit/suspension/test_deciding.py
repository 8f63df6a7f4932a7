"""What would be published of a night, and what news since it change of that."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

from regua.dispatch.last_look import LastLook
from regua.ledger.facts import Fact
from regua.suspension.deciding import (
    AWAITS_APPROVAL,
    Listing,
    entries_given_back,
    entries_of,
    new_candidates,
    removal_of,
)
from regua.suspension.found_night import Candidate, FoundNight, InvoiceFate
from regua.suspension.relief import News
from regua.suspension.standing import Change, Debt, Entry, Found, Standing

DAY = date(2026, 6, 30)
YESTERDAY = DAY - timedelta(days=1)
NOW = datetime.fromisoformat("2026-06-30 14:00")
DEBT = Debt(1, Decimal("100.00"), "BRL", "i1", date(2026, 6, 1), 29, "n1", date(2026, 6, 16), ("i1",))
TWO = replace(DEBT, invoice_count=2, suspending_invoice_ids=("i1", "i2"))
NO_LOOK = LastLook({}, {}, ())


def found(level: str = "suspended", debt: Debt = DEBT, until: date | None = None) -> Found:
    return Found("s1", "c1", level, "over_threshold", debt, unlocked_until_date=until)


def night(*founds: Found, candidates: tuple[Candidate, ...] = ()) -> FoundNight:
    return FoundNight(DAY, datetime.fromisoformat("2026-06-30 05:00"), founds, candidates, 1000)


def published(standing: str, reached: str, debt: Debt = DEBT, day: date = YESTERDAY) -> dict[str, Entry]:
    return {"s1": Entry("s1", "c1", day, Standing(standing), reached, reached, day, "over_threshold", None, debt)}


def news(*facts: Fact, paid: tuple[str, ...] = (), paid_customers: tuple[str, ...] = ()) -> News:
    unlocks = tuple(fact for fact in facts if fact.entity == "trust_unlocks")
    others = tuple((fact, NOW) for fact in facts if fact.entity != "trust_unlocks")
    look = LastLook(dict.fromkeys(paid, NOW), dict.fromkeys(paid_customers, NOW), others)
    return News(look, unlocks, {"c1": ("c1_old",)}, DAY)


def fact(entity: str, number: int = 1, *, is_withdrawn: bool = False, **values: str | None) -> Fact:
    dates = {"valid_from_date": DAY.isoformat(), "valid_to_date": None}
    return Fact(number, entity, dates | values, "ana", "why", NOW, is_withdrawn)


QUIET = news()


def only(entries: list[Entry]) -> Entry:
    [entry] = entries
    return entry


def test_what_was_published_and_is_past_due_no_more_comes_back() -> None:
    after = only(entries_of(night(), published("suspended", "suspended"), {"i1": InvoiceFate("paid")}, QUIET))
    assert (after.standing_code, after.change_code, after.reason_code) == ("reactivated", "reactivate", "paid")


@pytest.mark.parametrize(
    ("fates", "reason"),
    [
        ({"i1": InvoiceFate("disputed"), "i2": InvoiceFate("paid")}, "disputed"),
        ({"i1": InvoiceFate("paid"), "i2": InvoiceFate("paid")}, "paid"),
        ({"i1": InvoiceFate("over_threshold"), "i2": InvoiceFate("notice_missing")}, "notice_missing"),
        ({}, "paid"),
    ],
    ids=["disputed and paid", "paid", "a new policy", "gone"],
)
def test_the_reason_of_a_return_is_what_became_of_the_invoices_that_suspended(
    fates: dict[str, InvoiceFate], reason: str
) -> None:
    after = only(entries_of(night(found("notice", TWO)), published("suspended", "suspended", TWO), fates, QUIET))
    assert (after.change_code, after.reason_code) == ("reactivate", reason)


def test_what_is_regular_and_was_never_published_is_no_entry() -> None:
    assert entries_of(night(found("regular", Debt())), {}, {}, QUIET) == []


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (news(paid=("i1",)), "payment_received"),
        (news(paid_customers=("c1",)), "payment_received"),
        (news(paid_customers=("c1_old",)), "payment_received"),
        (news(fact("disputes", invoice_id="i1")), "disputed"),
        (news(fact("disputes", invoice_id="i1", is_withdrawn=True)), "disputed"),
        (news(fact("agreements", customer_id="c1")), "under_agreement"),
        (news(fact("pauses", customer_id="c1_old", valid_to_date=DAY.isoformat())), "paused"),
        (news(fact("promises", customer_id="c1", promised_date=DAY.isoformat())), "promise_open"),
        (news(fact("trust_unlocks", customer_id="c1", valid_to_date=DAY.isoformat())), "trust_unlock"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_anything_new_about_the_debt_keeps_access_for_today(said: News, reason: str) -> None:
    """A payment of a cent is enough: the next night decides with all it then knows."""
    after = only(entries_of(night(found()), published("notice", "notice"), {}, said))
    assert (after.standing_code, after.change_code, after.reason_code) == ("notice", None, reason)


@pytest.mark.parametrize(
    "said",
    [
        news(paid=("another",)),
        news(paid_customers=("c2",)),
        news(fact("disputes", invoice_id="another")),
        news(fact("exemptions", customer_id="c2")),
        news(fact("consents", customer_id="c1", channel_code="email")),
        news(fact("waivers", customer_id="c1")),
    ],
    ids=["another invoice", "another customer", "another's dispute", "another's exemption", "an opt-out", "a waiver"],
)
def test_what_is_about_something_else_keeps_nothing(said: News) -> None:
    after = only(entries_of(night(found()), published("notice", "notice"), {}, said))
    assert after.change_code is Change.SUSPEND


@pytest.mark.parametrize(
    ("said", "standing", "reason"),
    [
        (news(paid=("i1", "i2")), "reactivated", "payment_received"),
        (news(fact("disputes", invoice_id="i1"), paid=("i2",)), "reactivated", "disputed"),
        (news(fact("exemptions", customer_id="c1")), "reactivated", "exempt"),
        (news(paid_customers=("c1",)), "reactivated", "payment_received"),
        (
            news(fact("trust_unlocks", customer_id="c1", valid_to_date=(DAY + timedelta(days=3)).isoformat())),
            "trust_unlock",
            "trust_unlock",
        ),
        (
            news(
                fact("agreements", 7, customer_id="c1"),
                fact("agreement_invoices", 8, agreement_id="op-7", invoice_id="i1"),
                fact("agreement_invoices", 9, agreement_id="op-7", invoice_id="i2"),
            ),
            "reactivated",
            "under_agreement",
        ),
    ],
    ids=["both paid", "one paid, one disputed", "exempt", "a credit", "unlocked", "an agreement over both"],
)
def test_access_comes_back_within_the_day(said: News, standing: str, reason: str) -> None:
    given_back, entries = entries_given_back(published("suspended", "suspended", TWO), said, YESTERDAY, {})
    assert [entry.standing_code for entry in given_back] == [standing]
    assert only(given_back).reason_code == reason
    assert only(entries).change_code is Change.REACTIVATE
    after = only(entries_of(night(found("suspended", TWO)), published("suspended", "suspended", TWO), {}, said))
    assert (after.standing_code, after.reason_code) == (standing, reason)


@pytest.mark.parametrize(
    "said",
    [
        news(paid=("i1",)),
        news(fact("disputes", invoice_id="i1")),
        news(fact("exemptions", customer_id="c1", is_withdrawn=True)),
        news(fact("pauses", customer_id="c1", valid_to_date=YESTERDAY.isoformat())),
        news(fact("promises", customer_id="c1", promised_date=YESTERDAY.isoformat())),
        news(fact("agreements", 7, customer_id="c1")),
        news(
            fact("agreements", 7, customer_id="c1", broken_date=DAY.isoformat()),
            fact("agreement_invoices", 8, agreement_id="op-7", invoice_id="i1"),
            fact("agreement_invoices", 9, agreement_id="op-7", invoice_id="i2"),
        ),
    ],
    ids=["one of two paid", "one of two disputed", "withdrawn", "over", "promise over", "covers nothing", "broken"],
)
def test_what_does_not_hold_for_all_that_suspends_gives_nothing_back(said: News) -> None:
    given_back, entries = entries_given_back(published("suspended", "suspended", TWO), said, YESTERDAY, {})
    assert given_back == []
    assert only(entries).change_code is Change.KEEP


def fates(**reasons: str) -> dict[str, InvoiceFate]:
    return {invoice_id: InvoiceFate(reason) for invoice_id, reason in reasons.items()}


@pytest.mark.parametrize(
    ("found_since", "standing", "reason"),
    [
        (fates(i1="paid", i2="paid"), "reactivated", "paid"),
        (fates(i1="paid", i2="in_clearing"), "reactivated", "in_clearing"),
        (fates(i1="paid", i2="over_threshold"), "suspended", None),
        (fates(i1="paid"), "suspended", None),
        ({}, "suspended", None),
        (
            {id_: InvoiceFate("over_threshold", unlocked_until_date=DAY) for id_ in ("i1", "i2")},
            "trust_unlock",
            "trust_unlock",
        ),
        (
            {id_: InvoiceFate("over_threshold", unlocked_until_date=YESTERDAY) for id_ in ("i1", "i2")},
            "suspended",
            None,
        ),
    ],
    ids=["both paid", "one in clearing", "one of two", "not looked at", "no newer night", "let in", "let in until now"],
)
def test_what_a_newer_night_found_gives_access_back_before_its_list_is_out(
    found_since: dict[str, InvoiceFate], standing: str, reason: str | None
) -> None:
    given_back, entries = entries_given_back(published("suspended", "suspended", TWO), QUIET, YESTERDAY, found_since)
    assert only(entries).standing_code == standing
    assert [entry.reason_code for entry in given_back] == ([] if reason is None else [reason])


def test_what_a_person_has_to_say_a_word_to_is_held_and_nothing_else_is() -> None:
    before = published("notice", "notice") | {
        "s2": replace(published("suspended", "suspended")["s1"], subscription_id="s2", customer_id="c2")
    }
    founds = night(found(), replace(found("regular", Debt()), subscription_id="s2", customer_id="c2"))
    held, back = entries_of(founds, before, {}, QUIET, held_ids={"s1", "s2"})
    assert (held.standing_code, held.change_code, held.reason_code) == ("notice", None, AWAITS_APPROVAL)
    assert (back.standing_code, back.change_code) == ("reactivated", "reactivate")


CANDIDATE = Candidate("i1", "c1", date(2026, 3, 1), 121, Decimal("100.00"), "BRL", "n1", date(2026, 6, 1))


def test_a_debt_is_listed_once_and_not_while_anything_new_is_said_of_it() -> None:
    one = night(candidates=(CANDIDATE,))
    assert new_candidates(one, (), QUIET) == [CANDIDATE]
    assert new_candidates(one, {"i1"}, QUIET) == []
    assert new_candidates(one, (), news(paid=("i1",))) == []
    assert new_candidates(one, (), news(fact("promises", customer_id="c1", promised_date=DAY.isoformat()))) == []


@pytest.mark.parametrize(
    ("fate", "state", "began"),
    [
        (InvoiceFate("paid", date(2026, 6, 26)), "removal_due", date(2026, 6, 26)),
        (InvoiceFate("disputed"), "removal_due", DAY),
        (InvoiceFate("prescribed"), "removal_due", DAY),
        (InvoiceFate("quarantined"), "removal_due", DAY),
        (InvoiceFate("over_threshold"), "listed", None),
        (InvoiceFate("promise_open"), "listed", None),
        (InvoiceFate("in_clearing"), "listed", None),
    ],
    ids=lambda value: value.reason_code if isinstance(value, InvoiceFate) else "",
)
def test_the_clock_of_a_removal_starts_with_its_reason(fate: InvoiceFate, state: str, began: date | None) -> None:
    last_days = {date(2026, 6, 26): date(2026, 7, 3), DAY: date(2026, 7, 7)}
    after = removal_of(Listing(CANDIDATE, 1, date(2026, 6, 2)), fate, DAY, last_days)
    assert (after.state_code, after.removal_from_date) == (state, began)
    assert after.remove_by_date == (last_days[began] if began else None)
    # A debt that comes back, a payment undone, does not stop a removal that is due.
    assert removal_of(after, InvoiceFate("over_threshold"), DAY, last_days) == after
