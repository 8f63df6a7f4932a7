"""The level of each subscription again, in plain Python over the raw rows, by docs/reference/suspension.md alone.

A list of suspensions is published only where this finds the same as the models. So it must never be written or mended
by looking at them: where both derive from one text, a difference shows a fault of one of them or a gap in the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal

import duckdb

from regua.instants import local_day
from regua.policy.policies import EffectiveVersion, Policies
from regua.settings import Settings
from regua.suspension.day_facts import DayFacts, holds_on
from regua.suspension.raw_facts import RawFacts, Row, read_raw_facts
from regua.suspension.standing import LEVELS

_REGULAR, _NOTICE, _SUSPENDED, _CANCELLATION_PROPOSED = range(len(LEVELS))
_NO_MONEY = Decimal("0.00")
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class DerivedLevel:
    """One subscription above `regular`; `customer_id` is its contact customer. Suspending invoices are sorted."""

    subscription_id: str
    customer_id: str
    level_code: str
    suspending_invoice_ids: tuple[str, ...]
    unlocked_until_date: date | None


@dataclass(frozen=True, slots=True)
class Derivation:
    """By subscription and by contact customer whoever is above `regular`, and the candidates for the bureau."""

    levels: Mapping[str, DerivedLevel] = field(default_factory=dict)
    customer_levels: Mapping[str, str] = field(default_factory=dict)
    bureau_invoice_ids: frozenset[str] = frozenset()


def derive_from_warehouse(
    warehouse: duckdb.DuckDBPyConnection, settings: Settings, policies: Policies, as_of: date, known_at: datetime
) -> Derivation:
    """The levels of a day from the raw rows that were known at an instant."""
    levels: dict[str, DerivedLevel] = {}
    customer_levels: dict[str, str] = {}
    bureau_invoice_ids: set[str] = set()
    for facts in read_raw_facts(warehouse, settings, known_at):
        share = derive(facts, policies, as_of)
        levels |= share.levels
        customer_levels |= share.customer_levels
        bureau_invoice_ids |= share.bureau_invoice_ids
    return Derivation(levels, customer_levels, frozenset(bureau_invoice_ids))


def derive(facts: RawFacts, policies: Policies, as_of: date) -> Derivation:
    """The levels of a day from all that is known of some customers, in time that grows with the rows."""
    day = DayFacts(facts, policies, as_of)
    levels: dict[str, DerivedLevel] = {}
    customer_levels: dict[str, str] = {}
    bureau_invoice_ids: set[str] = set()
    for contact_id, debts in _debts_by_contact(day).items():
        verdicts = [*_verdicts(day, debts)]
        bureau_invoice_ids |= {verdict.invoice_id for verdict in verdicts if verdict.is_for_bureau}
        if rank := max((verdict.rank for verdict in verdicts), default=_REGULAR):
            customer_levels[contact_id] = LEVELS[rank]
        for subscription_id, own in _by_subscription(verdicts).items():
            if rank := max(verdict.rank for verdict in own):
                levels[subscription_id] = DerivedLevel(
                    subscription_id=subscription_id,
                    customer_id=contact_id,
                    level_code=LEVELS[rank],
                    suspending_invoice_ids=tuple(sorted(v.invoice_id for v in own if v.rank >= _SUSPENDED)),
                    unlocked_until_date=_unlocked_until(day, contact_id),
                )
    return Derivation(levels, customer_levels, frozenset(bureau_invoice_ids))


# Debts ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Debt:
    """An invoice that is issued, as it stands on the day; `is_receivable` while it is not cancelled or written off."""

    invoice_id: str
    contact_id: str
    invoice: Row
    is_receivable: bool
    open_amount: Decimal
    excess_amount: Decimal
    is_past_due: bool

    @property
    def due_date(self) -> date:
        due_date: date = self.invoice["due_date"]
        return due_date

    @property
    def calendar_code(self) -> str:
        return str(self.invoice["calendar_code"])


def _debts_by_contact(day: DayFacts) -> dict[str, list[_Debt]]:
    debts: dict[str, list[_Debt]] = {}
    for invoice in day.invoices:
        if invoice["status_code"] != "draft" and invoice["issue_date"] <= day.as_of:
            contact_id = day.customers.contact_of(invoice["customer_id"])
            debts.setdefault(contact_id, []).append(_debt(day, invoice, contact_id))
    return debts


def _debt(day: DayFacts, invoice: Row, contact_id: str) -> _Debt:
    is_cancelled = _has_ended(invoice, "cancelled", "cancelled_date", day.as_of)
    is_receivable = not is_cancelled and not _has_ended(invoice, "written_off", "written_off_date", day.as_of)
    balance = _balance(day, invoice, day.as_of)
    open_amount = balance if is_receivable and balance > 0 else _NO_MONEY
    # Of a cancelled invoice all that was paid is the customer's; what was credited to it never was money.
    excess_amount = _paid(day, invoice, day.as_of) if is_cancelled else max(-balance, _NO_MONEY)
    return _Debt(
        invoice_id=invoice["invoice_id"],
        contact_id=contact_id,
        invoice=invoice,
        is_receivable=is_receivable,
        open_amount=open_amount,
        excess_amount=excess_amount,
        is_past_due=open_amount > 0 and day.as_of > _effective_due_date(day, invoice),
    )


def _has_ended(invoice: Row, status_code: str, date_column: str, as_of: date) -> bool:
    """Whether it is cancelled, or written off; without a date of its own it has been since its issue."""
    since: date | None = invoice.get(date_column)
    return invoice["status_code"] == status_code if since is None else since <= as_of


def _effective_due_date(day: DayFacts, invoice: Row) -> date:
    return day.calendar.on_or_after(invoice["due_date"], invoice["calendar_code"])


def _paid(day: DayFacts, invoice: Row, on: date) -> Decimal:
    paid = _NO_MONEY
    for payment in day.payments.of_invoice(invoice["invoice_id"]):
        reversed_date: date | None = payment.get("reversed_date")
        has_taken_effect = payment["payment_date"] <= on and (reversed_date is None or on < reversed_date)
        if has_taken_effect and payment["currency_code"] == invoice["currency_code"]:
            paid += payment["amount"]
    return paid


def _balance(day: DayFacts, invoice: Row, on: date) -> Decimal:
    """What is left of the face amount on a day; below zero where more was paid or credited."""
    balance: Decimal = invoice["amount"] - _paid(day, invoice, on)
    for credit in day.credits.of_invoice(invoice["invoice_id"]):
        if credit["applied_date"] <= on and credit["currency_code"] == invoice["currency_code"]:
            balance -= credit["amount"]
    return balance


def _cycle_date(day: DayFacts, invoice: Row) -> date:
    """The due date, or the newest reversal after it, where the invoice was covered until then.

    Of an invoice that is open again: whatever else was undone before, the one that opened it came last.
    """
    reversals = (payment.get("reversed_date") for payment in day.payments.of_invoice(invoice["invoice_id"]))
    due_date: date = invoice["due_date"]
    return max(
        (
            on
            for on in reversals
            if on is not None and due_date < on <= day.as_of and _balance(day, invoice, on - _DAY) <= 0
        ),
        default=due_date,
    )


# Which debts count ----------------------------------------------------------------------------------------------------


def _is_disputed(day: DayFacts, debt: _Debt) -> bool:
    return any(day.holds(row) for row in day.disputes.of_invoice(debt.invoice_id))


def _is_under_agreement(day: DayFacts, debt: _Debt) -> bool:
    return any(
        row["agreement_id"] in day.kept_agreement_ids and day.holds(row)
        for row in day.agreement_invoices.of_invoice(debt.invoice_id)
    )


def _covering_credits(day: DayFacts, debts: Sequence[_Debt]) -> dict[str, Decimal]:
    """Of one contact customer: by invoice the credit, applied to none, that covers it or part of it."""
    purses: dict[str, Decimal] = {}
    for debt in debts:
        currency = debt.invoice["currency_code"]
        purses[currency] = purses.get(currency, _NO_MONEY) + debt.excess_amount
    for credit in day.credits.of_contact(debts[0].contact_id):
        if credit["applied_date"] <= day.as_of:
            currency = credit["currency_code"]
            purses[currency] = purses.get(currency, _NO_MONEY) + credit["amount"]
    if not any(purses.values()):
        return {}
    covered = {}
    for debt in sorted(
        (debt for debt in debts if debt.open_amount > 0),
        key=lambda debt: (_is_disputed(day, debt) or _is_under_agreement(day, debt), debt.due_date, debt.invoice_id),
    ):
        currency = debt.invoice["currency_code"]
        covered[debt.invoice_id] = min(debt.open_amount, purses[currency])
        purses[currency] -= covered[debt.invoice_id]
    return covered


def _is_held_back(day: DayFacts, debt: _Debt, version: EffectiveVersion, credit_amount: Decimal) -> bool:
    """Whether one of the outcomes from `quarantined` to `in_clearing` holds back an invoice that is past due."""
    return (
        _is_quarantined(day, debt)
        or credit_amount == debt.open_amount
        or day.as_of > _years_after(debt.due_date, version.content.prescription_years)
        or _is_disputed(day, debt)
        or _is_under_agreement(day, debt)
        or any(day.holds(row) for row in day.exemptions.about(debt.invoice_id, debt.contact_id))
        or any(day.holds(row) for row in day.pauses.of_contact(debt.contact_id))
        or any(
            day.holds(row) and day.as_of <= row["promised_date"]
            for row in day.promises.about(debt.invoice_id, debt.contact_id)
        )
        or debt.open_amount - credit_amount <= version.content.tolerance_amount
        or _is_announced(day, debt)
        or _is_in_clearing(day, debt, version)
    )


def _is_quarantined(day: DayFacts, debt: _Debt) -> bool:
    customer_id = debt.invoice["customer_id"]
    end = day.customers.end_of_merges(customer_id)
    return (
        end is None
        or not {customer_id, end}.isdisjoint(day.rejections.customer_ids)
        or debt.invoice_id in day.rejections.invoice_ids
        or not day.policies.knows(debt.invoice.get("policy_code"))
        or not day.policies.knows(day.customers.by_id[end].get("policy_code"))
    )


def _is_announced(day: DayFacts, debt: _Debt) -> bool:
    """Whether a payment or a credit that was loaded by the day takes effect after it."""
    paid = [row for row in day.payments.of_invoice(debt.invoice_id) if row.get("reversed_date") is None]
    return any(
        row[column] > day.as_of and local_day(row["_loaded_at"]) <= day.as_of
        for column, rows in (("payment_date", paid), ("applied_date", day.credits.of_invoice(debt.invoice_id)))
        for row in rows
    )


def _is_in_clearing(day: DayFacts, debt: _Debt, version: EffectiveVersion) -> bool:
    method, clearing = debt.invoice.get("payment_method_code"), version.content.clearing
    if method == "pix_automatico":
        return day.as_of <= debt.due_date + timedelta(days=clearing.pix_automatico_days)
    if method != "boleto":
        return False
    # A promise that was taken back before its day says nothing of when it will be paid.
    promised_dates = (
        row["promised_date"]
        for row in day.promises.about(debt.invoice_id, debt.contact_id)
        if row["valid_from_date"] <= day.as_of and holds_on(row, row["promised_date"])
    )
    paid_latest = day.calendar.on_or_after(max([debt.due_date, *promised_dates]), debt.calendar_code)
    return day.as_of <= day.calendar.after(paid_latest, clearing.boleto_business_days, debt.calendar_code)


def _years_after(day: date, count: int) -> date:
    try:
        return day.replace(year=day.year + count)
    except ValueError:
        return day.replace(year=day.year + count, day=28)


# Levels ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What one invoice that counts brings about; `subscription_id` where it counts for one. `rank` is of LEVELS."""

    invoice_id: str
    subscription_id: str | None
    rank: int
    is_for_bureau: bool


