"""Second stage of a night: landed files into append-only typed tables, each file whole or not at all.

A row of raw.<entity> is a version of a key. A version is appended only where the content differs from the current one,
which raw.superseded then marks as replaced; a key that a snapshot no longer holds is marked as removed. Nothing is ever
updated or deleted, so what was known at any instant can be read again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from regua.contract.entities import Entity, load_contract
from regua.errors import InputError
from regua.ingest.arrival import Arrival, LandingStore
from regua.ingest.conversion import create_typed, describe_fault
from regua.ingest.expressions import literal, quoted
from regua.ingest.key_snapshot import read_present_keys
from regua.ingest.mapping import FeedingSet, FileSet, Source, TableSet
from regua.ingest.reading import LandedFile, read_records
from regua.instants import BEFORE_ALL

_SHOWN_FAULTS = 5
_NOT_RECORDED = ("batch_id", "source", "file_name", "unreadable_amount_count")


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of the rows that one file gave to one entity: read = accepted + quarantined + duplicate.

    `unchanged_count` says how many of the duplicates were already known with the same content; amounts are of the
    entity's money column, of the rows where it could be read; `unreadable_amount_count` says in how many it could not.
    """

    batch_id: str
    source: str
    file_set: str
    entity: str
    file_name: str
    read_count: int
    accepted_count: int
    quarantined_count: int
    duplicate_count: int
    unchanged_count: int
    superseded_count: int
    removed_count: int
    read_amount: Decimal
    accepted_amount: Decimal
    quarantined_amount: Decimal
    duplicate_amount: Decimal
    unreadable_amount_count: int


def load_pending(
    connection: duckdb.DuckDBPyConnection,
    landing_dir: Path,
    work_dir: Path,
    sources: Sequence[Source],
    *,
    as_of: date,
    known_at: datetime,
    arrived_after: datetime = BEFORE_ALL,
    wanted: Callable[[Source, str], bool] = lambda source, file_set: True,
    on_file: Callable[[Arrival], None] = lambda arrival: None,
) -> list[Batch]:
    """Load every arrival up to `known_at` that no night has loaded, in the order of arrival, a transaction a file.

    `arrived_after` leaves older ones out, and `wanted` other file sets, for a connection that is not the warehouse.

    Raises InputError, with the files before it loaded, when a file has too many bad rows or misses too many keys.
    """
    batches = []
    for leftover in work_dir.glob("*.txt"):
        # The text of a file whose load was killed: it holds what only the landing area and the warehouse may.
        leftover.unlink()
    for source in sources:
        store = LandingStore(landing_dir, source.name)
        arrivals = [arrival for arrival in store.arrivals() if arrived_after < arrival.landed_at <= known_at]
        for arrival in _pending(connection, source, arrivals):
            if not wanted(source, arrival.file_set):
                continue
            on_file(arrival)
            feeding_set = source.feeding_set(arrival.file_set)
            if feeding_set is None:
                raise InputError(
                    f"{arrival.file_name} landed as {arrival.file_set!r}, which source {source.name!r} no longer has. "
                    f"Put the set back, or `regua source discard {source.name} {arrival.batch_id} --reason TEXT`."
                )
            content = store.content_path(arrival.sha256)
            if isinstance(feeding_set, TableSet) and (keys_sha256 := _keys_of(arrival)):
                keys = store.content_path(keys_sha256)
                read_present_keys(connection, source, feeding_set, keys, arrival.file_name, work_dir)
            file_set = feeding_set if isinstance(feeding_set, FileSet) else feeding_set.as_files()
            file = LandedFile(content, arrival.file_name, file_set, arrival.header, arrival.line_count)
            read_records(connection, file, work_dir)
            batches += _load(connection, source, feeding_set, arrival, as_of)
        _keep_confirmations(connection, arrivals)
    return batches


def _keep_confirmations(connection: duckdb.DuckDBPyConnection, arrivals: Iterable[Arrival]) -> None:
    """Put beside the batches when their content was delivered again, for the gate that looks at freshness."""
    confirmed = [(a.batch_id, a.source, a.file_set, a.confirmed_at) for a in arrivals if a.confirmed_at is not None]
    for confirmation in confirmed:
        connection.execute(
            "insert into ops.confirmations select $1, $2, $3, $4 where not exists "
            "(select 1 from ops.confirmations where _batch_id = $1 and confirmed_at = $4)",
            confirmation,
        )


