"""The files of one publication, whole or absent, and never rewritten (docs/reference/suspension-files.md).

    stage     all files in a folder of their own, synced, the manifest last
    place     from there into the archive, replacing nothing; the manifest last, once all that it names is there

Both may be killed anywhere: what was staged in part is thrown away and staged again, what was placed in part is placed
again, and no manifest is ever seen beside files that are not the ones it names.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from regua.durable_file import move_new, sync_directory, write_whole
from regua.errors import BusyError, InputError
from regua.instants import read_instant, to_utc
from regua.suspension.bureau_lists import ADDED_COLUMNS, REMOVALS_COLUMNS, BureauLists
from regua.suspension.machine_csv import Table, balance_totals, cell, read_machine_csv, write_machine_csv
from regua.suspension.standing import WITHOUT_ACCESS, Entry

FORMAT_VERSION = 1

LIST_COLUMNS = (
    "subscription_id", "customer_id", "standing_code", "since_date", "reason_code", "oldest_invoice_id",
    "oldest_due_date", "days_past_due", "invoice_count", "balance_amount", "currency_code", "notice_id",
    "notice_delivered_date", "billing_hint_code",
)  # fmt: skip
CHANGES_COLUMNS = (
    *LIST_COLUMNS[:2], "change_code", *LIST_COLUMNS[2:], "has_access", "unlocked_until_date",
)  # fmt: skip
BANNER_COLUMNS = ("customer_id", "level", "text_key", "payment_url", "unlocked_until_date")

_BANNERS = ("notice", "trust_unlock", "suspended")
_MANIFEST = "_manifest.json"
_BANNER_JSON = "_banner.json"
# By the end of a file's name.
_CSV_COLUMNS = {
    ".csv": LIST_COLUMNS,
    "_changes.csv": CHANGES_COLUMNS,
    "_banner.csv": BANNER_COLUMNS,
    "_bureau.csv": ADDED_COLUMNS,
    "_bureau_removals.csv": REMOVALS_COLUMNS,
}
_KIND_CODE = re.compile("[a-z][a-z_]{0,19}")
_STEM = re.compile(r"suspensions_[0-9]{4}-[0-9]{2}-[0-9]{2}(?:_e[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Publication:
    """What is said of the whole. `edition` counts the publications of a day, from 1; instants are UTC.

    Why it was published, and by whom, are a person's words: they stay in the ledger.
    """

    sequence: int
    as_of: date
    edition: int
    kind_code: str
    known_at: datetime
    valid_until: datetime

    @property
    def stem(self) -> str:
        """What the names of its files begin with."""
        return f"suspensions_{self.as_of}" + (f"_e{self.edition}" if self.edition > 1 else "")


@dataclass(frozen=True, slots=True)
class FileFact:
    """One file as it must be. `totals` is the sum of `balance_amount` by currency, where it has that column."""

    name: str
    sha256: str
    byte_count: int
    row_count: int
    totals: Mapping[str, Decimal]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "sha256": self.sha256,
            "bytes": self.byte_count,
            "rows": self.row_count,
            "totals": {currency: f"{total:f}" for currency, total in self.totals.items()},
        }


@dataclass(frozen=True, slots=True)
class Manifest:
    """A publication, its files, and how many subscriptions stand where and change how."""

    publication: Publication
    files: tuple[FileFact, ...]
    standing_counts: Mapping[str, int]
    change_counts: Mapping[str, int]

    @property
    def sequence(self) -> int:
        return self.publication.sequence

    @property
    def name(self) -> str:
        return self.publication.stem + _MANIFEST

    @property
    def names(self) -> tuple[str, ...]:
        """All files, the manifest last."""
        return (*(file.name for file in self.files), self.name)

    @property
    def sha256(self) -> str:
        """Of the manifest's own file."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def content(self) -> bytes:
        """The manifest's own file: sorted, so that the same publication gives the same bytes."""
        return _canonical(self.to_json())

    def to_json(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "sequence": self.publication.sequence,
            "as_of": self.publication.as_of.isoformat(),
            "edition": self.publication.edition,
            "kind_code": self.publication.kind_code,
            "known_at": _instant(self.publication.known_at),
            "valid_until": _instant(self.publication.valid_until),
            "files": [file.to_json() for file in self.files],
            "counts": {"standing": dict(self.standing_counts), "change": dict(self.change_counts)},
        }


