"""From one landed file to two temporary tables: `records` (all text, by header) and `unreadable` (what is no record).

    records      _line BIGINT, then the file's columns, VARCHAR (Parquet keeps its own types)
    unreadable   _line BIGINT, reason_code, message, record

`_line` is where the record begins in the file: the physical line of a text file (the header is line 1), the row of a
Parquet file counted from 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
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
    "LINE BREAK": ("broken_line", "a carriage return stands inside a field that is not quoted"),
}
_UNREADABLE_COLUMNS = ("_line", "reason_code", "message", "record")
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
        "create or replace temp table unreadable (_line bigint, reason_code varchar, message varchar, record varchar)"
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
    if not _is_unambiguous(plain, dialect.quote):
        # DuckDB would take each carriage return for the end of a line, or give up without a line number; and it makes
        # one field of `"a" "b"`.
        _read_csv_slowly(connection, plain, file)
        return file.header
    try:
        connection.execute(
            f"create temp table records as select * from read_csv({literal(str(plain))}, columns = {columns}, "
            f"delim = {literal(dialect.delimiter)}, quote = {literal(dialect.quote)}, "
            f"escape = {literal(dialect.quote)}, "
            f"header = true, auto_detect = false, strict_mode = true, null_padding = false, nullstr = '', "
            f"max_line_size = {_MAX_RECORD_BYTES}, ignore_errors = true, store_rejects = true, rejects_limit = 0)"
        )
    except duckdb.InvalidInputException as error:
        raise InputError(f"{file.shown_name}: cannot be read as CSV: {_first_line(error)}") from error
    connection.execute(
        "create or replace temp table rejected as select line, min_by(error_type, coalesce(column_idx, 0))::varchar "
        "as kind, any_value(csv_line) as record from reject_errors group by line"
    )
    broken = _count(connection, "reject_errors where error_type = 'UNQUOTED VALUE'")
    if broken or _count(connection, "records") + _count(connection, "rejected") + 1 != file.line_count:
        # Blank lines, or line breaks inside quotes: records and lines no longer run together, so every record must
        # be counted where it begins. And behind a broken quote DuckDB reads on in the middle of the line.
        connection.execute("drop table records")
        _read_csv_slowly(connection, plain, file)
        return file.header
    reasons = ", ".join(
        f"({literal(kind)}, {literal(code)}, {literal(text)})" for kind, (code, text) in _REJECTIONS.items()
    )
    connection.execute(
        "insert into unreadable "
        "select line, coalesce(reason_code, 'unreadable_record'), coalesce(message, lower(kind)), record "
        f"from rejected left join (values {reasons}) as reasons (kind, reason_code, message) using (kind) order by line"
    )
    _number_lines(connection)
    return file.header


def _is_unambiguous(plain: Path, quote: str) -> bool:
    """Whether all lines end alike and nowhere stand two quotes with only spaces between them."""
    spaced_quotes = re.compile(re.escape(quote.encode()) + b" +" + re.escape(quote.encode()))
    returns = feeds = pairs = 0
    last = b""
    with plain.open("rb") as content:
        while chunk := content.read(1 << 22):
            returns += chunk.count(b"\r")
            feeds += chunk.count(b"\n")
            pairs += chunk.count(b"\r\n") + (last == b"\r" and chunk.startswith(b"\n"))
            last = chunk[-1:]
            if quote.encode() + b" " in chunk and spaced_quotes.search(chunk):
                return False
    return returns == 0 or returns == feeds == pairs


def _number_lines(connection: duckdb.DuckDBPyConnection) -> None:
    """Give each record its line: its place among the good ones, moved down by the header and the bad lines above."""
    connection.execute("alter table records rename to good_records")
    if not _count(connection, "rejected"):
        connection.execute("create temp table records as select rowid + 2 as _line, * from good_records")
    else:
        # After the k-th bad line (counted from 0) the good records are moved down by one more.
        connection.execute(
            "create temp table records as "
            "with bad as (select line, row_number() over (order by line) - 1 as k from rejected), "
            "moves as (select line - 2 - k as good_before, max(k + 1) as down from bad group by good_before) "
            "select place + 2 + coalesce(down, 0) as _line, * exclude (place, down, good_before) "
            "from (select rowid as place, * from good_records) as placed "
            "asof left join moves on placed.place >= moves.good_before"
        )
    connection.execute("drop table good_records")


def _read_csv_slowly(connection: duckdb.DuckDBPyConnection, plain: Path, file: LandedFile) -> None:
    columns = ("_line", *file.header)
    names = ", ".join(f"{quoted(name)} varchar" for name in file.header)
    connection.execute(f"create temp table records (_line bigint, {names})")
    good: list[list[str | int | None]] = []
    bad: list[list[str | int | None]] = []
    with plain.open(encoding="utf-8", newline="\n") as lines:
        for first_line, texts, fields, fault in csv_records(lines, file.file_set):
            while len(fields) > len(file.header) and not fields[-1]:
                fields.pop()
            if fault is None and len(fields) == len(file.header):
                good.append([first_line, *(field or None for field in fields)])
            elif fault is None:
                kind = "MISSING COLUMNS" if len(fields) < len(file.header) else "TOO MANY COLUMNS"
                bad.append([first_line, *_REJECTIONS[kind], "".join(texts)])
            else:
                # How many records these lines are nobody can tell: each line counts as one.
                bad += [[line, *_REJECTIONS[fault], text] for line, text in enumerate(texts, start=first_line)]
            if len(good) + len(bad) >= _BATCH_ROWS:
                _append(connection, "records", columns, good)
                _append(connection, "unreadable", _UNREADABLE_COLUMNS, bad)
                good, bad = [], []
    _append(connection, "records", columns, good)
    _append(connection, "unreadable", _UNREADABLE_COLUMNS, bad)


def csv_records(lines: Iterable[str], dialect: FileSet) -> Iterator[tuple[int, list[str], list[str], str | None]]:
    """(first line, text line by line, fields, kind of fault) of each record below the header, as DuckDB would read it.

    A space before a quoted field and spaces behind it are no part of it, blank lines are no records, and empty fields
    beyond the last column do not matter. Python's own csv module holds otherwise, and no row may be read differently
    because of another one.
    """
    quote, mark = dialect.quote, dialect.delimiter
    numbered = enumerate(lines, start=1)
    next(numbered, None)
    for first_line, line in numbered:
        texts, content = [line], line.rstrip("\r\n")
        if not content:
            continue
        fields: list[str] = []
        fault = None
        place = 0
        while place <= len(content) and fault is None:
            opening = place + (mark != " " and content.startswith(f" {quote}", place))
            if not content.startswith(quote, opening):
                end = content.find(mark, place)
                field = content[place:] if end < 0 else content[place:end]
                fault = "LINE BREAK" if "\r" in field else None
                fields.append(field)
                place += len(field) + 1
                continue
            pieces: list[str] = []
            place, size = opening + 1, 0
            while (closing := _closing_quote(content, place, quote)) is None and fault is None:
                pieces.append(texts[-1][place:])
                size += len(pieces[-1])
                if size > _MAX_RECORD_BYTES:
                    fault = "LINE SIZE OVER MAXIMUM"
                elif (following := next(numbered, None)) is None:
                    fault = "UNQUOTED VALUE"
                else:
                    texts.append(following[1])
                    content, place = following[1].rstrip("\r\n"), 0
            if closing is None:
                continue
            fields.append("".join([*pieces, content[place:closing]]).replace(quote + quote, quote))
            place = closing + 1
            while mark != " " and content.startswith(" ", place):
                place += 1
            if place < len(content) and not content.startswith(mark, place):
                fault = "UNQUOTED VALUE"
            place += 1
        yield first_line, texts, fields, fault


def _closing_quote(content: str, place: int, quote: str) -> int | None:
    while (found := content.find(quote, place)) >= 0:
        if not content.startswith(quote, found + 1):
            return found
        place = found + 2
    return None


def _append(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str | int | None]],
) -> None:
    if not rows:
        return
    lines, *texts = zip(*rows, strict=True)
    arrays = [pa.array(lines, pa.int64()), *(pa.array(column, pa.string()) for column in texts)]
    batch = pa.Table.from_arrays(arrays, names=list(columns))
    connection.register("batch", batch)
    connection.execute(f"insert into {table} select * from batch")
    connection.unregister("batch")


def _read_json_lines(connection: duckdb.DuckDBPyConnection, plain: Path, file: LandedFile) -> tuple[str, ...]:
    # Read as lines, so that a broken one is known by its number. A control character cannot stand in JSON unescaped,
    # so none of them ever splits a good line.
    try:
        connection.execute(
            f"create or replace temp table lines as select * from read_csv({literal(str(plain))}, "
            "columns = {'record': 'VARCHAR'}, delim = '\x1f', quote = '', escape = '', header = false, "
            f"auto_detect = false, strict_mode = false, null_padding = true, max_line_size = {_MAX_RECORD_BYTES})"
        )
    except duckdb.InvalidInputException as error:
        # What DuckDB says quotes the line.
        place = line.group() if (line := re.search(r"Line: [0-9]+", str(error))) else "one of its lines"
        raise InputError(
            f"{file.shown_name}: {place.lower().replace(':', '')}: longer than {_MAX_RECORD_BYTES} bytes, or no text "
            "that can be taken apart into lines. Send it again."
        ) from None
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
        check_header(names, needed, file.shown_name, place="any line")
    folded = {name.casefold() for name in needed}
    wanted = [name for name in names if name.casefold() in folded] or list(needed)
    if repeated := {name for name in wanted if [other.casefold() for other in wanted].count(name.casefold()) > 1}:
        raise InputError(f"{file.shown_name}: the keys {', '.join(sorted(repeated))} differ in capital letters only.")
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
        if "_line" in map(str.casefold, names):
            raise InputError(f"{file.shown_name}: the column '_line' means the row's own line here; rename it.")
        check_header(names, needed_columns(file.file_set), file.shown_name, place="the file")
        connection.execute(
            "create temp table records as select file_row_number + 1 as _line, * exclude (file_row_number) from "
            f"{source}"
        )
    except duckdb.BinderException as error:
        raise InputError(f"{file.shown_name}: its columns cannot be read: {_first_line(error)}") from error
    except (duckdb.OutOfMemoryException, duckdb.InterruptException):
        raise
    except duckdb.Error as error:
        # A damaged file is told by any kind of error, the bare one included.
        raise InputError(
            f"{file.shown_name}: cannot be read as Parquet: {_first_line(error)} Send it again."
        ) from error
    return names


def _json_pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    row = connection.execute(f"select count(*) from {table}").fetchone()
    return int(row[0]) if row else 0


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
