"""Reading what the ledger holds of access: the last publication, standings, listings, proposals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from regua.errors import InputError
from regua.ledger.suspensions import LISTINGS, PROPOSALS, PUBLICATIONS, STANDINGS
from regua.suspension.deciding import Listing
from regua.suspension.found_night import Candidate
from regua.suspension.standing import Entry


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a night found and what was proved of it. What is above its caps is held until a person says a word.

    `summary` is what that person reads, in Portuguese.
    """

    number: int
    as_of: date
    known_at: datetime
    kind_code: str
    reason: str | None
    author_id: str | None
    proved_subscription_ids: tuple[str, ...]
    proved_invoice_ids: tuple[str, ...]
    holds_suspensions: bool
    holds_listings: bool
    summary: str
    state_code: str = "open"

    @property
    def held_subscription_ids(self) -> tuple[str, ...]:
        return self.proved_subscription_ids if self.holds_suspensions else ()

    @property
    def held_invoice_ids(self) -> tuple[str, ...]:
        return self.proved_invoice_ids if self.holds_listings else ()

    @property
    def held_count(self) -> int:
        return len(self.held_subscription_ids) + len(self.held_invoice_ids)

    def content(self) -> dict[str, Any]:
        return {
            "author_id": self.author_id,
            "proved_subscription_ids": list(self.proved_subscription_ids),
            "proved_invoice_ids": list(self.proved_invoice_ids),
            "holds_suspensions": self.holds_suspensions,
            "holds_listings": self.holds_listings,
            "summary": self.summary,
        }


def last_publication(connection: sa.Connection) -> Any:
    """The newest publication's row, or None."""
    return connection.execute(sa.select(PUBLICATIONS).order_by(PUBLICATIONS.c.sequence.desc()).limit(1)).one_or_none()


def daily_sequence(connection: sa.Connection, as_of: date) -> int | None:
    """The sequence of the day's own list, where it was published."""
    query = sa.select(PUBLICATIONS.c.sequence).where(PUBLICATIONS.c.once_key == f"daily:{as_of}")
    found: int | None = connection.execute(query).scalar_one_or_none()
    return found


def read_standings(connection: sa.Connection) -> dict[str, Entry]:
    """By subscription what was published last; those that are regular are left out."""
    rows = connection.execute(sa.select(STANDINGS.c.subscription_id, STANDINGS.c.entry))
    return {row.subscription_id: Entry.from_json(row.entry) for row in rows}


def read_listings(connection: sa.Connection) -> list[Listing]:
    """Debts that stand with the bureau, those to be removed included; in the order of invoices."""
    query = sa.select(LISTINGS).where(LISTINGS.c.state_code != "removed").order_by(LISTINGS.c.invoice_id)
    return [
        Listing(
            candidate=Candidate(
                invoice_id=row.invoice_id,
                customer_id=row.customer_id,
                due_date=row.due_date,
                days_past_due=(row.listed_date - row.due_date).days,
                balance_amount=row.balance_amount,
                currency_code=row.currency_code,
                notice_id=row.notice_id,
                notice_delivered_date=row.notice_delivered_date,
            ),
            listed_sequence=row.listed_sequence,
            listed_date=row.listed_date,
            state_code=row.state_code,
            removal_reason_code=row.removal_reason_code,
            removal_from_date=row.removal_from_date,
            remove_by_date=row.remove_by_date,
        )
        for row in connection.execute(query)
    ]


def read_spared_invoices(connection: sa.Connection) -> set[str]:
    """Debts that a person took off the bureau with no reason of the rules; they are not listed again."""
    is_spared = (LISTINGS.c.state_code == "removed", LISTINGS.c.removal_reason_code.is_(None))
    return set(connection.execute(sa.select(LISTINGS.c.invoice_id).where(*is_spared)).scalars())


def read_proposal(connection: sa.Connection, number: int) -> Proposal:
    """Raises InputError when there is none of this number."""
    row = connection.execute(sa.select(PROPOSALS).where(PROPOSALS.c.proposal_number == number)).one_or_none()
    if row is None:
        raise InputError(f"There is no proposal {number}; `regua suspensions status` shows the newest.")
    content: Mapping[str, Any] = row.content
    return Proposal(
        number=row.proposal_number,
        as_of=row.as_of_date,
        known_at=row.known_at,
        kind_code=row.kind_code,
        reason=row.reason,
        author_id=content["author_id"],
        proved_subscription_ids=tuple(content["proved_subscription_ids"]),
        proved_invoice_ids=tuple(content["proved_invoice_ids"]),
        holds_suspensions=content["holds_suspensions"],
        holds_listings=content["holds_listings"],
        summary=content["summary"],
        state_code=row.state_code,
    )
