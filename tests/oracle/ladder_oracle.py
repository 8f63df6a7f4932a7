"""The rules of docs/reference/ladder.md in plain Python: a second derivation, to hold the SQL against.

It is written from that page, from docs/how-to/policies.md and from the data contract alone. It must never be written or
mended by looking at the SQL: where both derive from one text, a difference shows a fault of one of them or a gap in the
text; where one derives from the other, it shows nothing.

Nothing here is fast. Every rule is looked up afresh from the rows, in the words of the page. Of levels and the credit
bureau (docs/reference/suspension.md) the production has a second derivation: that one is held against the SQL.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any

from regua.policy.policies import EffectiveVersion, Policies
from regua.policy.policy_file import PHASES, AppliesTo, Conditions, Offer, Step, minutes_of
from regua.suspension.raw_facts import RawFacts, Rejections
from regua.suspension.second_derivation import Derivation, DerivedLevel, derive
from regua.transform.bank_calendar import bank_holidays

Row = Mapping[str, Any]
MessageKey = tuple[str, str, str]
DecisionKey = tuple[str, str]

NO_MONEY = Decimal("0.00")
BANK_CALENDAR = "br-bank"
MOST_LINKS = 8
MOBILE_LENGTH = len("+5511912345678")
CONTACT_TYPES = {
    "email": "email",
    "call": "phone",
    "sms": "phone",
    "whatsapp": "whatsapp",
    "letter": "postal_address",
}
OWN_ADDRESS = {"email": "email", "call": "phone", "sms": "phone", "whatsapp": "phone"}


# What goes in ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Portfolio:
    """Rows by contract entity, and the rows that lie in quarantine. What is missing is unknown."""

    rows: dict[str, list[dict[str, Any]]]
    rejections: list[dict[str, Any]] = field(default_factory=list)

    def of(self, entity: str) -> list[dict[str, Any]]:
        return self.rows.get(entity, [])


# What comes out -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Decision:
    outcome_code: str
    is_judged: bool
    contact_customer_id: str
    channel_code: str
    cycle_date: date
    offset_days: int
    phase_code: str
    policy_code: str
    version_hash: str
    open_amount: Decimal
    in_message: MessageKey | None = None


@dataclass(frozen=True)
class Line:
    step_code: str | None
    open_amount: Decimal
    credit_amount: Decimal
    fine_amount: Decimal
    interest_amount: Decimal
    payable_amount: Decimal
    days_past_due: int | None


@dataclass(frozen=True)
class Message:
    step_code: str
    phase_code: str
    template_code: str
    variant_code: str | None
    policy_code: str
    contact_point_id: str | None
    opens_minute: int
    closes_minute: int
    open_amount: Decimal
    credit_amount: Decimal
    fine_amount: Decimal
    interest_amount: Decimal
    payable_amount: Decimal
    offer_instalment_count: int | None
    offer_discount_pct: Decimal | None
    offer_amount: Decimal | None
    lines: dict[str, Line]


@dataclass(frozen=True)
class Standing:
    level_code: str
    is_bureau_candidate: bool
    is_feed_stale: bool
    unlocked_until_date: date | None


@dataclass(frozen=True)
class BureauCandidate:
    invoice_id: str


@dataclass(frozen=True)
class Signals:
    settled_count: int
    on_time_count: int
    late_count: int
    on_time_pct: Decimal | None
    weighted_days_late: Decimal | None
    mean_delay_days: Decimal | None
    longest_delay_days: int | None
    recent_days_late: Decimal | None
    earlier_days_late: Decimal | None
    trend_days: Decimal | None
    overdue_share_pct: Decimal
    dispute_count: int
    score: Decimal | None
    profile_code: str


@dataclass(frozen=True)
class DayResult:
    decisions: dict[DecisionKey, Decision]
    messages: dict[MessageKey, Message]
    standings: dict[str, Standing]
    levels: dict[str, DerivedLevel]
    bureau_candidates: dict[str, BureauCandidate]
    signals: dict[str, Signals]


# What is carried from day to day and within one -----------------------------------------------------------------------


@dataclass(frozen=True)
class PastDecision:
    as_of: date
    invoice_id: str
    step_code: str
    decision: Decision


@dataclass(frozen=True)
class History:
    """What earlier days decided, the oldest first, and all rows of the newest day that has any."""

    decisions: tuple[PastDecision, ...] = ()
    newest: Mapping[DecisionKey, Decision] = field(default_factory=dict)


@dataclass(frozen=True)
class Debt:
    """An issued invoice as it stands on the day."""

    invoice_id: str
    contact_id: str
    is_trusted: bool
    subscription_id: str | None
    currency_code: str
    calendar_code: str
    payment_method_code: str | None
    policy_code: str | None
    due_date: date
    effective_due_date: date
    amount: Decimal
    open_amount: Decimal
    excess_amount: Decimal
    settled_date: date | None
    days_late: int | None
    days_past_due: int | None
    cycle_date: date

    @property
    def is_open(self) -> bool:
        return self.open_amount > 0

    @property
    def is_past_due(self) -> bool:
        return self.days_past_due is not None

    @property
    def was_begun_anew(self) -> bool:
        return self.cycle_date != self.due_date


@dataclass(frozen=True)
class Use:
    """A step that went out, or was held out, in the cycle that runs."""

    step_code: str
    channel_code: str
    has_bounced: bool
    recorded_offset: int | None


@dataclass(frozen=True)
class Reach:
    code: str
    contact_point_id: str | None = None


@dataclass(frozen=True)
class Address:
    contact_point_id: str | None
    text: str | None
    undeliverable_date: date | None = None
    valid_from_date: date = date.min


@dataclass(frozen=True)
class Night:
    """All that one day's rules may look at."""

    as_of: date
    heard: date | None
    portfolio: Portfolio
    policies: Policies
    history: History
    customers: dict[str, Row]
    debts: dict[str, Debt]
    versions: dict[str, EffectiveVersion]
    credits: dict[str, Decimal]
    holds: dict[str, str | None]
    signals: dict[str, Signals]

    @property
    def open_debts(self) -> list[Debt]:
        return [debt for debt in self.debts.values() if debt.is_open]

    def attribute(self, contact_id: str, name: str) -> str | None:
        return self.customers.get(contact_id, {}).get(name)


@dataclass(frozen=True)
class Candidate:
    debt: Debt
    version: EffectiveVersion
    step: Step
    position: int

    @property
    def key(self) -> DecisionKey:
        return self.debt.invoice_id, self.step.code

    @property
    def message_key(self) -> MessageKey:
        return self.debt.contact_id, self.step.channel, self.debt.currency_code

    @property
    def rank(self) -> tuple[int, int, int, date, str]:
        """The highest step has the smallest one."""
        return (
            -PHASES.index(self.step.phase),
            -self.step.offset_days,
            -self.position,
            self.debt.due_date,
            self.debt.invoice_id,
        )


