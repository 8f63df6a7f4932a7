"""What a message is about: everything its templates may say, as the night decided it. No clock, no look-up, no rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Any

_DAYS = ("as_of_date", "action_date", "due_date")
_AMOUNT_ENDINGS = ("_amount", "_pct")
_NESTED = ("lines", "merged_customer_ids")


@dataclass(frozen=True, slots=True)
class Line:
    """One invoice on a message, owed by `customer_id`. Amounts in the message's currency; `payable_amount` of the day.

    `days_past_due` is None while it is not past due. Payment codes are those of the company's own export, unchecked.
    """

    invoice_id: str
    customer_id: str
    invoice_number: str | None
    due_date: date
    days_past_due: int | None
    open_amount: Decimal
    credit_amount: Decimal
    fine_amount: Decimal
    interest_amount: Decimal
    payable_amount: Decimal
    payment_url: str | None
    boleto_line: str | None
    pix_code: str | None


@dataclass(frozen=True, slots=True)
class MessageContent:
    """One message to one customer through one channel.

    `address` is an e-mail address, an E.164 number or, for letters, a postal address of several lines.
    `action_date` is the day from which what a notice announces may happen: suspension, or the bureau's list.
    `merged_customer_ids` are the records that were merged into the customer, with an invoice here or without.
    `offer_amount` is what is to be paid at once under the offer, `offer_instalment_count` the most instalments.
    """

    message_id: str
    as_of_date: date
    customer_id: str
    name: str
    address: str
    channel_code: str
    step_code: str
    phase_code: str
    notice_code: str | None
    template_code: str
    variant_code: str | None
    currency_code: str
    open_amount: Decimal
    credit_amount: Decimal
    fine_amount: Decimal
    interest_amount: Decimal
    payable_amount: Decimal
    offer_instalment_count: int | None
    offer_discount_pct: Decimal | None
    offer_amount: Decimal | None
    action_date: date | None
    lines: tuple[Line, ...]
    merged_customer_ids: tuple[str, ...] = ()

    @property
    def customer_ids(self) -> frozenset[str]:
        """Everybody whose debt it speaks of: the one who is written to, and who was merged into that one."""
        owners = (line.customer_id for line in self.lines)
        return frozenset((self.customer_id, *self.merged_customer_ids, *owners))

    def to_json(self) -> dict[str, Any]:
        """Amounts as text and days as ISO 8601, so that nothing is rounded on the way."""
        written = _written(asdict(self)) | {"merged_customer_ids": list(self.merged_customer_ids)}
        written["lines"] = [_written(line) for line in written["lines"]]
        return written

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> MessageContent:
        """Inverse of `to_json`. Raises KeyError and ValueError for what `to_json` did not write."""
        lines = tuple(Line(**_read(line, Line)) for line in written["lines"])
        merged = tuple(written["merged_customer_ids"])
        return cls(**_read(written, cls) | {"lines": lines, "merged_customer_ids": merged})


def _written(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: str(value) if isinstance(value, Decimal) else value.isoformat() if isinstance(value, date) else value
        for name, value in values.items()
    }


def _read(written: Mapping[str, Any], of: type) -> dict[str, Any]:
    values = {name: written[name] for name in _names(of)}
    return {
        name: value if value is None or read is None else read(value)
        for (name, value), read in zip(values.items(), _readers(of), strict=True)
    }


@cache
def _names(of: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(of) if field.name not in _NESTED)


@cache
def _readers(of: type) -> tuple[Callable[[str], Any] | None, ...]:
    """For each name what reads its text; None takes it as it is."""

    def reader(name: str) -> Callable[[str], Any] | None:
        if name in _DAYS:
            return date.fromisoformat
        return Decimal if name.endswith(_AMOUNT_ENDINGS) else None

    return tuple(reader(name) for name in _names(of))
