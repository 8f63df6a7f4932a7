"""Proof before action: a list is proposed only when two derivations agree and its gate is green; caps hold it back."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from statistics import fmean
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from regua.channels.dispatch_file import read_dispatch_file
from regua.dispatch.daily import require_today
from regua.dispatch.last_look import planned_knowledge
from regua.dispatch.payments import note_new_payments
from regua.errors import InputError
from regua.instants import Clock, local_day
from regua.ledger.database import open_ledger
from regua.ledger.event_log import MessageEvent, append_events, writing_messages
from regua.ledger.suspensions import LISTINGS, PROPOSALS, PUBLICATIONS
from regua.policy.policies import load_policies
from regua.quality.gate import RedGateError, run_gate
from regua.settings import Settings
from regua.suspension.approval_summary import summarise
from regua.suspension.artefacts import CHANGES_COLUMNS, LIST_COLUMNS, changes_rows, list_rows
from regua.suspension.deciding import entries_of, new_candidates
from regua.suspension.found_night import Candidate, FoundNight, invoice_fates, merged_customers, read_found_night
from regua.suspension.ledger_state import (
    Proposal,
    daily_sequence,
    last_publication,
    read_listings,
    read_spared_invoices,
    read_standings,
)
from regua.suspension.relief import look_for_news
from regua.suspension.second_derivation import Derivation, derive_from_warehouse
from regua.suspension.standing import Change, Entry, Found
from regua.suspension.suspension_file import Caps, read_suspension_file
from regua.warehouse.store import reading, warehouse_lock, writing

_log = logging.getLogger(__name__)

_NAMED = 10


class AlreadyPublishedError(InputError):
    """The day's list was published; there is one a day."""


def prove(
    settings: Settings,
    as_of: date,
    clock: Clock,
    *,
    kind_code: str = "daily",
    reason: str | None = None,
    author: str | None = None,
) -> Proposal:
    """What may be published of the night of `as_of`, kept in the ledger. Nothing is published yet.

    Raises InputError for another day than today, a day whose list was published, a night that was not, two derivations
    that differ, and a red gate; each leaves what was published as it is.
    """
    require_today(settings, as_of, clock)
    suspension_file = read_suspension_file(settings.suspension_path)
    dispatch_file = read_dispatch_file(settings.dispatch_path)
    with open_ledger(settings) as engine:
        with engine.connect() as connection:
            published = daily_sequence(connection, as_of)
            if kind_code == "daily" and published is not None:
                raise AlreadyPublishedError(
                    f"The list of {as_of} was published (sequence {published}). A correction is a sequence of its own: "
                    f"`regua suspensions correct --as-of {as_of} --author WHO --reason WHY`."
                )
            before = read_standings(connection)
            listings = read_listings(connection)
            knowledge = planned_knowledge(connection, as_of)
        note_new_payments(settings, engine, knowledge.known_at, clock)
        with reading(settings) as warehouse:
            night = read_found_night(warehouse, as_of, dispatch_file)
            derivation = derive_from_warehouse(
                warehouse, settings, load_policies(settings.policies_dir), as_of, night.known_at
            )
            fates = invoice_fates(warehouse, suspending_invoice_ids(before.values()))
            merged = merged_customers(warehouse, customer_ids_of(night, before))
        _require_agreement(night, derivation, as_of)
        with engine.connect() as connection:
            now = clock()
            news = look_for_news(connection, knowledge, merged, now, local_day(now))
            entries = entries_of(night, before, fates, news)
            listed_ids = {listing.candidate.invoice_id for listing in listings} | read_spared_invoices(connection)
            added = new_candidates(night, listed_ids, news)
            caps = suspension_file.caps
            counts_before = _counts_before(connection, as_of, caps.band.days)
            today = _done_today(connection, as_of)
            over = passed_caps(caps, night.active_count, entries, len(added), counts_before, today)
            last = last_publication(connection)
        _require_green_gate(settings, night, entries, added, clock)
        suspended = [entry for entry in entries if entry.change_code is Change.SUSPEND]
        proposal = Proposal(
            number=0,
            as_of=as_of,
            known_at=night.known_at,
            kind_code=kind_code,
            reason=reason,
            author_id=author,
            proved_subscription_ids=tuple(entry.subscription_id for entry in suspended),
            proved_invoice_ids=tuple(candidate.invoice_id for candidate in added),
            holds_suspensions=bool(over.suspensions),
            holds_listings=bool(over.listings),
            summary=summarise(night, before, entries, added, (*over.suspensions, *over.listings), last),
        )
        return _keep(engine, proposal, clock)


