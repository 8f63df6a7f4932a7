"""Payments that arrive between the night and a message: enough is kept of them to hold the message back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa
import sqlalchemy as sa

from regua.ingest.landing import land
from regua.ingest.loading import load_pending
from regua.ingest.mapping import Source, read_source
from regua.instants import Clock, local_day
from regua.ledger.database import slices
from regua.ledger.event_log import MessageEvent, append_events, writing_messages
from regua.ledger.messages import PAYMENT_NOTICES
from regua.settings import Settings
from regua.warehouse.store import confine, create_tables, published_night, reading, warehouse_lock

# What may lower a debt; other facts of the same files wait for the night.
_ENTITIES = ("payments", "credits")
# A row that cannot be read holds its invoice back as well: it may be the payment.
_LOADED = """
    select 'payments' as entity, payment_id as notice_id, invoice_id, null as customer_id
    from raw.payments where _loaded_at {when} $known_at
    union all
    select 'credits', credit_id, invoice_id, case when invoice_id is null then customer_id end
    from raw.credits where _loaded_at {when} $known_at
    union all
    select 'rejected', _batch_id || '/' || _line, invoice_key_text, null
    from quarantine.rejected_rows
    where entity in ('payments', 'credits') and invoice_key_text is not null and _loaded_at {when} $known_at
"""
_LOADED_AFTER = _LOADED.format(when=">")
_UNKNOWN_THEN = f"""
select given.* from given
anti join ({_LOADED.format(when="<=")}) as known
    on
        given.entity = known.entity
        and given.notice_id = known.notice_id
        and given.invoice_id is not distinct from known.invoice_id
        and given.customer_id is not distinct from known.customer_id
"""
_SCHEMA = pa.schema([(name, pa.string()) for name in ("entity", "notice_id", "invoice_id", "customer_id")])


@dataclass(frozen=True, slots=True)
class Notice:
    """A payment, or a credit, of an invoice; a credit that is applied to none is the customer's."""

    entity: str
    notice_id: str
    invoice_id: str | None
    customer_id: str | None = None

    @property
    def key(self) -> str:
        """Ids are the source's own: one of a payment may be that of a credit, and one payment may pay two invoices."""
        return f"{self.entity}:{self.notice_id}:{self.invoice_id or self.customer_id}"[:300]


def note_payment(engine: sa.Engine, payment_id: str, invoice_id: str, origin_code: str, clock: Clock) -> bool:
    """A payment somebody told of. False when it was noted before: telling twice does no harm."""
    return note_payments(engine, [Notice("payments", payment_id, invoice_id)], origin_code, clock) == 1


def note_payments(
    engine: sa.Engine, notices: Iterable[Notice], origin_code: str, clock: Clock, *, seen_at: datetime | None = None
) -> int:
    """Keep those that are not known yet; answers how many were new. `seen_at` is what a night knew that knew them."""
    given = {notice.key: notice for notice in notices}
    with writing_messages(engine) as connection:
        now = clock()
        known: set[str] = set()
        for some in slices(sorted(given)):
            query = sa.select(PAYMENT_NOTICES.c.notice_key).where(PAYMENT_NOTICES.c.notice_key.in_(some))
            known |= set(connection.execute(query).scalars())
        new = [given[key] for key in sorted(given) if key not in known]
        if new:
            rows = [
                {
                    "notice_key": notice.key,
                    "entity": notice.entity,
                    "notice_id": notice.notice_id[:200],
                    "invoice_id": notice.invoice_id,
                    "customer_id": notice.customer_id,
                    "origin_code": origin_code,
                    "recorded_at": now,
                    "seen_at": seen_at,
                }
                for notice in new
            ]
            connection.execute(sa.insert(PAYMENT_NOTICES), rows)
        events = [
            MessageEvent("payment", reason_code=origin_code, detail={"invoice_id": notice.invoice_id}) for notice in new
        ]
        append_events(connection, events, now)
    return len(new)