def decide_days(
    known: Callable[[date], Portfolio],
    policies: Policies,
    days: Sequence[date],
    feed_heard: Callable[[date], date | None],
) -> dict[date, DayResult]:
    """Decide day after day; each sees what is known on it, and what the earlier ones decided."""
    history = History()
    results = {}
    for as_of in days:
        night = begin_night(known(as_of), policies, as_of, feed_heard(as_of), history)
        result, taken = decide_night(night)
        results[as_of] = result
        history = History((*history.decisions, *taken), result.decisions or history.newest)
    return results


# Calendar -------------------------------------------------------------------------------------------------------------


@cache
def holidays() -> frozenset[date]:
    return frozenset(day for day, _ in bank_holidays())


def is_business_day(day: date, calendar_code: str) -> bool:
    if calendar_code != BANK_CALENDAR:
        return True
    return day.weekday() < 5 and day not in holidays()


def days_after(day: date, count: int) -> date:
    return day + timedelta(days=count)


def first_business_day(day: date, calendar_code: str) -> date:
    """On or after a day."""
    while not is_business_day(day, calendar_code):
        day = days_after(day, 1)
    return day


def business_day_after(day: date, count: int, calendar_code: str) -> date:
    """The count-th business day after a day."""
    for _ in range(count):
        day = first_business_day(days_after(day, 1), calendar_code)
    return day


def business_days_between(first: date, last: date, calendar_code: str) -> int:
    """Business days after the first day and before the last one."""
    between = (days_after(first, number) for number in range(1, (last - first).days))
    return sum(is_business_day(day, calendar_code) for day in between)


def kind_of_day(day: date) -> str:
    if day in holidays():
        return "holiday"
    return {5: "saturday", 6: "sunday"}.get(day.weekday(), "business_day")


def years_after(day: date, count: int) -> date:
    try:
        return day.replace(year=day.year + count)
    except ValueError:
        return day.replace(year=day.year + count, day=28)


# Numbers --------------------------------------------------------------------------------------------------------------


def half_up(number: Fraction) -> Decimal:
    """Rounded to two decimals; half a unit goes up."""
    return Decimal(math.floor(number * 100 + Fraction(1, 2))).scaleb(-2)


def quotient(dividend: Decimal | int, divisor: Decimal | int) -> Decimal | None:
    return half_up(Fraction(dividend) / Fraction(divisor)) if divisor else None


def mean(values: Sequence[int]) -> Decimal | None:
    return quotient(sum(values), len(values))


def share_of(amount: Decimal, pct: Decimal) -> Decimal:
    return half_up(Fraction(amount) * Fraction(pct) / 100)


def total(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, NO_MONEY)


def hundredths_of(contact_id: str, policy_code: str, step_code: str, purpose: str) -> int:
    """Where a customer stands between 0 and 9999, always the same for one step."""
    text = f"{contact_id}|{policy_code}|{step_code}|{purpose}"
    return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:5], 16) * 10000 // 1048576


# Customers ------------------------------------------------------------------------------------------------------------


def customers_of(portfolio: Portfolio) -> dict[str, Row]:
    return {row["customer_id"]: row for row in portfolio.of("customers")}


def end_of_merges(customers: Mapping[str, Row], customer_id: str) -> str | None:
    """The registered customer at whom merges end; None when they do not within eight links, or end at nobody known."""
    for _ in range(MOST_LINKS + 1):
        if customer_id not in customers:
            return None
        merged_into = customers[customer_id].get("merged_into_customer_id")
        if merged_into is None or merged_into == customer_id:
            return customer_id
        customer_id = merged_into
    return None


def contact_of(customers: Mapping[str, Row], customer_id: str) -> str:
    return end_of_merges(customers, customer_id) or customer_id


def is_said_of(customers: Mapping[str, Row], row: Row, contact_id: str) -> bool:
    customer_id = row.get("customer_id")
    return customer_id is not None and contact_of(customers, customer_id) == contact_id


def is_about(customers: Mapping[str, Row], row: Row, debt: Debt) -> bool:
    """Of a fact about one invoice, or about all of a customer."""
    if row.get("invoice_id") is not None:
        return row["invoice_id"] == debt.invoice_id
    return is_said_of(customers, row, debt.contact_id)


def holds_on(row: Row, as_of: date) -> bool:
    return row["valid_from_date"] <= as_of <= (row.get("valid_to_date") or date.max)


# Debts ----------------------------------------------------------------------------------------------------------------


def debts_on(portfolio: Portfolio, customers: Mapping[str, Row], as_of: date) -> dict[str, Debt]:
    return {
        row["invoice_id"]: debt_on(portfolio, customers, row, as_of)
        for row in portfolio.of("invoices")
        if row.get("status_code") != "draft" and row["issue_date"] <= as_of
    }


def debt_on(portfolio: Portfolio, customers: Mapping[str, Row], invoice: Row, as_of: date) -> Debt:
    is_cancelled = has_ended(invoice, "cancelled", as_of)
    is_written_off = has_ended(invoice, "written_off", as_of)
    is_receivable = not is_cancelled and not is_written_off
    balance = balance_on(portfolio, invoice, as_of)
    effective_due_date = first_business_day(invoice["due_date"], invoice["calendar_code"])
    open_amount = max(balance, NO_MONEY) if is_receivable else NO_MONEY
    is_past_due = open_amount > 0 and as_of > effective_due_date
    settled = settled_date(portfolio, invoice, as_of) if is_receivable and balance <= 0 else None
    return Debt(
        invoice_id=invoice["invoice_id"],
        contact_id=contact_of(customers, invoice["customer_id"]),
        is_trusted=is_trusted(portfolio, customers, invoice),
        subscription_id=invoice.get("subscription_id"),
        currency_code=invoice["currency_code"],
        calendar_code=invoice["calendar_code"],
        payment_method_code=invoice.get("payment_method_code"),
        policy_code=invoice.get("policy_code"),
        due_date=invoice["due_date"],
        effective_due_date=effective_due_date,
        amount=invoice["amount"],
        open_amount=open_amount,
        excess_amount=paid_on(portfolio, invoice, as_of) if is_cancelled else max(-balance, NO_MONEY),
        settled_date=settled,
        days_late=None if settled is None else days_late(invoice["due_date"], effective_due_date, settled),
        days_past_due=(as_of - invoice["due_date"]).days if is_past_due else None,
        cycle_date=cycle_date(portfolio, invoice, as_of),
    )


