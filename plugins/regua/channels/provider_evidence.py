"""What providers tell afterwards, when asked: what became of a message, and who must not be written to any more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Fate(StrEnum):
    """IN_TRANSIT is evidence as well: the provider has the message."""

    IN_TRANSIT = "in_transit"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class FoundMessage:
    """`reason_code` is the provider's code of a failure, without personal values."""

    provider_message_id: str
    fate: Fate
    reason_code: str | None = None


@dataclass(frozen=True, slots=True)
class Suppression:
    """An address the provider no longer delivers to. `list_code` is the provider's list; `created_at` is UTC."""

    list_code: str
    address: str
    created_at: datetime
