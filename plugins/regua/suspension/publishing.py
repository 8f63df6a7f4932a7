"""Publishing: files staged and synced, recorded in the ledger, put in place, told of. Each step may be repeated.

    stage (fsync) → record (commit) → place (link, fsync) → placed, with its webhooks → copies and deliveries

Killed before the record, nothing was published; after it, the next run ends what was begun, with the same bytes.
"""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import duckdb
import sqlalchemy as sa

from regua.channels.dispatch_file import read_dispatch_file
from regua.dispatch.daily import require_today
from regua.dispatch.last_look import Knowledge, planned_knowledge
from regua.dispatch.payments import note_new_payments
from regua.errors import InputError, ReguaError
from regua.instants import BEFORE_ALL, LOCAL, Clock, local_day, to_utc
from regua.ledger.database import open_ledger, slices
from regua.ledger.event_log import MessageEvent, append_events, writing_messages
from regua.ledger.suspensions import CHANGES, COPIES, LISTINGS, PROPOSALS, PUBLICATIONS, STANDINGS
from regua.settings import Settings
from regua.suspension.artefacts import Publication, newest_numbers, place, stage
from regua.suspension.bureau_lists import BureauLists
from regua.suspension.deciding import Listing, entries_given_back, entries_of, new_candidates, removal_of
from regua.suspension.found_night import (
    Candidate,
    FoundNight,
    InvoiceFate,
    invoice_fates,
    last_business_days,
    merged_customers,
    read_found_night,
)
from regua.suspension.ledger_state import (
    Proposal,
    daily_sequence,
    last_publication,
    read_listings,
    read_proposal,
    read_standings,
)
from regua.suspension.proving import customer_ids_of, suspending_invoice_ids
from regua.suspension.relief import News, look_for_news
from regua.suspension.standing import Change, Entry
from regua.suspension.suspension_file import SuspensionFile, read_suspension_file
from regua.suspension.targets import open_target
from regua.suspension.webhooks import (
    DeliveryReport,
    dead_letters,
    deliver_due,
    enqueue_events,
    event_from_json,
    event_of,
    open_receivers,
)
from regua.warehouse.store import published_night, reading

_log = logging.getLogger(__name__)

_STAGING = ".staged-"
_FAILURES_IN_A_ROW = 2
# A staged folder of nobody's record this old was left by somebody who was killed.
_ABANDONED_AFTER = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Published:
    """One publication as it was recorded; counts are subscriptions."""

    sequence: int
    as_of: date
    kind_code: str
    manifest_name: str
    without_access_count: int
    suspended_count: int
    reactivated_count: int
    held_count: int


@dataclass(frozen=True, slots=True)
class HandOver:
    """What left this machine: copies of files by target, and webhooks. `given_up_count` are all that still are."""

    copied_count: int
    troubles: tuple[str, ...]
    deliveries: DeliveryReport
    given_up_count: int = 0


@dataclass(frozen=True, slots=True)
class _Draft:
    """What is about to be recorded."""

    kind_code: str
    as_of: date
    knowledge: Knowledge
    entries: Sequence[Entry]
    before: Mapping[str, Entry]
    held_count: int
    proposal_number: int | None = None
    reason: str | None = None
    author_id: str | None = None
    once_key: str | None = None
    added: Sequence[Candidate] = ()
    listings: Sequence[Listing] = ()


def publish(settings: Settings, proposal_number: int, clock: Clock) -> Published:
    """Publish what was proved, but for what is above the caps; who comes back waits for nobody.

    Of a proposal that was published it answers what was. Raises InputError when the day is over, another night was run
    since the proof, or the day's list was published of another proposal.
    """
    with open_ledger(settings) as engine:
        with engine.connect() as connection:
            proposal = read_proposal(connection, proposal_number)
        return _publish_proved(
            settings,
            engine,
            proposal,
            clock,
            kind_code=proposal.kind_code,
            subscription_ids=frozenset(proposal.proved_subscription_ids) - {*proposal.held_subscription_ids},
            invoice_ids=frozenset(proposal.proved_invoice_ids) - {*proposal.held_invoice_ids},
        )