def _pending(connection: duckdb.DuckDBPyConnection, source: Source, arrivals: Sequence[Arrival]) -> list[Arrival]:
    """Not loaded, not discarded, and not replaced by a newer content of the same name before it was ever loaded.

    Nor older than what its source has loaded since. Such a one was passed over then; the replay of an instant at which
    it was still the newest of its name would take it up and rewrite what was known after that instant.
    """
    loaded = dict(
        connection.execute(
            "select _batch_id, max(_loaded_at) from ops.batches where _source = $1 group by _batch_id", [source.name]
        ).fetchall()
    )
    newest_loaded_at = max(loaded.values(), default=BEFORE_ALL)
    newest = {(arrival.file_set, arrival.file_name): arrival.batch_id for arrival in arrivals if not arrival.discarded}
    return [
        arrival
        for arrival in arrivals
        if arrival.batch_id not in loaded
        and arrival.landed_at > newest_loaded_at
        and not arrival.discarded
        and newest[arrival.file_set, arrival.file_name] == arrival.batch_id
    ]


def _keys_of(arrival: Arrival) -> str | None:
    return arrival.extraction.keys_sha256 if arrival.extraction else None


def _load(
    connection: duckdb.DuckDBPyConnection, source: Source, feeding_set: FeedingSet, arrival: Arrival, as_of: date
) -> list[Batch]:
    connection.execute("begin")
    try:
        batches = [
            _FeedLoad(connection, source, feeding_set, arrival, load_contract()[entity]).run()
            for entity in feeding_set.feeds
        ]
        _check_manifest(connection, arrival, batches)
        for batch in batches:
            _record(connection, batch, arrival, feeding_set, as_of)
        connection.execute("commit")
    except BaseException:
        connection.execute("rollback")
        raise
    return batches


