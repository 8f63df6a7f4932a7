"""What became known after the night and forbids a message that it decided. Read once more inside every claim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from regua.channels.contents import MessageContent
from regua.errors import InputError
from regua.instants import BEFORE_ALL
from regua.ledger.facts import Fact, find_facts, read_facts_since
from regua.ledger.messages import PAYMENT_NOTICES, PLANS, State

# A payment the ledger was told of and that no night has seen for so long was a mistake, or has another number there.
NOTICE_HOLDS = timedelta(days=5)
# Facts of an entity that names the channel or kind of address speak of that one alone.
_CONTACT_TYPES = {
    "email": ("email",),
    "sms": ("phone",),
    "call": ("phone",),
    "whatsapp": ("whatsapp", "phone"),
    "letter": ("postal_address",),
}
_NO_MATTER = ("trust_unlocks",)


@dataclass(frozen=True, slots=True)
class Hindrance:
    """The state and reason that a message gets instead of being sent."""

    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What a night knew: what was loaded by an instant and, by entity, of the facts in the ledger up to which event."""

    known_at: datetime
    fact_numbers: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LastLook:
    """All that was said since the night, of anybody, with the instant it was last said: there is little of it."""

    paid_invoices: Mapping[str, datetime]
    paid_customers: Mapping[str, datetime]
    facts: tuple[tuple[Fact, datetime], ...]

    def hindrance(self, content: MessageContent, *, after: datetime = BEFORE_ALL) -> Hindrance | None:
        """Anything new forbids the message of today, be it a cent: the next night decides with all it then knows.

        `after` leaves out what was known when the message was claimed.
        """
        invoice_ids = {line.invoice_id for line in content.lines}
        paid = [self.paid_invoices.get(invoice_id) for invoice_id in invoice_ids]
        paid += [self.paid_customers.get(customer_id) for customer_id in content.customer_ids]
        if any(told_at is not None and told_at > after for told_at in paid):
            return Hindrance(State.CANCELLED_PAID, "payment_received")
        for fact, told_at in self.facts:
            if told_at > after and _speaks_of(fact, content, invoice_ids):
                return Hindrance(State.SUPPRESSED, f"new_{fact.entity}")
        return None


def planned_knowledge(connection: sa.Connection, as_of: date) -> Knowledge:
    """What the night knew that the plan of a day is of. Raises InputError without a plan of that day."""
    query = sa.select(PLANS.c.known_at, PLANS.c.known_fact_numbers).where(PLANS.c.as_of_date == as_of)
    plan = connection.execute(query).one_or_none()
    if plan is None:
        raise InputError(f"There is no plan of {as_of}: run `regua plan --as-of {as_of}` after the night.")
    return Knowledge(plan.known_at, plan.known_fact_numbers)


def take_last_look(connection: sa.Connection, knowledge: Knowledge, now: datetime) -> LastLook:
    """What a night did not know, whether a later one does by now or not."""
    seen_at = PAYMENT_NOTICES.c.seen_at
    return _look(connection, sa.or_(seen_at.is_(None), seen_at > knowledge.known_at), knowledge.fact_numbers, now)


def look_since(connection: sa.Connection, since: datetime, now: datetime) -> LastLook:
    """What was said after an instant, whether a night knows it by now or not."""
    return _look(connection, PAYMENT_NOTICES.c.recorded_at > since, since, now)


def _look(
    connection: sa.Connection, new_notices: sa.ColumnElement[bool], known: Mapping[str, int] | datetime, now: datetime
) -> LastLook:
    query = sa.select(PAYMENT_NOTICES).where(new_notices, PAYMENT_NOTICES.c.recorded_at > now - NOTICE_HOLDS)
    invoices: dict[str, datetime] = {}
    customers: dict[str, datetime] = {}
    for notice in connection.execute(query.order_by(PAYMENT_NOTICES.c.recorded_at)):
        if notice.invoice_id is not None:
            invoices[notice.invoice_id] = notice.recorded_at
        elif notice.customer_id is not None:
            customers[notice.customer_id] = notice.recorded_at
    facts = [(fact, told_at) for fact, told_at in read_facts_since(connection, known) if fact.entity not in _NO_MATTER]
    # A fact about an agreement concerns whom the agreement is with.
    agreements = {str(fact.values["agreement_id"]): at for fact, at in facts if fact.values.get("agreement_id")}
    facts += [(fact, agreements[fact.fact_id]) for fact in find_facts(connection, list(agreements))]
    return LastLook(invoices, customers, tuple(facts))


def _speaks_of(fact: Fact, content: MessageContent, invoice_ids: set[str]) -> bool:
    values: Mapping[str, Any] = fact.values
    if values.get("invoice_id") is not None:
        return values["invoice_id"] in invoice_ids
    if values.get("customer_id") not in content.customer_ids:
        return False
    if fact.entity == "consents":
        return bool(values["channel_code"] == content.channel_code)
    if fact.entity == "contact_points":
        return values["contact_type_code"] in _CONTACT_TYPES[content.channel_code]
    return True
