"""What the night found of each subscription and of each debt that may go, or has gone, to the credit bureau."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa

from regua.channels.dispatch_file import DispatchFile
from regua.suspension.machine_csv import may_stand
from regua.suspension.standing import Debt, Found
from regua.warehouse.store import published_known_at

_STANDING = """
select standing.*, links.payment_url
from marts.fct_subscription_standing as standing
left join intermediate.int_dispatch_payment_codes as links on standing.oldest_invoice_id = links.invoice_id
where standing.as_of_date = $as_of
order by standing.subscription_id
"""
_SUSPENDING = """
select subscription_id, list(invoice_id order by invoice_id)
from intermediate.int_invoice_standing
where level_rank >= 2 and subscription_id is not null
group by subscription_id
"""
_CANDIDATES = """
select
    invoice_id, contact_customer_id as customer_id, due_date, days_past_due, balance_amount, currency_code, notice_id,
    notice_delivered_date
from marts.fct_bureau_candidates
where as_of_date = $as_of
order by invoice_id
"""
# A subscription that runs, or would if it were paid for.
_ACTIVE = """
select count(*) from staging.stg_subscriptions
where status_code <> 'cancelled' and start_date <= $as_of and (end_date is null or end_date >= $as_of)
"""
_FATES = """
select given.invoice_id, standing.reason_code, invoices.status_code, invoices.settled_date, standing.unlocked_until_date
from given
left join intermediate.int_invoice_standing as standing on given.invoice_id = standing.invoice_id
left join marts.fct_invoices as invoices on given.invoice_id = invoices.invoice_id
"""
_LAST_BUSINESS_DAYS = """
select given.day, min(last_days.calendar_date)
from given
inner join intermediate.int_business_days as first_days
    on first_days.calendar_code = 'br-bank' and given.day = first_days.calendar_date
inner join intermediate.int_business_days as last_days
    on
        last_days.calendar_code = 'br-bank'
        and last_days.business_day_number = first_days.business_day_number + $business_days
group by given.day
"""
_MERGED = """
select named.customer_id, list(others.customer_id order by others.customer_id)
from intermediate.int_contact_customers as named
inner join intermediate.int_contact_customers as others
    on named.contact_customer_id = others.contact_customer_id and named.customer_id <> others.customer_id
where named.customer_id in (select unnest($customer_ids))
group by named.customer_id
"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A debt that may be listed with the credit bureau. The amount is principal less unapplied credit."""

    invoice_id: str
    customer_id: str
    due_date: date
    days_past_due: int
    balance_amount: Decimal
    currency_code: str
    notice_id: str
    notice_delivered_date: date

    def to_json(self) -> dict[str, Any]:
        return {
            "invoice_id": self.invoice_id,
            "customer_id": self.customer_id,
            "due_date": self.due_date.isoformat(),
            "days_past_due": self.days_past_due,
            "balance_amount": f"{self.balance_amount:f}",
            "currency_code": self.currency_code,
            "notice_id": self.notice_id,
            "notice_delivered_date": self.notice_delivered_date.isoformat(),
        }

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Candidate:
        days = {name: date.fromisoformat(written[name]) for name in ("due_date", "notice_delivered_date")}
        return cls(**{**written, **days, "balance_amount": Decimal(written["balance_amount"])})


@dataclass(frozen=True, slots=True)
class InvoiceFate:
    """What became of an invoice that suspended, or was listed.

    `reason_code` is why it does not suspend any more, `over_threshold` when it still does, `paid` when nothing of it is
    past due. `settled_date` is the day of full payment, `unlocked_until_date` the last day of a trust unlock.
    """

    reason_code: str
    settled_date: date | None = None
    unlocked_until_date: date | None = None


@dataclass(frozen=True, slots=True)
class FoundNight:
    """One night's findings. `active_count` are subscriptions that run."""

    as_of: date
    known_at: datetime
    founds: tuple[Found, ...]
    candidates: tuple[Candidate, ...]
    active_count: int