def list_rows(entries: Iterable[Entry]) -> list[tuple[str, ...]]:
    """Each subscription without access, and no other: a reader may take every row for one to be shut out."""
    return _sorted_rows(entries, lambda entry: not entry.has_access, LIST_COLUMNS)


def changes_rows(entries: Iterable[Entry]) -> list[tuple[str, ...]]:
    """Each subscription of which a change is told."""
    return _sorted_rows(entries, lambda entry: entry.change_code is not None, CHANGES_COLUMNS)


def banner_rows(entries: Iterable[Entry]) -> list[tuple[str, ...]]:
    """Each customer with a banner: the gravest of its subscriptions', and the link of the oldest debt among those."""
    by_customer: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.banner_code is not None:
            by_customer[entry.customer_id].append(entry)
    rows: list[tuple[str, ...]] = []
    for customer_id, with_banner in sorted(by_customer.items()):
        level = max((str(entry.banner_code) for entry in with_banner), key=_BANNERS.index)
        shown = [entry for entry in with_banner if entry.banner_code == level]
        oldest = min(shown, key=lambda entry: (entry.debt.oldest_due_date or date.max, entry.subscription_id))
        unlocked = [entry.unlocked_until_date for entry in shown if entry.unlocked_until_date is not None]
        until = min(unlocked) if unlocked and level == "trust_unlock" else None
        rows.append((customer_id, level, f"banner.{level}", oldest.payment_url or "", cell(until)))
    return rows


def stage(
    folder: Path,
    publication: Publication,
    entries: Sequence[Entry],
    bureau: BureauLists = BureauLists(),  # noqa: B008 - two empty lists that nobody can change
    *,
    has_bom: bool = False,
) -> Manifest:
    """Write all files into `folder`, which must not exist yet, and sync them. The same input gives the same bytes.

    Raises InputError, before anything is written, for what may not stand in a file; BusyError when the disk refuses.
    """
    contents, manifest = _made(publication, entries, bureau, has_bom)
    try:
        folder.mkdir(parents=True)
        for name, content in contents.items():
            write_whole(folder / name, content)
        write_whole(folder / manifest.name, manifest.content)
        sync_directory(folder.parent)
    except FileExistsError as error:
        raise InputError(f"{folder} is there already: each publication is staged in a folder of its own.") from error
    except OSError as error:
        raise BusyError(f"{folder} cannot be written: {error.strerror}. Nothing was published.") from error
    return manifest


def place(staged: Path, folder: Path, names: Sequence[str]) -> Manifest:
    """Move staged files into `folder`, the manifest last. What is there already with the same content counts as placed.

    Raises InputError, and moves nothing, when one of the names has another content there; and when neither folder has
    a file, or the files are not what the manifest says. Raises BusyError when the disk refuses.
    """
    manifest_name = manifest_name_of(names)
    others = [name for name in names if name != manifest_name]
    try:
        for name in names:
            _refuse_another(staged / name, folder / name)
        # From the one to the other each file goes without ever being in neither.
        manifest = _read_manifest(manifest_name, staged, folder)
        if sorted(names) != sorted(manifest.names):
            raise InputError(f"{manifest_name} names other files than those that are to be placed.")
        _require_whole(manifest, staged, folder)
        for name in others:
            _move(staged / name, folder / name)
        sync_directory(folder)
        _move(staged / manifest_name, folder / manifest_name)
        sync_directory(folder)
    except OSError as error:
        raise BusyError(f"{folder} cannot be written: {error.strerror}. What is missing is placed later.") from error
    return manifest


def verify(folder: Path, manifest_name: str) -> Manifest:
    """Compare a manifest with the files that it names. Raises InputError saying what differs, and where."""
    try:
        manifest = _read_manifest(manifest_name, folder)
        _require_whole(manifest, folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}.") from error
    return manifest