class _FeedLoad:
    """One file into one entity. Every step is a statement over whole tables; row counts decide nothing in Python."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        source: Source,
        feeding_set: FeedingSet,
        arrival: Arrival,
        entity: Entity,
    ) -> None:
        self._connection = connection
        self._source = source
        self._set = feeding_set
        self._feed = feeding_set.feeds[entity.name]
        self._arrival = arrival
        self._entity = entity
        self._money = quoted(entity.money) if entity.money else "null::decimal(18, 2)"
        # So that an invoice is left in peace while a payment of it cannot be read.
        self._invoice_key = quoted("invoice_id") if "invoice_id" in entity.column_names else "null::varchar"
        self._lineage = (
            f"{literal(source.name)} as _source, {literal(arrival.file_name)} as _file, _line, "
            f"{literal(arrival.batch_id)} as _batch_id, timestamp {literal(str(arrival.landed_at))} as _loaded_at"
        )

    def run(self) -> Batch:
        create_typed(self._connection, self._source, self._set, self._entity, file_name=self._arrival.file_name)
        self._refuse_keys()
        self._compare_with_current()
        read_count, read_amount = self._totals("typed")
        unreadable = self._number("select count(*) from unreadable")
        removed = self._removed_keys()
        self._append()
        quarantined_count, quarantined_amount = self._quarantine()
        duplicate_count, duplicate_amount = self._totals("typed", "_fate in ('duplicate', 'unchanged', 'outdated')")
        accepted_count, accepted_amount = self._totals(
            f"raw.{self._entity.name}", f"_batch_id = {literal(self._arrival.batch_id)}"
        )
        batch = Batch(
            batch_id=self._arrival.batch_id,
            source=self._source.name,
            file_set=self._arrival.file_set,
            entity=self._entity.name,
            file_name=self._arrival.file_name,
            read_count=read_count + unreadable,
            accepted_count=accepted_count,
            quarantined_count=quarantined_count,
            duplicate_count=duplicate_count,
            unchanged_count=self._number("select count(*) from typed where _fate = 'unchanged'"),
            superseded_count=self._number("select count(*) from replaced"),
            removed_count=removed,
            read_amount=read_amount,
            accepted_amount=accepted_amount,
            quarantined_amount=quarantined_amount,
            duplicate_amount=duplicate_amount,
            unreadable_amount_count=unreadable
            + self._number(f"select count(*) from typed where {self._money} is null"),
        )
        self._check(batch)
        return batch

    def _refuse_keys(self) -> None:
        """Give each row its `_fate`; a key that stands twice is kept once when alike, and not at all when not."""
        key, columns = quoted(self._entity.key), ", ".join(map(quoted, self._entity.column_names))
        self._connection.execute(
            # Contents are compared of the repeated keys alone: of all keys, that is a fifth of the whole load.
            f"create or replace temp table repeated as "
            f"with keys as (select {key} as key_text from typed where _fault is null group by {key} "
            "having count(*) > 1) "
            f"select key_text, count(distinct row({columns})) as contents, min(_line) as first_line "
            f"from typed join keys on {key} = key_text where _fault is null group by key_text"
        )
        self._connection.execute("alter table typed add column _fate varchar")
        self._connection.execute("update typed set _fate = 'quarantined' where _fault is not null")
        self._connection.execute(
            f"update typed set _fate = 'duplicate' from repeated where {key} = key_text and _fault is null "
            "and contents = 1 and _line <> first_line"
        )
        self._connection.execute(
            f"update typed set _fate = 'quarantined', _fault = 'conflicting_key:{self._entity.key}' from repeated "
            f"where {key} = key_text and _fault is null and contents > 1"
        )

    def _compare_with_current(self) -> None:
        """Which rows say nothing new, and which versions they replace. Nothing is compared on a first load."""
        key = quoted(self._entity.key)
        same = " and ".join(
            f"new.{quoted(c)} is not distinct from known.{quoted(c)}" for c in self._entity.column_names
        )
        self._connection.execute(
            f"create or replace temp table matched as "
            f"select new._line as new_line, known._batch_id, known._line, ({same}) as is_same, "
            f"known._source <> {literal(self._source.name)} as is_foreign, "
            f"known._batch_id in ({self._newer_batches()}) as is_newer "
            f"from raw.{self._entity.name} as known join typed as new on new.{key} = known.{key} "
            f"{self._not_superseded('known')} and new._fate is null"
        )
        self._connection.execute(
            f"update typed set _fate = 'quarantined', _fault = 'key_of_other_source:{self._entity.key}' "
            "from matched where typed._line = new_line and is_foreign"
        )
        self._connection.execute(
            "update typed set _fate = case when is_same then 'unchanged' else 'outdated' end "
            "from matched where typed._line = new_line and not is_foreign and (is_same or is_newer)"
        )
        self._connection.execute(
            "create or replace temp table replaced as select _batch_id, _line, 'replaced' as reason_code from matched "
            "where not (is_foreign or is_same or is_newer)"
        )
        if self._set.mode == "snapshot" and self._number(f"select count(*) from ({self._newer_batches()})"):
            # A newer snapshot is loaded: what only this older one holds was removed since.
            self._connection.execute("update typed set _fate = 'outdated' where _fate is null")

    def _removed_keys(self) -> int:
        """Mark the keys that this file should still hold and does not; refuse the file when they are too many."""
        has_key_list = _keys_of(self._arrival) is not None
        if self._set.mode == "snapshot" or has_key_list:
            scope = "entity = {e} and _source = {s} and file_set = {f}"
        else:
            # A delta file sent again under its name withdraws what only its first version held.
            scope = "entity = {e} and _source = {s} and file_set = {f} and _file = {n}"
        scope = scope.format(
            e=literal(self._entity.name),
            s=literal(self._source.name),
            f=literal(self._arrival.file_set),
            n=literal(self._arrival.file_name),
        )
        if self._set.mode == "snapshot" and self._number(f"select count(*) from ({self._newer_batches()})"):
            return 0
        key = quoted(self._entity.key)
        present = f"(select {key} as key_text from typed)"
        if has_key_list:
            present = f"present_{self._entity.name}"
            self._refuse_missed_rows(present)
        if not self._number(f"select count(*) from ops.batches where {scope}"):
            # Nothing came before it: spares reading every version and every key on most nights.
            return 0
        self._connection.execute(
            "create or replace temp table removed as select known._batch_id, known._line from "
            f"raw.{self._entity.name} as known "
            f"where known._batch_id in (select _batch_id from ops.batches where {scope}) "
            f"{self._not_superseded('known')} "
            f"and not exists (select 1 from {present} as present where present.key_text = known.{key})"
        )
        removed = self._number("select count(*) from removed")
        if not removed:
            return 0
        lost = self._number(
            f"select count(*) from typed where {key} is null or _fault = 'bad_id:{self._entity.key}'"
        ) + self._number("select count(*) from unreadable")
        held = self._number(
            f"select count(*) from raw.{self._entity.name} as known where known._batch_id in "
            f"(select _batch_id from ops.batches where {scope}) {self._not_superseded('known')}"
        )
        if removed * 100 > held * self._set.missing_limit_pct:
            raise InputError(
                f"{self._arrival.file_name}: {removed} of the {held} {self._entity.name} known from this set are "
                f"missing ({removed * 100 / held:.1f} %, limit {self._set.missing_limit_pct:g} %): the file may be cut "
                "short. Send it again under the same name, or raise `missing_limit_pct` in the mapping when they are "
                f"really gone. {self._discard_hint()}"
            )
        if self._set.mode == "delta" and not has_key_list:
            self._refuse_unmade_changes()
        if lost and not has_key_list:
            # A row whose key cannot be read may be any of the missing: none of them is taken away tonight.
            self._connection.execute("delete from removed")
            return 0
        self._connection.execute("insert into replaced select _batch_id, _line, 'removed' from removed")
        return removed

    def _refuse_unmade_changes(self) -> None:
        """What another file had said of a key before this one's first version changed it is not brought back by leaving
        it out, and the key itself must not vanish: the sender has to say what holds."""
        key, name = quoted(self._entity.key), f"raw.{self._entity.name}"
        unmade = self._connection.execute(
            f"select known.{key} from removed join {name} as known using (_batch_id, _line) where exists "
            f"(select 1 from {name} as earlier where earlier.{key} = known.{key} and earlier._file <> known._file) "
            "order by 1"
        ).fetchall()
        if unmade:
            shown = ", ".join(key_text for (key_text,) in unmade[:_SHOWN_FAULTS])
            raise InputError(
                f"{self._arrival.file_name}: sent again without {len(unmade)} {self._entity.name} that its first "
                "version changed and another file had brought "
                f"({shown}{', …' if len(unmade) > _SHOWN_FAULTS else ''}). Send it again with them, as they are to be. "
                f"{self._discard_hint()}"
            )

    def _refuse_missed_rows(self, present: str) -> None:
        """A key that the table lists, and that no reading ever brought, belongs to a row that was missed."""
        key = quoted(self._entity.key)
        missed = self._number(
            f"select count(*) from {present} as present "
            f"where not exists (select 1 from typed where typed.{key} = present.key_text) "
            f"and not exists (select 1 from raw.{self._entity.name} as known where known.{key} = present.key_text "
            f"{self._not_superseded('known')}) and not exists (select 1 from quarantine.rejected_rows as rejected "
            f"where rejected._source = {literal(self._source.name)} and rejected.entity = {literal(self._entity.name)} "
            f"and rejected.key_text = present.key_text)"
        )
        if missed:
            raise InputError(
                f"{self._arrival.file_name}: the table holds {missed} {self._entity.name} that no reading has brought: "
                "they were committed later than `overlap` allows for, or their cursor is not set when they change, or "
                "a reading before this one was discarded. Raise `overlap` in the mapping where it is too short, then "
                "take this reading away and run again: the rows are read then. `regua source discard "
                f"{self._source.name} {self._arrival.batch_id} --reason TEXT`."
            )

    def _append(self) -> None:
        columns = ", ".join(map(quoted, self._entity.column_names))
        self._connection.execute(
            f"insert into raw.superseded select {literal(self._entity.name)}, _batch_id, _line, "
            f"timestamp {literal(str(self._arrival.landed_at))}, reason_code from replaced order by _batch_id, _line"
        )
        self._connection.execute(
            f"insert into raw.{self._entity.name} by name select {columns}, {self._lineage} from typed "
            "where _fate is null"
        )

    def _quarantine(self) -> tuple[int, Decimal]:
        key = quoted(self._entity.key)
        faults = self._connection.execute(
            "select distinct _fault from typed where _fate = 'quarantined' order by _fault"
        ).fetchall()
        self._connection.execute(
            "create or replace temp table described (_fault varchar, reason_code varchar, column_name varchar, "
            "message varchar)"
        )
        for (fault,) in faults:
            self._connection.execute(
                "insert into described values (?, ?, ?, ?)", [fault, *describe_fault(fault, self._feed)]
            )
        lineage = self._lineage
        # The file's columns may have any name, the contract's own included: they come folded into one.
        self._connection.execute(
            f"create or replace temp table rejected as "
            f"select {lineage}, {literal(self._entity.name)} as entity, "
            "described.reason_code, described.column_name, described.message, "
            f"{key} as key_text, {self._invoice_key} as invoice_key_text, {self._money} as money_amount, folded.record "
            "from typed join described using (_fault) "
            "join (select _line, to_json(records)::varchar as record from records) as folded using (_line) "
            "where _fate = 'quarantined' "
            "union all by name "
            f"select {lineage}, {literal(self._entity.name)} as entity, reason_code, null as column_name, message, "
            "null as key_text, null as invoice_key_text, null as money_amount, record from unreadable order by _line"
        )
        self._connection.execute("insert into quarantine.rejected_rows by name select * from rejected")
        return self._totals("rejected", money="money_amount")

    def _check(self, batch: Batch) -> None:
        parts_count = batch.accepted_count + batch.quarantined_count + batch.duplicate_count
        parts_amount = batch.accepted_amount + batch.quarantined_amount + batch.duplicate_amount
        if (batch.read_count, batch.read_amount) != (parts_count, parts_amount):
            raise InputError(
                f"{batch.file_name}: {batch.entity}: read {batch.read_count} rows and {batch.read_amount}, but "
                f"accepted, quarantined and duplicate make {parts_count} rows and {parts_amount}. Nothing of it was "
                "loaded; this is a defect of the loader, please report it."
            )
        if batch.quarantined_count * 100 > batch.read_count * self._set.quarantine_limit_pct:
            shown = "\n".join(f"  {line}" for line in self._worst_faults())
            raise InputError(
                f"{batch.file_name}: {batch.quarantined_count} of {batch.read_count} {batch.entity} rows cannot be "
                f"used ({batch.quarantined_count * 100 / batch.read_count:.1f} %, limit "
                f"{self._set.quarantine_limit_pct:g} %):\n{shown}\nCorrect the export and send it again under the same "
                f"name, correct the mapping, or raise `quarantine_limit_pct`. {self._discard_hint()}"
            )

    def _worst_faults(self) -> list[str]:
        found = self._connection.execute(
            "select min(_line), count(*), reason_code, message from rejected group by reason_code, message "
            f"order by 2 desc, 1 limit {_SHOWN_FAULTS}"
        ).fetchall()
        return [f"line {line}: {reason}: {message} ({count} rows)" for line, count, reason, message in found]

    def _discard_hint(self) -> str:
        return (
            "To go on without this file: "
            f"`regua source discard {self._source.name} {self._arrival.batch_id} --reason TEXT`."
        )

    def _newer_batches(self) -> str:
        """Batches of the same set whose names sort after this file's: their rows are not to be undone by it."""
        if getattr(self._set, "file_order", "arrival") == "arrival":
            return "select null::varchar where false"
        return (
            f"select _batch_id from ops.batches where entity = {literal(self._entity.name)} and "
            f"_source = {literal(self._source.name)} and file_set = {literal(self._arrival.file_set)} "
            f"and _file > {literal(self._arrival.file_name)}"
        )

    def _not_superseded(self, table: str) -> str:
        return (
            f"and not exists (select 1 from raw.superseded as gone where gone.entity = {literal(self._entity.name)} "
            f"and gone._batch_id = {table}._batch_id and gone._line = {table}._line)"
        )

    def _totals(self, table: str, where: str = "true", money: str | None = None) -> tuple[int, Decimal]:
        [row] = self._connection.execute(
            f"select count(*), coalesce(sum({money or self._money}), 0) from {table} where {where}"
        ).fetchall()
        return int(row[0]), Decimal(row[1])

    def _number(self, query: str) -> int:
        row = self._connection.execute(query).fetchone()
        return int(row[0]) if row else 0