def unseen_notices(engine: sa.Engine) -> list[Notice]:
    """Those that no night has known yet."""
    columns = [PAYMENT_NOTICES.c[name] for name in _SCHEMA.names]
    with engine.connect() as connection:
        rows = connection.execute(sa.select(*columns).where(PAYMENT_NOTICES.c.seen_at.is_(None)))
        return [Notice(**row) for row in rows.mappings()]


def unknown_at(warehouse: duckdb.DuckDBPyConnection, notices: Sequence[Notice], known_at: datetime) -> list[Notice]:
    """Those that a night which knew what was loaded by `known_at` did not know."""
    given = pa.Table.from_pylist([_row(notice) for notice in notices], schema=_SCHEMA)
    return _unknown(warehouse, given, known_at)


def note_new_payments(settings: Settings, engine: sa.Engine, known_at: datetime, clock: Clock) -> int:
    """Note what a night did not know that knew what was loaded by `known_at`; answers how many were new.

    Files of payments and credits that arrived since are landed and read. What a later night has loaded is noted too,
    whatever its gates said: of the payments in databases only a night hears. What the published night knew is news to
    an older list alone, and not to what that night decided. The warehouse is only read. Raises InputError for a file
    that cannot be read: a payment may be in it.
    """
    arrived = _read_arrivals(settings, known_at, clock)
    with reading(settings) as warehouse:
        later = _loaded_after(warehouse, known_at)
        found = _unknown(warehouse, pa.concat_tables([arrived, later]), known_at)
        night = published_night(warehouse)
        unseen = found if night is None else unknown_at(warehouse, found, night[1])
    new = note_payments(engine, unseen, "export", clock)
    if night is not None:
        new += note_payments(engine, set(found) - set(unseen), "export", clock, seen_at=night[1])
    return new


def _read_arrivals(settings: Settings, known_at: datetime, clock: Clock) -> pa.Table:
    """What stands in files of payments and credits that landed after an instant, as rows of _SCHEMA."""
    sources = [read_source(settings.sources_dir, name) for name in settings.source_names]
    of_payments = [source for source in map(_of_payments, sources) if source.files]
    if not of_payments:
        return _SCHEMA.empty_table()
    with warehouse_lock(settings, "landing payments", clock):
        landing = land(settings.landing_dir, settings.inbox, of_payments, clock)
    if landing.known_at <= known_at:
        return _SCHEMA.empty_table()
    with duckdb.connect() as scratch:
        create_tables(scratch)
        settings.work_dir.mkdir(parents=True, exist_ok=True)
        confine(scratch, [settings.work_dir, settings.landing_dir])
        load_pending(
            scratch,
            settings.landing_dir,
            settings.work_dir,
            sources,
            as_of=local_day(known_at),
            known_at=landing.known_at,
            arrived_after=known_at,
            # A night that was red has landed sets of all kinds.
            wanted=lambda source, file_set: file_set in _of_payments(source).files,
        )
        return _loaded_after(scratch, known_at)


def _loaded_after(connection: duckdb.DuckDBPyConnection, known_at: datetime) -> pa.Table:
    found: pa.Table = connection.sql(_LOADED_AFTER, params={"known_at": known_at}).to_arrow_table()
    return found.cast(_SCHEMA)


def _unknown(warehouse: duckdb.DuckDBPyConnection, given: pa.Table, known_at: datetime) -> list[Notice]:
    warehouse.register("given", given)
    try:
        return [Notice(*row) for row in warehouse.execute(_UNKNOWN_THEN, {"known_at": known_at}).fetchall()]
    finally:
        warehouse.unregister("given")


def _row(notice: Notice) -> dict[str, Any]:
    return {name: getattr(notice, name) for name in _SCHEMA.names}


def _of_payments(source: Source) -> Source:
    files = {
        name: file_set
        for name, file_set in source.files.items()
        if any(entity in file_set.feeds for entity in _ENTITIES)
    }
    return source.model_copy(update={"files": files, "tables": {}})
