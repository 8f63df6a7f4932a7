"""`regua source check`: tries a mapping on the files in the inbox and says, file and column, what is wrong.

Nothing is landed or loaded; the same inspection, reading and conversion run as at night, in memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import duckdb

from regua.contract.entities import load_contract
from regua.errors import InputError
from regua.ingest.conversion import create_typed, describe_fault
from regua.ingest.expressions import needed_columns, quoted
from regua.ingest.inspection import check_header, inspect_file
from regua.ingest.landing import inbox_folder, matching_files
from regua.ingest.mapping import FileSet, Source
from regua.ingest.reading import LandedFile, read_records
from regua.warehouse.store import confine

Severity = Literal["fault", "quarantine", "note"]
_EXAMPLES = 3
_DISTINCT_LIMIT = 50


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the answer: what stops the night (`fault`), goes to quarantine, or helps a person (`note`)."""

    file_name: str
    text: str
    severity: Severity


def check_source(source: Source, inbox: Path, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Findings on every file and table of every set, in order, as they are found; `environ` holds database URIs."""
    if source.tables:
        from regua.ingest.table_extraction import check_tables  # A second of import that files need not pay.

        faults = check_tables(source, environ)
        yield from (Finding(source.name, fault, "fault") for fault in faults)
        if not faults:
            yield Finding(source.name, f"tables {', '.join(source.tables)} can be read", "note")
    for set_name, file_set in source.files.items():
        refusals: list[str] = []
        paths = matching_files(inbox, source, file_set, refusals)
        yield from (Finding(set_name, refusal, "fault") for refusal in refusals)
        if not paths:
            folder = inbox_folder(inbox, source)
            yield Finding(
                set_name, f"no file like {file_set.glob!r} in {folder}", "note" if file_set.optional else "fault"
            )
        for path in paths:
            try:
                yield from _check_file(source, file_set, path)
            except InputError as error:
                yield Finding(path.name, str(error), "fault")


def _check_file(source: Source, file_set: FileSet, path: Path) -> Iterator[Finding]:
    inspection = inspect_file(path, path.name, file_set)
    if file_set.format == "csv":
        check_header(inspection.header, needed_columns(file_set), path.name)
    with tempfile.TemporaryDirectory() as work, duckdb.connect() as connection:
        confine(connection, [path.parent, Path(work)])
        # The file's own name may hold wildcards, which DuckDB would expand: it is read under a plain one.
        plain = Path(work) / "content"
        plain.symlink_to(path.absolute())
        landed = LandedFile(plain, path.name, file_set, inspection.header, inspection.line_count)
        columns = read_records(connection, landed, Path(work))
        unused = [column for column in columns if column not in needed_columns(file_set)]
        if unused:
            yield Finding(path.name, f"columns not used by the mapping: {', '.join(unused)}", "note")
        for line, reason, message, count in connection.execute(
            "select min(_line), reason_code, message, count(*) from unreadable group by reason_code, message order by 1"
        ).fetchall():
            yield Finding(path.name, f"line {line}: {reason}: {message} ({count} such lines)", "quarantine")
        for entity_name in file_set.feeds:
            yield from _check_feed(connection, source, file_set, entity_name, path.name)


def _check_feed(
    connection: duckdb.DuckDBPyConnection, source: Source, file_set: FileSet, entity_name: str, file_name: str
) -> Iterator[Finding]:
    entity = load_contract()[entity_name]
    create_typed(connection, source, file_set, entity, file_name=file_name)
    faults = connection.execute(
        f"select _fault, count(*), list(_line order by _line)[1:{_EXAMPLES}] from typed where _fault is not null "
        "group by _fault order by 2 desc"
    ).fetchall()
    total, good = _pair(connection, "select count(*), count(*) filter (where _fault is null) from typed")
    for fault, count, lines in faults:
        reason, _, message = describe_fault(fault, file_set.feeds[entity_name])
        places = ", ".join(str(line) for line in lines)
        yield Finding(
            file_name, f"{entity_name}: {reason}: {message}: {count} rows, first in lines {places}", "quarantine"
        )
    key = quoted(entity.key)
    repeated, _ = _pair(
        connection,
        f"select count(*), 0 from (select {key} from typed where _fault is null group by {key} having count(*) > 1)",
    )
    if repeated:
        yield Finding(file_name, f"{entity_name}: {repeated} values of {entity.key} stand more than once", "quarantine")
    unreadable, _ = _pair(connection, "select count(*), 0 from unreadable")
    bad = total - good + unreadable
    share = f"{entity_name}: {good} of {total + unreadable} rows can be used"
    if bad * 100 > (total + unreadable) * file_set.quarantine_limit_pct:
        bad_pct = bad * 100 / (total + unreadable)
        limit = f"{bad_pct:.1f} % cannot, above quarantine_limit_pct: {file_set.quarantine_limit_pct:g}"
        yield Finding(file_name, f"{share}; {limit}", "fault")
    else:
        yield Finding(file_name, share, "note")
    for column in entity.columns:
        if column.name in file_set.feeds[entity_name].columns and not column.personal:
            yield Finding(
                file_name, f"{entity_name}.{column.name}: {_summary(connection, column.name, column.type)}", "note"
            )


def _summary(connection: duckdb.DuckDBPyConnection, column: str, kind: str) -> str:
    """What a person compares with the source system to see that the right column was taken."""
    name = quoted(column)
    [row] = connection.execute(
        f"select count({name}), min({name})::varchar, max({name})::varchar, approx_count_distinct({name})"
        f"{f', sum({name})::varchar' if kind == 'money' else ''} from typed where _fault is null"
    ).fetchall()
    filled, least, greatest, distinct, *total = row
    if not filled:
        return "always empty"
    if kind in ("code", "flag") and distinct <= _DISTINCT_LIMIT:
        counts = connection.execute(
            f"select {name}::varchar, count(*) from typed where _fault is null and {name} is not null group by 1 "
            "order by 2 desc, 1"
        ).fetchall()
        return ", ".join(f"{value} × {count}" for value, count in counts)
    sums = f", total {total[0]}" if total else ""
    return f"{filled} values from {least} to {greatest}{sums}"


def _pair(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[int, int]:
    [row] = connection.execute(query).fetchall()
    return int(row[0]), int(row[1])
