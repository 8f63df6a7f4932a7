"""The aging of one day, from what is published or, for a day no night described, computed without touching it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb

from regua.errors import InputError
from regua.instants import read_instant, write_instant
from regua.publish.serving import current_generation, read_serving_manifest
from regua.settings import Settings
from regua.transform.dbt_run import RECEIVABLES_LAYERS, replay

_BUCKETS = (
    "select aging_bucket_code, invoice_count, customer_count, open_amount from {table} "
    "where as_of_date = $1 and currency_code = $2 order by sort_order"
)
_OVERDUE = (
    "select count(distinct customer_id), count(*), coalesce(sum(open_amount), 0) from {table} "
    "where as_of_date = $1 and currency_code = $2 and is_overdue"
)


@dataclass(frozen=True, slots=True)
class Bucket:
    code: str
    invoice_count: int
    customer_count: int
    open_amount: Decimal


@dataclass(frozen=True, slots=True)
class Aging:
    """Open receivables of one day and currency by age. `quarantined_count` rows of invoices are in no bucket.

    `known_at` is None for a published day (what its night knew), else the instant the replay describes.
    """

    as_of: date
    known_at: datetime | None
    currency: str
    buckets: tuple[Bucket, ...]
    customers_overdue: int
    invoices_overdue: int
    overdue_amount: Decimal
    quarantined_count: int

    @property
    def open_amount(self) -> Decimal:
        return sum((bucket.open_amount for bucket in self.buckets), Decimal("0.00"))

    def to_json(self) -> dict[str, object]:
        return {
            "as_of": self.as_of.isoformat(),
            "replayed_at": write_instant(self.known_at) if self.known_at else None,
            "currency": self.currency,
            "buckets": {
                bucket.code: {
                    "count": bucket.invoice_count,
                    "customers": bucket.customer_count,
                    "amount": str(bucket.open_amount),
                }
                for bucket in self.buckets
            },
            "open_amount": str(self.open_amount),
            "overdue_amount": str(self.overdue_amount),
            "invoices_overdue": self.invoices_overdue,
            "customers_overdue": self.customers_overdue,
            "quarantined_invoices": self.quarantined_count,
        }


def read_aging(
    settings: Settings,
    as_of: date,
    *,
    currency: str | None = None,
    known_at: datetime | None = None,
    generation: Path | None = None,
) -> Aging:
    """The aging of `as_of` as published, or replayed: when `known_at` is given, or when no night described that day.

    `generation` is the folder to read instead of what is served now. Raises InputError when nothing was ever
    published, or the currency does not occur.
    """
    generation = generation or current_generation(settings)
    manifest = read_serving_manifest(generation)
    quarantined = sum(row["rows"] for row in manifest["quarantined"] if row["entity"] == "invoices")
    if known_at is None:
        with duckdb.connect(str(generation / "serving.duckdb"), read_only=True) as serving:
            if _has_day(serving, "agg_aging_daily", as_of):
                return _aging(serving, "", as_of, None, currency, quarantined)
    known = known_at or read_instant(manifest["known_at"])
    settings.work_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.work_dir) as scratch:
        path = Path(scratch) / "replay.duckdb"
        replay(settings, as_of, known, path, layers=RECEIVABLES_LAYERS)
        with duckdb.connect(str(path), read_only=True) as replayed:
            return _aging(replayed, "marts.", as_of, known, currency, quarantined)


def _has_day(connection: duckdb.DuckDBPyConnection, table: str, as_of: date) -> bool:
    return connection.execute(f"select 1 from {table} where as_of_date = ? limit 1", [as_of]).fetchone() is not None


def _aging(
    connection: duckdb.DuckDBPyConnection,
    schema: str,
    as_of: date,
    known_at: datetime | None,
    currency: str | None,
    quarantined: int,
) -> Aging:
    found = connection.execute(
        f"select currency_code, sum(open_amount) from {schema}agg_aging_daily where as_of_date = ? "
        "group by 1 order by 2 desc, 1",
        [as_of],
    ).fetchall()
    chosen = _currency([code for code, _ in found], currency)
    rows = connection.execute(_BUCKETS.format(table=f"{schema}agg_aging_daily"), [as_of, chosen]).fetchall()
    [overdue] = connection.execute(_OVERDUE.format(table=f"{schema}fct_invoice_aging"), [as_of, chosen]).fetchall()
    return Aging(
        as_of=as_of,
        known_at=known_at,
        currency=chosen,
        buckets=tuple(Bucket(*row) for row in rows),
        customers_overdue=overdue[0],
        invoices_overdue=overdue[1],
        overdue_amount=Decimal(overdue[2]),
        quarantined_count=quarantined,
    )


def _currency(present: Sequence[str], wanted: str | None) -> str:
    if wanted is None:
        return present[0] if present else "BRL"
    if present and wanted not in present:
        raise InputError(f"No invoice is in {wanted}; there are {', '.join(present)}.")
    return wanted
