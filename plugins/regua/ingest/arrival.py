"""What is known of one landed file: written once beside the content, before anything is loaded from it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from regua.durable_file import sync_directory, write_whole
from regua.errors import InputError
from regua.instants import read_instant, write_instant


@dataclass(frozen=True, slots=True)
class Extraction:
    """What a reading of a database table covered.

    Rows whose cursor lies between `cursor_from` (None: from the beginning), less the overlap, and `cursor_to` (None:
    no row has one) were read. `definition` tells readings that asked for something else apart. `keys_sha256` is the
    content that lists the keys existing then, where they were asked for.
    """

    definition: str
    cursor_from: datetime | None = None
    cursor_to: datetime | None = None
    keys_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """One file as it came. `corrects` is the batch of the same name whose content it replaces.

    `repetition` counts the earlier arrivals of this very content under this name, each followed by another content.
    `confirmed_at` is when the same content was last delivered again: nothing new, yet the feed is alive.
    `line_count` counts physical lines of a text file, the header included (0 for Parquet); `manifest_rows` and
    `control_totals` are what the sender declared, empty without a manifest.
    """

    source: str
    file_set: str
    file_name: str
    sha256: str
    size_bytes: int
    landed_at: datetime
    line_count: int = 0
    header: tuple[str, ...] = ()
    manifest_rows: int | None = None
    control_totals: tuple[tuple[str, str], ...] = ()
    corrects: str | None = None
    repetition: int = 0
    discarded: str | None = None
    confirmed_at: datetime | None = None
    extraction: Extraction | None = None

    @property
    def batch_id(self) -> str:
        """The same for the same content under the same name, so landing twice is seen as once."""
        identity = "\0".join((self.source, self.file_set, self.file_name, self.sha256))
        if self.repetition:
            identity += f"\0{self.repetition}"
        return hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:16]


class LandingStore:
    """The landing area of one source: read-only contents by hash, and a record for each arrival."""

    def __init__(self, landing_dir: Path, source: str) -> None:
        self._source = source
        self._contents = landing_dir / "contents"
        self._arrivals = landing_dir / "arrivals" / source

    def content_path(self, sha256: str) -> Path:
        return self._contents / sha256[:2] / sha256

    def keep(self, copy: Path, sha256: str) -> None:
        """Move a finished, inspected copy to its place among the contents."""
        content = self.content_path(sha256)
        content.parent.mkdir(parents=True, exist_ok=True)
        copy.chmod(0o444)
        copy.replace(content)
        sync_directory(content.parent)

    def record(self, arrival: Arrival) -> None:
        written = asdict(arrival) | {
            "landed_at": write_instant(arrival.landed_at),
            "confirmed_at": write_instant(arrival.confirmed_at) if arrival.confirmed_at else None,
        }
        if written["extraction"] is not None:
            for bound in ("cursor_from", "cursor_to"):
                instant = written["extraction"][bound]
                written["extraction"][bound] = write_instant(instant) if instant else None
        path = self._arrivals / f"{arrival.batch_id}.json"
        write_whole(path, json.dumps(written, indent=1, sort_keys=True) + "\n")

    def clear_leftovers(self) -> None:
        """Remove what a killed landing was writing. Only for the one landing there is, at its beginning."""
        for folder in (self.content_path("incoming").parent, self._arrivals):
            for leftover in folder.glob(".*.part"):
                leftover.unlink()

    def arrivals(self) -> list[Arrival]:
        """All arrivals in the order they landed, discarded ones included."""
        found = [self._read(path) for path in self._arrivals.glob("*.json")]
        return sorted(found, key=lambda arrival: arrival.landed_at)

    def discard(self, batch_id: str, reason: str) -> Arrival:
        """Mark an arrival so that no night loads it. Raises InputError when there is none of that id."""
        for arrival in self.arrivals():
            if arrival.batch_id == batch_id:
                discarded = replace(arrival, discarded=reason)
                self.record(discarded)
                return discarded
        raise InputError(f"Source {self._source!r} has no arrival {batch_id!r}; `regua source list` shows them.")

    def _read(self, path: Path) -> Arrival:
        written = json.loads(path.read_text(encoding="utf-8"))
        written["landed_at"] = read_instant(written["landed_at"])
        if confirmed_at := written.get("confirmed_at"):
            written["confirmed_at"] = read_instant(confirmed_at)
        written["header"] = tuple(written["header"])
        written["control_totals"] = tuple((column, total) for column, total in written["control_totals"])
        if extraction := written.get("extraction"):
            for bound in ("cursor_from", "cursor_to"):
                extraction[bound] = read_instant(extraction[bound]) if extraction[bound] else None
            written["extraction"] = Extraction(**extraction)
        return Arrival(**written)
