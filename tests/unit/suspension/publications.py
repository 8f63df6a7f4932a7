"""Entries and publications as the tests of their files need them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from regua.instants import read_instant
from regua.suspension.artefacts import Manifest, Publication, place, stage
from regua.suspension.bureau_lists import BureauLists
from regua.suspension.deciding import Listing
from regua.suspension.found_night import Candidate
from regua.suspension.standing import Change, Debt, Entry, Standing

DAY = date(2026, 6, 30)
DEBT = Debt(
    invoice_count=2,
    balance_amount=Decimal("1234.50"),
    currency_code="BRL",
    oldest_invoice_id="inv-1",
    oldest_due_date=date(2026, 5, 30),
    days_past_due=31,
    notice_id="touch:1",
    notice_delivered_date=date(2026, 6, 15),
    suspending_invoice_ids=("inv-1",),
)
PUBLICATION = Publication(
    sequence=41,
    as_of=DAY,
    edition=1,
    kind_code="daily",
    known_at=read_instant("2026-06-30 05:00:00.123456"),
    valid_until=read_instant("2026-07-01 15:00:00"),
)
CANDIDATE = Candidate("inv-9", "c9", date(2026, 4, 1), 90, Decimal("77.00"), "BRL", "touch:9", date(2026, 6, 1))
LISTING = Listing(
    candidate=replace(CANDIDATE, invoice_id="inv-8"),
    listed_sequence=12,
    listed_date=date(2026, 5, 1),
    state_code="removal_due",
    removal_reason_code="paid",
    removal_from_date=date(2026, 6, 29),
    remove_by_date=date(2026, 7, 6),
)
BUREAU = BureauLists([CANDIDATE], [LISTING])


def entry(subscription_id: str, standing: str, change: str | None = None, **fields: Any) -> Entry:
    reached = "notice" if standing == "notice" else "suspended"
    whole = Entry(
        subscription_id=subscription_id,
        customer_id="c1",
        as_of_date=DAY,
        standing_code=Standing(standing),
        reached_code=reached,
        reached_before_code=reached,
        since_date=DAY,
        reason_code="over_threshold",
        change_code=Change(change) if change else None,
        debt=DEBT,
        payment_url="https://pay.example/i/1",
    )
    return replace(whole, **fields)


ENTRIES = (
    entry("s2", "suspended", "keep", since_date=date(2026, 6, 20)),
    entry("s1", "cancellation_proposed", "propose_cancellation", customer_id="c2"),
    entry("s3", "notice", customer_id="c3"),
    entry("s4", "trust_unlock", "unlock_expiring", customer_id="c4", unlocked_until_date=date(2026, 7, 1)),
    entry("s5", "reactivated", "reactivate", customer_id="c5", reached_code="regular", reason_code="paid", debt=Debt()),
    entry("s6", "suspended", "suspend", customer_id="c6", debt=replace(DEBT, currency_code="USD")),
)


def placed(folder: Path, publication: Publication = PUBLICATION, has_bom: bool = False) -> Manifest:
    """A publication in `folder`, as a night leaves it."""
    staged = folder / f".staged-{publication.edition}"
    manifest = stage(staged, publication, ENTRIES, BUREAU, has_bom=has_bom)
    place(staged, folder, manifest.names)
    staged.rmdir()
    return manifest