def publish_approved(
    settings: Settings, proposal_number: int, clock: Clock, *, author: str, decided_at: datetime
) -> Published:
    """Publish what was held of a proposal, because somebody said so: a sequence of its own, with who and when.

    Payments and facts since the proof are looked at once more. Raises InputError where nothing waits for a word.
    """
    with open_ledger(settings) as engine:
        with engine.connect() as connection:
            proposal = read_proposal(connection, proposal_number)
        if proposal.state_code not in ("published", "approved") or not proposal.held_count:
            raise InputError(
                f"Proposal {proposal_number} is {proposal.state_code} and holds {proposal.held_count}: nothing of it "
                "waits for a word."
            )
        return _publish_proved(
            settings,
            engine,
            replace(proposal, author_id=author),
            clock,
            kind_code="approved",
            subscription_ids=frozenset(proposal.held_subscription_ids),
            invoice_ids=frozenset(proposal.held_invoice_ids),
            decided_at=decided_at,
        )


def reject(settings: Settings, proposal_number: int, clock: Clock, *, author: str) -> None:
    """Keep that somebody said no. Nothing was published of it, and nothing will be."""
    with open_ledger(settings) as engine, writing_messages(engine) as connection:
        proposal = read_proposal(connection, proposal_number)
        if proposal.state_code != "published" or not proposal.held_count:
            raise InputError(f"Proposal {proposal_number} is {proposal.state_code}: nothing of it waits for a word.")
        _decide(connection, proposal, "rejected", author, clock(), clock())


def refresh(settings: Settings, clock: Clock) -> Published | None:
    """Give access back to whom it is due since the last list, and have debts taken off the bureau; takes from nobody.

    What is known of a payment or a fact the list's night did not know is enough, and so is what a newer night found
    whose own list is red or not proved yet. Needs neither gate nor plan. None when there was nothing to give back.

    Whatever cannot be read or placed keeps back nobody of whom else is known: it is raised at the end.
    """
    suspension_file = read_suspension_file(settings.suspension_path)
    troubles: list[Exception] = []
    with open_ledger(settings) as engine:
        with _noting(troubles):
            finish(settings, engine, clock)
        with engine.connect() as connection:
            last = last_publication(connection)
            before = read_standings(connection)
            listings = read_listings(connection)
        if last is None or (all(entry.has_access for entry in before.values()) and not listings):
            published = None
        else:
            with _noting(troubles):
                note_new_payments(settings, engine, last.known_at, clock)
            found = _NewestNight()
            with _noting(troubles), reading(settings) as warehouse:
                found = _newest_night(warehouse, before, listings, suspension_file)

            def draft(connection: sa.Connection, now: datetime) -> _Draft | None:
                # Somebody may have published a list meanwhile; then what that one knew is no news any more.
                newest = last_publication(connection)
                knowledge = Knowledge(newest.known_at, newest.known_fact_numbers)
                current, standing = read_standings(connection), read_listings(connection)
                news = look_for_news(connection, knowledge, found.merged, now, local_day(now))
                is_newer = found.known_at > knowledge.known_at
                fates = found.fates if is_newer else {}
                given_back, entries = entries_given_back(current, news, newest.as_of_date, fates)
                kept = [found.removal_of(listing) for listing in standing] if is_newer else standing
                if not given_back and kept == standing:
                    return None
                return _Draft("refresh", newest.as_of_date, knowledge, entries, current, 0, listings=kept)

            published = _record(settings, engine, suspension_file, clock, draft)
    if troubles:
        raise troubles[0]
    return published


@contextmanager
def _noting(troubles: list[Exception]) -> Iterator[None]:
    try:
        yield
    except (ReguaError, OSError) as error:
        troubles.append(error)