def _verdicts(day: DayFacts, debts: Sequence[_Debt]) -> Iterator[_Verdict]:
    """Of the invoices of one contact customer that count."""
    past_due = [debt for debt in debts if debt.is_past_due]
    if not past_due:
        return
    contact = day.customers.by_id.get(past_due[0].contact_id, {})
    credit_amounts = _covering_credits(day, debts)
    paid_subscriptions = _subscriptions_with_paid_period(day, debts)
    for debt in past_due:
        version = day.policies.version_for(debt.invoice, contact)
        if _is_held_back(day, debt, version, credit_amounts.get(debt.invoice_id, _NO_MONEY)):
            continue
        subscription = _own_subscription(day, debt)
        may_suspend = (
            subscription is not None
            and subscription["subscription_id"] not in paid_subscriptions
            and subscription.get("has_suspension_clause") is True
            and _runs(subscription, day.as_of)
        )
        yield _Verdict(
            invoice_id=debt.invoice_id,
            subscription_id=None if subscription is None else subscription["subscription_id"],
            rank=_rank(day, debt, version, may_suspend=may_suspend),
            is_for_bureau=_is_for_bureau(day, debt, version),
        )


def _by_subscription(verdicts: Iterable[_Verdict]) -> dict[str, list[_Verdict]]:
    grouped: dict[str, list[_Verdict]] = {}
    for verdict in verdicts:
        if verdict.subscription_id is not None:
            grouped.setdefault(verdict.subscription_id, []).append(verdict)
    return grouped


