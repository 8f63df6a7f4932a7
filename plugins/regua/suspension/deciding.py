"""What would be published: pure functions of what the night found, what was published last, and what was said since."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date

from regua.suspension.found_night import Candidate, FoundNight, InvoiceFate
from regua.suspension.relief import News, Relief
from regua.suspension.standing import Change, Entry, Found, held_entry, kept_entry, next_entry

# Why an invoice suspends no more, the first of them that applies to any of several being told.
_REASONS = (
    "quarantined", "prescribed", "disputed", "under_agreement", "exempt", "paused", "promise_open", "below_tolerance",
    "in_clearing", "cancelled", "written_off", "period_paid", "not_running", "no_clause", "notice_missing",
    "below_threshold", "paid",
)  # fmt: skip
# While one of these holds, a debt has no place in a credit bureau.
_TAKES_OFF_THE_BUREAU = frozenset(
    ("paid", "cancelled", "written_off", "below_tolerance", "prescribed", "disputed", "under_agreement", "exempt",
     "quarantined")
)  # fmt: skip
# In a proposal what a person has to say a word to is held as well.
AWAITS_APPROVAL = "awaits_approval"


@dataclass(frozen=True, slots=True)
class Listing:
    """A debt that stands with the bureau. `removal_from_date` is when the reason to take it off began."""

    candidate: Candidate
    listed_sequence: int
    listed_date: date
    state_code: str = "listed"
    removal_reason_code: str | None = None
    removal_from_date: date | None = None
    remove_by_date: date | None = None


def entries_of(
    night: FoundNight,
    before: Mapping[str, Entry],
    fates: Mapping[str, InvoiceFate],
    news: News,
    held_ids: Collection[str] | None = (),
) -> list[Entry]:
    """One entry of each subscription that is not, or was not, regular; in the order of ids.

    Access of those in `held_ids` is not taken away; None holds all of which nobody proved that they may be.
    """
    founds = {found.subscription_id: found for found in night.founds}
    gone = {
        subscription_id: Found(subscription_id, entry.customer_id, "regular", "paid")
        for subscription_id, entry in before.items()
        if subscription_id not in founds
    }
    entries = []
    for subscription_id, found in sorted((founds | gone).items()):
        last = before.get(subscription_id)
        entry = _entry(last, found, fates, news, night.as_of)
        if (
            entry.change_code is Change.SUSPEND
            and last is not None
            and (held_ids is None or subscription_id in held_ids)
        ):
            entry = held_entry(last, entry, AWAITS_APPROVAL)
        if last is not None or entry.standing_code != "regular":
            entries.append(entry)
    return entries


def entries_given_back(
    before: Mapping[str, Entry], news: News, as_of: date, fates: Mapping[str, InvoiceFate]
) -> tuple[list[Entry], list[Entry]]:
    """Within the day: those whose access comes back, and all entries, with these in place.

    `fates` are what a newer night found of the invoices that suspend, where there is one.
    """
    given_back: list[Entry] = []
    entries = []
    for _, last in sorted(before.items()):
        entry = kept_entry(last)
        relief = None
        if not last.has_access:
            relief = news.gives_back(last.customer_id, last.debt) or _relief_found(last, fates, news.day)
        if relief is not None:
            entry = _relieved(last, _found_again(last), relief, as_of)
            given_back.append(entry)
        entries.append(entry)
    return given_back, entries


def new_candidates(night: FoundNight, listed_ids: Collection[str], news: News) -> list[Candidate]:
    """Debts that may be listed and are not; one of which anything new was said waits."""
    return [
        candidate
        for candidate in night.candidates
        if candidate.invoice_id not in listed_ids and not news.speaks_of(candidate.customer_id, candidate.invoice_id)
    ]


def removal_of(listing: Listing, fate: InvoiceFate, as_of: date, remove_by: Mapping[date, date]) -> Listing:
    """The listing with what has become of its debt; a removal that is due stays due until somebody confirms it.

    `remove_by` gives the last day for a removal by the day on which the reason for it began.
    """
    if listing.state_code != "listed" or fate.reason_code not in _TAKES_OFF_THE_BUREAU:
        return listing
    began = fate.settled_date or as_of
    return replace(
        listing,
        state_code="removal_due",
        removal_reason_code=fate.reason_code,
        removal_from_date=began,
        remove_by_date=remove_by[began],
    )


def _entry(last: Entry | None, found: Found, fates: Mapping[str, InvoiceFate], news: News, as_of: date) -> Entry:
    entry = next_entry(last, found, as_of)
    if last is not None and not last.has_access:
        if entry.has_access:
            if entry.standing_code != "trust_unlock":
                entry = replace(entry, reason_code=_why_back(last.debt.suspending_invoice_ids, fates))
        elif (relief := news.gives_back(found.customer_id, found.debt)) is not None:
            entry = _relieved(last, found, relief, as_of)
    elif entry.change_code is Change.SUSPEND and last is not None:
        reason = news.forbids(found.customer_id, found.debt)
        if reason is not None:
            entry = held_entry(last, entry, reason)
    return entry


def _relieved(last: Entry, found: Found, relief: Relief, as_of: date) -> Entry:
    if relief.unlocked_until_date is not None:
        return next_entry(last, replace(found, unlocked_until_date=relief.unlocked_until_date), as_of)
    return next_entry(last, replace(found, level_code="regular", reason_code=relief.reason_code), as_of)


def _relief_found(last: Entry, fates: Mapping[str, InvoiceFate], day: date) -> Relief | None:
    """By what a newer night found, where it found all invoices that suspend no longer do, or a trust unlock."""
    invoice_ids = last.debt.suspending_invoice_ids
    found = [fates[invoice_id] for invoice_id in invoice_ids if invoice_id in fates]
    if not found or len(found) < len(invoice_ids):
        return None
    if all(fate.reason_code != "over_threshold" for fate in found):
        return Relief(_why_back(invoice_ids, fates))
    unlocks = [fate.unlocked_until_date for fate in found if fate.unlocked_until_date is not None]
    return Relief("trust_unlock", max(unlocks)) if unlocks and max(unlocks) >= day else None


def _found_again(last: Entry) -> Found:
    return Found(
        last.subscription_id,
        last.customer_id,
        last.reached_code,
        last.reason_code,
        last.debt,
        payment_url=last.payment_url,
    )


def _why_back(invoice_ids: Iterable[str], fates: Mapping[str, InvoiceFate]) -> str:
    reasons = {fates[invoice_id].reason_code for invoice_id in invoice_ids if invoice_id in fates}
    return next((reason for reason in _REASONS if reason in reasons), "paid")