def has_ended(invoice: Row, status_code: str, as_of: date) -> bool:
    """Whether it is cancelled, or written off, on the day; without a date of its own it has been since its issue."""
    since = invoice.get(f"{status_code}_date")
    if since is None and invoice.get("status_code") == status_code:
        since = invoice["issue_date"]
    return since is not None and since <= as_of


def payments_of(portfolio: Portfolio, invoice: Row) -> list[Row]:
    """Those that ever counted: one undone no later than it took effect did not."""
    return [
        row
        for row in portfolio.of("payments")
        if is_of_invoice(row, invoice)
        and (row.get("reversed_date") is None or row["reversed_date"] > row["payment_date"])
    ]


def is_of_invoice(row: Row, invoice: Row) -> bool:
    return row.get("invoice_id") == invoice["invoice_id"] and row["currency_code"] == invoice["currency_code"]


def standing_payments(portfolio: Portfolio, invoice: Row, as_of: date) -> list[Row]:
    return [
        row
        for row in payments_of(portfolio, invoice)
        if row["payment_date"] <= as_of and (row.get("reversed_date") is None or row["reversed_date"] > as_of)
    ]


def applied_credits(portfolio: Portfolio, invoice: Row, as_of: date) -> list[Row]:
    return [row for row in portfolio.of("credits") if is_of_invoice(row, invoice) and row["applied_date"] <= as_of]


def paid_on(portfolio: Portfolio, invoice: Row, as_of: date) -> Decimal:
    return total(row["amount"] for row in standing_payments(portfolio, invoice, as_of))


def balance_on(portfolio: Portfolio, invoice: Row, as_of: date) -> Decimal:
    """What is left of the face amount; below zero where more was paid."""
    credited = total(row["amount"] for row in applied_credits(portfolio, invoice, as_of))
    return invoice["amount"] - paid_on(portfolio, invoice, as_of) - credited


def settled_date(portfolio: Portfolio, invoice: Row, as_of: date) -> date:
    """The day on which a paid invoice was covered, not before its issue."""
    settlements = sorted(
        [(row["payment_date"], row["amount"]) for row in standing_payments(portfolio, invoice, as_of)]
        + [(row["applied_date"], row["amount"]) for row in applied_credits(portfolio, invoice, as_of)]
    )
    if not settlements:
        return invoice["issue_date"]
    covered_date = settlements[-1][0]
    if total(amount for _, amount in settlements) > invoice["amount"]:
        covered_date = first_covering_date(settlements, invoice["amount"])
    return max(covered_date, invoice["issue_date"])


def first_covering_date(settlements: Sequence[tuple[date, Decimal]], amount: Decimal) -> date:
    so_far = NO_MONEY
    for day, settled in settlements:
        so_far += settled
        if so_far >= amount:
            return day
    raise ValueError("These settlements do not cover the invoice.")


def days_late(due_date: date, effective_due_date: date, settled: date) -> int:
    return (settled - due_date).days if settled > effective_due_date else 0


def cycle_date(portfolio: Portfolio, invoice: Row, as_of: date) -> date:
    """The due date, or the newest reversal after it that took away what had covered the invoice."""
    reversals = [
        row["reversed_date"]
        for row in payments_of(portfolio, invoice)
        if row.get("reversed_date") is not None and invoice["due_date"] < row["reversed_date"] <= as_of
    ]
    return max(
        (day for day in reversals if balance_on(portfolio, invoice, days_after(day, -1)) <= 0),
        default=invoice["due_date"],
    )


def is_trusted(portfolio: Portfolio, customers: Mapping[str, Row], invoice: Row) -> bool:
    """Registered customers, merges that end, and nothing of it in quarantine. Policies are looked at elsewhere."""
    customer_id, invoice_id = invoice["customer_id"], invoice["invoice_id"]
    end = end_of_merges(customers, customer_id)
    if end is None:
        return False
    return not any(is_rejection_of(row, invoice_id, {customer_id, end}) for row in portfolio.rejections)


def is_rejection_of(rejection: Row, invoice_id: str, customer_ids: set[str]) -> bool:
    entity = rejection["entity"]
    if entity == "customers":
        return rejection.get("key_text") in customer_ids
    if entity == "invoices":
        return rejection.get("key_text") == invoice_id
    return entity in ("payments", "credits") and rejection.get("invoice_key_text") == invoice_id


# Payer signals --------------------------------------------------------------------------------------------------------


def signals_on(
    portfolio: Portfolio, customers: Mapping[str, Row], debts: Mapping[str, Debt], as_of: date
) -> dict[str, Signals]:
    counted = [debt for debt in debts.values() if debt.is_open or debt.settled_date is not None]
    return {
        contact_id: signals_of(
            [debt for debt in counted if debt.contact_id == contact_id],
            dispute_count(portfolio, debts, contact_id, as_of),
        )
        for contact_id in {debt.contact_id for debt in counted}
    }


def dispute_count(portfolio: Portfolio, debts: Mapping[str, Debt], contact_id: str, as_of: date) -> int:
    return sum(
        row["invoice_id"] in debts
        and debts[row["invoice_id"]].contact_id == contact_id
        and days_after(as_of, -365) < row["valid_from_date"] <= as_of
        for row in portfolio.of("disputes")
    )


def signals_of(debts: Sequence[Debt], disputes: int) -> Signals:
    paid = sorted((debt for debt in debts if debt.settled_date is not None), key=newest_settlement_first)
    past_due_days = [debt.days_past_due for debt in debts if debt.days_past_due is not None]
    delays = [debt.days_late for debt in paid]
    late_delays = [delay for delay in delays if delay > 0]
    in_main_currency = [debt for debt in debts if debt.currency_code == main_currency(debts)]
    recent, earlier = mean(delays[:3]), mean(delays[3:])
    signals = Signals(
        settled_count=len(paid),
        on_time_count=len(paid) - len(late_delays),
        late_count=len(late_delays),
        on_time_pct=quotient(100 * (len(paid) - len(late_delays)), len(paid)),
        weighted_days_late=weighted_days_late(in_main_currency),
        mean_delay_days=mean(late_delays),
        longest_delay_days=max([*delays, *past_due_days], default=None),
        recent_days_late=recent,
        earlier_days_late=earlier,
        trend_days=None if recent is None or earlier is None else recent - earlier,
        overdue_share_pct=overdue_share_pct(in_main_currency),
        dispute_count=disputes,
        score=None,
        profile_code="undetermined",
    )
    if signals.settled_count < 3:
        return signals
    return replace(
        signals,
        score=score_of(signals),
        profile_code=profile_of(signals, longest_past_due=max(past_due_days, default=0)),
    )