def _own_subscription(day: DayFacts, debt: _Debt) -> Row | None:
    """The one that the invoice names, where it is of the same contact customer."""
    subscription = day.subscriptions.get(debt.invoice.get("subscription_id"))
    if subscription is None or day.customers.contact_of(subscription["customer_id"]) != debt.contact_id:
        return None
    return subscription


def _runs(subscription: Row, as_of: date) -> bool:
    end_date: date | None = subscription.get("end_date")
    return subscription["status_code"] != "cancelled" and (end_date is None or as_of <= end_date)


def _subscriptions_with_paid_period(day: DayFacts, debts: Iterable[_Debt]) -> set[str]:
    """Prepaid subscriptions whose newest invoice that was due is settled."""
    newest: dict[str, _Debt] = {}
    for debt in debts:
        subscription = _own_subscription(day, debt)
        if subscription is None or not subscription.get("is_prepaid"):
            continue
        if debt.is_receivable and debt.due_date <= day.as_of:
            subscription_id = subscription["subscription_id"]
            other = newest.setdefault(subscription_id, debt)
            newest[subscription_id] = max(other, debt, key=lambda debt: (debt.due_date, debt.invoice_id))
    return {subscription_id for subscription_id, debt in newest.items() if debt.open_amount == 0}


def _rank(day: DayFacts, debt: _Debt, version: EffectiveVersion, *, may_suspend: bool) -> int:
    thresholds = version.content.thresholds
    if may_suspend and _is_above(day, debt, thresholds.suspend_after_days):
        threshold_date = debt.due_date + timedelta(days=thresholds.suspend_after_days or 0)
        grace = thresholds.suspension_grace_business_days
        is_grace_over = day.calendar.has_between(threshold_date, day.as_of, grace, debt.calendar_code)
        age_days = thresholds.suspension_notice_age_days
        if is_grace_over and _was_noticed(day, debt, version, "suspension", age_days):
            return _CANCELLATION_PROPOSED if _is_above(day, debt, thresholds.cancel_after_days) else _SUSPENDED
    return _NOTICE if _is_above(day, debt, thresholds.banner_after_days) else _REGULAR