@dataclass(frozen=True, slots=True)
class _NewestNight:
    """What the newest published night made of who stands on the lists; nothing while one is being run."""

    as_of: date = date.min
    known_at: datetime = BEFORE_ALL
    fates: Mapping[str, InvoiceFate] = field(default_factory=dict)
    remove_by: Mapping[date, date] = field(default_factory=dict)
    merged: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def removal_of(self, listing: Listing) -> Listing:
        fate = self.fates.get(listing.candidate.invoice_id)
        return listing if fate is None else removal_of(listing, fate, self.as_of, self.remove_by)


def _newest_night(
    warehouse: duckdb.DuckDBPyConnection,
    before: Mapping[str, Entry],
    listings: Sequence[Listing],
    suspension_file: SuspensionFile,
) -> _NewestNight:
    night = published_night(warehouse)
    if night is None:
        # Half of a night is no word of anybody; what the ledger was told of still is.
        return _NewestNight()
    as_of, known_at = night
    merged = merged_customers(warehouse, {entry.customer_id for entry in before.values()})
    fates, remove_by = _fates(warehouse, as_of, before, listings, suspension_file)
    return _NewestNight(as_of, known_at, fates, remove_by, merged)


def _fates(
    warehouse: duckdb.DuckDBPyConnection,
    as_of: date,
    before: Mapping[str, Entry],
    listings: Sequence[Listing],
    suspension_file: SuspensionFile,
) -> tuple[dict[str, InvoiceFate], dict[date, date]]:
    """What became of the invoices that suspend or are listed, and the last day for removals by that of their reason."""
    listed_ids = [listing.candidate.invoice_id for listing in listings]
    fates = invoice_fates(warehouse, [*suspending_invoice_ids(before.values()), *listed_ids])
    began = {fate.settled_date or as_of for fate in fates.values()} | {as_of}
    return fates, last_business_days(warehouse, began, suspension_file.bureau.removal_business_days)


def finish(settings: Settings, engine: sa.Engine, clock: Clock) -> list[int]:
    """End what somebody began to publish and was stopped in; answers the sequences. Old staged folders are cleared.

    One that cannot be placed holds up no other; the first such error is raised at the end.
    """
    with engine.connect() as connection:
        query = sa.select(PUBLICATIONS).where(PUBLICATIONS.c.placed_at.is_(None)).order_by(PUBLICATIONS.c.sequence)
        waiting = connection.execute(query).all()
    troubles: list[Exception] = []
    for row in waiting:
        with _noting(troubles):
            _place(settings, engine, row.sequence, row.staged_name, row.file_names, clock)
    _clear_abandoned(settings, {row.staged_name for row in waiting}, clock)
    if troubles:
        raise troubles[0]
    return [row.sequence for row in waiting]


def hand_over(settings: Settings, clock: Clock, environ: Mapping[str, str] = os.environ) -> HandOver:
    """Copy files to targets that lack them, and deliver the webhooks that are due; one trouble holds up no other."""
    suspension_file = read_suspension_file(settings.suspension_path)
    unplaced: list[Exception] = []
    with open_ledger(settings) as engine:
        with _noting(unplaced):
            finish(settings, engine, clock)
        copied, troubles = _copy(settings, engine, suspension_file, clock, environ)
        troubles += [str(trouble) for trouble in unplaced]
        endpoints = {endpoint.code: endpoint.url for endpoint in suspension_file.webhooks}
        report = DeliveryReport()
        if endpoints:
            receivers, unopened = open_receivers(endpoints, environ.get("REGUA_WEBHOOK_SECRET"), settings, clock)
            troubles += unopened
            report = deliver_due(engine, receivers, clock)
        given_up = len(dead_letters(engine))
    return HandOver(copied, tuple(troubles), report, given_up)


