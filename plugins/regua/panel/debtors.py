"""Customers and their invoices behind the panel's numbers, by id alone, and the record of who has looked at them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import duckdb
import sqlalchemy as sa

from regua.instants import Clock
from regua.ledger.database import open_ledger
from regua.ledger.event_log import MessageEvent, append_events, writing_messages
from regua.ledger.messages import EVENTS
from regua.publish.serving import current_generation
from regua.settings import Settings

LOOK = "panel_look"
_LARGEST = """
select customer_id, count(*), sum(case when is_overdue then open_amount else 0 end), sum(open_amount),
    coalesce(max(case when is_overdue then days_past_due end), 0), currency_code
from fct_invoices
where open_amount > 0
group by customer_id, currency_code
having sum(case when is_overdue then open_amount else 0 end) > 0
order by 3 desc, 1
limit 200
"""
_INVOICES = """
select invoice_id, due_date, days_past_due, aging_bucket_code, open_amount, currency_code
from fct_invoices
where open_amount > 0 and customer_id = $customer_id
order by due_date, invoice_id
"""


@dataclass(frozen=True, slots=True)
class Look:
    """Who looked, when (UTC), and at which customer; None where at the list of those who owe most."""

    user_name: str
    looked_at: datetime
    customer_id: str | None


def largest_debtors(settings: Settings) -> list[tuple[str, ...]]:
    """Id, invoices, overdue, open, days past due of the oldest, currency: the 200 that have most overdue."""
    return _texts(settings, _LARGEST, {})


def open_invoices(settings: Settings, customer_id: str) -> list[tuple[str, ...]]:
    """Id, due date, days past due, bucket, open, currency; oldest first."""
    return _texts(settings, _INVOICES, {"customer_id": customer_id})


def keep_look(settings: Settings, user_name: str, customer_id: str | None, clock: Clock) -> None:
    """Write down in the ledger's chained events that somebody looks."""
    with open_ledger(settings) as engine, writing_messages(engine) as connection:
        detail = {"user": user_name[:200], "customer_id": customer_id}
        append_events(connection, [MessageEvent(LOOK, detail=detail)], clock())


def read_looks(settings: Settings) -> list[Look]:
    """All looks, the newest first."""
    query = sa.select(EVENTS).where(EVENTS.c.kind_code == LOOK).order_by(EVENTS.c.event_number.desc())
    with open_ledger(settings) as engine, engine.connect() as connection:
        return [
            Look(row.detail["user"], row.recorded_at, row.detail["customer_id"]) for row in connection.execute(query)
        ]


def _texts(settings: Settings, query: str, given: dict[str, str]) -> list[tuple[str, ...]]:
    with duckdb.connect(str(current_generation(settings) / "serving.duckdb"), read_only=True) as serving:
        return [tuple(str(cell) for cell in row) for row in serving.execute(query, given).fetchall()]
