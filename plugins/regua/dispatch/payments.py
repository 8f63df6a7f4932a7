"""Payments that arrive between the night and a message: enough is kept of them to hold the message back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime

import duckdb
import sqlalchemy as sa

from regua.errors import InputError
from regua.ingest.landing import land
from regua.ingest.loading import load_pending
from regua.ingest.mapping import Source, read_source
from regua.instants import Clock
from regua.ledger.event_log import MessageEvent, append_events, writing_messages
from regua.ledger.messages import MESSAGES, PAYMENT_NOTICES, PLANS, STEPS, State
from regua.settings import Settings
from regua.warehouse.store import confine, create_tables, reading, warehouse_lock

# What may lower a debt; other facts of the same files wait for the night.
_ENTITIES = ("payments", "credits")
_AT_ONCE = 500


def note_payment(engine: sa.Engine, notice_id: str, invoice_id: str, origin_code: str, clock: Clock) -> bool:
    """A payment somebody told of. False when it was noted before: telling twice does no harm."""
    return note_payments(engine, [(notice_id, invoice_id)], origin_code, clock) == 1


def note_payments(engine: sa.Engine, notices: Iterable[tuple[str, str]], origin_code: str, clock: Clock) -> int:
    """(notice_id, invoice_id) pairs, those known left out. Answers how many were new."""
    given = dict(notices)
    with writing_messages(engine) as connection:
        now = clock()
        known: set[str] = set()
        ids = sorted(given)
        for start in range(0, len(ids), _AT_ONCE):
            some = PAYMENT_NOTICES.c.notice_id.in_(ids[start : start + _AT_ONCE])
            known |= set(connection.execute(sa.select(PAYMENT_NOTICES.c.notice_id).where(some)).scalars())
        new = [
            {"notice_id": notice_id, "invoice_id": given[notice_id], "origin_code": origin_code, "recorded_at": now}
            for notice_id in ids
            if notice_id not in known
        ]
        if new:
            connection.execute(sa.insert(PAYMENT_NOTICES), new)
        events = [
            MessageEvent("payment", reason_code=origin_code, detail={"invoice_id": row["invoice_id"]}) for row in new
        ]
        append_events(connection, events, now)
    return len(new)


def note_new_payments(settings: Settings, engine: sa.Engine, as_of: date, clock: Clock) -> int:
    """Land and read the files of payments and credits that arrived since the night; note those of invoices on the plan.

    The warehouse is only read. Raises InputError for a file that cannot be read: a payment may be in it.
    """
    with engine.connect() as connection:
        known_at: datetime | None = connection.execute(
            sa.select(PLANS.c.known_at).where(PLANS.c.as_of_date == as_of)
        ).scalar_one_or_none()
        if known_at is None:
            raise InputError(f"There is no plan of {as_of}: run `regua plan --as-of {as_of}` after the night.")
        on_plan = (
            sa.select(STEPS.c.invoice_id)
            .join(MESSAGES, MESSAGES.c.message_id == STEPS.c.message_id)
            .where(
                MESSAGES.c.as_of_date == as_of,
                MESSAGES.c.state_code.in_((State.PLANNED, State.CLAIMED, State.ACCEPTED)),
            )
            .distinct()
        )
        invoice_ids: list[str] = list(connection.execute(on_plan).scalars())
    sources = [_of_payments(read_source(settings.sources_dir, name)) for name in settings.source_names]
    sources = [source for source in sources if source.files]
    if not sources or not invoice_ids:
        return 0
    with warehouse_lock(settings, f"landing payments for the dispatch of {as_of}", clock):
        landing = land(settings.landing_dir, settings.inbox, sources, clock)
    if landing.known_at <= known_at:
        return 0
    with duckdb.connect() as scratch:
        create_tables(scratch)
        settings.work_dir.mkdir(parents=True, exist_ok=True)
        confine(scratch, [settings.work_dir, settings.landing_dir])
        load_pending(
            scratch,
            settings.landing_dir,
            settings.work_dir,
            sources,
            as_of=as_of,
            known_at=landing.known_at,
            arrived_after=known_at,
        )
        found = scratch.execute(
            "select payment_id, invoice_id from raw.payments where invoice_id in (select unnest($1::varchar[])) "
            "union select credit_id, invoice_id from raw.credits where invoice_id in (select unnest($1::varchar[]))",
            [invoice_ids],
        ).fetchall()
    with reading(settings) as warehouse:
        known = warehouse.execute(
            "select payment_id from raw.payments where payment_id in (select unnest($1::varchar[])) "
            "union select credit_id from raw.credits where credit_id in (select unnest($1::varchar[]))",
            [[row[0] for row in found]],
        ).fetchall()
    seen = {row[0] for row in known}
    return note_payments(engine, [row for row in found if row[0] not in seen], "export", clock)


def _of_payments(source: Source) -> Source:
    files = {
        name: file_set
        for name, file_set in source.files.items()
        if any(entity in file_set.feeds for entity in _ENTITIES)
    }
    return source.model_copy(update={"files": files, "tables": {}})