def newest_settlement_first(debt: Debt) -> tuple[int, str]:
    return -debt.settled_date.toordinal(), debt.invoice_id


def main_currency(debts: Sequence[Debt]) -> str:
    """The one with the most money; of two, the smaller code."""
    currencies = sorted({debt.currency_code for debt in debts})
    return max(currencies, key=lambda code: total(debt.amount for debt in debts if debt.currency_code == code))


def weighted_days_late(debts: Sequence[Debt]) -> Decimal | None:
    paid = [debt for debt in debts if debt.settled_date is not None]
    return quotient(total(debt.amount * debt.days_late for debt in paid), total(debt.amount for debt in paid))


def overdue_share_pct(debts: Sequence[Debt]) -> Decimal:
    """Where nothing is open, nothing is overdue."""
    past_due = total(debt.open_amount for debt in debts if debt.is_past_due)
    return quotient(100 * past_due, total(debt.open_amount for debt in debts)) or NO_MONEY


def score_of(signals: Signals) -> Decimal:
    """Where nothing of the currency was paid, nothing was paid late."""
    on_time = Fraction(signals.on_time_pct)
    lateness = Fraction(min(signals.weighted_days_late or NO_MONEY, Decimal(50))) * 2
    overdue = Fraction(signals.overdue_share_pct)
    return half_up((on_time * 50 + (100 - lateness) * 30 + (100 - overdue) * 20) / 100)


def profile_of(signals: Signals, longest_past_due: int) -> str:
    if signals.dispute_count >= 2:
        return "disputing"
    # The page does not say what holds of somebody who has paid no others: not to be late with them is read as punctual.
    used_to_be_punctual = (signals.earlier_days_late or NO_MONEY) <= 3
    gets_worse = signals.trend_days is not None and signals.trend_days >= 10
    if used_to_be_punctual and (gets_worse or longest_past_due >= 20):
        return "temporary_trouble"
    if signals.late_count * 2 >= signals.settled_count and signals.mean_delay_days >= 10:
        return "strategic"
    return "forgetful" if signals.late_count >= 2 else "punctual"


# Policies -------------------------------------------------------------------------------------------------------------


def version_of(policies: Policies, customers: Mapping[str, Row], debt: Debt, as_of: date) -> EffectiveVersion:
    """The invoice's policy, or the customer's, or its segment's, or the default; those that hold on the day."""
    contact = customers.get(debt.contact_id, {})
    named = [policies.by_code[code] for code in named_policies(customers, debt) if code in policies.by_code]
    for policy in named:
        if (version := policy.version_on(as_of)) is not None:
            return version
    for policy in policies:
        version = policy.version_on(as_of)
        if version is not None and version.content.applies_to is not None and fits(version.content.applies_to, contact):
            return version
    return policies.default.version_on(as_of)


def named_policies(customers: Mapping[str, Row], debt: Debt) -> list[str]:
    codes = (debt.policy_code, customers.get(debt.contact_id, {}).get("policy_code"))
    return [code for code in codes if code is not None]


def fits(applies_to: AppliesTo, contact: Row) -> bool:
    return is_among(contact.get("segment_code"), applies_to.segments) and is_among(
        contact.get("person_type_code"), applies_to.person_types
    )


def is_among(code: str | None, codes: Sequence[str]) -> bool:
    """An empty list asks for nothing."""
    return not codes or code in codes


def step_named(version: EffectiveVersion, step_code: str) -> Step | None:
    return next((step for step in version.content.steps if step.code == step_code), None)


# Facts that hold an invoice back --------------------------------------------------------------------------------------


def is_disputed(portfolio: Portfolio, debt: Debt, as_of: date) -> bool:
    return any(row["invoice_id"] == debt.invoice_id and holds_on(row, as_of) for row in portfolio.of("disputes"))


def is_under_agreement(portfolio: Portfolio, debt: Debt, as_of: date) -> bool:
    kept = {
        row["agreement_id"]
        for row in portfolio.of("agreements")
        if holds_on(row, as_of) and (row.get("broken_date") is None or as_of < row["broken_date"])
    }
    return any(
        row["invoice_id"] == debt.invoice_id and row["agreement_id"] in kept and holds_on(row, as_of)
        for row in portfolio.of("agreement_invoices")
    )


def covering_credits(
    portfolio: Portfolio, customers: Mapping[str, Row], debts: Mapping[str, Debt], as_of: date
) -> dict[str, Decimal]:
    """Unapplied credit by the open invoice that it covers, in whole or in part."""
    unapplied = unapplied_credits(portfolio, customers, debts, as_of)
    covered = {}
    for debt in sorted(
        (debt for debt in debts.values() if debt.is_open),
        key=lambda debt: (
            is_disputed(portfolio, debt, as_of) or is_under_agreement(portfolio, debt, as_of),
            debt.due_date,
            debt.invoice_id,
        ),
    ):
        purse = (debt.contact_id, debt.currency_code)
        covered[debt.invoice_id] = min(debt.open_amount, unapplied.get(purse, NO_MONEY))
        unapplied[purse] = unapplied.get(purse, NO_MONEY) - covered[debt.invoice_id]
    return covered


def unapplied_credits(
    portfolio: Portfolio, customers: Mapping[str, Row], debts: Mapping[str, Debt], as_of: date
) -> dict[tuple[str, str], Decimal]:
    """By contact customer and currency."""
    amounts = [((debt.contact_id, debt.currency_code), debt.excess_amount) for debt in debts.values()]
    amounts += [
        ((contact_of(customers, row["customer_id"]), row["currency_code"]), row["amount"])
        for row in portfolio.of("credits")
        if row.get("invoice_id") is None and row["applied_date"] <= as_of
    ]
    unapplied: dict[tuple[str, str], Decimal] = {}
    for purse, amount in amounts:
        unapplied[purse] = unapplied.get(purse, NO_MONEY) + amount
    return unapplied


def hold_of(night: Night, debt: Debt) -> str | None:
    """The first of the outcomes from `quarantined` to `stale_feed` that an invoice has, whatever the step."""
    rules: tuple[tuple[str, Callable[[Night, Debt], bool]], ...] = (
        ("quarantined", is_quarantined),
        ("paid", is_covered),
        ("prescribed", is_prescribed),
        ("disputed", lambda night, debt: is_disputed(night.portfolio, debt, night.as_of)),
        ("under_agreement", lambda night, debt: is_under_agreement(night.portfolio, debt, night.as_of)),
        ("exempt", is_exempt),
        ("paused", is_paused),
        ("promise_open", is_promised),
        ("below_tolerance", is_below_tolerance),
        ("in_clearing", is_in_clearing),
        ("stale_feed", has_stale_feed),
    )
    return next((code for code, applies in rules if applies(night, debt)), None)