def _publish_proved(
    settings: Settings,
    engine: sa.Engine,
    proposal: Proposal,
    clock: Clock,
    *,
    kind_code: str,
    subscription_ids: frozenset[str],
    invoice_ids: frozenset[str],
    decided_at: datetime | None = None,
) -> Published:
    """Take access away from these alone, and list these debts alone; give back whatever is due."""
    as_of = proposal.as_of
    finish(settings, engine, clock)
    done = _published_of(engine, proposal.number, kind_code)
    if done is not None:
        return done
    require_today(settings, as_of, clock)
    suspension_file = read_suspension_file(settings.suspension_path)
    note_new_payments(settings, engine, proposal.known_at, clock)
    with engine.connect() as connection:
        knowledge = planned_knowledge(connection, as_of)
        before = read_standings(connection)
        listings = read_listings(connection)
    with reading(settings) as warehouse:
        night = read_found_night(warehouse, as_of, read_dispatch_file(settings.dispatch_path))
        if night.known_at != proposal.known_at:
            raise InputError(
                f"The night of {as_of} was run again since proposal {proposal.number} was proved. Prove it again."
            )
        fates, remove_by = _fates(warehouse, as_of, before, listings, suspension_file)
        merged = merged_customers(warehouse, customer_ids_of(night, before))
    once_key = {"daily": f"daily:{as_of}"}.get(kind_code, f"{kind_code}:{proposal.number}")

    def draft(connection: sa.Connection, now: datetime) -> _Draft:
        if kind_code == "daily" and (published := daily_sequence(connection, as_of)) is not None:
            raise InputError(f"The list of {as_of} was published already (sequence {published}).")
        current = read_standings(connection)
        news = look_for_news(connection, knowledge, merged, now, local_day(now))
        held = {found.subscription_id for found in night.founds} - subscription_ids
        entries = entries_of(night, current, fates, news, held)
        added, kept = _bureau(night, read_listings(connection), fates, news, remove_by, invoice_ids)
        if kind_code == "approved":
            _decide(connection, proposal, "approved", str(proposal.author_id), decided_at or now, now)
        else:
            _publish_open(connection, proposal)
        return _Draft(
            kind_code,
            as_of,
            Knowledge(night.known_at, knowledge.fact_numbers),
            entries,
            current,
            0 if kind_code == "approved" else proposal.held_count,
            proposal_number=proposal.number,
            reason=proposal.reason,
            author_id=proposal.author_id,
            once_key=once_key,
            added=added,
            listings=kept,
        )

    published = _record(settings, engine, suspension_file, clock, draft)
    assert published is not None  # noqa: S101 - a proved list is published even where it changes nothing
    return published


def _published_of(engine: sa.Engine, proposal_number: int, kind_code: str) -> Published | None:
    """What was published of a proposal already, by somebody who was stopped before he could say so."""
    query = sa.select(PUBLICATIONS).where(
        PUBLICATIONS.c.proposal_number == proposal_number, PUBLICATIONS.c.kind_code == kind_code
    )
    with engine.connect() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return Published(
        row.sequence,
        row.as_of_date,
        row.kind_code,
        row.file_names[-1],
        row.without_access_count,
        row.suspended_count,
        row.reactivated_count,
        row.held_count,
    )


def _bureau(
    night: FoundNight,
    listings: Sequence[Listing],
    fates: Mapping[str, InvoiceFate],
    news: News,
    remove_by: Mapping[date, date],
    invoice_ids: frozenset[str],
) -> tuple[list[Candidate], list[Listing]]:
    listed_ids = {listing.candidate.invoice_id for listing in listings}
    added = [one for one in new_candidates(night, listed_ids, news) if one.invoice_id in invoice_ids]
    unknown = InvoiceFate("over_threshold")
    kept = [
        removal_of(listing, fates.get(listing.candidate.invoice_id, unknown), night.as_of, remove_by)
        for listing in listings
    ]
    return added, kept


