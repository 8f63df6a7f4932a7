"""The tables of a source's database as arrivals: all read in one read-only snapshot, each a Parquet content.

What is read is a function of the database and of what earlier days read. A set in mode delta is read from where the
newest arrival of an *earlier* local day left off, less the overlap: so a second run on a day on which nothing changed
finds the same bytes and lands nothing, while the first run of a new day always lands an arrival, if only an empty one,
and so shows that the table was there and was read. An arrival's name holds its instant: none ever corrects another.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from adbc_driver_manager import Error as DriverError
from adbc_driver_postgresql import dbapi  # type: ignore[import-untyped]

from regua.errors import BusyError, InputError
from regua.ingest.arrival import Arrival, Extraction, LandingStore
from regua.ingest.expressions import needed_columns, quoted
from regua.ingest.key_snapshot import key_part
from regua.ingest.mapping import Source, TableSet
from regua.instants import Clock, write_instant

_URI = re.compile(
    r"postgres(?:ql)?://(?:(?P<user>[^:@/?#\s]*)(?::(?P<password>[^:@/?#\s]*))?@)?"
    r"(?P<hosts>[^@/?#\s]*)(?:/(?P<database>[^@/?#\s]*))?(?:\?(?P<options>[^@#\s]*))?"
)
_URI_FORM = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with special characters of the password percent-encoded"
# A server that is gone must not hold the warehouse's lock for libpq's two hours.
_OPTIONS = {
    "application_name": "regua",
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}
# Everything else is read as the text PostgreSQL itself writes, which is exact; above all numeric, and money, which the
# driver gives as a whole number of cents.
_NATIVE_TYPES = ("bool", "int2", "int4", "int8", "float4", "float8", "text", "varchar", "bpchar", "name")
_TIME_TYPES = ("date", "timestamp", "timestamptz")
_ALIAS = "extracted"
_CURSOR_TYPES = ("timestamp", "timestamptz")
# SQLSTATE classes and codes that another time may not give: connection, resources, a conflict on a replica, shutdown.
_PASSING_STATES = ("08", "53", "40", "55P03", "57")
_STATEMENT_CANCELLED = "57014"
_DATA_EXCEPTION = "22"
_LAST_INSTANT = 253_402_300_799_000_000  # 9999-12-31 23:59:59 in microseconds of Unix time
_EPOCH = datetime.fromtimestamp(0, UTC).replace(tzinfo=None)


@dataclass(frozen=True, slots=True)
class _Reading:
    """How one set is read: the SELECT of its rows and of its keys, before bounds and order, and the names they give."""

    set_name: str
    table_set: TableSet
    columns: tuple[str, ...]
    rows_sql: str
    keys_sql: str | None
    cursor: str | None
    cursor_type: str | None
    order_by: str

    @property
    def definition(self) -> str:
        """Changes with anything that makes rows read earlier mean something else now."""
        feeds = {name: feed.model_dump() for name, feed in self.table_set.feeds.items()}
        asked = [self.rows_sql, self.keys_sql, self.cursor, self.table_set.derived, feeds]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class _Content:
    """A finished Parquet file that is not yet among the contents. `newest` is its latest cursor, in µs of Unix time."""

    path: Path
    sha256: str
    row_count: int
    newest: int | None


def land_tables(
    source: Source, store: LandingStore, environ: Mapping[str, str], clock: Clock, latest: datetime
) -> tuple[list[Arrival], int]:
    """Read every table of `source` and record what is new; returns the new arrivals and the number of unchanged tables.

    `latest` is the newest instant already given to an arrival. Nothing is recorded before all tables have been read.
    Raises InputError naming every table that cannot be read and why, and BusyError when the server cannot be had now.
    """
    today = _local_day(source, max(clock(), latest))
    parts: list[Path] = []
    landed: list[Arrival] = []
    unchanged = 0
    try:
        with _snapshot(source, environ) as snapshot:
            readings, faults = snapshot.readings()
            if faults:
                raise InputError("\n".join(faults))
            extractions = [
                (reading, snapshot.extract(reading, store, _read_before(reading, source, store, today), parts))
                for reading in readings
            ]
        for reading, (rows, keys, extraction) in extractions:
            known = [arrival for arrival in store.arrivals() if arrival.file_set == reading.set_name]
            if known and _is_same(known[-1], rows, extraction) and _local_day(source, known[-1].landed_at) == today:
                unchanged += 1
                continue
            latest = max(clock(), latest + timedelta(microseconds=1))
            size = rows.path.stat().st_size
            if keys is not None:
                store.keep(keys.path, keys.sha256)
            store.keep(rows.path, rows.sha256)
            arrival = Arrival(
                source=source.name,
                file_set=reading.set_name,
                file_name=f"{reading.set_name}_{latest:%Y%m%dT%H%M%S%f}Z.parquet",
                sha256=rows.sha256,
                size_bytes=size,
                landed_at=latest,
                header=reading.columns,
                manifest_rows=rows.row_count,
                extraction=extraction,
            )
            store.record(arrival)
            landed.append(arrival)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    return landed, unchanged


def check_tables(source: Source, environ: Mapping[str, str]) -> list[str]:
    """What keeps the tables of `source` from being read, a sentence each; nothing is landed. Empty when all is well."""
    if not source.tables:
        return []
    try:
        with _snapshot(source, environ) as snapshot:
            return snapshot.readings()[1]
    except (InputError, BusyError) as error:
        return str(error).splitlines()


class _Snapshot:
    """A transaction that sees all tables as they were at one instant."""

    def __init__(self, connection: dbapi.Connection, source: Source, place: str) -> None:
        self._connection = connection
        self._source = source
        self._place = place
        self._begin()

    def _begin(self) -> None:
        milliseconds = int(self._source.statement_timeout.total_seconds() * 1000)
        self._run("set transaction isolation level repeatable read, read only", self._place)
        for name, value in {"statement_timeout": str(milliseconds), "timezone": "UTC", "datestyle": "ISO"}.items():
            self._run(f"set local {name} = '{value}'", self._place)
        self._now: datetime = self._fetch_value("select now()", self._place).astimezone(UTC).replace(tzinfo=None)

    def readings(self) -> tuple[list[_Reading], list[str]]:
        """How each set is read, and everything that stands against it."""
        readings, faults = [], []
        for set_name, table_set in self._source.tables.items():
            try:
                readings.append(self._reading(set_name, table_set))
            except InputError as error:
                faults.append(str(error))
                # The server answers nothing more in a transaction that has met an error.
                self._connection.rollback()
                self._begin()
        return readings, faults

    def extract(
        self, reading: _Reading, store: LandingStore, read_before: datetime | None, parts: list[Path]
    ) -> tuple[_Content, _Content | None, Extraction]:
        """Write the rows, and the keys where they are wanted, to files appended to `parts` for the caller to remove."""
        shown = self._shown(reading.set_name, reading.table_set)
        where = ""
        if reading.cursor is not None and read_before is not None:
            start = write_instant(_less(read_before, reading.table_set.overlap))
            zone = "+00" if reading.cursor_type == "timestamptz" else ""
            where = f" where {_ALIAS}.{quoted(reading.cursor)} >= {reading.cursor_type} '{start}{zone}'"
        sql = f"{reading.rows_sql}{where} order by {reading.order_by}"
        rows = self._write(sql, store, f"{reading.set_name}.rows", reading.cursor, shown, parts)
        keys = None
        if reading.keys_sql is not None:
            keys = self._write(reading.keys_sql, store, f"{reading.set_name}.keys", None, shown, parts)
        # A row dated in the future must not keep the rows of the days until then from being read.
        reached = read_before if rows.newest is None else min(_instant(rows.newest), self._now)
        return rows, keys, Extraction(reading.definition, read_before, reached, keys.sha256 if keys else None)

    def _reading(self, set_name: str, table_set: TableSet) -> _Reading:
        shown = self._shown(set_name, table_set)
        relation = _relation(table_set)
        types = self._column_types(relation, shown)
        needed = needed_columns(table_set)
        if table_set.cursor is not None:
            needed.setdefault(table_set.cursor, "the cursor")
        actual = _actual_names(needed, types, shown)
        cursor = actual[table_set.cursor] if table_set.cursor is not None else None
        if cursor is not None:
            self._check_cursor(relation, cursor, types[cursor], shown)
        columns = tuple(dict.fromkeys(actual.values()))
        keys_sql = None
        if table_set.lists_keys:
            key_columns = tuple(dict.fromkeys(actual[name] for name in needed_columns(key_part(table_set))))
            keys_sql = f"{_select(key_columns, types, relation)} order by {_order(key_columns, types)}"
        telling = dict.fromkeys(actual[name] for name in needed_columns(key_part(table_set, with_where=False)))
        return _Reading(
            set_name=set_name,
            table_set=table_set,
            columns=columns,
            rows_sql=_select(columns, types, relation),
            keys_sql=keys_sql,
            cursor=cursor,
            cursor_type=types[cursor] if cursor is not None else None,
            order_by=_order(tuple(telling) or columns, types),
        )

    def _column_types(self, relation: str, shown: str) -> dict[str, str]:
        """PostgreSQL's name of each column's type, by column."""
        with self._told(shown), closing(self._connection.cursor()) as cursor:
            schema = cursor.adbc_execute_schema(f"select * from {relation}")
        return {field.name: (field.metadata or {}).get(b"POSTGRESQL:type", b"").decode() for field in schema}

    def _check_cursor(self, relation: str, cursor: str, cursor_type: str, shown: str) -> None:
        if cursor_type not in _CURSOR_TYPES:
            raise InputError(
                f"{shown}: the cursor {cursor!r} is of type {cursor_type}; it must be a timestamp, set whenever a "
                "row changes. Without one, use `mode: snapshot`."
            )
        column = quoted(cursor)
        timeless = f"select count(*) from {relation} where {column} is null or not isfinite({column})"
        if count := self._fetch_value(timeless, shown):
            raise InputError(
                f"{shown}: {count} rows have no time in the cursor {cursor!r}: a change of them would never be seen. "
                f"Fill it in the database, use a `query` with coalesce({cursor}, created_at) or the like, or "
                "`mode: snapshot`."
            )

    def _write(
        self, sql: str, store: LandingStore, name: str, cursor: str | None, shown: str, parts: list[Path]
    ) -> _Content:
        path = store.content_path("incoming").with_name(f".{self._source.name}.{name}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        parts.append(path)
        newest: int | None = None
        count = 0
        with closing(self._connection.cursor()) as reader, path.open("wb") as file:
            with self._told(shown):
                reader.execute(sql)
                batches = reader.fetch_record_batch()
            # Without Arrow's own schema in it, the file depends on nothing but the rows and the library's version.
            with pq.ParquetWriter(file, batches.schema, compression="zstd", store_schema=False) as writer:
                while (batch := self._next_batch(batches, shown)) is not None:
                    writer.write_batch(batch)
                    count += batch.num_rows
                    if cursor is not None and batch.num_rows:
                        last = pc.max(batch.column(cursor)).cast(pa.int64()).as_py()
                        newest = last if newest is None else max(newest, last)
            file.flush()
            os.fsync(file.fileno())
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return _Content(path, sha256, count, newest)

    def _next_batch(self, batches: pa.RecordBatchReader, shown: str) -> pa.RecordBatch | None:
        try:
            return batches.read_next_batch()
        except StopIteration:
            return None
        except (OSError, pa.ArrowException) as error:
            # Once rows flow, the driver passes the server's message on without its code; it may quote a value.
            if "statement timeout" in str(error):
                raise self._timed_out(shown) from None
            raise BusyError(
                f"{shown}: the server broke off while rows were read (its own log says why). Nothing was landed; try "
                "again later, and correct `query` if it is one of its values that cannot be computed."
            ) from None

    def _run(self, statement: str, shown: str) -> None:
        with self._told(shown), closing(self._connection.cursor()) as cursor:
            cursor.execute(statement)

    def _fetch_value(self, query: str, shown: str) -> Any:
        with self._told(shown), closing(self._connection.cursor()) as cursor:
            cursor.execute(query)
            return cursor.fetchall()[0][0]

    @contextmanager
    def _told(self, shown: str) -> Iterator[None]:
        """Turn the driver's errors into ours. The chain is cut: the driver's text may hold a row's values."""
        try:
            yield
        except DriverError as error:
            state = error.sqlstate or ""
            if state == _STATEMENT_CANCELLED:
                raise self._timed_out(shown) from None
            if not state or state.startswith(_PASSING_STATES):
                named = f" (SQLSTATE {state})" if state else ""
                raise BusyError(f"{shown}: the server cannot be read now{named}. Try again later.") from None
            reason = "one of the values cannot be computed as the query says"
            if not state.startswith(_DATA_EXCEPTION):
                # The names are bytes, whatever the driver's own annotations say.
                told = [value for name, value in error.details if "PG_DIAG_MESSAGE_PRIMARY" in str(name)]
                reason = told[0].decode(errors="replace") if told else "refused"
            raise InputError(
                f"{shown}: {reason} (SQLSTATE {state}). Correct the mapping, or have the user granted what is missing."
            ) from None

    def _timed_out(self, shown: str) -> BusyError:
        seconds = self._source.statement_timeout.total_seconds()
        return BusyError(
            f"{shown}: not read within {seconds:g} s, so the server stopped. Try again when it has less to do, have an "
            "index made for what is read, or raise `statement_timeout` in the mapping."
        )

    def _shown(self, set_name: str, table_set: TableSet) -> str:
        what = f"table {table_set.table}" if table_set.table else "query"
        return f"{self._source.name}.{set_name} ({what} in {self._place})"


