"""Is this file whole, and is it what the mapping says? Answered from its bytes, before any row is looked at."""

from __future__ import annotations

import codecs
import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from regua.errors import InputError
from regua.ingest.expressions import needed_columns
from regua.ingest.mapping import FileSet

_CHUNK = 1 << 20
# gzip can grow no more than 1,032-fold, and does so for one line repeated; exports grow ten- to fiftyfold.
_MAX_UNPACKED = 64 << 30
_MAX_UNPACKED_RATIO = 250
_MAX_HEADER = 1 << 20
MANIFEST_ENDING = ".manifest.json"


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the bytes told."""

    sha256: str
    size_bytes: int
    line_count: int
    header: tuple[str, ...]


class Manifest(BaseModel):
    """NAME.manifest.json beside an export: what its sender says of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str
    rows: int | None = None
    control_totals: dict[str, str] = {}


def read_manifest(path: Path) -> Manifest | None:
    """The manifest beside `path`, or None where there is none. Raises InputError when it cannot be understood."""
    beside = path.with_name(path.name + MANIFEST_ENDING)
    if not beside.exists():
        return None
    try:
        manifest = Manifest.model_validate(json.loads(beside.read_text(encoding="utf-8")))
        not_finite = [name for name, total in manifest.control_totals.items() if not Decimal(total).is_finite()]
    except (OSError, ValueError, ValidationError, InvalidOperation, RecursionError) as error:
        raise InputError(f"{beside.name}: the manifest cannot be read: {error}") from error
    if not_finite:
        raise InputError(f'{beside.name}: control_totals.{not_finite[0]} is no amount; write it like "1234.56".')
    return manifest


def inspect_file(path: Path, shown_name: str, file_set: FileSet, *, declared_rows: int | None = None) -> Inspection:
    """Read every byte of `path` once. Raises InputError naming file, line and column of the first thing wrong.

    `shown_name` is the export's own name: the path itself may be a content-addressed copy. `declared_rows` is the
    manifest's count: JSON Lines without a record is an empty file, and right where the manifest says so.
    """
    digest, size = _digest(path)
    if size == 0 and file_set.format == "jsonl" and declared_rows == 0:
        return Inspection(digest, size, 0, ())
    if size == 0:
        raise InputError(f"{shown_name}: the file is empty: not even a header. Send it again.")
    if file_set.format == "parquet":
        _check_parquet_frame(path, shown_name, size)
        return Inspection(digest, size, 0, ())
    scan = _TextScan(shown_name, file_set)
    for text in decoded_chunks(path, shown_name, file_set):
        scan.take(text)
    return Inspection(digest, size, scan.finish(), scan.header())


def decoded_chunks(path: Path, shown_name: str, file_set: FileSet) -> Iterator[str]:
    """The text of a CSV or JSON Lines export, unpacked and decoded, a chunk at a time."""
    decoder = codecs.getincrementaldecoder("utf-8-sig" if file_set.encoding == "utf-8" else file_set.encoding)()
    lines = 1
    for chunk in _unpacked_chunks(path, shown_name):
        try:
            text = decoder.decode(chunk)
        except UnicodeDecodeError as error:
            raise _undecodable(shown_name, lines, error, file_set) from error
        lines += text.count("\n")
        yield text
    try:
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise _undecodable(shown_name, lines, error, file_set) from error


def is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def check_header(header: tuple[str, ...], needed: dict[str, str], shown_name: str, *, place: str = "line 1") -> None:
    """Every needed column is there. `needed` says for each column what it is needed for, `place` where names stand.

    Raises InputError listing all that are missing, with the likeliest new name of each.
    """
    present = {name.casefold() for name in header}
    missing = {column: use for column, use in needed.items() if column.casefold() not in present}
    if not missing:
        return
    if place == "line 1" and len(missing) == len(needed):
        # What stands there may be a row, with a person's data in it.
        raise InputError(
            f"{shown_name}: line 1 names none of the columns that the mapping needs ({', '.join(needed)}): the file "
            "lacks its header, its separator is another, or it is another file."
        )
    faults = []
    for column, use in missing.items():
        close = get_close_matches(column, header, n=1, cutoff=0.5)
        hint = f"; was it renamed to {close[0]!r}?" if close else ""
        faults.append(f"{shown_name}: column {column!r}, needed for {use}, is not in {place}{hint}")
    raise InputError("\n".join([*faults, f"{shown_name}: {place} has the columns {', '.join(header)}."]))


def check_column_order(header: tuple[str, ...], earlier: tuple[str, ...], earlier_name: str, shown_name: str) -> None:
    """A header whose known columns changed places looks like an ordinary file and is the worst kind of wrong one."""
    known = set(header) & set(earlier)
    now = [name for name in header if name in known]
    then = [name for name in earlier if name in known]
    for column_now, column_then in zip(now, then, strict=True):
        if column_now != column_then:
            place = header.index(column_now) + 1
            raise InputError(
                f"{shown_name}: line 1, column {place}: {column_now!r} stands where {earlier_name} had "
                f"{column_then!r}. If only the header was swapped, every value would be read as another. If the "
                "export's columns really moved with their values, set `column_order: any` in the mapping."
            )


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return digest.hexdigest(), file.tell()


