"""The level of a subscription by docs/reference/suspension.md: one case for each thing that the page says.

All cases begin with a subscription that is suspended, and change one thing of it.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from tests.unit.suspension.small_portfolio import (
    AS_OF,
    DUE,
    THRESHOLDS,
    Rows,
    days_before,
    facts_of,
    policies_of,
    policy_of,
    step,
)

from regua.policy.policies import Policies
from regua.suspension.raw_facts import RawFacts, Rejections
from regua.suspension.second_derivation import DerivedLevel, derive

OLD_DUE = days_before(61)
TOMORROW = days_before(-1)
# Just after midnight in São Paulo.
NEXT_DAY = datetime.fromisoformat("2026-07-01 03:00")
PAID, NEWER = {"invoice_id": "n"}, {"invoice_id": "n", "due_date": days_before(10)}


def level_of(facts: RawFacts, policies: Policies | None = None, as_of: date = AS_OF) -> str:
    """Of the subscription `s`."""
    derived = derive(facts, policies or policies_of(), as_of)
    return derived.levels["s"].level_code if "s" in derived.levels else "regular"


def cases(table: dict[str, Any]) -> list[Any]:
    return [pytest.param(*(value if isinstance(value, tuple) else (value,)), id=name) for name, value in table.items()]


def test_the_subscription_that_all_cases_begin_with_is_suspended() -> None:
    derived = derive(facts_of(), policies_of(), AS_OF)
    assert derived.levels == {"s": DerivedLevel("s", "c", "suspended", ("i",), None)}
    assert derived.customer_levels == {"c": "suspended"}
    assert derived.bureau_invoice_ids == frozenset()


# Level ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "level"),
    cases(
        {
            "not above the banner's threshold": (5, "regular"),
            "above the banner's threshold": (6, "notice"),
            "not above the suspension's threshold": (20, "notice"),
            "above the suspension's threshold": (22, "suspended"),
            "not above the cancellation's threshold": (60, "suspended"),
            "above the cancellation's threshold": (61, "cancellation_proposed"),
        }
    ),
)
def test_days_are_counted_from_the_due_date(days: int, level: str) -> None:
    rows: Rows = {"invoices": [{"due_date": days_before(days)}], "touches": [{"delivered_date": days_before(5)}]}
    assert level_of(facts_of(rows)) == level


@pytest.mark.parametrize(
    ("threshold", "days", "level"),
    [
        ("banner_after_days", 10, "regular"),
        ("suspend_after_days", 61, "notice"),
        ("cancel_after_days", 61, "suspended"),
    ],
)
def test_a_threshold_that_is_not_given_is_never_passed(threshold: str, days: int, level: str) -> None:
    thresholds = {name: value for name, value in THRESHOLDS.items() if name not in (threshold, "bureau_after_days")}
    # Without the threshold no step may announce what it would bring.
    notice = {} if threshold == "suspend_after_days" else {"notice": "suspension"}
    policies = policies_of(thresholds=thresholds, steps=[step("suspension_notice", 10, **notice)])
    assert level_of(facts_of({"invoices": [{"due_date": days_before(days)}]}), policies) == level


@pytest.mark.parametrize(
    ("due", "calendar", "as_of", "holidays", "level"),
    cases(
        {
            "the threshold on a Friday, the day after": (date(2026, 5, 30), "br-bank", date(2026, 6, 20), [], "notice"),
            "on a Friday, the Monday": (date(2026, 5, 30), "br-bank", date(2026, 6, 22), [], "notice"),
            "on a Friday, the Tuesday": (date(2026, 5, 30), "br-bank", date(2026, 6, 23), [], "suspended"),
            "the Monday is a holiday": (
                *(date(2026, 5, 30), "br-bank", date(2026, 6, 23), [date(2026, 6, 22)], "notice"),
            ),
            "on a Friday, the Monday, all days are business days": (
                *(date(2026, 5, 30), "plain", date(2026, 6, 22), [], "suspended"),
            ),
        }
    ),
)
def test_the_grace_is_in_business_days_between_both_left_out(
    due: date, calendar: str, as_of: date, holidays: list[date], level: str
) -> None:
    facts = facts_of({"invoices": [{"due_date": due, "calendar_code": calendar}]}, holidays=frozenset(holidays))
    assert level_of(facts, as_of=as_of) == level


@pytest.mark.parametrize(
    "rows",
    cases(
        {
            "clause excluded": {"subscriptions": [{"has_suspension_clause": False}]},
            "clause not known": {"subscriptions": [{"has_suspension_clause": None}]},
            "subscription cancelled": {"subscriptions": [{"status_code": "cancelled"}]},
            "subscription ended yesterday": {"subscriptions": [{"end_date": days_before(1)}]},
            "no notice": {"touches": []},
            "notice sent, of which nobody has proof": {"touches": [{"fate_code": "sent"}]},
            "notice bounced": {"touches": [{"fate_code": "bounced"}]},
            "notice not sent": {"touches": [{"fate_code": "not_sent"}]},
            "notice delivered four days ago": {"touches": [{"delivered_date": days_before(4)}]},
            "planned four days ago, delivered on a day nobody knows": {
                "touches": [{"planned_date": days_before(4), "delivered_date": None}]
            },
            "notice of another invoice": {"touches": [{"invoice_id": "another"}]},
            "a message that is no notice": {"touches": [{"step_code": "friendly"}]},
            "a notice of something else": {"touches": [{"step_code": "bureau_notice"}]},
            "a step that no policy has": {"touches": [{"step_code": "of_nobody"}]},
            "notice of the cycle of another due date": {"touches": [{"cycle_date": days_before(40)}]},
            "invoice of no subscription's, and a banner for the other": {
                "invoices": [{"invoice_id": "o", "subscription_id": None}, {"due_date": days_before(6)}]
            },
            "prepaid, and the period that runs is paid": {
                "subscriptions": [{"is_prepaid": True}],
                "invoices": [{}, NEWER],
                "payments": [PAID],
            },
            "prepaid, and the one due today is paid": {
                "subscriptions": [{"is_prepaid": True}],
                "invoices": [{}, NEWER | {"due_date": AS_OF}],
                "payments": [PAID],
            },
            "prepaid, and more than the period that runs is paid": {
                "subscriptions": [{"is_prepaid": True}],
                "invoices": [{}, NEWER],
                "payments": [PAID | {"amount": Decimal("100.01")}],
            },
        }
    ),
)
def test_not_suspended_but_in_notice(rows: Rows) -> None:
    assert level_of(facts_of(rows)) == "notice"


@pytest.mark.parametrize(
    "rows",
    cases(
        {
            "subscription suspended in the billing system": {"subscriptions": [{"status_code": "suspended"}]},
            "subscription on trial": {"subscriptions": [{"status_code": "trial"}]},
            "subscription ends today": {"subscriptions": [{"end_date": AS_OF}]},
            "notice delivered five days ago": {"touches": [{"delivered_date": days_before(5)}]},
            "planned five days ago, delivered on a day nobody knows": {
                "touches": [{"planned_date": days_before(5), "delivered_date": None}]
            },
            "notice of the cycle that runs": {"touches": [{"cycle_date": DUE}]},
            "one of two notices is too young": {"touches": [{}, {"delivered_date": AS_OF}]},
            "not prepaid, and a newer invoice is paid": {"invoices": [{}, NEWER], "payments": [PAID]},
            "prepaid, and the newest is owed": {
                "subscriptions": [{"is_prepaid": True}],
                "invoices": [{}, NEWER | {"due_date": days_before(50)}],
                "payments": [PAID],
            },
            "prepaid, and what is paid is not due yet": {
                "subscriptions": [{"is_prepaid": True}],
                "invoices": [{}, NEWER | {"due_date": TOMORROW}],
                "payments": [PAID],
            },
            "prepaid, and what is paid is a draft": {
                "subscriptions": [{"is_prepaid": True}],
                "invoices": [{}, NEWER | {"status_code": "draft"}],
                "payments": [PAID],
            },
            "prepaid, and what is paid was cancelled, its money given back": {
                "subscriptions": [{"is_prepaid": True}],
                "invoices": [{}, NEWER | {"status_code": "cancelled"}],
            },
            "prepaid, and the newest was written off": {
                "subscriptions": [{"is_prepaid": True}],
                "invoices": [{}, NEWER | {"written_off_date": AS_OF}],
            },
            "prepaid, and the newest is not issued yet": {
                "subscriptions": [{"is_prepaid": True}],
                "invoices": [{}, NEWER | {"issue_date": TOMORROW}],
                "payments": [PAID],
            },
            "prepaid, and the one paid has the smaller id on the newest day": {
                "subscriptions": [{"is_prepaid": True}],
                "invoices": [{}, {"invoice_id": "h"}],
                "payments": [{"invoice_id": "h"}],
            },
            "prepaid, and the one paid is of another subscription": {
                "subscriptions": [{"is_prepaid": True}, {"subscription_id": "other"}],
                "invoices": [{}, NEWER | {"subscription_id": "other"}],
                "payments": [PAID],
            },
        }
    ),
)
def test_suspended_all_the_same(rows: Rows) -> None:
    assert level_of(facts_of(rows)) == "suspended"


def test_a_planned_day_that_has_not_passed_proves_nothing() -> None:
    """With an age of 0 a message of this very day would otherwise do."""
    policies = policies_of(thresholds=THRESHOLDS | {"suspension_notice_age_days": 0})
    touch = {"planned_date": AS_OF, "delivered_date": AS_OF}
    assert level_of(facts_of({"touches": [touch]}), policies) == "notice"
    assert level_of(facts_of({"touches": [touch | {"planned_date": days_before(1)}]}), policies) == "suspended"


class TestWhichStepIsANotice:
    """By the version in force for the invoice; where that has no such step, by any version of any policy."""

    def test_what_another_policy_calls_a_notice_is_one_where_the_own_does_not_know_the_step(self) -> None:
        other = policy_of("other", steps=[*_notices(), step("old_notice", 44, notice="suspension")])
        facts = facts_of({"touches": [{"step_code": "old_notice"}]})
        assert level_of(facts, policies_of()) == "notice"
        assert level_of(facts, policies_of(other)) == "suspended"

    def test_but_not_where_the_own_says_that_it_is_none(self) -> None:
        other = policy_of("other", steps=[step("friendly", 2, notice="suspension"), *_notices()])
        assert level_of(facts_of({"touches": [{"step_code": "friendly"}]}), policies_of(other)) == "notice"

    def test_by_the_policy_of_the_invoice(self) -> None:
        other = policy_of("other", steps=[step("friendly", 2, notice="suspension"), *_notices()])
        rows: Rows = {"invoices": [{"policy_code": "other"}], "touches": [{"step_code": "friendly"}]}
        assert level_of(facts_of(rows), policies_of(other)) == "suspended"


def _notices() -> list[dict[str, Any]]:
    return [step("suspension_notice", 10, notice="suspension"), step("bureau_notice", 40, notice="credit_bureau")]


class TestCycles:
    """A reversal of what had covered the invoice begins a new cycle; what was said in the one before is not said."""

    REVERSED = days_before(15)

    @pytest.mark.parametrize(
        ("payment", "cycle_date", "level"),
        cases(
            {
                "said in the first cycle": ({}, DUE, "notice"),
                "said in the new one": ({}, REVERSED, "suspended"),
                "said in whichever runs": ({}, None, "suspended"),
                "a part that is taken back begins nothing": ({"amount": Decimal("99.99")}, DUE, "suspended"),
                "nor what never counted": ({"payment_date": REVERSED}, DUE, "suspended"),
                "nor what was taken back before the due date": (
                    *({"payment_date": days_before(40), "reversed_date": days_before(30)}, DUE, "suspended"),
                ),
                "nor what will be paid and taken back": (
                    *({"payment_date": TOMORROW, "reversed_date": days_before(-3)}, DUE, "suspended"),
                ),
                "nor what was paid in another currency": ({"currency_code": "USD"}, DUE, "suspended"),
            }
        ),
    )
    def test_a_notice_is_of_a_cycle(self, payment: dict[str, Any], cycle_date: date | None, level: str) -> None:
        rows: Rows = {
            "payments": [{"reversed_date": self.REVERSED} | payment],
            "touches": [{"cycle_date": cycle_date}],
        }
        assert level_of(facts_of(rows)) == level

    def test_the_newest_reversal_begins_the_cycle_that_runs(self) -> None:
        rows: Rows = {
            "payments": [
                {"reversed_date": days_before(18)},
                {"payment_date": days_before(17), "reversed_date": self.REVERSED},
            ],
            "touches": [{"cycle_date": days_before(18)}],
        }
        assert level_of(facts_of(rows)) == "notice"
        assert level_of(facts_of({**rows, "touches": [{"cycle_date": self.REVERSED}]})) == "suspended"


# Which debts count ----------------------------------------------------------------------------------------------------


HELD_BACK: dict[str, Rows] = {
    "due today": {"invoices": [{"due_date": AS_OF}]},
    "paid": {"payments": [{}]},
    "paid today": {"payments": [{"payment_date": AS_OF}]},
    "credited today": {"credits": [{"invoice_id": "i", "applied_date": AS_OF}]},
    "paid in two parts": {"payments": [{"amount": Decimal("40.00")}, {"amount": Decimal("60.00")}]},
    "paid and credited": {
        "payments": [{"amount": Decimal("40.00")}],
        "credits": [{"invoice_id": "i", "amount": Decimal("60.00")}],
    },
    "paid, and the reversal is tomorrow": {"payments": [{"reversed_date": TOMORROW}]},
    "paid tomorrow": {"payments": [{"payment_date": TOMORROW}]},
    "a part in another currency is paid tomorrow": {
        "payments": [{"payment_date": TOMORROW, "amount": Decimal("0.01"), "currency_code": "USD"}]
    },
    "credited tomorrow": {"credits": [{"invoice_id": "i", "applied_date": TOMORROW}]},
    "draft": {"invoices": [{"status_code": "draft"}]},
    "not issued": {"invoices": [{"issue_date": TOMORROW}]},
    "cancelled on a day nobody knows": {"invoices": [{"status_code": "cancelled"}]},
    "cancelled today": {"invoices": [{"cancelled_date": AS_OF}]},
    "written off": {"invoices": [{"status_code": "written_off"}]},
    "quarantined: an unknown customer": {"customers": [{"customer_id": "another"}]},
    "quarantined: merged into nobody": {"customers": [{"merged_into_customer_id": "nobody"}]},
    "quarantined: merged in a circle": {
        "customers": [{"merged_into_customer_id": "b"}, {"customer_id": "b", "merged_into_customer_id": "c"}]
    },
    "quarantined: the invoice names an unknown policy": {"invoices": [{"policy_code": "of_nobody"}]},
    "quarantined: the customer names an unknown policy": {"customers": [{"policy_code": "of_nobody"}]},
    "covered by credit": {"credits": [{}]},
    "covered by credit of today": {"credits": [{"applied_date": AS_OF}]},
    "covered by what was paid in excess": {
        "invoices": [{}, NEWER],
        "payments": [PAID | {"amount": Decimal("200.00")}],
    },
    "covered by what was paid for a cancelled invoice": {
        "invoices": [{}, NEWER | {"status_code": "cancelled"}],
        "payments": [PAID],
    },
    "prescribed": {"invoices": [{"issue_date": date(2021, 1, 1), "due_date": date(2021, 6, 29)}]},
    "disputed": {"disputes": [{}]},
    "disputed from today": {"disputes": [{"valid_from_date": AS_OF}]},
    "disputed up to today": {"disputes": [{"valid_to_date": AS_OF}]},
    "under an agreement": {"agreements": [{}], "agreement_invoices": [{}]},
    "under an agreement that is broken tomorrow": {
        "agreements": [{"broken_date": TOMORROW}],
        "agreement_invoices": [{}],
    },
    "exempt invoice": {"exemptions": [{"invoice_id": "i"}]},
    "exempt customer": {"exemptions": [{"customer_id": "c"}]},
    "paused": {"pauses": [{}]},
    "promised for today": {"promises": [{"invoice_id": "i"}]},
    "all promised for today": {"promises": [{"customer_id": "c"}]},
    "at the tolerance": {"invoices": [{"amount": Decimal("5.00")}]},
    "credit leaves the tolerance": {"credits": [{"amount": Decimal("95.00")}]},
    "boleto promised for yesterday": {
        "invoices": [{"payment_method_code": "boleto"}],
        "promises": [{"invoice_id": "i", "promised_date": days_before(1)}],
    },
}
COUNTS: dict[str, Rows] = {
    "issued today": {"invoices": [{"issue_date": AS_OF}]},
    "paid tomorrow, which is heard of tomorrow": {"payments": [{"payment_date": TOMORROW, "_loaded_at": NEXT_DAY}]},
    "paid tomorrow and taken back": {"payments": [{"payment_date": TOMORROW, "reversed_date": days_before(-3)}]},
    "paid in another currency": {"payments": [{"currency_code": "USD"}]},
    "credited tomorrow, which is heard of tomorrow": {
        "credits": [{"invoice_id": "i", "applied_date": TOMORROW, "_loaded_at": NEXT_DAY}]
    },
    "credited in another currency": {"credits": [{"invoice_id": "i", "currency_code": "USD"}]},
    "paid in part": {"payments": [{"amount": Decimal("94.99")}]},
    "paid, and reversed today": {"payments": [{"reversed_date": AS_OF}]},
    "cancelled tomorrow": {"invoices": [{"cancelled_date": TOMORROW}]},
    "written off tomorrow": {"invoices": [{"status_code": "written_off", "written_off_date": TOMORROW}]},
    "merged into itself": {"customers": [{"merged_into_customer_id": "c"}]},
    "credit of tomorrow": {"credits": [{"applied_date": TOMORROW}]},
    "credit in another currency": {"credits": [{"currency_code": "USD"}]},
    "credit of another customer": {"credits": [{"customer_id": "b"}], "customers": [{}, {"customer_id": "b"}]},
    "credit covers the older debt": {"credits": [{}], "invoices": [{}, NEWER | {"due_date": days_before(30)}]},
    "five years old": {"invoices": [{"issue_date": date(2021, 1, 1), "due_date": date(2021, 6, 30)}]},
    "dispute over": {"disputes": [{"valid_to_date": days_before(1)}]},
    "dispute begins tomorrow": {"disputes": [{"valid_from_date": TOMORROW}]},
    "agreement broken today": {"agreements": [{"broken_date": AS_OF}], "agreement_invoices": [{}]},
    "agreement over": {"agreements": [{"valid_to_date": days_before(1)}], "agreement_invoices": [{}]},
    "not covered by the agreement any more": {
        "agreements": [{}],
        "agreement_invoices": [{"valid_to_date": days_before(1)}],
    },
    "agreement nobody knows": {"agreement_invoices": [{}]},
    "exempt invoice of the same customer": {"exemptions": [{"customer_id": "c", "invoice_id": "another"}]},
    "paused up to yesterday": {"pauses": [{"valid_to_date": days_before(1)}]},
    "promised for yesterday": {"promises": [{"invoice_id": "i", "promised_date": days_before(1)}]},
    "promise taken back": {"promises": [{"invoice_id": "i", "valid_to_date": days_before(1)}]},
    "above the tolerance": {"invoices": [{"amount": Decimal("5.01")}]},
    "boleto promised for the day before yesterday": {
        "invoices": [{"payment_method_code": "boleto"}],
        "promises": [{"invoice_id": "i", "promised_date": days_before(4)}],
    },
    "boleto that will be promised": {
        "invoices": [{"payment_method_code": "boleto"}],
        "promises": [{"invoice_id": "i", "valid_from_date": TOMORROW, "promised_date": TOMORROW}],
    },
    "boleto whose promise for yesterday was taken back": {
        "invoices": [{"payment_method_code": "boleto"}],
        "promises": [{"invoice_id": "i", "promised_date": days_before(1), "valid_to_date": days_before(2)}],
    },
}


@pytest.mark.parametrize("rows", cases(HELD_BACK))
def test_what_is_held_back_counts_for_nothing(rows: Rows) -> None:
    derived = derive(facts_of(rows), policies_of(), AS_OF)
    assert "s" not in derived.levels
    assert not derived.bureau_invoice_ids


@pytest.mark.parametrize("rows", cases(COUNTS))
def test_what_is_held_back_no_more_counts(rows: Rows) -> None:
    facts = facts_of(rows)
    assert level_of(facts) in ("suspended", "cancellation_proposed")


@pytest.mark.parametrize(
    ("rejections", "level"),
    cases(
        {
            "a row of the invoice, or of a payment or credit of it": (
                *(Rejections(invoice_ids=frozenset({"i"})), "regular"),
            ),
            "a row of the customer": (Rejections(customer_ids=frozenset({"c"})), "regular"),
            "rows of others": (Rejections(frozenset({"i"}), frozenset({"c"})), "suspended"),
        }
    ),
)
def test_what_lies_in_quarantine_holds_back(rejections: Rejections, level: str) -> None:
    assert level_of(facts_of(rejections=rejections)) == level


@pytest.mark.parametrize(
    ("method", "due", "as_of", "level"),
    cases(
        {
            "boleto due on a Saturday is a Monday's, and known on the Tuesday": (
                *("boleto", date(2026, 6, 6), date(2026, 6, 9), "regular"),
            ),
            "from the Wednesday on it counts": ("boleto", date(2026, 6, 6), date(2026, 6, 10), "notice"),
            "Pix Automático is tried for seven days": (
                *("pix_automatico", date(2026, 6, 1), date(2026, 6, 8), "regular"),
            ),
            "and on the eighth it counts": ("pix_automatico", date(2026, 6, 1), date(2026, 6, 9), "notice"),
            "a transfer counts at once": ("transfer", date(2026, 6, 5), date(2026, 6, 8), "notice"),
            "but due on a Saturday it is a Monday's": ("transfer", date(2026, 6, 6), date(2026, 6, 8), "regular"),
            "and counts from the Tuesday on": ("transfer", date(2026, 6, 6), date(2026, 6, 9), "notice"),
        }
    ),
)
def test_what_may_be_under_way_is_in_clearing(method: str, due: date, as_of: date, level: str) -> None:
    policies = policies_of(thresholds=THRESHOLDS | {"banner_after_days": 1})
    facts = facts_of({"invoices": [{"payment_method_code": method, "due_date": due}]})
    assert level_of(facts, policies, as_of) == level


@pytest.mark.parametrize(
    "rows",
    [
        {"disputes": [{"invoice_id": "older"}]},
        {"agreements": [{}], "agreement_invoices": [{"invoice_id": "older"}]},
    ],
    ids=["disputed", "under an agreement"],
)
def test_credit_covers_first_what_is_asked_for(rows: Rows) -> None:
    """The younger debt is covered, because the older one asks for nothing now."""
    invoices: list[dict[str, Any]] = [{}, {"invoice_id": "older", "due_date": days_before(30)}]
    assert level_of(facts_of({"invoices": invoices, "credits": [{}], **rows})) == "regular"


def test_a_debt_of_the_29th_of_february_is_prescribed_after_the_28th() -> None:
    facts = facts_of({"invoices": [{"issue_date": date(2020, 2, 1), "due_date": date(2020, 2, 29)}], "touches": []})
    assert level_of(facts, as_of=date(2025, 2, 28)) == "notice"
    assert level_of(facts, as_of=date(2025, 3, 1)) == "regular"


def test_the_policy_is_that_of_the_invoice_the_customer_or_the_segment() -> None:
    """Of the first that has begun; each of these never suspends."""
    mild = {"banner_after_days": 25}
    steps = [step("friendly", 2)]
    named = policy_of("named", thresholds=mild, steps=steps)
    schools = {"segments": ["schools"], "person_types": ["company"]}
    for_schools = policy_of("schools", thresholds=mild, steps=steps, applies_to=schools)
    for_people = policy_of("people", thresholds=mild, steps=steps, applies_to={"person_types": ["individual"]})
    later = policy_of("later", thresholds=mild, steps=steps, effective_from=TOMORROW)
    policies = policies_of(named, for_schools, for_people, later)
    assert level_of(facts_of(), policies) == "suspended"
    assert level_of(facts_of({"invoices": [{"policy_code": "named"}]}), policies) == "notice"
    assert level_of(facts_of({"customers": [{"policy_code": "named"}]}), policies) == "notice"
    school = {"segment_code": "schools", "person_type_code": "company"}
    assert level_of(facts_of({"customers": [school]}), policies) == "notice"
    assert level_of(facts_of({"customers": [school | {"person_type_code": None}]}), policies) == "suspended"
    assert level_of(facts_of({"customers": [school | {"segment_code": "others"}]}), policies) == "suspended"
    assert level_of(facts_of({"customers": [{"person_type_code": "individual"}]}), policies) == "notice"
    assert level_of(facts_of({"invoices": [{"policy_code": "later"}]}), policies) == "suspended"


# For whom -------------------------------------------------------------------------------------------------------------


class TestWhoseDebt:
    def test_a_subscription_that_owes_nothing_goes_on(self) -> None:
        rows: Rows = {"subscriptions": [{}, {"subscription_id": "other"}]}
        assert set(derive(facts_of(rows), policies_of(), AS_OF).levels) == {"s"}

    @pytest.mark.parametrize(
        "rows",
        cases(
            {
                "of no subscription": {"invoices": [{"subscription_id": None}]},
                "of one that is not registered": {"subscriptions": []},
                "of another customer's": {
                    "customers": [{}, {"customer_id": "b"}],
                    "subscriptions": [{"customer_id": "b"}],
                },
            }
        ),
    )
    def test_an_invoice_without_a_contract_shows_a_banner_and_suspends_nothing(self, rows: Rows) -> None:
        derived = derive(facts_of(rows), policies_of(), AS_OF)
        assert derived.levels == {}
        assert derived.customer_levels == {"c": "notice"}

    def test_customers_who_were_merged_are_one(self) -> None:
        """The invoice of one record suspends the subscription of another; what is said of a third holds for all."""
        rows: Rows = {
            "customers": [
                {"merged_into_customer_id": "b"},
                {"customer_id": "b", "merged_into_customer_id": "end"},
                {"customer_id": "end"},
            ],
            "subscriptions": [{"customer_id": "b"}],
        }
        derived = derive(facts_of(rows), policies_of(), AS_OF)
        assert derived.levels["s"].customer_id == "end"
        assert derived.customer_levels == {"end": "suspended"}
        assert level_of(facts_of({**rows, "pauses": [{"customer_id": "b"}]})) == "regular"
        assert level_of(facts_of({**rows, "credits": [{"customer_id": "b"}]})) == "regular"
        assert level_of(facts_of(rows, rejections=Rejections(customer_ids=frozenset({"end"})))) == "regular"

    @pytest.mark.parametrize(("links", "level"), [(8, "suspended"), (9, "regular")])
    def test_a_chain_of_merges_is_followed_for_eight_links(self, links: int, level: str) -> None:
        """Longer ones are taken for circles, so nothing of them can be trusted."""
        names = ["c", *(f"c{number}" for number in range(1, links + 1))]
        into = dict(pairwise(names))
        customers = [{"customer_id": name, "merged_into_customer_id": into.get(name)} for name in names]
        assert level_of(facts_of({"customers": customers})) == level

    def test_the_highest_of_several_invoices_decides(self) -> None:
        rows: Rows = {
            "invoices": [
                {"invoice_id": "young", "due_date": days_before(7)},
                {"invoice_id": "z"},
                {},
                {"invoice_id": "old", "due_date": OLD_DUE},
                {"invoice_id": "untold"},
            ],
            "touches": [{"invoice_id": "old"}, {"invoice_id": "z"}, {}],
        }
        level = derive(facts_of(rows), policies_of(), AS_OF).levels["s"]
        assert level.level_code == "cancellation_proposed"
        assert level.suspending_invoice_ids == ("i", "old", "z")

    def test_a_trust_unlock_changes_no_level_and_gives_its_last_day(self) -> None:
        unlocks: list[dict[str, Any]] = [{}, {"valid_to_date": days_before(-3)}, {"valid_from_date": TOMORROW}]
        rows: Rows = {"trust_unlocks": [*unlocks, {"customer_id": "b"}]}
        derived = derive(facts_of(rows), policies_of(), AS_OF)
        assert derived.levels == {"s": DerivedLevel("s", "c", "suspended", ("i",), days_before(-3))}
        over = facts_of({"trust_unlocks": [{"valid_to_date": days_before(1)}]})
        assert derive(over, policies_of(), AS_OF).levels["s"].unlocked_until_date is None


@pytest.mark.parametrize(
    ("rows", "is_candidate"),
    cases(
        {
            "old enough and told": ({}, True),
            "of no subscription": ({"invoices": [{"due_date": OLD_DUE, "subscription_id": None}]}, True),
            "not above the threshold": ({"invoices": [{"due_date": days_before(60)}]}, False),
            "told ten days ago": (
                {"touches": [{"step_code": "bureau_notice", "delivered_date": days_before(10)}]},
                True,
            ),
            "told nine days ago": (
                *({"touches": [{"step_code": "bureau_notice", "delivered_date": days_before(9)}]}, False),
            ),
            "told of the suspension only": ({"touches": [{}]}, False),
            "in dispute": ({"disputes": [{}]}, False),
        }
    ),
)
def test_what_may_go_to_the_credit_bureau(rows: Rows, is_candidate: bool) -> None:
    rows = {"invoices": [{"due_date": OLD_DUE}], "touches": [{"step_code": "bureau_notice"}], **rows}
    assert derive(facts_of(rows), policies_of(), AS_OF).bureau_invoice_ids == ({"i"} if is_candidate else set())