def _record(
    settings: Settings,
    engine: sa.Engine,
    suspension_file: SuspensionFile,
    clock: Clock,
    make: Callable[[sa.Connection, datetime], _Draft | None],
) -> Published | None:
    """Stage and record in one transaction, alone: of two at once the second sees what the first has published."""
    # Links by which somebody's debt can be paid lie there.
    settings.suspensions_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    staged = settings.suspensions_dir / f"{_STAGING}{uuid.uuid4().hex}"
    is_complete = False
    try:
        with writing_messages(engine) as connection:
            now = clock()
            draft = make(connection, now)
            if draft is None:
                return None
            sequence, edition = _next_numbers(settings, connection, draft.as_of)
            publication = Publication(
                sequence=sequence,
                as_of=draft.as_of,
                edition=edition,
                kind_code=draft.kind_code,
                known_at=draft.knowledge.known_at,
                # What only gives access back is as good on the day on which it does.
                valid_until=_valid_until(
                    local_day(now) if draft.kind_code == "refresh" else draft.as_of, suspension_file.valid_hours
                ),
            )
            lists = BureauLists(draft.added, [one for one in draft.listings if one.state_code == "removal_due"])
            manifest = stage(staged, publication, draft.entries, lists, has_bom=suspension_file.has_bom)
            without = sum(not entry.has_access for entry in draft.entries)
            suspended = sum(entry.change_code is Change.SUSPEND for entry in draft.entries)
            back = sum(entry.change_code is Change.REACTIVATE for entry in draft.entries)
            connection.execute(
                sa.insert(PUBLICATIONS).values(
                    sequence=sequence,
                    as_of_date=draft.as_of,
                    edition=edition,
                    kind_code=draft.kind_code,
                    reason=draft.reason,
                    author_id=draft.author_id,
                    once_key=draft.once_key,
                    proposal_number=draft.proposal_number,
                    known_at=draft.knowledge.known_at,
                    known_fact_numbers=dict(draft.knowledge.fact_numbers),
                    recorded_at=now,
                    valid_until=publication.valid_until,
                    staged_name=staged.name,
                    file_names=list(manifest.names),
                    manifest_sha256=manifest.sha256,
                    without_access_count=without,
                    suspended_count=suspended,
                    reactivated_count=back,
                    held_count=draft.held_count,
                )
            )
            _keep_standings(connection, draft, sequence, now)
            _keep_listings(connection, draft, sequence)
            detail = {
                "sequence": sequence,
                "as_of": draft.as_of.isoformat(),
                "manifest": manifest.sha256,
                "author": draft.author_id,
            }
            append_events(connection, [MessageEvent("suspensions", reason_code=draft.kind_code, detail=detail)], now)
            # A commit whose answer is lost may have been one: then the folder stays for whoever finishes.
            is_complete = True
    finally:
        if not is_complete:
            shutil.rmtree(staged, ignore_errors=True)
    _place(settings, engine, sequence, staged.name, list(manifest.names), clock)
    return Published(
        sequence, draft.as_of, draft.kind_code, manifest.names[-1], without, suspended, back, draft.held_count
    )


def _next_numbers(settings: Settings, connection: sa.Connection, as_of: date) -> tuple[int, int]:
    """The sequence and the edition after all that the ledger and the archive know of."""
    of_day = sa.func.max(sa.case((PUBLICATIONS.c.as_of_date == as_of, PUBLICATIONS.c.edition)))
    known = connection.execute(sa.select(sa.func.max(PUBLICATIONS.c.sequence), of_day)).one()
    archived = newest_numbers(settings.suspensions_dir, as_of)
    return max(known[0] or 0, archived[0]) + 1, max(known[1] or 0, archived[1]) + 1


def _valid_until(as_of: date, hours: int) -> datetime:
    return to_utc(datetime.combine(as_of, time.min, LOCAL)) + timedelta(hours=hours)


