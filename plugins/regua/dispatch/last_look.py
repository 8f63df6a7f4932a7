"""What became known after the night and forbids a message that it decided. Read once more inside every claim."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from regua.channels.contents import MessageContent
from regua.ledger.facts import Fact, facts_of, read_events
from regua.ledger.messages import PAYMENT_NOTICES, State

# A payment the ledger was told of and that no night has seen for so long was a mistake, or has another number there.
NOTICE_HOLDS = timedelta(days=5)
# Facts of an entity that names the channel or kind of address speak of that one alone.
_CONTACT_TYPES = {"email": "email", "sms": "phone", "call": "phone", "whatsapp": "whatsapp", "letter": "postal_address"}
_NO_MATTER = ("trust_unlocks",)


@dataclass(frozen=True, slots=True)
class Hindrance:
    """The state and reason that a message gets instead of being sent."""

    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class LastLook:
    """All that was said since the night, of anybody: there is little of it, and it is read in one go."""

    paid_invoice_ids: frozenset[str]
    facts: tuple[Fact, ...]

    def hindrance(self, content: MessageContent) -> Hindrance | None:
        """Anything new forbids the message of today, be it a cent: the next night decides with all it then knows."""
        invoice_ids = {line.invoice_id for line in content.lines}
        if self.paid_invoice_ids & invoice_ids:
            return Hindrance(State.CANCELLED_PAID, "payment_received")
        for fact in self.facts:
            if _speaks_of(fact, content, invoice_ids):
                return Hindrance(State.SUPPRESSED, f"new_{fact.entity}")
        return None


def take_last_look(connection: sa.Connection, known_fact_numbers: Mapping[str, int], now: datetime) -> LastLook:
    """`known_fact_numbers` gives by entity the last event that the night knew."""
    paid: Iterable[str] = connection.execute(
        sa.select(PAYMENT_NOTICES.c.invoice_id).where(
            PAYMENT_NOTICES.c.seen_at.is_(None), PAYMENT_NOTICES.c.recorded_at > now - NOTICE_HOLDS
        )
    ).scalars()
    events = read_events(connection)
    newest = {event.fact_number or event.event_number: event.event_number for event in events}
    new = [
        fact
        for fact in facts_of(events)
        if fact.entity not in _NO_MATTER and newest[fact.number] > known_fact_numbers.get(fact.entity, 0)
    ]
    return LastLook(frozenset(paid), tuple(_with_owners(new, facts_of(events))))


def _with_owners(new: Collection[Fact], facts: Collection[Fact]) -> list[Fact]:
    """Facts about an agreement concern whom the agreement is with."""
    by_id: Mapping[str, Fact] = {fact.fact_id: fact for fact in facts}
    owners = [by_id.get(str(fact.values.get("agreement_id"))) for fact in new]
    return [*new, *(owner for owner in owners if owner is not None)]


def _speaks_of(fact: Fact, content: MessageContent, invoice_ids: Collection[str]) -> bool:
    values: Mapping[str, Any] = fact.values
    if values.get("invoice_id") is not None:
        return values["invoice_id"] in invoice_ids
    if values.get("customer_id") not in content.customer_ids:
        return False
    if fact.entity == "consents":
        return bool(values["channel_code"] == content.channel_code)
    if fact.entity == "contact_points":
        return bool(values["contact_type_code"] == _CONTACT_TYPES[content.channel_code])
    return True
