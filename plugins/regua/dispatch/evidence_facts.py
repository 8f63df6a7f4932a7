"""What providers say that outlasts a message: an address that is dead, a person who wants no more of a channel."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from regua.instants import local_day
from regua.ledger.fact_entry import dated_entity, enterable_columns
from regua.ledger.facts import NewFact

AUTHOR = "evidence"
# An address as the ledger keeps it; None before its first plan, when nobody has been written to.
Hasher = Callable[[str], str | None]
_CONTACT_TYPES = {"email": "email", "sms": "phone", "whatsapp": "whatsapp"}
# SendGrid did not even try, because of what happened before: its lists know more than we were told.
_DEAD_REASONS = frozenset(("bounced_address", "invalid_address"))
UNWANTED_REASONS = frozenset(("unsubscribed_address", "spam_reporting_address", "twilio_21610"))
_REASON = re.compile(r"[a-z0-9_.:-]{1,64}")


class EventCode(StrEnum):
    """BOUNCED is for good: the address is dead. What may work another day is DEFERRED, DROPPED or FAILED."""

    PROCESSED = "processed"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    READ = "read"
    BOUNCED = "bounced"
    DROPPED = "dropped"
    FAILED = "failed"
    COMPLAINED = "complained"
    OPTED_OUT = "opted_out"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that a provider said. It names a message by our id or the provider's, or an address by its hash.

    `occurred_at` (UTC) is None where the provider gives no time; then it can happen only once. `channel_code` is for
    what names an address alone. `reason` is a code; what is none is left out, because free text may hold an address.
    """

    sender_code: str
    event_code: EventCode
    occurred_at: datetime | None = None
    message_id: str | None = None
    provider_message_id: str | None = None
    reason: str | None = None
    address_hash: str | None = None
    channel_code: str | None = None

    @property
    def reason_code(self) -> str | None:
        return self.reason if self.reason is not None and _REASON.fullmatch(self.reason) else None


@dataclass(frozen=True, slots=True)
class Addressee:
    """Whom evidence concerns: the address (None once it was erased), and every customer who was written to at it."""

    channel_code: str
    address: str | None
    customer_ids: tuple[str, ...]


def facts_from(evidence: Evidence, addressee: Addressee, told_at: datetime) -> Iterable[NewFact]:
    """A bounce is a fact of the address, an opt-out or a complaint one of each of its customers; most is neither."""
    day = local_day(evidence.occurred_at or told_at).isoformat()
    said = [evidence.sender_code, evidence.event_code, evidence.reason_code]
    reason = " ".join(word for word in said if word)
    channel_code = evidence.channel_code or addressee.channel_code
    is_dead = evidence.event_code is EventCode.BOUNCED or evidence.reason_code in _DEAD_REASONS
    is_unwanted = (
        evidence.event_code in (EventCode.COMPLAINED, EventCode.OPTED_OUT) or evidence.reason_code in UNWANTED_REASONS
    )
    if is_dead and addressee.address is not None and channel_code in _CONTACT_TYPES:
        for customer_id in addressee.customer_ids:
            yield _fact(
                "contact_point",
                reason,
                customer_id=customer_id,
                contact_type_code=_CONTACT_TYPES[channel_code],
                address=addressee.address,
                undeliverable_date=day,
                valid_from_date=day,
            )
    if is_unwanted:
        for customer_id in addressee.customer_ids:
            yield _fact(
                "consent",
                reason,
                customer_id=customer_id,
                channel_code=channel_code,
                is_opted_in="false",
                valid_from_date=day,
            )


def _fact(entity_name: str, reason: str, **given: str) -> NewFact:
    """In the form that `read_values` gives. It is not asked: ids and address come from a night that has read them, and
    its half second for ten facts would keep a provider waiting that tells of a thousand.
    """
    entity = dated_entity(entity_name)
    return NewFact(entity, {column.name: given.get(column.name) for column in enterable_columns(entity)}, reason)