def suspending_invoice_ids(entries: Iterable[Entry]) -> list[str]:
    return [invoice_id for entry in entries for invoice_id in entry.debt.suspending_invoice_ids]


def customer_ids_of(night: FoundNight, before: Mapping[str, Entry]) -> set[str]:
    """Everybody of whom anything may be published."""
    return {one.customer_id for group in (night.founds, night.candidates, before.values()) for one in group}


def _require_agreement(night: FoundNight, derivation: Derivation, as_of: date) -> None:
    """Both ways give the same level, for the same invoices, of each subscription; and the same debts for the bureau."""
    by_sql = {found.subscription_id: _level(found) for found in night.founds if found.level_code != "regular"}
    by_python = {
        subscription_id: (level.customer_id, level.level_code, level.suspending_invoice_ids, level.unlocked_until_date)
        for subscription_id, level in derivation.levels.items()
    }
    differing = sorted(
        subscription_id
        for subscription_id in by_sql.keys() | by_python.keys()
        if by_sql.get(subscription_id) != by_python.get(subscription_id)
    )
    invoices = sorted({candidate.invoice_id for candidate in night.candidates} ^ derivation.bureau_invoice_ids)
    if not differing and not invoices:
        _log.info("two derivations agree on %d subscriptions and %d debts", len(by_sql), len(night.candidates))
        return
    lines = [
        f"- {name}: the models say {_said(by_sql.get(name))}, the second derivation {_said(by_python.get(name))}"
        for name in differing[:_NAMED]
    ]
    lines += [
        f"- invoice {name}: only one of the two would list it with the credit bureau" for name in invoices[:_NAMED]
    ]
    raise InputError(
        f"Nothing is published of {as_of}: the models and the second derivation differ on {len(differing)} "
        f"subscriptions and {len(invoices)} debts. One of them is wrong; `regua explain` tells of a customer. See "
        "docs/runbooks/list-not-published.md.\n" + "\n".join(lines)
    )


def _level(found: Found) -> tuple[str, str, tuple[str, ...], date | None]:
    return (found.customer_id, found.level_code, found.debt.suspending_invoice_ids, found.unlocked_until_date)


def _said(level: tuple[str, str, tuple[str, ...], date | None] | None) -> str:
    return f"{level[1]} of {level[0]}, by {', '.join(level[2]) or 'no invoice'}" if level else "regular"


@dataclass(frozen=True, slots=True)
class DoneToday:
    """What earlier lists of the day took: subscriptions, and debts that were listed with the bureau."""

    suspended_count: int = 0
    listed_count: int = 0


NOTHING_DONE = DoneToday()


@dataclass(frozen=True, slots=True)
class PassedCaps:
    """Why suspensions, and why listings, wait for a person; as sentences for that person."""

    suspensions: tuple[str, ...]
    listings: tuple[str, ...]


def passed_caps(
    caps: Caps,
    active_count: int,
    entries: Sequence[Entry],
    added_count: int,
    counts_before: Sequence[int],
    today: DoneToday = NOTHING_DONE,
) -> PassedCaps:
    """`counts_before` are the subscriptions without access on the lists of the last days.

    A cap is of a day: what earlier lists of the day took is counted with what another would take.
    """
    limit = max(caps.new_suspensions, int(Decimal(active_count) * caps.new_suspensions_pct_of_active / 100))
    new_count = sum(entry.change_code is Change.SUSPEND for entry in entries)
    suspensions = []
    if new_count and new_count + today.suspended_count > limit:
        suspensions.append(_over("novas suspensões", new_count, today.suspended_count, limit))
    if new_count and len(counts_before) >= caps.band.from_lists:
        total = sum(not entry.has_access for entry in entries)
        mean = fmean(counts_before)
        width = max(mean * caps.band.pct / 100, float(caps.band.subscriptions))
        if abs(total - mean) > width:
            suspensions.append(
                f"{total} assinaturas sem acesso, e a média das últimas {len(counts_before)} listas é {mean:.0f} "
                f"(± {width:.0f})"
            )
    is_over = added_count and added_count + today.listed_count > limit
    listings = (
        (_over("novas inclusões no bureau de crédito", added_count, today.listed_count, limit),) if is_over else ()
    )
    return PassedCaps(tuple(suspensions), listings)


