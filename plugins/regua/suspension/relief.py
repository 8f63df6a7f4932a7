"""What was said after the night: payments, and facts that give access back or keep it.

Whatever is new forbids a suspension; only what holds gives access back. The next night decides with all it then knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

import sqlalchemy as sa

from regua.dispatch.last_look import Knowledge, LastLook, take_last_look
from regua.ledger.facts import Fact, read_facts_since
from regua.suspension.standing import Debt

# The entities whose facts may give access back, and the reason that is published.
_REASONS = {
    "disputes": "disputed",
    "agreement_invoices": "under_agreement",
    "agreements": "under_agreement",
    "exemptions": "exempt",
    "pauses": "paused",
    "promises": "promise_open",
    "trust_unlocks": "trust_unlock",
}


@dataclass(frozen=True, slots=True)
class Relief:
    """Why access is given back. After a trust unlock, until when."""

    reason_code: str
    unlocked_until_date: date | None = None


@dataclass(frozen=True, slots=True)
class News:
    """All that was said since the night, on the day it is looked at. `merged`: by customer, who is the same."""

    look: LastLook
    unlocks: tuple[Fact, ...]
    merged: Mapping[str, tuple[str, ...]]
    day: date

    def forbids(self, customer_id: str, debt: Debt) -> str | None:
        """The reason why access is not taken away today, or None: anything new about the debt is enough."""
        customer_ids = self._members(customer_id)
        if self._paid(debt, customer_ids):
            return "payment_received"
        for fact in self._facts():
            if _is_about(fact, debt, customer_ids):
                return _REASONS[fact.entity]
        return None

    def gives_back(self, customer_id: str, debt: Debt) -> Relief | None:
        """Why access comes back: each invoice that suspends was paid or is held back, or the customer is let in."""
        customer_ids = self._members(customer_id)
        facts = [fact for fact in self._facts() if _holds(fact, self.day) and _is_about(fact, debt, customer_ids)]
        for fact in facts:
            if fact.entity == "trust_unlocks":
                return Relief("trust_unlock", date.fromisoformat(str(fact.values["valid_to_date"])))
        if any(customer_id in self.look.paid_customers for customer_id in customer_ids):
            return Relief("payment_received")
        of_all = [fact for fact in facts if fact.entity != "agreements" and fact.values.get("invoice_id") is None]
        if of_all:
            return Relief(_REASONS[of_all[0].entity])
        relieved: dict[str, str] = {}
        for fact in facts:
            if fact.values.get("invoice_id") is not None and self._cover_holds(fact):
                relieved[str(fact.values["invoice_id"])] = _REASONS[fact.entity]
        relieved |= {id_: "payment_received" for id_ in debt.suspending_invoice_ids if id_ in self.look.paid_invoices}
        if debt.suspending_invoice_ids and all(id_ in relieved for id_ in debt.suspending_invoice_ids):
            return Relief(relieved[debt.suspending_invoice_ids[0]])
        return None

    def speaks_of(self, customer_id: str, invoice_id: str) -> bool:
        """Whether anything new was said that bears on a debt, be it only on its customer."""
        return self.forbids(customer_id, Debt(suspending_invoice_ids=(invoice_id,))) is not None

    def _facts(self) -> list[Fact]:
        return [*self.unlocks, *(fact for fact, _ in self.look.facts if fact.entity in _REASONS)]

    def _members(self, customer_id: str) -> tuple[str, ...]:
        return (customer_id, *self.merged.get(customer_id, ()))

    def _paid(self, debt: Debt, customer_ids: tuple[str, ...]) -> bool:
        return any(invoice_id in self.look.paid_invoices for invoice_id in debt.suspending_invoice_ids) or any(
            customer_id in self.look.paid_customers for customer_id in customer_ids
        )

    def _cover_holds(self, cover: Fact) -> bool:
        """Of an invoice that an agreement covers: whether the agreement, where it was told of as well, holds."""
        if cover.entity != "agreement_invoices":
            return True
        agreements = [fact for fact, _ in self.look.facts if fact.fact_id == cover.values["agreement_id"]]
        return all(_holds(agreement, self.day) for agreement in agreements)


def look_for_news(
    connection: sa.Connection, knowledge: Knowledge, merged: Mapping[str, tuple[str, ...]], now: datetime, day: date
) -> News:
    """What the night did not know that a list rests on, whether a later night does or not."""
    new_facts = read_facts_since(connection, knowledge.fact_numbers)
    unlocks = tuple(fact for fact, _ in new_facts if fact.entity == "trust_unlocks")
    return News(take_last_look(connection, knowledge, now), unlocks, merged, day)


def _is_about(fact: Fact, debt: Debt, customer_ids: tuple[str, ...]) -> bool:
    if fact.values.get("invoice_id") is not None:
        return fact.values["invoice_id"] in debt.suspending_invoice_ids
    return fact.values.get("customer_id") in customer_ids


def _holds(fact: Fact, day: date) -> bool:
    broken_date, promised_date = fact.values.get("broken_date"), fact.values.get("promised_date")
    return (
        not fact.is_withdrawn
        and fact.holds_on(day)
        and (broken_date is None or broken_date > day.isoformat())
        and (promised_date is None or promised_date >= day.isoformat())
    )
