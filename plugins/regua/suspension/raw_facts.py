"""The raw rows of a warehouse for the second derivation, a share of the customers at a time.

The SQL here fetches and decides nothing. The one rule is which rejected rows still stand, and that one is in Python.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import duckdb

from regua.contract.entities import load_contract
from regua.settings import Settings
from regua.transform.bank_calendar import CALENDAR_CODE

Row = Mapping[str, Any]

# Python holds an invoice and its payments in about 2 kB, and two shares at a time; smaller ones are not faster.
INVOICES_A_SHARE = 50_000
_HOLIDAY_SEEDS = ("bank_holidays.csv", "extra_bank_holidays.csv")
_FETCHED_ROWS = 10_000
_VALIDITY = ("valid_from_date", "valid_to_date")
_COLUMNS: Mapping[str, Sequence[str]] = {
    "customers": ("customer_id", "merged_into_customer_id", "person_type_code", "segment_code", "policy_code"),
    "subscriptions": (
        *("subscription_id", "customer_id", "status_code", "end_date", "is_prepaid", "has_suspension_clause"),
    ),
    "invoices": (
        *("invoice_id", "customer_id", "subscription_id", "issue_date", "due_date", "amount", "currency_code"),
        *("status_code", "cancelled_date", "written_off_date", "payment_method_code", "calendar_code", "policy_code"),
    ),
    "payments": ("invoice_id", "payment_date", "amount", "currency_code", "reversed_date", "_loaded_at"),
    "credits": ("customer_id", "invoice_id", "applied_date", "amount", "currency_code", "_loaded_at"),
    "agreements": ("agreement_id", "broken_date", *_VALIDITY),
    "agreement_invoices": ("agreement_id", "invoice_id", *_VALIDITY),
    "promises": ("customer_id", "invoice_id", "promised_date", *_VALIDITY),
    "disputes": ("invoice_id", *_VALIDITY),
    "exemptions": ("customer_id", "invoice_id", *_VALIDITY),
    "pauses": ("customer_id", *_VALIDITY),
    "trust_unlocks": ("customer_id", *_VALIDITY),
    "touches": ("invoice_id", "step_code", "cycle_date", "planned_date", "fate_code", "delivered_date"),
}
# An agreement may be with another customer than the one whose invoice it covers.
_READ_WHOLE = ("agreements",)
_REJECTABLE = ("customers", "invoices", "payments", "credits")


@dataclass(frozen=True, slots=True)
class Rejections:
    """Whom, and which invoices, the rows are about that lie in quarantine and have not been replaced."""

    customer_ids: frozenset[str] = frozenset()
    invoice_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RawFacts:
    """What is known of some customers: their current rows by contract entity, each by contract column.

    Everybody merged with one of them is among them. What has no row, or a row without a column, is unknown.
    """

    rows: Mapping[str, Sequence[Row]]
    holidays: frozenset[date]
    rejections: Rejections = Rejections()

    def of(self, entity: str) -> Sequence[Row]:
        return self.rows.get(entity, ())


def read_raw_facts(
    warehouse: duckdb.DuckDBPyConnection,
    settings: Settings,
    known_at: datetime,
    *,
    invoices_a_share: int = INVOICES_A_SHARE,
) -> Iterator[RawFacts]:
    """Everything that was known at an instant, in shares of about so many invoices. No customer is in two of them.

    Reads by a cursor of its own: of what the caller has not committed it sees nothing.
    """
    holidays = read_holidays(settings)
    with warehouse.cursor() as connection:
        known = _Known(connection, known_at)
        rejections = known.standing_rejections()
        whole = {entity: known.rows(entity) for entity in _READ_WHOLE}
        shared = [entity for entity in _COLUMNS if entity not in _READ_WHOLE]
        share_count = known.count("invoices") // invoices_a_share + 1
        known.divide(shared, share_count)
        for share in range(share_count):
            rows = {entity: known.rows_of_share(entity, share) for entity in shared}
            yield RawFacts(whole | rows, holidays, rejections)


def read_holidays(settings: Settings) -> frozenset[date]:
    """The bank holidays that the models have, from the same files."""
    holidays = set()
    for name in _HOLIDAY_SEEDS:
        with (settings.dbt_project_dir / "seeds" / name).open(encoding="utf-8", newline="") as file:
            holidays |= {
                date.fromisoformat(row["holiday_date"])
                for row in csv.DictReader(file)
                if row["calendar_code"] == CALENDAR_CODE
            }
    return frozenset(holidays)


class _Known:
    """The versions of the raw tables that were current at an instant."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, known_at: datetime) -> None:
        self._connection = connection
        self._known_at = known_at

    def count(self, entity: str) -> int:
        [[count]] = self._fetch(f"select count(*) from raw.{entity}")
        return int(count)

    def rows(self, entity: str) -> list[Row]:
        columns = _COLUMNS[entity]
        return _as_dicts(columns, self._fetch(self._current(entity, _listed(columns))))

    def rows_of_share(self, entity: str, share: int) -> list[Row]:
        columns = _COLUMNS[entity]
        query = f"select {', '.join(columns)} from divided_{entity} where share = {share}"
        return _as_dicts(columns, self._fetch(query))

    def divide(self, entities: Iterable[str], share_count: int) -> None:
        """Sort rows by share once: what is about an invoice goes with it, all else with its customer."""
        links = self._fetch(self._current("customers", "version.customer_id, version.merged_into_customer_id"))
        families = families_of((one, other) for one, other in links if other is not None)
        self._execute(
            "create temp table families as select unnest(?::varchar[]) as customer_id, unnest(?::varchar[]) as name",
            [[*families], [*families.values()]],
        )
        of_customer = f"hash(coalesce(families.name, version.customer_id)) % {share_count}"
        with_family = "left join families on version.customer_id = families.customer_id"
        self._execute(
            "create temp table invoice_shares as "
            + self._current("invoices", f"version.invoice_id, {of_customer} as share", with_family)
        )
        with_invoice = "left join invoice_shares on version.invoice_id = invoice_shares.invoice_id"
        for entity in entities:
            columns = _COLUMNS[entity]
            if "invoice_id" not in columns or entity == "invoices":
                share, joins = of_customer, with_family
            elif "customer_id" not in columns:
                share, joins = "invoice_shares.share", with_invoice
            else:
                share = f"case when version.invoice_id is null then {of_customer} else invoice_shares.share end"
                joins = f"{with_family} {with_invoice}"
            query = self._current(entity, f"{_listed(columns)}, {share} as share", joins)
            self._execute(f"create temp table divided_{entity} as {query} order by share")

    def standing_rejections(self) -> Rejections:
        """Of all customers, the rejected rows that nothing has replaced.

        What was refused of a snapshot is replaced when its set comes again, of a delta when the same file does; and
        either by a row accepted under its key in a later load.
        """
        standing_batches = newest_batches(
            self._fetch(
                "select _batch_id, entity, mode, _source, file_set, _file, _loaded_at from ops.batches "
                "where _loaded_at <= $known_at"
            )
        )
        accepted_at = {
            (entity, key): loaded_at for entity in _REJECTABLE for key, loaded_at in self._accepted_despite(entity)
        }
        customer_ids: set[Any] = set()
        invoice_ids: set[Any] = set()
        for batch_id, entity, key, invoice_key, loaded_at in self._fetch(
            "select _batch_id, entity, key_text, invoice_key_text, _loaded_at from quarantine.rejected_rows "
            f"where _loaded_at <= $known_at and entity in {_REJECTABLE}"
        ):
            if (batch_id, entity) in standing_batches and accepted_at.get((entity, key), loaded_at) <= loaded_at:
                ids = customer_ids if entity == "customers" else invoice_ids
                ids.add(key if entity in ("customers", "invoices") else invoice_key)
        return Rejections(frozenset(customer_ids - {None}), frozenset(invoice_ids - {None}))

    def _accepted_despite(self, entity: str) -> Iterator[tuple[Any, ...]]:
        key = load_contract()[entity].key
        rejected = f"select key_text from quarantine.rejected_rows where entity = '{entity}'"
        return self._fetch(self._current(entity, f"version.{key}, version._loaded_at", where=f"{key} in ({rejected})"))

    def _current(self, entity: str, selected: str, joins: str = "", where: str = "true") -> str:
        return f"""
            select {selected} from raw.{entity} as version {joins}
            where version._loaded_at <= $known_at and {where} and not exists (
                select 1 from raw.superseded
                where superseded.entity = '{entity}' and superseded._superseded_at <= $known_at
                    and superseded._batch_id = version._batch_id and superseded._line = version._line
            )
        """

    def _execute(self, query: str, values: Sequence[Any] | None = None) -> duckdb.DuckDBPyConnection:
        known = {"known_at": self._known_at} if "$known_at" in query else None
        return self._connection.execute(query, values or known)

    def _fetch(self, query: str) -> Iterator[tuple[Any, ...]]:
        result = self._execute(query)
        while rows := result.fetchmany(_FETCHED_ROWS):
            yield from rows


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(f"version.{column}" for column in columns)