def _over(what: str, count: int, done_count: int, limit: int) -> str:
    done = f", com {done_count} já publicadas hoje" if done_count else ""
    return f"{count} {what}{done}, e o limite é {limit}"


def _done_today(connection: sa.Connection, as_of: date) -> DoneToday:
    of_day = PUBLICATIONS.c.as_of_date == as_of
    suspended = sa.select(sa.func.coalesce(sa.func.sum(PUBLICATIONS.c.suspended_count), 0)).where(of_day)
    listed = sa.select(sa.func.count()).select_from(LISTINGS).where(LISTINGS.c.listed_date == as_of)
    return DoneToday(connection.execute(suspended).scalar_one(), connection.execute(listed).scalar_one())


def _counts_before(connection: sa.Connection, as_of: date, days: int) -> list[int]:
    query = sa.select(PUBLICATIONS.c.without_access_count).where(
        PUBLICATIONS.c.kind_code == "daily",
        PUBLICATIONS.c.as_of_date < as_of,
        PUBLICATIONS.c.as_of_date >= as_of - timedelta(days=days),
    )
    return list(connection.execute(query).scalars())


def _require_green_gate(
    settings: Settings, night: FoundNight, entries: Sequence[Entry], added: Sequence[Candidate], clock: Clock
) -> None:
    """Great Expectations on the list itself, laid beside the raw facts. Raises RedGateError."""
    tables = {
        "list": _texts(LIST_COLUMNS, list_rows(entries)),
        "changes": _texts(CHANGES_COLUMNS, changes_rows(entries)),
        "suspending": pa.Table.from_pylist(
            [
                {"subscription_id": entry.subscription_id, "customer_id": entry.customer_id, "invoice_id": invoice_id}
                for entry in entries
                if not entry.has_access
                for invoice_id in entry.debt.suspending_invoice_ids
            ],
            schema=pa.schema([(name, pa.string()) for name in ("subscription_id", "customer_id", "invoice_id")]),
        ),
        "bureau": pa.Table.from_pylist(
            [
                {"invoice_id": one.invoice_id, "customer_id": one.customer_id, "notice_id": one.notice_id}
                for one in added
            ],
            schema=pa.schema([(name, pa.string()) for name in ("invoice_id", "customer_id", "notice_id")]),
        ),
    }
    with warehouse_lock(settings, f"the gate of the suspension list {night.as_of}", clock):
        with writing(settings) as warehouse:
            warehouse.execute("create schema if not exists suspension")
            for name, table in tables.items():
                warehouse.register("given", table)
                warehouse.execute(f'create or replace table suspension."{name}" as select * from given')
                warehouse.unregister("given")
        report = run_gate(settings, "suspension", as_of=night.as_of, known_at=night.known_at)
    if not report.success:
        raise RedGateError(report)


def _texts(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> pa.Table:
    """Cells as they stand in the file: texts, where an empty one is nothing."""
    listed = list(rows)
    return pa.table(
        {name: pa.array([row[place] or None for row in listed], pa.string()) for place, name in enumerate(columns)}
    )


def _keep(engine: sa.Engine, proposal: Proposal, clock: Clock) -> Proposal:
    with writing_messages(engine) as connection:
        now = clock()
        last: int | None = connection.execute(sa.select(sa.func.max(PROPOSALS.c.proposal_number))).scalar_one()
        kept = replace(proposal, number=(last or 0) + 1)
        row: dict[str, Any] = {
            "proposal_number": kept.number,
            "as_of_date": kept.as_of,
            "known_at": kept.known_at,
            "kind_code": kept.kind_code,
            "reason": kept.reason,
            "content": kept.content(),
            "held_count": kept.held_count,
            "state_code": "open",
            "proposed_at": now,
        }
        # Of two nights only the newer one waits for a person.
        connection.execute(
            sa.update(PROPOSALS).where(PROPOSALS.c.state_code.in_(("open", "published"))).values(state_code="lapsed")
        )
        connection.execute(sa.insert(PROPOSALS).values(row))
        detail = {
            "proposal": kept.number,
            "as_of": kept.as_of.isoformat(),
            "suspensions": len(kept.proved_subscription_ids),
            "listings": len(kept.proved_invoice_ids),
            "held": kept.held_count,
        }
        append_events(connection, [MessageEvent("suspensions", reason_code="proposed", detail=detail)], now)
    return kept
