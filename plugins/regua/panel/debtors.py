"""Customers and their invoices behind the panel's numbers, by id alone, and the record of who has looked at them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

import duckdb
import sqlalchemy as sa

from regua.instants import Clock
from regua.ledger.database import open_ledger
from regua.ledger.event_log import MessageEvent, append_events, writing_messages
from regua.ledger.messages import EVENTS
from regua.publish.serving import current_generation
from regua.settings import Settings

LOOK = "panel_look"
ROW_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows behind a number: a query with the customer first, and by what it may be narrowed down."""

    query: str
    filters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """Who looked, when (UTC), and at which customer or listing."""

    user_name: str
    looked_at: datetime
    customer_id: str | None
    listing: str


_SPLIT = ("currency", "segment", "policy")
_OF_SPLIT = """
    ($currency is null or currency_code = $currency)
    and ($segment is null or segment_code = $segment)
    and ($policy is null or policy_code = $policy)
"""
_CONTACT = "customer_id, invoice_id, planned_date, step_code, channel_code, fate_code, credited_amount"
_BY_MONTH = f"{_OF_SPLIT} and ($month is null or date_trunc('month', {{day}}) = $month)"
LISTINGS: Mapping[str, Listing] = {
    # Those that have most overdue.
    "debtors": Listing(
        """
        select customer_id, count(*) as invoice_count,
            sum(case when is_overdue then open_amount else 0 end) as overdue_amount, sum(open_amount) as open_amount,
            coalesce(max(case when is_overdue then days_past_due end), 0) as days_past_due, currency_code
        from fct_invoices
        where open_amount > 0
        group by customer_id, currency_code
        having sum(case when is_overdue then open_amount else 0 end) > 0
        order by overdue_amount desc, customer_id, currency_code
        """
    ),
    # Behind the aging, and behind what is left of a cohort.
    "invoices": Listing(
        f"""
        select contact_customer_id as customer_id, invoice_id, due_date, days_past_due, aging_bucket_code, open_amount,
            payable_amount, currency_code
        from fct_invoice_charges
        where {_OF_SPLIT}
            and ($bucket is null or aging_bucket_code = $bucket)
            and ($month is null or is_overdue and invoice_id in (
                select invoice_id from fct_invoices
                where date_trunc('month', greatest(effective_due_date + 1, issue_date)) = $month
            ))
        order by open_amount desc, invoice_id
        """,
        (*_SPLIT, "bucket", "month"),
    ),
    # Behind what a step planned.
    "contacts": Listing(
        f"""
        select {_CONTACT}
        from fct_contacts
        where {_OF_SPLIT}
            and ($step is null or step_code = $step)
            and ($channel is null or channel_code = $channel)
            and ($since is null or planned_date >= $since)
        order by planned_date desc, customer_id, invoice_id, step_code, channel_code, touch_id
        """,
        (*_SPLIT, "step", "channel", "since"),
    ),
    "false_contacts": Listing(
        f"""
        select {_CONTACT}, settled_date
        from fct_contacts
        where is_false and {_BY_MONTH.format(day="planned_date")}
        order by planned_date desc, customer_id, invoice_id, step_code, channel_code, touch_id
        """,
        (*_SPLIT, "month"),
    ),
    # Behind what became overdue, and what of it came back within so many days.
    "cohort": Listing(
        f"""
        select customer_id, invoice_id, overdue_date, overdue_amount, horizon_days, recovered_amount, currency_code
        from (
            -- A column for each horizon, empty while it is not over: those are left out.
            select *, regexp_extract(horizon, '[0-9]+')::integer as horizon_days
            from (
                unpivot fct_overdue_invoices on columns('^recovered_[0-9]+_amount$')
                into name horizon value recovered_amount
            )
        )
        where {_BY_MONTH.format(day="overdue_date")} and ($days is null or horizon_days::varchar = $days)
        order by overdue_amount - recovered_amount desc, invoice_id, horizon_days
        """,
        (*_SPLIT, "month", "days"),
    ),
    "experiments": Listing(
        """
        select customer_id, invoice_id, decided_date, step_code, channel_code, is_holdout, open_amount,
            recovered_amount, currency_code
        from fct_experiment_invoices
        where ($currency is null or currency_code = $currency)
            and ($policy is null or policy_code = $policy)
            and ($step is null or step_code = $step)
            and ($channel is null or channel_code = $channel)
        order by is_holdout desc, decided_date desc, customer_id, invoice_id
        """,
        ("currency", "policy", "step", "channel"),
    ),
    "promises": Listing(
        f"""
        select customer_id, promise_id, valid_from_date, promised_date, promised_amount, collected_amount, is_kept,
            currency_code
        from fct_promises
        where {_BY_MONTH.format(day="promised_date")}
        order by is_kept, promised_amount desc, promise_id
        """,
        (*_SPLIT, "month"),
    ),
    "agreements": Listing(
        f"""
        select customer_id, agreement_id, valid_from_date, broken_date, covered_amount, currency_code
        from fct_agreements
        where {_BY_MONTH.format(day="valid_from_date")}
        order by broken_date is null, covered_amount desc, agreement_id
        """,
        (*_SPLIT, "month"),
    ),
    # Contracts that ended.
    "contracts": Listing(
        """
        select customer_id, subscription_id, start_date, end_date, is_unpaid, is_recovered
        from fct_subscriptions
        where ($currency is null or currency_code = $currency)
            and ($segment is null or segment_code = $segment)
            and ($month is null or date_trunc('month', end_date) = $month)
            and end_date is not null
        order by is_unpaid desc, is_recovered, end_date desc, customer_id, subscription_id
        """,
        ("currency", "segment", "month"),
    ),
    "suspensions": Listing(
        f"""
        select customer_id, subscription_id, invoice_id, published_date, returned_date, day_count, is_false
        from fct_suspensions
        where {_BY_MONTH.format(day="published_date")}
        order by is_false desc, published_date desc, customer_id, subscription_id
        """,
        (*_SPLIT, "month"),
    ),
}
_OPEN_INVOICES = """
select invoice_id, due_date, days_past_due, aging_bucket_code, open_amount, currency_code
from fct_invoices
where open_amount > 0 and customer_id = $customer_id
order by due_date, invoice_id
"""