def _is_for_bureau(day: DayFacts, debt: _Debt, version: EffectiveVersion) -> bool:
    thresholds = version.content.thresholds
    return _is_above(day, debt, thresholds.bureau_after_days) and _was_noticed(
        day, debt, version, "credit_bureau", thresholds.notice_age_days or 0
    )


def _is_above(day: DayFacts, debt: _Debt, threshold: int | None) -> bool:
    return threshold is not None and (day.as_of - debt.due_date).days > threshold


def _was_noticed(day: DayFacts, debt: _Debt, version: EffectiveVersion, notice: str, age_days: int) -> bool:
    """Whether a notice of the cycle that runs was delivered so many days ago."""
    latest = day.as_of - timedelta(days=age_days)
    touches = [
        touch
        for touch in day.touches.of_invoice(debt.invoice_id)
        if touch["fate_code"] == "delivered"
        and touch["planned_date"] < day.as_of
        and (touch.get("delivered_date") or touch["planned_date"]) <= latest
        and day.policies.gives(version, touch["step_code"], notice)
    ]
    return bool(touches) and not {touch.get("cycle_date") for touch in touches}.isdisjoint(
        {None, _cycle_date(day, debt.invoice)}
    )


def _unlocked_until(day: DayFacts, contact_id: str) -> date | None:
    return max(
        (row["valid_to_date"] for row in day.trust_unlocks.of_contact(contact_id) if day.holds(row)), default=None
    )