@contextmanager
def _snapshot(source: Source, environ: Mapping[str, str]) -> Iterator[_Snapshot]:
    uri = environ.get(source.connection or "", "")
    if not uri:
        raise InputError(
            f"Source {source.name}: the environment variable {source.connection} is not set; it must hold {_URI_FORM}."
        )
    # What is no such URI is not given to libpq, which would repeat a misplaced piece of the password in its message.
    match = _URI.fullmatch(uri)
    if match is None:
        raise InputError(f"Source {source.name}: {source.connection} does not hold a URI of the form {_URI_FORM}.")
    given = parse_qs(match["options"] or "")
    host = match["hosts"] or given.get("host", ["localhost"])[0]
    place = f"{match['database'] or 'the default database'} on {host}"
    missing = "&".join(f"{name}={value}" for name, value in _OPTIONS.items() if name not in given)
    uri = f"{uri}{'&' if given else '' if uri.endswith('?') else '?'}{missing}"
    secrets = {match["password"] or "", *given.get("password", [])}
    try:
        connection = dbapi.connect(uri)
    except DriverError as error:
        raise _unreachable(source, place, str(error), secrets) from None
    with closing(connection):
        yield _Snapshot(connection, source, place)
        connection.rollback()


def _unreachable(source: Source, place: str, told: str, secrets: set[str]) -> InputError | BusyError:
    told = " ".join(told.removeprefix("IO: [libpq] Failed to connect: ").split())
    for secret in sorted(filter(None, secrets | {unquote(secret) for secret in secrets}), key=len, reverse=True):
        told = told.replace(secret, "***")
    # FATAL is the server's own answer; without it nobody answered. One that starts, stops or is full will have another.
    later = "starting up|shutting down|in recovery mode|too many|remaining connection"
    answered = "FATAL" in told and not re.search(later, told)
    message = f"Source {source.name}: cannot connect to {place} (URI in {source.connection}): {told}"
    if answered:
        return InputError(f"{message}. Correct {source.connection}, or what the server lets this user do.")
    return BusyError(f"{message}. Is the host right, the server up, the network open? Nothing was landed; try again.")