def is_quarantined(night: Night, debt: Debt) -> bool:
    names_unknown = any(code not in night.policies.by_code for code in named_policies(night.customers, debt))
    return not debt.is_trusted or names_unknown


def is_covered(night: Night, debt: Debt) -> bool:
    return night.credits[debt.invoice_id] == debt.open_amount


def is_prescribed(night: Night, debt: Debt) -> bool:
    return night.as_of > years_after(debt.due_date, night.versions[debt.invoice_id].content.prescription_years)


def is_exempt(night: Night, debt: Debt) -> bool:
    return any(
        is_about(night.customers, row, debt) and holds_on(row, night.as_of) for row in night.portfolio.of("exemptions")
    )


def is_paused(night: Night, debt: Debt) -> bool:
    return any(
        is_said_of(night.customers, row, debt.contact_id) and holds_on(row, night.as_of)
        for row in night.portfolio.of("pauses")
    )


def is_promised(night: Night, debt: Debt) -> bool:
    return any(
        is_about(night.customers, row, debt) and holds_on(row, night.as_of) and night.as_of <= row["promised_date"]
        for row in night.portfolio.of("promises")
    )


def is_below_tolerance(night: Night, debt: Debt) -> bool:
    asked_for = debt.open_amount - night.credits[debt.invoice_id]
    return asked_for <= night.versions[debt.invoice_id].content.tolerance_amount


def is_announced(night: Night, debt: Debt) -> bool:
    """Money that is dated after the day and known on it; whatever a night knows was loaded on its day at the latest."""
    dates = [
        row["payment_date"]
        for row in night.portfolio.of("payments")
        if row.get("invoice_id") == debt.invoice_id and row.get("reversed_date") is None
    ]
    dates += [row["applied_date"] for row in night.portfolio.of("credits") if row.get("invoice_id") == debt.invoice_id]
    return any(day > night.as_of for day in dates)


def is_in_clearing(night: Night, debt: Debt) -> bool:
    if is_announced(night, debt):
        return True
    if not debt.is_past_due:
        return False
    clearing = night.versions[debt.invoice_id].content.clearing
    if debt.payment_method_code == "pix_automatico":
        return night.as_of <= days_after(debt.due_date, clearing.pix_automatico_days)
    if debt.payment_method_code == "boleto":
        paid_on_latest = [debt.effective_due_date, *promised_days(night, debt)]
        cleared = (business_day_after(day, clearing.boleto_business_days, debt.calendar_code) for day in paid_on_latest)
        return night.as_of <= max(cleared)
    return False


def promised_days(night: Night, debt: Debt) -> Iterator[date]:
    """Days that were promised and not taken back before they came, moved to business days."""
    for row in night.portfolio.of("promises"):
        was_known = row["valid_from_date"] <= night.as_of
        if is_about(night.customers, row, debt) and was_known and holds_on(row, row["promised_date"]):
            yield first_business_day(row["promised_date"], debt.calendar_code)


def has_stale_feed(night: Night, debt: Debt) -> bool:
    if not debt.is_past_due:
        return False
    if night.heard is None:
        return True
    age = business_days_between(night.heard, days_after(night.as_of, 1), BANK_CALENDAR)
    return age > night.versions[debt.invoice_id].content.feed_max_age_days


# What was sent --------------------------------------------------------------------------------------------------------


def touches_before(night: Night) -> list[Row]:
    """Messages that went out on earlier days, whatever became of them."""
    return [
        row
        for row in night.portfolio.of("touches")
        if row["fate_code"] != "not_sent" and row["planned_date"] < night.as_of
    ]


def touches_of(night: Night, debt: Debt) -> list[Row]:
    """Of the cycle that runs."""
    return [
        row
        for row in touches_before(night)
        if row["invoice_id"] == debt.invoice_id and row.get("cycle_date") in (None, debt.cycle_date)
    ]


def decisions_of(night: Night, debt: Debt) -> list[PastDecision]:
    """Of the cycle that runs."""
    return [
        past
        for past in night.history.decisions
        if past.invoice_id == debt.invoice_id and past.decision.cycle_date == debt.cycle_date
    ]


def was_sent(night: Night, past: PastDecision) -> bool:
    """In doubt it was: only a touch that says `not_sent` takes it back."""
    return past.decision.outcome_code == "eligible" and not any(
        row["fate_code"] == "not_sent"
        and row["invoice_id"] == past.invoice_id
        and row["step_code"] == past.step_code
        and row["channel_code"] == past.decision.channel_code
        and row.get("cycle_date") in (None, past.decision.cycle_date)
        and past.as_of <= row["planned_date"]
        for row in night.portfolio.of("touches")
    )


def uses_of(night: Night, debt: Debt) -> list[Use]:
    """Steps used in the cycle that runs, by decisions and by touches; one step may be there twice."""
    touches, decisions = touches_of(night, debt), decisions_of(night, debt)
    bounces = {(row["step_code"], row["channel_code"]) for row in touches if row["fate_code"] == "bounced"}
    uses = [
        Use(
            step_code=past.step_code,
            channel_code=past.decision.channel_code,
            has_bounced=(past.step_code, past.decision.channel_code) in bounces,
            recorded_offset=past.decision.offset_days,
        )
        for past in decisions
        if past.decision.outcome_code == "holdout" or was_sent(night, past)
    ]
    uses += [
        Use(
            step_code=row["step_code"],
            channel_code=row["channel_code"],
            has_bounced=(row["step_code"], row["channel_code"]) in bounces,
            # A touch does not say. Where a decision of this system stands behind it, that one is there for itself.
            recorded_offset=None,
        )
        for row in touches
    ]
    return uses


def offset_of(version: EffectiveVersion, use: Use) -> int | None:
    """Where a used step stands now; where it stood, when the version has it no more."""
    step = step_named(version, use.step_code)
    return use.recorded_offset if step is None else step.offset_days


def contact_days(night: Night, contact_id: str) -> set[date]:
    """Earlier days on which a message went out to a contact customer."""
    by_decision = {
        past.as_of
        for past in night.history.decisions
        if past.decision.contact_customer_id == contact_id and was_sent(night, past)
    }
    by_touch = {row["planned_date"] for row in touches_before(night) if is_said_of(night.customers, row, contact_id)}
    return by_decision | by_touch


# Candidates -----------------------------------------------------------------------------------------------------------


