"""Debts that stand with the credit bureau, and the clock on those that must be taken off."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import sqlalchemy as sa

from regua.errors import InputError
from regua.instants import Clock, local_day
from regua.ledger.database import open_ledger
from regua.ledger.event_log import MessageEvent, append_events, writing_messages
from regua.ledger.suspensions import LISTINGS
from regua.settings import Settings
from regua.suspension.deciding import Listing
from regua.suspension.found_night import last_business_days
from regua.suspension.ledger_state import read_listings
from regua.suspension.suspension_file import read_suspension_file
from regua.warehouse.store import reading


def open_listings(settings: Settings) -> list[Listing]:
    """All debts that stand with the bureau, as far as anybody has confirmed; those to be removed first, by last day."""
    with open_ledger(settings) as engine, engine.connect() as connection:
        listings = read_listings(connection)
    return sorted(listings, key=lambda one: (one.remove_by_date or date.max, one.candidate.invoice_id))


def removals_at_risk(settings: Settings, clock: Clock) -> list[Listing]:
    """Removals whose last day is so close that somebody must be told (`alert_business_days`), or past."""
    due = [listing for listing in open_listings(settings) if listing.remove_by_date is not None]
    if not due:
        return []
    business_days = read_suspension_file(settings.suspension_path).bureau.alert_business_days
    with reading(settings) as warehouse:
        today = local_day(clock())
        horizon = last_business_days(warehouse, [today], business_days)[today]
    return [listing for listing in due if listing.remove_by_date is not None and listing.remove_by_date <= horizon]


def confirm_removed(settings: Settings, invoice_ids: Sequence[str], author: str, clock: Clock) -> None:
    """Keep that the bureau does not list these any more: all, or none. Raises InputError naming those unknown."""
    with open_ledger(settings) as engine, writing_messages(engine) as connection:
        now = clock()
        unknown = []
        for invoice_id in invoice_ids:
            updated = connection.execute(
                sa.update(LISTINGS)
                .where(LISTINGS.c.invoice_id == invoice_id, LISTINGS.c.state_code != "removed")
                .values(state_code="removed", removed_at=now, removed_by=author[:64])
            ).rowcount
            if not updated:
                unknown.append(invoice_id)
        if unknown:
            raise InputError(f"Not listed with the bureau: {', '.join(unknown)}. Nothing was confirmed.")
        detail = {"invoices": list(invoice_ids), "author": author}
        append_events(connection, [MessageEvent("bureau", reason_code="removed", detail=detail)], now)