def read_found_night(warehouse: duckdb.DuckDBPyConnection, as_of: date, dispatch_file: DispatchFile) -> FoundNight:
    """Raises InputError when the warehouse holds another day, or one that was not published."""
    known_at = published_known_at(warehouse, as_of)
    suspending: dict[str, list[str]] = dict(warehouse.execute(_SUSPENDING).fetchall())
    founds = tuple(
        _found(row, suspending.get(row["subscription_id"], []), dispatch_file)
        for row in _rows(warehouse, _STANDING, {"as_of": as_of})
    )
    candidates = tuple(Candidate(**row) for row in _rows(warehouse, _CANDIDATES, {"as_of": as_of}))
    [(active_count,)] = warehouse.execute(_ACTIVE, {"as_of": as_of}).fetchall()
    return FoundNight(as_of, known_at, founds, candidates, int(active_count))


def invoice_fates(warehouse: duckdb.DuckDBPyConnection, invoice_ids: Iterable[str]) -> dict[str, InvoiceFate]:
    """What became of these; one that nobody has heard of is taken for paid: what is not owed suspends nobody."""
    given = pa.table({"invoice_id": pa.array(sorted(set(invoice_ids)), pa.string())})
    warehouse.register("given", given)
    try:
        rows = warehouse.execute(_FATES).fetchall()
    finally:
        warehouse.unregister("given")
    fates = {}
    for invoice_id, reason_code, status_code, settled_date, unlocked_until_date in rows:
        gone = status_code if status_code in ("cancelled", "written_off") else "paid"
        fates[invoice_id] = InvoiceFate(reason_code or gone, settled_date, unlocked_until_date)
    return fates


def last_business_days(
    warehouse: duckdb.DuckDBPyConnection, days: Iterable[date], business_days: int
) -> dict[date, date]:
    """The last of so many business days after each day; outside the calendar as many days, which is sooner."""
    listed = sorted(set(days))
    warehouse.register("given", pa.table({"day": pa.array(listed, pa.date32())}))
    try:
        found = dict(warehouse.execute(_LAST_BUSINESS_DAYS, {"business_days": business_days}).fetchall())
    finally:
        warehouse.unregister("given")
    return {day: found.get(day, day + timedelta(days=business_days)) for day in listed}


def merged_customers(warehouse: duckdb.DuckDBPyConnection, customer_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """By customer all others that are the same by now: a list may have named one that was merged into another since."""
    rows = warehouse.execute(_MERGED, {"customer_ids": sorted(set(customer_ids))}).fetchall()
    return {customer_id: tuple(others) for customer_id, others in rows}


def _found(row: Mapping[str, Any], suspending: Sequence[str], dispatch_file: DispatchFile) -> Found:
    return Found(
        subscription_id=row["subscription_id"],
        customer_id=row["contact_customer_id"],
        level_code=row["level_code"],
        reason_code="over_threshold",
        debt=Debt(
            invoice_count=row["counted_invoice_count"],
            balance_amount=row["balance_amount"],
            currency_code=row["currency_code"],
            oldest_invoice_id=row["oldest_invoice_id"],
            oldest_due_date=row["oldest_due_date"],
            days_past_due=row["days_past_due"],
            notice_id=row["notice_id"],
            notice_delivered_date=row["notice_delivered_date"],
            suspending_invoice_ids=tuple(suspending),
        ),
        unlocked_until_date=row["unlocked_until_date"],
        payment_url=_payment_link(row["payment_url"], dispatch_file),
    )


def _payment_link(url: str | None, dispatch_file: DispatchFile) -> str:
    """The invoice's own page where it lies on a host that messages may lead to, else the company's portal."""
    if url is None or not may_stand("payment_url", url):
        return dispatch_file.supplier.payment_portal_url
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    return url if host in dispatch_file.link_hosts else dispatch_file.supplier.payment_portal_url


def _rows(warehouse: duckdb.DuckDBPyConnection, query: str, parameters: Mapping[str, object]) -> list[dict[str, Any]]:
    found = warehouse.execute(query, dict(parameters))
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