@dataclass(frozen=True, slots=True)
class Rows:
    """Column names, the first ROW_LIMIT rows as text, and how many there are in all."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    total_count: int


def read_listing(settings: Settings, name: str, given: Mapping[str, str | date | None]) -> Rows:
    """Rows of a listing of the served night; filters that are not given leave all in."""
    listing = LISTINGS[name]
    return _read(settings, listing.query, {key: given.get(key) for key in listing.filters})


def open_invoices(settings: Settings, customer_id: str) -> Rows:
    """The open invoices of one customer, the oldest first."""
    return _read(settings, _OPEN_INVOICES, {"customer_id": customer_id})


def keep_look(settings: Settings, user_name: str, customer_id: str | None, listing: str, clock: Clock) -> None:
    """Write down in the ledger's chained events that somebody looks."""
    with open_ledger(settings) as engine, writing_messages(engine) as connection:
        detail = {"user": user_name[:200], "customer_id": customer_id, "listing": listing}
        append_events(connection, [MessageEvent(LOOK, detail=detail)], clock())


def read_looks(settings: Settings) -> list[Look]:
    """All looks, the newest first."""
    query = sa.select(EVENTS).where(EVENTS.c.kind_code == LOOK).order_by(EVENTS.c.event_number.desc())
    with open_ledger(settings) as engine, engine.connect() as connection:
        return [
            Look(
                row.detail["user"],
                row.recorded_at,
                row.detail["customer_id"],
                # Looks of before could be at one list alone.
                row.detail.get("listing", "debtors"),
            )
            for row in connection.execute(query)
        ]


def _read(settings: Settings, query: str, given: Mapping[str, str | date | None]) -> Rows:
    with duckdb.connect(str(current_generation(settings) / "serving.duckdb"), read_only=True) as serving:
        counted = f"select *, count(*) over () from ({query}) limit {ROW_LIMIT}"
        found = serving.execute(counted, given)
        columns = tuple(column[0] for column in found.description or ())[:-1]
        rows = found.fetchall()
    texts = tuple(tuple("" if cell is None else str(cell) for cell in row[:-1]) for row in rows)
    return Rows(columns, texts, rows[0][-1] if rows else 0)