def newest_numbers(folder: Path, as_of: date) -> tuple[int, int]:
    """The greatest sequence in the archive, and the greatest edition of a day; 0 where there is none.

    A ledger that was restored from a copy knows less than the files: no number must be given twice. Sequences grow with
    the days, so the manifests of the newest day have the greatest; one that cannot be read has no number.
    """
    days: dict[str, list[Path]] = defaultdict(list)
    for path in folder.glob(f"suspensions_*{_MANIFEST}"):
        days[path.name.removeprefix("suspensions_")[:10]].append(path)
    newest = [_numbers_of(path) for path in days[max(days)]] if days else []
    of_day = [_numbers_of(path) for path in days.get(as_of.isoformat(), ())]
    return max((sequence for sequence, _ in newest), default=0), max((edition for _, edition in of_day), default=0)


def _numbers_of(path: Path) -> tuple[int, int]:
    try:
        publication = _read_manifest(path.name, path.parent).publication
    except InputError:
        return 0, 0
    return publication.sequence, publication.edition


def manifest_name_of(names: Sequence[str]) -> str:
    """Raises InputError when these are not the files of one publication."""
    found = [name for name in names if name.endswith(_MANIFEST)]
    if len(found) != 1:
        raise InputError(f"Of the files of a publication one is its manifest; here are {len(found)}.")
    return found[0]


def _made(
    publication: Publication, entries: Sequence[Entry], bureau: BureauLists, has_bom: bool
) -> tuple[dict[str, bytes], Manifest]:
    if not _KIND_CODE.fullmatch(publication.kind_code):
        raise InputError("The kind of a publication is a code, not words.")
    stem = publication.stem
    tables = {
        ".csv": Table(LIST_COLUMNS, ("subscription_id",), list_rows(entries)),
        "_changes.csv": Table(CHANGES_COLUMNS, ("subscription_id",), changes_rows(entries)),
        "_banner.csv": Table(BANNER_COLUMNS, ("customer_id",), banner_rows(entries)),
        "_bureau.csv": bureau.added_table(),
        "_bureau_removals.csv": bureau.removals_table(),
    }
    contents: dict[str, bytes] = {}
    files: list[FileFact] = []
    for ending, table in tables.items():
        name = stem + ending
        contents[name] = write_machine_csv(table, name, has_bom=has_bom)
        files.append(_fact(name, contents[name], len(table.rows), balance_totals(table.columns, table.rows)))
        if any(not currency for currency in files[-1].totals):
            raise InputError(f"{name}: an amount has no currency.")
    banners = tables["_banner.csv"].rows
    contents[stem + _BANNER_JSON] = _banner_json(publication, banners)
    files.append(_fact(stem + _BANNER_JSON, contents[stem + _BANNER_JSON], len(banners), {}))
    manifest = Manifest(
        publication,
        tuple(files),
        _counts(entry.standing_code.value for entry in entries),
        _counts(entry.change_code.value for entry in entries if entry.change_code is not None),
    )
    return contents, manifest


def _sorted_rows(
    entries: Iterable[Entry], is_in: Callable[[Entry], bool], columns: Sequence[str]
) -> list[tuple[str, ...]]:
    chosen = sorted(filter(is_in, entries), key=lambda entry: entry.subscription_id)
    return [
        tuple(cell(getattr(entry if hasattr(entry, column) else entry.debt, column)) for column in columns)
        for entry in chosen
    ]


def _banner_json(publication: Publication, rows: Iterable[Sequence[str]]) -> bytes:
    """By customer, because that is how a login page asks; `null` where the CSV has an empty cell."""
    banners = {
        customer_id: dict(zip(BANNER_COLUMNS[1:], (value or None for value in values), strict=True))
        for customer_id, *values in rows
    }
    facts = {
        "format_version": FORMAT_VERSION,
        "sequence": publication.sequence,
        "as_of": publication.as_of.isoformat(),
        "edition": publication.edition,
        "valid_until": _instant(publication.valid_until),
    }
    return _canonical(facts | {"banners": banners})


def _fact(name: str, content: bytes, row_count: int, totals: Mapping[str, Decimal]) -> FileFact:
    return FileFact(name, hashlib.sha256(content).hexdigest(), len(content), row_count, totals)


def _counts(codes: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(codes).items()))


def _canonical(value: Any) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _instant(instant: datetime) -> str:
    utc = to_utc(instant) if instant.tzinfo else instant
    return f"{utc.isoformat(timespec='microseconds')}Z"