def _relation(table_set: TableSet) -> str:
    if table_set.table is not None:
        return f"{'.'.join(map(quoted, table_set.table.split('.')))} as {_ALIAS}"
    # The line break ends a comment that the query may end in.
    return f"({table_set.query}\n) as {_ALIAS}"


def _select(columns: Sequence[str], types: Mapping[str, str], relation: str) -> str:
    return f"select {', '.join(_read_as(quoted(name), types[name]) for name in columns)} from {relation}"


def _order(columns: Sequence[str], types: Mapping[str, str]) -> str:
    """By the columns themselves, so that an index serves; some types, like json, have an order only as text."""
    ordered = (*_NATIVE_TYPES, *_TIME_TYPES, "numeric", "uuid")
    return ", ".join(f"{_ALIAS}.{quoted(name)}{'' if types[name] in ordered else '::text'}" for name in columns)


def _read_as(column: str, type_name: str) -> str:
    if type_name in _NATIVE_TYPES:
        return column
    if type_name in _TIME_TYPES:
        # "infinity" has no counterpart beyond PostgreSQL: the driver makes some day of it.
        return f"case when isfinite({column}) then {column} end as {column}"
    return f"{column}::{'numeric::' if type_name == 'money' else ''}text as {column}"


def _actual_names(needed: Mapping[str, str], types: Mapping[str, str], shown: str) -> dict[str, str]:
    """The table's own spelling of each needed column, which DuckDB takes without regard to case."""
    folded = {name.casefold(): name for name in types}
    actual, faults = {}, []
    for name, use in needed.items():
        found = name if name in types else folded.get(name.casefold())
        if found is not None:
            actual[name] = found
            continue
        close = get_close_matches(name, types, n=1, cutoff=0.5)
        hint = f"; was it renamed to {close[0]!r}?" if close else ""
        faults.append(f"{shown}: there is no column {name!r}, needed for {use}{hint}")
    if faults:
        raise InputError("\n".join([*faults, f"{shown}: the columns are {', '.join(types)}."]))
    return actual


