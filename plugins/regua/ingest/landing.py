"""First stage of a night: copy what arrived to where nothing can change it, refusing what is not whole.

Files are copied; tables of a source's database are read (table_extraction.py) and kept in the same way.

A refused file leaves no trace in the landing area: it is looked at again every night until it is sent again,
corrected, or taken out of the inbox.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from regua.errors import BusyError, InputError
from regua.ingest.arrival import Arrival, LandingStore
from regua.ingest.expressions import needed_columns
from regua.ingest.inspection import (
    MANIFEST_ENDING,
    Manifest,
    check_column_order,
    check_header,
    inspect_file,
    read_manifest,
)
from regua.ingest.mapping import FileSet, Source
from regua.instants import BEFORE_ALL, Clock


@dataclass(frozen=True, slots=True)
class Landing:
    """What a landing found. `known_at` is the instant of the newest arrival of all sources."""

    known_at: datetime
    landed: tuple[Arrival, ...]
    unchanged_count: int


def land(
    landing_dir: Path, inbox: Path, sources: Sequence[Source], clock: Clock, environ: Mapping[str, str] = os.environ
) -> Landing:
    """Copy every new file of the sources' inboxes, and what their databases' tables hold, into `landing_dir`.

    The content a name had last is a no-op, another one a correction, be it one from before. Each arrival's
    instant is later than all before it, whatever the clock does. Raises InputError with every refusal of every source,
    after all good files have been landed; BusyError when nothing is wrong but a database that cannot be read now.
    `environ` holds the databases' URIs.
    """
    stores = {source.name: LandingStore(landing_dir, source.name) for source in sources}
    for store in stores.values():
        store.clear_leftovers()
    latest = max(
        (arrival.landed_at for store in stores.values() for arrival in store.arrivals()),
        default=BEFORE_ALL,
    )
    landed: list[Arrival] = []
    refusals: list[str] = []
    unreached: list[str] = []
    unchanged = 0
    for source in sources:
        store = stores[source.name]
        for set_name, file_set in source.files.items():
            known = [arrival for arrival in store.arrivals() if arrival.file_set == set_name]
            paths = matching_files(inbox, source, file_set, refusals)
            for path in paths:
                same_name = [arrival for arrival in known if arrival.file_name == path.name]
                if same_name and same_name[-1].sha256 == _sha256(path):
                    unchanged += 1
                    try:
                        _confirm(path, store, _declared_anew(path, store, file_set, same_name[-1]), clock)
                    except InputError as error:
                        refusals.append(str(error))
                    continue
                latest = max(clock(), latest + timedelta(microseconds=1))
                try:
                    arrival = _land_file(path, store, file_set, source, set_name, latest, known)
                except InputError as error:
                    refusals.append(str(error))
                    continue
                except FileNotFoundError:
                    refusals.append(f"{path.name}: it was taken out of the inbox while it was being landed. Run again.")
                    continue
                known.append(arrival)
                landed.append(arrival)
            if not known and not paths and not file_set.optional:
                refusals.append(
                    f"Source {source.name}: no file like {file_set.glob!r} has ever arrived in "
                    f"{inbox_folder(inbox, source)} (set `optional: true` where none need come)."
                )
        if source.tables:
            from regua.ingest.table_extraction import land_tables  # A second of import that files need not pay.

            try:
                extracted, same = land_tables(source, store, environ, clock, latest)
            except InputError as error:
                refusals.append(str(error))
            except BusyError as error:
                unreached.append(str(error))
            else:
                landed += extracted
                unchanged += same
                latest = max([latest, *(arrival.landed_at for arrival in extracted)])
    if refusals:
        raise InputError("\n".join(["Landing refused:", *refusals, *unreached]))
    if unreached:
        raise BusyError("\n".join(unreached))
    if latest == BEFORE_ALL:
        raise InputError(f"Nothing has ever arrived in {inbox}: there is no night to run.")
    return Landing(latest, tuple(landed), unchanged)


def inbox_folder(inbox: Path, source: Source) -> Path:
    return inbox / (source.inbox or source.name)


def matching_files(inbox: Path, source: Source, file_set: FileSet, refusals: list[str]) -> list[Path]:
    """The exports of one set in the order of their names; what is no plain file, or badly named, is refused."""
    folder = inbox_folder(inbox, source)
    found = []
    for path in sorted(folder.glob(file_set.glob)):
        if path.name.endswith(MANIFEST_ENDING) or path.name.startswith("."):
            continue
        if path.is_symlink() or not path.is_file():
            refusals.append(f"{path.name!r}: not a plain file; links and folders are not followed.")
        elif not path.name.isprintable():
            refusals.append(f"{path.name!r}: the file name holds control characters; rename it.")
        else:
            found.append(path)
    return found


def _declared_anew(path: Path, store: LandingStore, file_set: FileSet, arrival: Arrival) -> Arrival:
    """The arrival with what its manifest says now: a right file may come with a wrong manifest, which is sent again."""
    manifest = read_manifest(path) if file_set.manifest != "none" else None
    if manifest is None:
        return arrival
    _check_digest(path.name, manifest, arrival.sha256)
    totals = tuple(manifest.control_totals.items())
    if (manifest.rows, totals) == (arrival.manifest_rows, arrival.control_totals):
        return arrival
    declared = replace(arrival, manifest_rows=manifest.rows, control_totals=totals)
    store.record(declared)
    return declared


def _confirm(path: Path, store: LandingStore, arrival: Arrival, clock: Clock) -> None:
    """Keep that the same content was written to the inbox again: a feed without news is not a late feed."""
    written_at = min(datetime.fromtimestamp(path.stat().st_mtime, UTC).replace(tzinfo=None), clock())
    if written_at > (arrival.confirmed_at or arrival.landed_at):
        store.record(replace(arrival, confirmed_at=written_at))


def _land_file(
    path: Path,
    store: LandingStore,
    file_set: FileSet,
    source: Source,
    set_name: str,
    landed_at: datetime,
    known: Sequence[Arrival],
) -> Arrival:
    manifest = read_manifest(path) if file_set.manifest != "none" else None
    if manifest is None and file_set.manifest == "required":
        raise InputError(f"{path.name}: {path.name}{MANIFEST_ENDING} is missing, and the mapping requires one.")
    copy = _copied(path, store)
    try:
        inspection = inspect_file(copy, path.name, file_set, declared_rows=manifest.rows if manifest else None)
        if manifest is not None:
            _check_digest(path.name, manifest, inspection.sha256)
        if file_set.format == "csv":
            check_header(inspection.header, needed_columns(file_set), path.name)
            if file_set.column_order == "fixed" and (earlier := _last_with_header(known)):
                check_column_order(inspection.header, earlier.header, earlier.file_name, path.name)
        store.keep(copy, inspection.sha256)
    finally:
        copy.unlink(missing_ok=True)
    same_name = [arrival for arrival in known if arrival.file_name == path.name]
    arrival = Arrival(
        source=source.name,
        file_set=set_name,
        file_name=path.name,
        sha256=inspection.sha256,
        size_bytes=inspection.size_bytes,
        landed_at=landed_at,
        line_count=inspection.line_count,
        header=inspection.header,
        manifest_rows=manifest.rows if manifest else None,
        control_totals=tuple(manifest.control_totals.items()) if manifest else (),
        corrects=same_name[-1].batch_id if same_name else None,
        repetition=sum(arrival.sha256 == inspection.sha256 for arrival in same_name),
    )
    store.record(arrival)
    return arrival


def _copied(path: Path, store: LandingStore) -> Path:
    """A private copy to inspect: what is judged is what is kept, even when the sender is still writing."""
    beside = store.content_path("incoming").with_name(f".{os.getpid()}.part")
    beside.parent.mkdir(parents=True, exist_ok=True)
    with path.open("rb") as incoming, beside.open("wb") as copy:
        shutil.copyfileobj(incoming, copy, 1 << 22)
        copy.flush()
        os.fsync(copy.fileno())
    return beside


def _check_digest(shown_name: str, manifest: Manifest, sha256: str) -> None:
    if manifest.sha256.lower() != sha256:
        raise InputError(
            f"{shown_name}: its sha256 is {sha256[:12]}…, the manifest says {manifest.sha256[:12]}…: the file was cut "
            "short or changed on its way. Send both again."
        )


def _last_with_header(known: Sequence[Arrival]) -> Arrival | None:
    for arrival in reversed(known):
        if arrival.header and not arrival.discarded:
            return arrival
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
