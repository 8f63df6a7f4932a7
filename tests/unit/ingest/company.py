"""A company with one source, its inbox, its landing area and its warehouse, all in a temporary folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from regua.contract.entities import load_contract
from regua.ingest.arrival import LandingStore
from regua.ingest.landing import Landing, land
from regua.ingest.loading import Batch, load_pending
from regua.ingest.mapping import Source
from regua.instants import read_instant
from regua.settings import Settings, load_settings
from regua.warehouse.store import writing

DAY = date(2026, 6, 30)
FIRST_INSTANT = read_instant("2026-06-30 05:00:00")
EVER = read_instant("9999-12-31 00:00:00")

INVOICES = {
    "glob": "invoices_*.csv",
    "mode": "delta",
    "quarantine_limit_pct": 100,
    "missing_limit_pct": 100,
    "feeds": {
        "invoices": {
            "columns": {
                "invoice_id": "id",
                "customer_id": "customer",
                "issue_date": "issued",
                "due_date": "due",
                "amount": "value",
            }
        }
    },
}
INVOICE_HEADER = "id,customer,issued,due,value"


def invoice_set(**changed: Any) -> dict[str, Any]:
    """The file set `invoices` with some fields otherwise."""
    return INVOICES | changed


def invoice_line(number: int | str, value: str = "10.00", *, due: str = "2026-06-10") -> str:
    return f"I{number},C1,2026-06-01,{due},{value}"


def invoice_file(*lines: str) -> str:
    return "".join(f"{line}\n" for line in (INVOICE_HEADER, *lines))


def source_of(**files: Mapping[str, Any]) -> Source:
    return Source.model_validate({"description": "A test.", "files": files}).model_copy(update={"name": "acme"})


@dataclass
class SteppingClock:
    """A second later at each call, beginning with `FIRST_INSTANT`."""

    now: datetime = FIRST_INSTANT - timedelta(seconds=1)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@dataclass
class Company:
    """What a test does in a line: send a file, land, load, and look at what is then known."""

    settings: Settings
    source: Source
    warehouse: duckdb.DuckDBPyConnection
    clock: SteppingClock = field(default_factory=SteppingClock)

    @property
    def inbox(self) -> Path:
        return self.settings.inbox / self.source.name

    @property
    def store(self) -> LandingStore:
        return LandingStore(self.settings.landing_dir, self.source.name)

    def send(self, name: str, content: str | bytes, *, manifest: Mapping[str, Any] | bool = False) -> Path:
        """Put a file into the inbox; `manifest=True` gives it a true one, a mapping changes fields of that."""
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        body = content.encode() if isinstance(content, str) else content
        path.write_bytes(body)
        if manifest is not False:
            written = {"sha256": hashlib.sha256(body).hexdigest()} | (manifest if isinstance(manifest, Mapping) else {})
            path.with_name(f"{name}.manifest.json").write_text(json.dumps(written), encoding="utf-8")
        return path

    def land(self) -> Landing:
        return land(self.settings.landing_dir, self.settings.inbox, [self.source], self.clock)

    def load(self, *, known_at: datetime = EVER) -> list[Batch]:
        return load_pending(
            self.warehouse,
            self.settings.landing_dir,
            self.settings.work_dir,
            [self.source],
            as_of=DAY,
            known_at=known_at,
        )

    def night(self) -> list[Batch]:
        """Land and load, as the first two stages do."""
        return self.load(known_at=self.land().known_at)

    def receive(self, name: str, content: str | bytes) -> list[Batch]:
        """Send a file and run a night."""
        self.send(name, content)
        return self.night()

    def known(self, columns: str, entity: str = "invoices", *, at: datetime = EVER) -> list[Any]:
        """`columns` of the versions known at an instant, sorted; a single column comes without its tuples."""
        rows = self.warehouse.execute(
            f"select {columns} from raw.{entity} as versions where _loaded_at <= $at and not exists "
            f"(select 1 from raw.superseded as gone where gone.entity = '{entity}' and _superseded_at <= $at "
            "and gone._batch_id = versions._batch_id and gone._line = versions._line) order by all",
            {"at": at},
        ).fetchall()
        return [row[0] for row in rows] if rows and len(rows[0]) == 1 else rows

    def quarantined(self, columns: str = "_line, reason_code") -> list[Any]:
        return self.warehouse.execute(f"select {columns} from quarantine.rejected_rows order by all").fetchall()

    def everything(self) -> dict[str, list[Any]]:
        """Every row that loading writes, to compare before and after."""
        tables = [f"raw.{entity}" for entity in load_contract()]
        tables += ["raw.superseded", "quarantine.rejected_rows", "ops.batches"]
        return {table: self.warehouse.execute(f"select * from {table} order by all").fetchall() for table in tables}


@contextmanager
def opened_company(home: Path, source: Source) -> Iterator[Company]:
    settings = load_settings(
        {
            "REGUA_ENV": "test",
            "REGUA_HOME": str(home),
            "REGUA_WAREHOUSE_MEMORY": "1GB",
            "REGUA_WAREHOUSE_THREADS": "1",
        }
    )
    settings.landing_dir.mkdir(parents=True, exist_ok=True)
    with writing(settings, readable_dirs=[settings.landing_dir]) as warehouse:
        yield Company(settings, source, warehouse)