def _refuse_another(source: Path, path: Path) -> None:
    # In this order: what another moves between the two looks is seen at its new place.
    wanted = _sha256(source)
    found = _sha256(path)
    if wanted is None and found is None:
        raise InputError(f"{path.name} lies neither in {source.parent} nor in {path.parent}.")
    if None not in (wanted, found) and wanted != found:
        raise InputError(
            f"{path} is there with another content. A published file is never rewritten: find out who wrote it."
        )


def _move(source: Path, path: Path) -> None:
    try:
        move_new(source, path)
    except FileExistsError:
        _refuse_another(source, path)
        source.unlink(missing_ok=True)
    except FileNotFoundError:
        # Moved before, or by another who places the same at this moment.
        if not path.exists():
            raise


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _read(name: str, folders: Sequence[Path]) -> tuple[Path, bytes]:
    """From the first of the folders that has it. Raises InputError where none does."""
    for folder in folders:
        with contextlib.suppress(FileNotFoundError):
            return folder / name, (folder / name).read_bytes()
    raise InputError(f"{folders[-1] / name} is not there.")


def _read_manifest(name: str, *folders: Path) -> Manifest:
    path, content = _read(name, folders)
    try:
        manifest = _manifest_of(json.loads(content))
    except (ValueError, KeyError, TypeError, ArithmeticError, AttributeError) as error:
        raise InputError(f"{path} is not a manifest of format {FORMAT_VERSION}.") from error
    if manifest.name != name or manifest.content != content:
        raise InputError(f"{path} was changed: it is not as it would be written.")
    return manifest


def _manifest_of(written: Mapping[str, Any]) -> Manifest:
    if written["format_version"] != FORMAT_VERSION:
        raise ValueError(written["format_version"])
    publication = Publication(
        sequence=written["sequence"],
        as_of=date.fromisoformat(written["as_of"]),
        edition=written["edition"],
        kind_code=written["kind_code"],
        known_at=read_instant(written["known_at"]),
        valid_until=read_instant(written["valid_until"]),
    )
    files = tuple(
        FileFact(
            file["name"],
            file["sha256"],
            file["bytes"],
            file["rows"],
            {currency: Decimal(total) for currency, total in file["totals"].items()},
        )
        for file in written["files"]
    )
    endings = [*_CSV_COLUMNS, _BANNER_JSON]
    if not _STEM.fullmatch(publication.stem) or [file.name for file in files] != [
        publication.stem + ending for ending in endings
    ]:
        raise ValueError("files")
    return Manifest(publication, files, written["counts"]["standing"], written["counts"]["change"])


def _require_whole(manifest: Manifest, *folders: Path) -> None:
    changes: Iterable[str] = ()
    without: Iterable[str] = ()
    for file in manifest.files:
        path, content = _read(file.name, folders)
        if len(content) != file.byte_count:
            raise InputError(f"{path} has {len(content)} bytes, and {manifest.name} says {file.byte_count}.")
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise InputError(f"{path} was changed: its sha256 is not the one of {manifest.name}.")
        ending = file.name.removeprefix(manifest.publication.stem)
        totals: Mapping[str, Decimal] = {}
        try:
            if ending == _BANNER_JSON:
                row_count = len(json.loads(content)["banners"])
            else:
                columns = _CSV_COLUMNS[ending]
                rows = read_machine_csv(content, columns, file.name)
                row_count, totals = len(rows), balance_totals(columns, rows)
                if ending == "_changes.csv":
                    changes = [row[columns.index("change_code")] for row in rows]
                elif ending == ".csv":
                    without = [row[columns.index("standing_code")] for row in rows]
        except (ValueError, KeyError, TypeError, ArithmeticError) as error:
            raise InputError(f"{path} is not such a file as is published under this name.") from error
        if row_count != file.row_count:
            raise InputError(f"{path} has {row_count} rows, and {manifest.name} says {file.row_count}.")
        if totals != dict(file.totals):
            raise InputError(f"{path} sums up to other balances than {manifest.name} says.")
    stated = {code: count for code, count in manifest.standing_counts.items() if code in WITHOUT_ACCESS}
    if _counts(changes) != dict(manifest.change_counts) or _counts(without) != stated:
        raise InputError(f"{manifest.name} counts other changes and standings than its files have.")