def _keep_standings(connection: sa.Connection, draft: _Draft, sequence: int, now: datetime) -> None:
    changes = []
    for entry in draft.entries:
        before = draft.before.get(entry.subscription_id)
        standing_before = before.standing_code if before else "regular"
        event = event_of(entry, before, sequence, draft.as_of, now)
        if standing_before != entry.standing_code or event is not None:
            changes.append(
                {
                    "sequence": sequence,
                    "subscription_id": entry.subscription_id,
                    "customer_id": entry.customer_id,
                    "as_of_date": draft.as_of,
                    "standing_before_code": standing_before,
                    "standing_code": entry.standing_code,
                    "change_code": entry.change_code,
                    "reason_code": entry.reason_code,
                    "event": None if event is None else event.to_json(),
                }
            )
    if changes:
        connection.execute(sa.insert(CHANGES), changes)
    # Of most nothing changes within a day; a year's customers need not be written for one who paid.
    kept = {entry.subscription_id: entry for entry in draft.entries if entry.standing_code != "regular"}
    gone = draft.before.keys() - {id_ for id_, entry in kept.items() if draft.before.get(id_) == entry}
    for some in slices(sorted(gone)):
        connection.execute(sa.delete(STANDINGS).where(STANDINGS.c.subscription_id.in_(some)))
    rows = [
        {
            "subscription_id": entry.subscription_id,
            "customer_id": entry.customer_id,
            "standing_code": entry.standing_code,
            "has_access": entry.has_access,
            "entry": entry.to_json(),
            "sequence": sequence,
        }
        for subscription_id, entry in kept.items()
        if draft.before.get(subscription_id) != entry
    ]
    if rows:
        connection.execute(sa.insert(STANDINGS), rows)


def _keep_listings(connection: sa.Connection, draft: _Draft, sequence: int) -> None:
    if draft.added:
        connection.execute(
            sa.insert(LISTINGS),
            [
                {
                    "invoice_id": one.invoice_id,
                    "listed_sequence": sequence,
                    "customer_id": one.customer_id,
                    "listed_date": draft.as_of,
                    "balance_amount": one.balance_amount,
                    "currency_code": one.currency_code,
                    "due_date": one.due_date,
                    "notice_id": one.notice_id,
                    "notice_delivered_date": one.notice_delivered_date,
                    "state_code": "listed",
                }
                for one in draft.added
            ],
        )
    for listing in draft.listings:
        if listing.state_code == "removal_due":
            connection.execute(
                sa.update(LISTINGS)
                .where(
                    LISTINGS.c.invoice_id == listing.candidate.invoice_id,
                    LISTINGS.c.listed_sequence == listing.listed_sequence,
                    LISTINGS.c.state_code == "listed",
                )
                .values(
                    state_code="removal_due",
                    removal_reason_code=listing.removal_reason_code,
                    removal_from_date=listing.removal_from_date,
                    remove_by_date=listing.remove_by_date,
                )
            )


def _publish_open(connection: sa.Connection, proposal: Proposal) -> None:
    updated = connection.execute(
        sa.update(PROPOSALS)
        .where(PROPOSALS.c.proposal_number == proposal.number, PROPOSALS.c.state_code == "open")
        .values(state_code="published")
    ).rowcount
    if updated != 1:
        raise InputError(f"Proposal {proposal.number} was published, or a newer one was proved since. Prove it again.")


def _decide(
    connection: sa.Connection, proposal: Proposal, state_code: str, author: str, decided_at: datetime, now: datetime
) -> None:
    updated = connection.execute(
        sa.update(PROPOSALS)
        .where(PROPOSALS.c.proposal_number == proposal.number, PROPOSALS.c.state_code == "published")
        .values(state_code=state_code, decided_at=decided_at, decided_by=author)
    ).rowcount
    if updated != 1:
        raise InputError(f"Somebody else has decided on proposal {proposal.number} just now.")
    detail = {"proposal": proposal.number, "author": author, "decided_at": decided_at.isoformat()}
    append_events(connection, [MessageEvent("suspensions", reason_code=state_code, detail=detail)], now)