def candidates_of(night: Night, debt: Debt) -> list[Candidate]:
    version = night.versions[debt.invoice_id]
    uses = uses_of(night, debt)
    candidates = (
        Candidate(debt, version, step, position) for position, step in enumerate(version.content.steps, start=1)
    )
    return [candidate for candidate in candidates if is_due(night, candidate, uses)]


def is_due(night: Night, candidate: Candidate, uses: Sequence[Use]) -> bool:
    return (
        all(use.step_code != candidate.step.code for use in uses)
        and is_reached(night, candidate)
        and not any(overtakes(use, candidate) for use in uses)
        and conditions_hold(night, candidate)
        and is_needed(night, candidate, uses)
    )


def is_reached(night: Night, candidate: Candidate) -> bool:
    """A step of day 0 or before is missed once the due date is over, or the cycle was begun anew."""
    debt, step = candidate.debt, candidate.step
    if (night.as_of - debt.cycle_date).days < step.offset_days:
        return False
    if step.offset_days <= 0:
        return night.as_of <= debt.due_date and not debt.was_begun_anew
    return debt.is_past_due


def overtakes(use: Use, candidate: Candidate) -> bool:
    """Whether a used step of the same channel is at least as high."""
    if use.channel_code != candidate.step.channel:
        return False
    steps = candidate.version.content.steps
    position = next((number for number, step in enumerate(steps, start=1) if step.code == use.step_code), None)
    if position is not None:
        place = (candidate.step.offset_days, candidate.position)
        return (steps[position - 1].offset_days, position) >= place
    return use.recorded_offset is not None and use.recorded_offset > candidate.step.offset_days


def conditions_hold(night: Night, candidate: Candidate) -> bool:
    conditions: Conditions = candidate.step.conditions
    debt = candidate.debt
    signals = night.signals[debt.contact_id]
    open_count = sum(other.contact_id == debt.contact_id for other in night.open_debts)
    return (
        is_within(debt.open_amount, conditions.minimum_amount, conditions.maximum_amount)
        and is_among(night.attribute(debt.contact_id, "segment_code"), conditions.segments)
        and is_among(night.attribute(debt.contact_id, "person_type_code"), conditions.person_types)
        and is_within(signals.late_count, conditions.minimum_late_count, conditions.maximum_late_count)
        and is_within(signals.score, conditions.minimum_score, conditions.maximum_score)
        and is_among(debt.payment_method_code, conditions.payment_methods)
        and is_within(open_count, conditions.minimum_open_invoices, conditions.maximum_open_invoices)
        and conditions.has_suspension_clause in (None, has_suspension_clause(night, debt))
    )


def is_within(value: Decimal | int | None, minimum: Decimal | int | None, maximum: Decimal | int | None) -> bool:
    """A range asked of what nobody knows does not hold."""
    if value is None:
        return minimum is None and maximum is None
    return (minimum is None or value >= minimum) and (maximum is None or value <= maximum)


def has_suspension_clause(night: Night, debt: Debt) -> bool | None:
    for row in night.portfolio.of("subscriptions"):
        if row["subscription_id"] == debt.subscription_id:
            return row.get("has_suspension_clause")
    return None


def is_needed(night: Night, candidate: Candidate, uses: Sequence[Use]) -> bool:
    """A step that stands in for a channel is needed where that does not reach the customer, or bounced this time."""
    channel = candidate.step.fallback_for
    if channel is None or reach_of(night, candidate.debt.contact_id, channel).code != "reachable":
        return True
    return any(
        use.has_bounced
        and use.channel_code == channel
        and offset_of(candidate.version, use) == candidate.step.offset_days
        for use in uses
    )


# Reach ----------------------------------------------------------------------------------------------------------------


def reach_of(night: Night, contact_id: str, channel: str) -> Reach:
    words = [
        row["is_opted_in"]
        for row in night.portfolio.of("consents")
        if row["channel_code"] == channel
        and is_said_of(night.customers, row, contact_id)
        and holds_on(row, night.as_of)
    ]
    if not all(words) or (channel == "whatsapp" and not words):
        return Reach("opted_out")
    addresses = addresses_of(night, contact_id, channel)
    if not addresses:
        return Reach("no_contact_point")
    usable = [address for address in addresses if is_usable(address, channel, night.as_of)]
    if not usable:
        return Reach("undeliverable")
    best = min(usable, key=lambda address: (-address.valid_from_date.toordinal(), address.contact_point_id or ""))
    return Reach("reachable", best.contact_point_id)


def addresses_of(night: Night, contact_id: str, channel: str) -> list[Address]:
    """Contact points of the channel's type, or else the customer's own; WhatsApp falls back on the phones.

    A contact point that bounced stands in place of nothing, but takes its address with it.
    """
    contact_type = CONTACT_TYPES[channel]
    points = contact_points_of(night, contact_id, contact_type)
    if channel == "whatsapp" and not any(is_alive(point, night.as_of) for point in points):
        contact_type = "phone"
        dead_on_whatsapp = points
        points = contact_points_of(night, contact_id, contact_type)
    else:
        dead_on_whatsapp = []
    # A number that is not on WhatsApp is dead for WhatsApp, whichever record names it.
    dead = {point.text for point in (*points, *dead_on_whatsapp) if not is_alive(point, night.as_of)}
    buried = [
        replace(point, undeliverable_date=night.as_of) if point.text is not None and point.text in dead else point
        for point in points
    ]
    own = night.attribute(contact_id, OWN_ADDRESS[channel]) if channel in OWN_ADDRESS else None
    if own is not None and not any(is_alive(point, night.as_of) for point in points):
        buried.append(Address(None, own, undeliverable_date=night.as_of if own in dead else None))
    return buried + dead_on_whatsapp


def contact_points_of(night: Night, contact_id: str, contact_type: str) -> list[Address]:
    return [
        Address(
            contact_point_id=row["contact_point_id"],
            text=row.get("address"),
            undeliverable_date=row.get("undeliverable_date"),
            valid_from_date=row["valid_from_date"],
        )
        for row in night.portfolio.of("contact_points")
        if row["contact_type_code"] == contact_type
        and is_said_of(night.customers, row, contact_id)
        and holds_on(row, night.as_of)
    ]


def is_alive(address: Address, as_of: date) -> bool:
    return address.undeliverable_date is None or as_of < address.undeliverable_date


def is_usable(address: Address, channel: str, as_of: date) -> bool:
    if address.text is None:
        return False
    if channel in ("sms", "whatsapp") and len(address.text) != MOBILE_LENGTH:
        return False
    return is_alive(address, as_of)


# Outcomes -------------------------------------------------------------------------------------------------------------


