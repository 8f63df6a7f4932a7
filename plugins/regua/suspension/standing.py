"""The standing of a subscription: what is published of it, as a function of its level and of what was published last.

The table of docs/reference/suspension.md, and nothing else: no store, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

# In the order in which they are reached; none is skipped.
LEVELS = ("regular", "notice", "suspended", "cancellation_proposed")
_SUSPENDED = LEVELS.index("suspended")
# An unlock that ends so soon is told of, while somebody can still do something.
_EXPIRES_WITHIN = timedelta(days=1)


class Standing(StrEnum):
    REGULAR = "regular"
    NOTICE = "notice"
    SUSPENDED = "suspended"
    CANCELLATION_PROPOSED = "cancellation_proposed"
    TRUST_UNLOCK = "trust_unlock"
    REACTIVATED = "reactivated"


class Change(StrEnum):
    SUSPEND = "suspend"
    KEEP = "keep"
    REACTIVATE = "reactivate"
    UNLOCK_EXPIRING = "unlock_expiring"
    PROPOSE_CANCELLATION = "propose_cancellation"


WITHOUT_ACCESS = frozenset((Standing.SUSPENDED, Standing.CANCELLATION_PROPOSED))


@dataclass(frozen=True, slots=True)
class Debt:
    """What a subscription owes on a day, and the proof that it was told. Without debts all is empty or zero.

    Amounts are principal less unapplied credit, in the oldest invoice's currency. `notice_id` is the touch by which the
    suspension notice of that invoice was delivered.
    """

    invoice_count: int = 0
    balance_amount: Decimal = Decimal("0.00")
    currency_code: str | None = None
    oldest_invoice_id: str | None = None
    oldest_due_date: date | None = None
    days_past_due: int | None = None
    notice_id: str | None = None
    notice_delivered_date: date | None = None
    suspending_invoice_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of one subscription: a row of fct_subscription_standing, or that nothing of it is past due."""

    subscription_id: str
    customer_id: str
    level_code: str
    reason_code: str
    debt: Debt = Debt()
    unlocked_until_date: date | None = None
    payment_url: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values, from which `from_json` makes the same again."""
        return _plain(asdict(self))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Found:
        return cls(**{**written, **_typed(written)})


@dataclass(frozen=True, slots=True)
class Entry:
    """One subscription as a publication states it.

    `since_date` is the `as_of` on which `standing_code` began, `as_of_date` that of this entry. What was reached on the
    last day before is kept, so that what is published twice on a day goes no further the second time.
    """

    subscription_id: str
    customer_id: str
    as_of_date: date
    standing_code: Standing
    reached_code: str
    reached_before_code: str
    since_date: date
    reason_code: str
    change_code: Change | None
    debt: Debt = Debt()
    unlocked_until_date: date | None = None
    payment_url: str | None = None

    @property
    def has_access(self) -> bool:
        return self.standing_code not in WITHOUT_ACCESS

    @property
    def banner_code(self) -> str | None:
        """What the login page shows: notice, suspended, trust_unlock or nothing."""
        if not self.has_access:
            return "suspended"
        if self.standing_code is Standing.TRUST_UNLOCK:
            return "trust_unlock"
        return "notice" if self.reached_code == "notice" else None

    @property
    def billing_hint_code(self) -> str:
        """Who cannot use the service is not billed for more of it."""
        return "invoice" if self.has_access else "stop_invoicing"

    def to_json(self) -> dict[str, Any]:
        """Plain values, from which `from_json` makes the same again."""
        return _plain(asdict(self))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Entry:
        change_code = written["change_code"]
        return cls(
            **{
                **written,
                **_typed(written),
                "as_of_date": date.fromisoformat(written["as_of_date"]),
                "since_date": date.fromisoformat(written["since_date"]),
                "standing_code": Standing(written["standing_code"]),
                "change_code": Change(change_code) if change_code else None,
            }
        )


def next_entry(before: Entry | None, found: Found, as_of: date) -> Entry:
    """The entry of `as_of` after the one that was published last; `before` is None where there is none."""
    standing_before = before.standing_code if before else Standing.REGULAR
    had_access = before is None or before.has_access
    climbed_from = _climbed_from(before, as_of)
    reached = min(_rank(found.level_code), _rank(climbed_from) + 1)
    change: Change | None = None
    if reached < _SUSPENDED:
        standing = Standing(LEVELS[reached])
        if not had_access:
            standing, change = Standing.REACTIVATED, Change.REACTIVATE
        elif before is not None and standing_before is Standing.REACTIVATED and before.as_of_date == as_of:
            standing = Standing.REACTIVATED
    elif found.unlocked_until_date is not None:
        standing = Standing.TRUST_UNLOCK
        if not had_access:
            change = Change.REACTIVATE
        elif found.unlocked_until_date - as_of <= _EXPIRES_WITHIN:
            change = Change.UNLOCK_EXPIRING
    else:
        standing = Standing(LEVELS[reached])
        if had_access:
            change = Change.SUSPEND
        elif standing is Standing.CANCELLATION_PROPOSED and standing_before is not standing:
            change = Change.PROPOSE_CANCELLATION
        else:
            change = Change.KEEP
    reason = found.reason_code
    if standing is Standing.TRUST_UNLOCK:
        reason = "trust_unlock"
    elif change is Change.SUSPEND and standing_before is Standing.TRUST_UNLOCK:
        reason = "unlock_ended"
    return Entry(
        subscription_id=found.subscription_id,
        customer_id=found.customer_id,
        as_of_date=as_of,
        standing_code=standing,
        reached_code=LEVELS[reached],
        reached_before_code=climbed_from,
        since_date=before.since_date if before is not None and standing is standing_before else as_of,
        reason_code=reason,
        change_code=change,
        debt=found.debt,
        unlocked_until_date=found.unlocked_until_date,
        payment_url=found.payment_url,
    )


def held_entry(before: Entry, proposed: Entry, reason_code: str) -> Entry:
    """In place of one that takes access away, while that may not be: it stands where it stood."""
    return replace(
        proposed,
        standing_code=before.standing_code,
        reached_code=before.reached_code,
        since_date=before.since_date,
        reason_code=reason_code,
        change_code=None,
        unlocked_until_date=before.unlocked_until_date if before.standing_code is Standing.TRUST_UNLOCK else None,
    )


def kept_entry(before: Entry) -> Entry:
    """The same again, in another publication of its day."""
    return replace(before, change_code=None if before.has_access else Change.KEEP)


def _climbed_from(before: Entry | None, as_of: date) -> str:
    if before is None:
        return LEVELS[0]
    return before.reached_before_code if before.as_of_date >= as_of else before.reached_code


def _rank(level_code: str) -> int:
    return LEVELS.index(level_code)


def _typed(written: Mapping[str, Any]) -> dict[str, Any]:
    debt = dict(written["debt"])
    debt |= {name: _day(debt[name]) for name in ("oldest_due_date", "notice_delivered_date")}
    debt["balance_amount"] = Decimal(debt["balance_amount"])
    debt["suspending_invoice_ids"] = tuple(debt["suspending_invoice_ids"])
    return {"debt": Debt(**debt), "unlocked_until_date": _day(written["unlocked_until_date"])}


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.value if isinstance(value, StrEnum) else value