def _read_before(reading: _Reading, source: Source, store: LandingStore, today: date) -> datetime | None:
    """The cursor up to which all rows were read on earlier days; None when the table must be read from the beginning.

    An arrival counts when what came before it is there too: after one is discarded, its rows are read again.
    """
    reached: datetime | None = None
    for arrival in store.arrivals():
        extraction = arrival.extraction
        if arrival.file_set != reading.set_name or arrival.discarded or extraction is None or reading.cursor is None:
            continue
        if extraction.definition != reading.definition or _local_day(source, arrival.landed_at) >= today:
            continue
        follows = extraction.cursor_from is None or (reached is not None and extraction.cursor_from <= reached)
        if follows and extraction.cursor_to is not None:
            reached = max(filter(None, (reached, extraction.cursor_to)))
    return reached


def _is_same(arrival: Arrival, rows: _Content, extraction: Extraction) -> bool:
    earlier = arrival.extraction
    return (
        earlier is not None
        and arrival.sha256 == rows.sha256
        # Between two runs of a day only the cap by the server's clock can move this bound, and it says nothing.
        and replace(earlier, cursor_to=None) == replace(extraction, cursor_to=None)
    )


def _local_day(source: Source, instant: datetime) -> date:
    return instant.replace(tzinfo=UTC).astimezone(ZoneInfo(source.timezone)).date()


def _less(instant: datetime, span: timedelta) -> datetime:
    return instant - span if instant - _EPOCH > span else _EPOCH


def _instant(microseconds: int) -> datetime:
    """Of Unix time; years beyond those of Python end up at their edge."""
    return _EPOCH + timedelta(microseconds=max(0, min(microseconds, _LAST_INSTANT)))