def window_of(night: Night, candidate: Candidate) -> tuple[int, int] | None:
    """Opening and closing in minutes, on this kind of day."""
    state_code = night.attribute(candidate.debt.contact_id, "state_code") or "other"
    week = candidate.version.content.week_of(candidate.step.channel, state_code)
    hours = getattr(week, kind_of_day(night.as_of))
    return None if hours is None else minutes_of(hours)


def is_held_out(candidate: Candidate) -> bool:
    place = hundredths_of(
        candidate.debt.contact_id, candidate.version.policy_code, candidate.step.code, purpose="holdout"
    )
    return place < candidate.step.holdout_pct * 100


def is_too_soon(night: Night, candidate: Candidate) -> bool:
    """Whether days between contacts, or contacts in seven days, hold it back."""
    limits = candidate.version.content.limits_of(candidate.step)
    contacts = contact_days(night, candidate.debt.contact_id)
    if contacts and (night.as_of - max(contacts)).days < limits.days_between_contacts:
        return True
    week_contact_count = sum(day >= days_after(night.as_of, -6) for day in contacts)
    return week_contact_count + 1 > limits.contacts_per_week


def obstacle_of(night: Night, candidate: Candidate) -> str | None:
    """The outcome that holds a judged candidate back, other messages of the day left out of account."""
    if (hold := night.holds[candidate.debt.invoice_id]) is not None:
        return hold
    if is_held_out(candidate):
        return "holdout"
    if (reach := reach_of(night, candidate.debt.contact_id, candidate.step.channel).code) != "reachable":
        return reach
    if window_of(night, candidate) is None:
        return "outside_window"
    return "over_limit" if is_too_soon(night, candidate) else None


