"""The one interface of all channels, and the five answers that a provider can give."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from regua.channels.contents import MessageContent


class Answer(StrEnum):
    """What is known after an attempt. Only NOT_REACHED and LIMITED prove that nothing went out, and may be repeated."""

    ACCEPTED = "accepted"  # 2xx: the provider has it
    NOT_REACHED = "not_reached"  # refused, DNS or TLS, before any byte of the request
    LIMITED = "limited"  # 429: not processed
    UNKNOWN = "unknown"  # a time-out or reset after a byte, 5xx, an answer nobody understands
    REJECTED = "rejected"  # other 4xx: the provider will not have it
    UNAUTHORISED = "unauthorised"  # 401, 403: nothing of this run will pass


@dataclass(frozen=True, slots=True)
class Outcome:
    """`reason` is a short code or sentence without personal values; `retry_after_seconds` is the provider's wish.

    `is_address_fault` says that the provider refused this recipient, not our request: nothing will ever reach it.
    """

    answer: Answer
    reason: str
    provider_message_id: str | None = None
    retry_after_seconds: float | None = None
    is_address_fault: bool = False


@dataclass(frozen=True, slots=True)
class InlineImage:
    """A PNG that the HTML names as `cid:<content_id>`."""

    content_id: str
    png: bytes


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a person will read. Each channel fills what it has: `html` for e-mail and letter, `parameters` for WhatsApp.

    `parameters` are the values of the approved template's placeholders {{1}}, {{2}}, … in their order.
    """

    text: str
    subject: str | None = None
    html: str | None = None
    images: tuple[InlineImage, ...] = ()
    parameters: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A checked message on its way. `send_at` is UTC; None sends at once. `batch_id` is what it can be recalled by."""

    content: MessageContent
    rendered: Rendered
    send_at: datetime | None = None
    batch_id: str | None = None


class Channel(Protocol):
    """Talks to one provider. Methods may be called from several threads; each returns within its deadline.

    `open_batch` gives an identifier under which messages can be held until `send_at` and recalled, None where the
    provider has no such thing; it raises BusyError when the provider cannot be asked and InputError when it refuses us.
    `send` never raises for what the network or the provider does. `recall` is True when the provider confirmed that
    what it still holds of the batch will not go out. `finish` ends a run: it writes what is handed over as a whole (the
    batch of letters, the call list) and may be called again.
    """

    sender_code: str

    def open_batch(self) -> str | None: ...

    def send(self, outgoing: Outgoing) -> Outcome: ...

    def recall(self, batch_id: str) -> bool: ...

    def finish(self) -> None: ...