def _place(
    settings: Settings, engine: sa.Engine, sequence: int, staged_name: str, names: Sequence[str], clock: Clock
) -> None:
    suspension_file = read_suspension_file(settings.suspension_path)
    place(settings.suspensions_dir / staged_name, settings.suspensions_dir, names)
    with writing_messages(engine) as connection:
        now = clock()
        updated = connection.execute(
            sa.update(PUBLICATIONS)
            .where(PUBLICATIONS.c.sequence == sequence, PUBLICATIONS.c.placed_at.is_(None))
            .values(placed_at=now)
        ).rowcount
        if updated:
            query = sa.select(CHANGES.c.event).where(CHANGES.c.sequence == sequence).order_by(CHANGES.c.subscription_id)
            written: list[dict[str, Any] | None] = list(connection.execute(query).scalars())
            events = [event_from_json(event) for event in written if event is not None]
            enqueue_events(connection, events, [endpoint.code for endpoint in suspension_file.webhooks], now)
    shutil.rmtree(settings.suspensions_dir / staged_name, ignore_errors=True)


def _copy(
    settings: Settings, engine: sa.Engine, suspension_file: SuspensionFile, clock: Clock, environ: Mapping[str, str]
) -> tuple[int, list[str]]:
    copied = 0
    troubles: list[str] = []
    for target in suspension_file.targets:
        with engine.connect() as connection:
            done = sa.select(COPIES.c.sequence).where(
                COPIES.c.target_code == target.code, COPIES.c.copied_at.is_not(None)
            )
            query = (
                sa.select(PUBLICATIONS.c.sequence, PUBLICATIONS.c.file_names)
                .where(PUBLICATIONS.c.placed_at.is_not(None), PUBLICATIONS.c.sequence.not_in(done))
                .order_by(PUBLICATIONS.c.sequence)
            )
            waiting = connection.execute(query).all()
        # One list that cannot be copied holds up no newer one; a target that takes none is left for now.
        failures = 0
        for row in waiting:
            reason: str | None = None
            try:
                open_target(target.url, environ).deliver(settings.suspensions_dir, row.file_names)
                copied += 1
            except ReguaError as error:
                reason = str(error)
                troubles.append(f"{target.code}, sequence {row.sequence}: {reason}")
            _keep_copy(engine, row.sequence, target.code, reason, clock)
            failures = 0 if reason is None else failures + 1
            if failures == _FAILURES_IN_A_ROW:
                break
    return copied, troubles


def _keep_copy(engine: sa.Engine, sequence: int, target_code: str, reason: str | None, clock: Clock) -> None:
    with writing_messages(engine) as connection:
        where = (COPIES.c.sequence == sequence, COPIES.c.target_code == target_code)
        values: dict[str, Any] = {
            "last_reason": reason and reason[:500],
            "copied_at": None if reason else clock(),
        }
        found = connection.execute(
            sa.update(COPIES).where(*where).values(attempt_count=COPIES.c.attempt_count + 1, **values)
        ).rowcount
        if not found:
            connection.execute(
                sa.insert(COPIES).values(sequence=sequence, target_code=target_code, attempt_count=1, **values)
            )


def _clear_abandoned(settings: Settings, awaited_names: Collection[str], clock: Clock) -> None:
    before = (clock() - _ABANDONED_AFTER).replace(tzinfo=UTC).timestamp()
    for folder in settings.suspensions_dir.glob(f"{_STAGING}*"):
        # Another process may have taken it away just now.
        with suppress(FileNotFoundError):
            if folder.stat().st_mtime < before and folder.name not in awaited_names:
                shutil.rmtree(folder, ignore_errors=True)