def highest_of_each_channel(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Of one invoice's; they come in the order of the file, which rises."""
    highest = {candidate.step.channel: candidate for candidate in candidates}
    return [*highest.values()]


def messages_that_go_out(candidates: Sequence[Candidate]) -> dict[MessageKey, list[Candidate]]:
    """By message, the highest step first. Of several currencies those with the highest steps go out."""
    messages: dict[MessageKey, list[Candidate]] = {}
    for candidate in sorted(candidates, key=lambda candidate: candidate.rank):
        messages.setdefault(candidate.message_key, []).append(candidate)
    # The order of their first candidates is the order of the messages.
    going_out: dict[MessageKey, list[Candidate]] = {}
    places: dict[tuple[str, str], int] = {}
    for (contact_id, channel, currency), parts in messages.items():
        place = places.get((contact_id, channel), 0) + 1
        places[contact_id, channel] = place
        highest = parts[0]
        if place <= highest.version.content.limits_of(highest.step).messages_per_channel_and_day:
            going_out[contact_id, channel, currency] = parts
    return going_out


def decision_on(candidate: Candidate, outcome_code: str, is_judged: bool) -> Decision:
    return Decision(
        outcome_code=outcome_code,
        is_judged=is_judged,
        contact_customer_id=candidate.debt.contact_id,
        channel_code=candidate.step.channel,
        cycle_date=candidate.debt.cycle_date,
        offset_days=candidate.step.offset_days,
        phase_code=candidate.step.phase,
        policy_code=candidate.version.policy_code,
        version_hash=candidate.version.version_hash,
        open_amount=candidate.debt.open_amount,
        in_message=candidate.message_key if outcome_code == "eligible" else None,
    )


def closed_since(night: Night) -> dict[DecisionKey, Decision]:
    """Candidates that the newest day before held back, whose invoices have been paid since."""
    return {
        (invoice_id, step_code): replace(decision, outcome_code="paid", open_amount=NO_MONEY)
        for (invoice_id, step_code), decision in night.history.newest.items()
        if decision.is_judged
        and decision.outcome_code not in ("eligible", "holdout", "paid")
        and invoice_id in night.debts
        and night.debts[invoice_id].settled_date is not None
    }


# Messages -------------------------------------------------------------------------------------------------------------


def message_of(night: Night, candidates: Sequence[Candidate]) -> Message:
    """Of the candidates of one contact customer, channel and currency, the highest first."""
    highest = candidates[0]
    lines = lines_of(night, candidates)
    template_code, variant_code = wording_of(highest)
    opens_minute, closes_minute = window_of(night, highest)
    payable_amount = total(line.payable_amount for line in lines.values())
    offer = offer_of(night, highest)
    return Message(
        step_code=highest.step.code,
        phase_code=highest.step.phase,
        template_code=template_code,
        variant_code=variant_code,
        policy_code=highest.version.policy_code,
        contact_point_id=reach_of(night, highest.debt.contact_id, highest.step.channel).contact_point_id,
        opens_minute=opens_minute,
        closes_minute=closes_minute,
        open_amount=total(line.open_amount for line in lines.values()),
        credit_amount=total(line.credit_amount for line in lines.values()),
        fine_amount=total(line.fine_amount for line in lines.values()),
        interest_amount=total(line.interest_amount for line in lines.values()),
        payable_amount=payable_amount,
        offer_instalment_count=None if offer is None else offer.instalments,
        offer_discount_pct=None if offer is None else offer.discount_pct,
        offer_amount=None if offer is None else payable_amount - share_of(payable_amount, offer.discount_pct),
        lines=lines,
    )


def wording_of(candidate: Candidate) -> tuple[str, str | None]:
    """Template and variant; who is in no variant gets the step's own template."""
    place = hundredths_of(
        candidate.debt.contact_id, candidate.version.policy_code, candidate.step.code, purpose="variant"
    )
    end = Decimal(0)
    for variant in candidate.step.variants:
        end += variant.share_pct * 100
        if place < end:
            return variant.template, variant.code
    return candidate.step.template, None


def offer_of(night: Night, candidate: Candidate) -> Offer | None:
    if candidate.step.phase != "renegotiation":
        return None
    segment_code = night.attribute(candidate.debt.contact_id, "segment_code")
    offers = candidate.version.content.offers
    own = (offer for offer in offers if segment_code in offer.segments)
    for_all_others = (offer for offer in offers if not offer.segments)
    return next(own, next(for_all_others, None))


def lines_of(night: Night, candidates: Sequence[Candidate]) -> dict[str, Line]:
    steps: dict[str, str | None] = {candidate.debt.invoice_id: candidate.step.code for candidate in candidates}
    highest = candidates[0]
    if highest.step.phase != "preventive":
        for debt in night.open_debts:
            is_alike = (debt.contact_id, debt.currency_code) == (highest.debt.contact_id, highest.debt.currency_code)
            if is_alike and debt.is_past_due and night.holds[debt.invoice_id] is None:
                steps.setdefault(debt.invoice_id, None)
    return {invoice_id: line_of(night, night.debts[invoice_id], step) for invoice_id, step in steps.items()}


def line_of(night: Night, debt: Debt, step_code: str | None) -> Line:
    credit_amount = night.credits[debt.invoice_id]
    fine_amount, interest_amount = late_charges_of(night, debt)
    return Line(
        step_code=step_code,
        open_amount=debt.open_amount,
        credit_amount=credit_amount,
        fine_amount=fine_amount,
        interest_amount=interest_amount,
        payable_amount=debt.open_amount - credit_amount + fine_amount + interest_amount,
        days_past_due=debt.days_past_due,
    )


def late_charges_of(night: Night, debt: Debt) -> tuple[Decimal, Decimal]:
    """Fine and interest, less what is waived of them."""
    if debt.days_past_due is None:
        return NO_MONEY, NO_MONEY
    charges = night.versions[debt.invoice_id].content.late_charges
    fine_pct = charges.fine_pct
    if night.attribute(debt.contact_id, "person_type_code") != "company":
        fine_pct = min(fine_pct, charges.consumer_fine_cap_pct)
    fine = share_of(debt.open_amount, fine_pct)
    interest = half_up(
        Fraction(debt.open_amount) * Fraction(charges.monthly_interest_pct) / 100 / 30 * debt.days_past_due
    )
    waived = waived_pct(night, debt)
    return fine - share_of(fine, waived), interest - share_of(interest, waived)


def waived_pct(night: Night, debt: Debt) -> Decimal:
    """The largest share waived on the day."""
    shares = [
        Decimal(100) if row.get("waived_pct") is None else row["waived_pct"]
        for row in night.portfolio.of("waivers")
        if is_about(night.customers, row, debt) and holds_on(row, night.as_of)
    ]
    return max(shares, default=Decimal(0))


# Standing -------------------------------------------------------------------------------------------------------------


def standings_of(night: Night) -> dict[str, Standing]:
    """Of whoever has something past due: levels as the production's own second derivation has them."""
    derivation = derivation_of(night)
    past_due: dict[str, list[Debt]] = {}
    for debt in night.open_debts:
        if debt.is_past_due:
            past_due.setdefault(debt.contact_id, []).append(debt)
    return {
        contact_id: Standing(
            level_code=derivation.customer_levels.get(contact_id, "regular"),
            is_bureau_candidate=any(debt.invoice_id in derivation.bureau_invoice_ids for debt in debts),
            is_feed_stale=any(has_stale_feed(night, debt) for debt in debts),
            unlocked_until_date=unlocked_until(night, contact_id),
        )
        for contact_id, debts in past_due.items()
    }


def derivation_of(night: Night) -> Derivation:
    """What docs/reference/suspension.md makes of the rows alone: nothing that earlier days decided is part of it."""
    of_payments = _rejected(night, ("payments", "credits"), "invoice_key_text")
    rejections = Rejections(
        customer_ids=frozenset(_rejected(night, ("customers",), "key_text")),
        invoice_ids=frozenset({*_rejected(night, ("invoices",), "key_text"), *of_payments}),
    )
    # Whatever a night knows was loaded on its day at the latest.
    loaded = {"_loaded_at": datetime.combine(night.as_of, time(12))}
    rows = {
        entity: [{**row, **loaded} for row in rows] if entity in ("payments", "credits") else rows
        for entity, rows in night.portfolio.rows.items()
    }
    return derive(RawFacts(rows, holidays(), rejections), night.policies, night.as_of)


def _rejected(night: Night, entities: Sequence[str], key: str) -> Iterator[str]:
    for row in night.portfolio.rejections:
        if row["entity"] in entities and row.get(key) is not None:
            yield row[key]


def unlocked_until(night: Night, contact_id: str) -> date | None:
    return max(
        (
            row["valid_to_date"]
            for row in night.portfolio.of("trust_unlocks")
            if is_said_of(night.customers, row, contact_id) and holds_on(row, night.as_of)
        ),
        default=None,
    )


# One day --------------------------------------------------------------------------------------------------------------


def begin_night(portfolio: Portfolio, policies: Policies, as_of: date, heard: date | None, history: History) -> Night:
    customers = customers_of(portfolio)
    debts = debts_on(portfolio, customers, as_of)
    night = Night(
        as_of=as_of,
        heard=heard,
        portfolio=portfolio,
        policies=policies,
        history=history,
        customers=customers,
        debts=debts,
        versions={
            debt.invoice_id: version_of(policies, customers, debt, as_of) for debt in debts.values() if debt.is_open
        },
        credits=covering_credits(portfolio, customers, debts, as_of),
        holds={},
        signals=signals_on(portfolio, customers, debts, as_of),
    )
    return replace(night, holds={debt.invoice_id: hold_of(night, debt) for debt in night.open_debts})


def decide_night(night: Night) -> tuple[DayResult, list[PastDecision]]:
    """The day's result, and its decisions as later days remember them."""
    candidates = [candidate for debt in night.open_debts for candidate in candidates_of(night, debt)]
    judged = [candidate for debt in night.open_debts for candidate in judged_of(candidates, debt)]
    obstacles = {candidate.key: obstacle_of(night, candidate) for candidate in judged}
    going_out = messages_that_go_out([candidate for candidate in judged if obstacles[candidate.key] is None])
    decided = {
        candidate.key: decision_on(
            candidate, outcome_of(candidate, obstacles, going_out), is_judged=candidate.key in obstacles
        )
        for candidate in candidates
    }
    result = DayResult(
        decisions=closed_since(night) | decided,
        messages={key: message_of(night, parts) for key, parts in going_out.items()},
        standings=standings_of(night),
        levels=dict(derivation_of(night).levels),
        bureau_candidates={
            invoice_id: BureauCandidate(invoice_id) for invoice_id in derivation_of(night).bureau_invoice_ids
        },
        signals=night.signals,
    )
    taken = [PastDecision(night.as_of, *candidate.key, decided[candidate.key]) for candidate in candidates]
    return result, taken


def judged_of(candidates: Sequence[Candidate], debt: Debt) -> list[Candidate]:
    return highest_of_each_channel([candidate for candidate in candidates if candidate.debt is debt])


def outcome_of(
    candidate: Candidate,
    obstacles: Mapping[DecisionKey, str | None],
    going_out: Mapping[MessageKey, Sequence[Candidate]],
) -> str:
    if candidate.key not in obstacles:
        return "superseded"
    obstacle = obstacles[candidate.key]
    if obstacle is not None:
        return obstacle
    return "eligible" if candidate.message_key in going_out else "over_limit"
