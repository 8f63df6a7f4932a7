"""From one landed file to two temporary tables: `records` (all text, by header) and `unreadable` (what is no record).

    records      _line BIGINT, then the file's columns, VARCHAR (Parquet keeps its own types)
    unreadable   _line BIGINT, reason_code, message, record

`_line` is where the record begins in the file: the physical line of a text file (the header is line 1), the row of a
Parquet file counted from 1.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from regua.errors import InputError
from regua.ingest.expressions import literal, needed_columns, quoted
from regua.ingest.inspection import check_header, decoded_chunks, is_packed
from regua.ingest.mapping import FileSet

_MAX_RECORD_BYTES = 1 << 20
_REJECTIONS = {
    "MISSING COLUMNS": ("wrong_field_count", "too few fields"),
    "TOO MANY COLUMNS": ("wrong_field_count", "too many fields"),
    "UNQUOTED VALUE": ("broken_quotes", "a quote is opened and never closed, or closed too early"),
    "LINE SIZE OVER MAXIMUM": ("record_too_long", f"longer than {_MAX_RECORD_BYTES} bytes"),
}
_BATCH_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class LandedFile:
    """A file ready to be read: its content, what it is called in messages, and how it was counted."""

    path: Path
    shown_name: str
    file_set: FileSet
    header: tuple[str, ...]
    line_count: int


def read_records(connection: duckdb.DuckDBPyConnection, file: LandedFile, work_dir: Path) -> tuple[str, ...]:
    """Make the temporary tables `records` and `unreadable` anew; returns the file's columns.

    Raises InputError when the file cannot be taken apart at all, or lacks a column.
    """
    connection.execute("drop table if exists records")
    connection.execute(
        "create or replace temp table unreadable "
        "(_line bigint, reason_code varchar, message varchar, record varchar)"
    )
    if file.file_set.format == "parquet":
        return _read_parquet(connection, file)
    plain = _plain_text(file, work_dir)
    try:
        if file.file_set.format == "jsonl":
            return _read_json_lines(connection, plain, file)
        return _read_csv(connection, plain, file)
    finally:
        if plain != file.path:
            plain.unlink()


def _plain_text(file: LandedFile, work_dir: Path) -> Path:
    """UTF-8 without packing or byte-order mark, which is all DuckDB reads; the content itself where it is that."""
    with file.path.open("rb") as content:
        has_mark = content.read(3) == b"\xef\xbb\xbf"
    if file.file_set.encoding in ("utf-8", "ascii") and not has_mark and not is_packed(file.path):
        return file.path
    work_dir.mkdir(parents=True, exist_ok=True)
    plain = work_dir / f"{file.path.name}.txt"
    with plain.open("w", encoding="utf-8", newline="") as output:
        for text in decoded_chunks(file.path, file.shown_name, file.file_set):
            output.write(text)
    return plain


def _read_csv(connection: duckdb.DuckDBPyConnection, plain: Path, file: LandedFile) -> tuple[str, ...]:
    dialect = file.file_set
    columns = "{" + ", ".join(f"{literal(name)}: 'VARCHAR'" for name in file.header) + "}"
    connection.execute("drop table if exists reject_errors; drop table if exists reject_scans")
    try:
        connection.execute(
            f"create temp table records as select * from read_csv({literal(str(plain))}, columns = {columns}, "
            f"delim = {literal(dialect.delimiter)}, quote = {literal(dialect.quote)}, escape = {literal(dialect.quote)}, "
            f"header = true, auto_detect = false, strict_mode = true, null_padding = false, nullstr = '', "
            f"max_line_size = {_MAX_RECORD_BYTES}, ignore_errors = true, store_rejects = true, rejects_limit = 0)"
        )
    except duckdb.InvalidInputException as error:
        raise InputError(f"{file.shown_name}: cannot be read as CSV: {_first_line(error)}") from error
    rejected = connection.execute(
        "select line, min_by(error_type, column_idx)::varchar, any_value(csv_line) from reject_errors group by line order by line"
    ).fetchall()
    read = _count(connection, "records")
    if read + len(rejected) + 1 != file.line_count:
        # Blank lines, or line breaks inside quotes: records and lines no longer run together, so every record must
        # be counted where it begins.
        _read_csv_slowly(connection, plain, file)
        return file.header
    connection.executemany(
        "insert into unreadable values (?, ?, ?, ?)",
        [(line, *_REJECTIONS.get(kind, ("unreadable_record", kind.lower())), text) for line, kind, text in rejected],
    ) if rejected else None
    _number_lines(connection, [line for line, _, _ in rejected])
    return file.header


def _number_lines(connection: duckdb.DuckDBPyConnection, rejected_lines: Sequence[int]) -> None:
    """Give each record its line: its place among the good ones, moved down by the header and the bad lines above."""
    connection.execute("alter table records rename to good_records")
    if not rejected_lines:
        connection.execute("create temp view numbered as select rowid + 2 as _line, * from good_records")
    else:
        # After the k-th bad line (counted from 0) the good records are moved down by one more.
        moved = [(line - 2 - k, k + 1) for k, line in enumerate(rejected_lines)]
        connection.execute("create or replace temp table moved (good_before bigint, down bigint)")
        connection.executemany("insert into moved values (?, ?)", moved)
        connection.execute(
            "create temp view numbered as select place + 2 + coalesce(down, 0) as _line, * exclude (place, down, good_before) "
            "from (select rowid as place, * from good_records) as placed "
            "asof left join (select good_before, max(down) as down from moved group by good_before) as moves "
            "on placed.place >= moves.good_before"
        )
    connection.execute("create temp table records as select * from numbered")
    connection.execute("drop view numbered; drop table good_records")


def _read_csv_slowly(connection: duckdb.DuckDBPyConnection, plain: Path, file: LandedFile) -> None:
    connection.execute("drop table records")
    names = ", ".join(f"{quoted(name)} varchar" for name in file.header)
    connection.execute(f"create temp table records (_line bigint, {names})")
    good: list[list[str | int | None]] = []
    bad: list[tuple[int, str, str, str]] = []
    for line, fields, fault in _csv_records(plain, file.file_set):
        if fault is None and len(fields) != len(file.header):
            fault = ("wrong_field_count", f"{len(fields)} fields instead of {len(file.header)}")
        if fault is None:
            good.append([line, *(field or None for field in fields)])
        else:
            bad.append((line, *fault, file.file_set.delimiter.join(fields)))
        if len(good) >= _BATCH_ROWS:
            _append(connection, good, file.header)
            good.clear()
    _append(connection, good, file.header)
    if bad:
        connection.executemany("insert into unreadable values (?, ?, ?, ?)", bad)


def _csv_records(plain: Path, dialect: FileSet) -> Iterator[tuple[int, list[str], tuple[str, str] | None]]:
    with plain.open(encoding="utf-8", newline="") as lines:
        reader = csv.reader(lines, delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True)
        next(reader)
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield line, [], ("broken_quotes", str(error))
                continue
            if fields:
                yield line, fields, None


def _append(
    connection: duckdb.DuckDBPyConnection, rows: Sequence[Sequence[str | int | None]], header: Sequence[str]
) -> None:
    if not rows:
        return
    columns = list(zip(*rows, strict=True))
    arrays = [pa.array(columns[0], pa.int64()), *(pa.array(column, pa.string()) for column in columns[1:])]
    batch = pa.Table.from_arrays(arrays, names=["_line", *header])
    connection.register("batch", batch)
    connection.execute("insert into records select * from batch")
    connection.unregister("batch")


def _read_json_lines(connection: duckdb.DuckDBPyConnection, plain: Path, file: LandedFile) -> tuple[str, ...]:
    # Read as lines, so that a broken one is known by its number. A control character cannot stand in JSON unescaped,
    # so none of them ever splits a good line.
    connection.execute(
        f"create or replace temp table lines as select * from read_csv({literal(str(plain))}, "
        "columns = {'record': 'VARCHAR'}, delim = '\x1f', quote = '', escape = '', header = false, auto_detect = false, "
        f"strict_mode = false, null_padding = true, max_line_size = {_MAX_RECORD_BYTES})"
    )
    if (count := _count(connection, "lines")) != file.line_count:
        raise InputError(
            f"{file.shown_name}: {file.line_count} lines were counted and {count} could be read: "
            "JSON Lines needs one object on each line, none blank."
        )
    connection.execute(
        "insert into unreadable select rowid + 1, 'not_json', 'the line is not one JSON object', record from lines "
        "where record is null or not json_valid(record) or json_type(record) <> 'OBJECT'"
    )
    found = connection.execute(
        "select distinct unnest(json_keys(record)) as name from lines "
        "where json_valid(record) and json_type(record) = 'OBJECT' order by name"
    ).fetchall()
    names = tuple(name for (name,) in found)
    needed = needed_columns(file.file_set)
    if names:
        check_header(names, needed, file.shown_name)
    wanted = [name for name in names if name in needed] or list(needed)
    fields = ", ".join(f"record ->> {literal(_json_pointer(name))} as {quoted(name)}" for name in wanted)
    connection.execute(
        f"create temp table records as select rowid + 1 as _line, {fields} from lines "
        "where json_valid(record) and json_type(record) = 'OBJECT'"
    )
    connection.execute("drop table lines")
    return tuple(wanted)


def _read_parquet(connection: duckdb.DuckDBPyConnection, file: LandedFile) -> tuple[str, ...]:
    source = f"read_parquet({literal(str(file.path))}, file_row_number = true)"
    try:
        described = connection.execute(f"describe select * exclude (file_row_number) from {source}").fetchall()
        names = tuple(name for name, *_ in described)
        check_header(names, needed_columns(file.file_set), file.shown_name)
        connection.execute(
            f"create temp table records as select file_row_number + 1 as _line, * exclude (file_row_number) from {source}"
        )
    except (duckdb.IOException, duckdb.InvalidInputException, duckdb.SerializationException) as error:
        raise InputError(f"{file.shown_name}: cannot be read as Parquet: {_first_line(error)} Send it again.") from error
    return names


def _json_pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    row = connection.execute(f"select count(*) from {table}").fetchone()
    return int(row[0]) if row else 0


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