def _check_manifest(connection: duckdb.DuckDBPyConnection, arrival: Arrival, batches: Iterable[Batch]) -> None:
    """The sender's own counts and totals, where there are any, must be what was read."""
    if arrival.manifest_rows is not None:
        [(held,)] = connection.execute(
            "select (select count(*) from records) + (select count(*) from unreadable)"
        ).fetchall()
        if held != arrival.manifest_rows:
            raise InputError(
                f"{arrival.file_name}: the manifest says {arrival.manifest_rows} rows, the file holds {held}. Send "
                "both again."
            )
    # The sender's total counts rows whose amount we could not read; with such rows no equality can be asked for.
    amounts = {batch.entity: batch.read_amount for batch in batches if not batch.unreadable_amount_count}
    for name, total in arrival.control_totals:
        if amounts and Decimal(total) not in amounts.values():
            raise InputError(
                f"{arrival.file_name}: the manifest says the total of {name} is {total}, the file's is "
                f"{', '.join(f'{amount} ({entity})' for entity, amount in amounts.items())}. Send both again."
            )


def _record(
    connection: duckdb.DuckDBPyConnection, batch: Batch, arrival: Arrival, feeding_set: FeedingSet, as_of: date
) -> None:
    values: dict[str, Any] = {name: value for name, value in asdict(batch).items() if name not in _NOT_RECORDED}
    values |= {
        "_batch_id": batch.batch_id,
        "_source": batch.source,
        "_file": batch.file_name,
        "sha256": arrival.sha256,
        "_loaded_at": arrival.landed_at,
        "mode": feeding_set.mode,
        "header": json.dumps(arrival.header),
        "as_of": as_of,
        "expected_max_age_days": feeding_set.max_age_days,
    }
    marks = ", ".join("?" for _ in values)
    connection.execute(f"insert into ops.batches ({', '.join(values)}) values ({marks})", list(values.values()))