def _unpacked_chunks(path: Path, shown_name: str) -> Iterator[bytes]:
    if not is_packed(path):
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
        return
    limit = min(_MAX_UNPACKED, path.stat().st_size * _MAX_UNPACKED_RATIO + _CHUNK)
    unpacked = 0
    try:
        with gzip.open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                unpacked += len(chunk)
                if unpacked > limit:
                    raise InputError(f"{shown_name}: unpacks to more than {limit} bytes: refused as a gzip bomb.")
                yield chunk
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{shown_name}: the gzip file is damaged or cut short ({error}). Send it again.") from error


def _undecodable(shown_name: str, line: int, error: UnicodeDecodeError, file_set: FileSet) -> InputError:
    line += error.object[: error.start].count(b"\n")
    hint = "Brazilian exports are often cp1252" if file_set.encoding == "utf-8" else "most exports are utf-8 or cp1252"
    return InputError(
        f"{shown_name}: line {line}: byte 0x{error.object[error.start]:02x} is not {file_set.encoding}. "
        f"The file is damaged or `encoding` in the mapping is wrong ({hint})."
    )


def _check_parquet_frame(path: Path, shown_name: str, size: int) -> None:
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(max(0, size - 4))
        tail = file.read(4)
    # Less than both marks and the length of what lies between is no Parquet file, though it may begin and end as one.
    if size < 12 or head != b"PAR1" or tail != b"PAR1":
        raise InputError(
            f"{shown_name}: not a whole Parquet file (its first or last four bytes are wrong). Send it again."
        )


class _TextScan:
    """Counts lines and keeps the header while chunks pass by."""

    def __init__(self, shown_name: str, file_set: FileSet) -> None:
        self._name = shown_name
        self._set = file_set
        self._lines = 0
        self._last = ""
        self._head = ""
        # Text that is valid UTF-8 with letters beyond ASCII is never by chance so in a one-byte encoding. What one
        # decodes of it piece by piece, because a chunk may end inside a letter.
        self._suspect_utf8 = not file_set.encoding.startswith("utf")
        self._utf8 = codecs.getincrementaldecoder("utf-8")()

    def take(self, text: str) -> None:
        if not text:
            return
        if "\0" in text:
            line = self._lines + text[: text.index("\0")].count("\n") + 1
            raise InputError(
                f"{self._name}: line {line}: NUL byte. The file is damaged, binary or UTF-16; send it again."
            )
        if self._suspect_utf8:
            self._refuse_disguised_utf8(text)
        if len(self._head) < _MAX_HEADER and "\n" not in self._head:
            self._head += text[:_MAX_HEADER]
        self._lines += text.count("\n")
        self._last = text[-1]

    def finish(self) -> int:
        """How many lines there are; a last line without a line break counts."""
        if self._last == "":
            raise InputError(f"{self._name}: the file is empty: not even a header. Send it again.")
        if self._last == "\n":
            return self._lines
        if self._set.final_newline == "required":
            raise InputError(
                f"{self._name}: line {self._lines + 1} does not end in a line break: the file may be cut short. Send "
                "it again, or, if your system never writes the last one, set `final_newline: optional` in the "
                "mapping."
            )
        return self._lines + 1

    def header(self) -> tuple[str, ...]:
        if self._set.format != "csv":
            return ()
        first = self._head.split("\n", 1)[0].rstrip("\r")
        reader = csv.reader(io.StringIO(first), delimiter=self._set.delimiter, quotechar=self._set.quote, strict=True)
        try:
            header = tuple(name.strip() for name in next(reader, []))
        except csv.Error as error:
            raise InputError(
                f"{self._name}: line 1: the column names cannot be read: {error}. Send it again."
            ) from error
        if not header:
            raise InputError(f"{self._name}: line 1 is blank; it must hold the column names.")
        seen: dict[str, int] = {}
        for place, name in enumerate(header, start=1):
            if not name:
                raise InputError(f"{self._name}: line 1, column {place}: the column has no name.")
            if name.casefold() in ("_file", "_line"):
                raise InputError(
                    f"{self._name}: line 1, column {place}: {name!r} means the row's own file or line here; rename it."
                )
            if (earlier := seen.setdefault(name.casefold(), place)) != place:
                # Only a name of the mapping is shown: where the header is missing, this is a row of data.
                told = f"both are called {name!r}" if self._is_of_the_mapping(name) else "both have the same name"
                raise InputError(f"{self._name}: line 1, columns {earlier} and {place}: {told}.")
        return header

    def _is_of_the_mapping(self, name: str) -> bool:
        return name.casefold() in {column.casefold() for column in needed_columns(self._set)}

    def _refuse_disguised_utf8(self, text: str) -> None:
        if text.isascii() and not self._utf8.getstate()[0]:
            return
        try:
            if self._utf8.decode(text.encode(self._set.encoding)).isascii():
                return
        except (UnicodeDecodeError, UnicodeEncodeError):
            self._suspect_utf8 = False
            return
        raise InputError(
            f"{self._name}: the mapping says {self._set.encoding}, but the file is UTF-8; set `encoding: utf-8`."
        )