def _as_dicts(columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> list[Row]:
    return [dict(zip(columns, row, strict=True)) for row in rows]


def newest_batches(batches: Iterable[Sequence[Any]]) -> set[tuple[str, str]]:
    """Those that no later one stands in place of: batch and entity."""
    placed = []
    newest: dict[tuple[str, ...], datetime] = {}
    for batch_id, entity, mode, source, file_set, file, loaded_at in batches:
        whole, alone = (source, file_set, entity), (source, file_set, entity, file)
        for place in (whole, alone):
            newest[place] = max(newest.get(place, loaded_at), loaded_at)
        placed.append((batch_id, entity, whole if mode == "snapshot" else alone, loaded_at))
    return {(batch_id, entity) for batch_id, entity, place, loaded_at in placed if newest[place] == loaded_at}


def families_of(links: Iterable[Sequence[str]]) -> dict[str, str]:
    """Everybody whom links connect, each with one name for all of them."""
    parents: dict[str, str] = {}

    def first_of(customer_id: str) -> str:
        while (parent := parents.setdefault(customer_id, customer_id)) != customer_id:
            # Halves the way for whoever comes next: a long chain stays linear.
            parents[customer_id] = customer_id = parents[parent]
        return customer_id

    for one, other in links:
        parents[first_of(one)] = first_of(other)
    return {customer_id: first_of(customer_id) for customer_id in [*parents]}
