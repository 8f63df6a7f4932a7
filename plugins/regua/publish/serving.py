"""The serving generation: the marts of one night as one DuckDB file and Parquet, whole or absent.

    serving/generations/<as_of>_<hash>/    serving.duckdb, parquet/<table>.parquet, manifest.json
    serving/current                        a link to one of them, swapped in one step

A generation is named by its content, so the same night built twice is the same folder and the second build is thrown
away. Readers keep the generation they opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb

from regua.contract.entities import load_contract
from regua.durable_file import sync_directory, write_whole
from regua.errors import InputError
from regua.instants import write_instant
from regua.settings import Settings
from regua.warehouse.store import reading

_SCHEMA = "marts"
MANIFEST = "manifest.json"
# A night that was run again is told of by its newest run alone.
_GATES = """
select gate, count(*) as expectation_count, count(*) filter (not success) as red_count
from ops.gate_runs
where as_of = $as_of and known_at = $known_at
group by gate, run_id
qualify max(rowid) = max(max(rowid)) over (partition by gate)
order by gate
"""
_FEEDS = """
select _source as source, file_set, max(_loaded_at) as last_load_at
from ops.batches where _loaded_at <= $known_at
group by _source, file_set
order by _source, file_set
"""


@dataclass(frozen=True, slots=True)
class Generation:
    """One published state. `is_current` is False for the re-run of a day older than the one BI is looking at."""

    path: Path
    manifest: dict[str, Any]
    is_new: bool
    is_current: bool


def publish(settings: Settings, *, as_of: date, known_at: datetime) -> Generation:
    """Write the marts of the night as a generation and let readers see it.

    Raises InputError when the marts are another night's, are empty of tables, or would carry a personal column.
    """
    generations = settings.serving_dir / "generations"
    generations.mkdir(parents=True, exist_ok=True)
    for abandoned in generations.glob(".building-*"):
        shutil.rmtree(abandoned)
    for abandoned in settings.serving_dir.glob(".current-*"):
        abandoned.unlink()
    building = generations / f".building-{os.getpid()}"
    building.mkdir()
    try:
        manifest = _build(settings, building, as_of, known_at)
        text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        write_whole(building / MANIFEST, text)
        final = generations / f"{as_of}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        is_new = not final.exists()
        if is_new:
            _sync_tree(building)
            building.rename(final)
            sync_directory(generations)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    is_current = _swap(settings.serving_dir, final, as_of)
    _forget_old(settings, generations)
    return Generation(final, manifest, is_new, is_current)


def current_generation(settings: Settings) -> Path:
    """Folder of what BI sees. Raises InputError when no night was ever published."""
    current = settings.serving_dir / "current"
    if not (current / MANIFEST).is_file():
        raise InputError(f"Nothing is published in {settings.serving_dir}: run a night first (`regua run`).")
    return current.resolve()


def read_serving_manifest(generation: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((generation / MANIFEST).read_text(encoding="utf-8"))
    return manifest


def _build(settings: Settings, building: Path, as_of: date, known_at: datetime) -> dict[str, Any]:
    parquet = building / "parquet"
    parquet.mkdir()
    with reading(settings) as warehouse:
        warehouse.execute("set preserve_insertion_order = true")
        tables = _marts(warehouse)
        _refuse_other_night(warehouse, as_of)
        described = {}
        for table, columns in tables.items():
            file = parquet / f"{table}.parquet"
            # Sorted by everything, so that the bytes depend on the facts and not on how threads took turns.
            warehouse.execute(
                f"copy (select * from {_SCHEMA}.{table} order by {', '.join(columns)}) to '{_escaped(file)}' "
                "(format parquet, compression zstd)"
            )
            described[table] = {
                "columns": columns,
                "rows": _rows(warehouse, f"{_SCHEMA}.{table}"),
                "sha256": _sha256(file),
            }
        quarantined = warehouse.execute(
            "select _source, entity, reason_code, column_name, count(*) from quarantine.rejected_rows "
            "where _loaded_at <= ? group by all order by all",
            [known_at],
        ).fetchall()
        gates = warehouse.execute(_GATES, {"as_of": as_of, "known_at": known_at}).fetchall()
        feeds = warehouse.execute(_FEEDS, {"known_at": known_at}).fetchall()
    _write_database(building / "serving.duckdb", parquet, tables)
    return {
        "as_of": as_of.isoformat(),
        "known_at": write_instant(known_at),
        "tables": described,
        # Beside the tables, so that whoever shows them need not open the warehouse, which has one writer.
        "gates": [dict(zip(("gate", "expectation_count", "red_count"), row, strict=True)) for row in gates],
        "feeds": [
            {"source": source, "file_set": file_set, "last_load_at": write_instant(at)}
            for source, file_set, at in feeds
        ],
        "quarantined": [
            dict(zip(("source", "entity", "reason_code", "column", "rows"), row, strict=True)) for row in quarantined
        ],
    }


def _marts(warehouse: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    rows = warehouse.execute(
        "select table_name, list(column_name order by ordinal_position) from information_schema.columns "
        "where table_schema = ? group by table_name order by table_name",
        [_SCHEMA],
    ).fetchall()
    if not rows:
        raise InputError("The warehouse holds no marts: run the night from its models on.")
    personal = {column.name for entity in load_contract().values() for column in entity.columns if column.personal}
    tables = {table: list(columns) for table, columns in rows}
    leaks = [f"{table}.{column}" for table, columns in tables.items() for column in columns if column in personal]
    if leaks:
        raise InputError(f"Personal columns must not be served: {', '.join(leaks)}. Take them out of the marts.")
    return tables


def _refuse_other_night(warehouse: duckdb.DuckDBPyConnection, as_of: date) -> None:
    found = warehouse.execute(f"select distinct as_of_date from {_SCHEMA}.fct_invoices").fetchall()
    if any(day != as_of for (day,) in found):
        raise InputError(
            f"The marts are of {found[0][0]}, not of {as_of}: another night rebuilt them in between. "
            f"Run {as_of} again from its models on."
        )


def _write_database(path: Path, parquet: Path, tables: dict[str, list[str]]) -> None:
    # BI tools carry older DuckDBs for years; this is the oldest layout that all since 1.0 can read.
    with duckdb.connect(str(path), config={"storage_compatibility_version": "v1.0.0"}) as serving:
        for table in tables:
            file = parquet / f"{table}.parquet"
            serving.execute(f"create table {table} as select * from read_parquet('{_escaped(file)}')")
        serving.execute("checkpoint")


def _swap(serving_dir: Path, generation: Path, as_of: date) -> bool:
    current = serving_dir / "current"
    if (current / MANIFEST).is_file():
        shown = date.fromisoformat(read_serving_manifest(current)["as_of"])
        if shown > as_of:
            return False
    beside = serving_dir / f".current-{os.getpid()}"
    beside.unlink(missing_ok=True)
    beside.symlink_to(generation.relative_to(serving_dir))
    beside.replace(current)
    sync_directory(serving_dir)
    return True


def _forget_old(settings: Settings, generations: Path) -> None:
    """Keep the newest generations by day and knowledge; never the one readers are sent to."""
    kept = current_generation(settings)
    ordered = sorted(
        (path for path in generations.iterdir() if (path / MANIFEST).is_file()),
        key=lambda path: (read_serving_manifest(path)["as_of"], read_serving_manifest(path)["known_at"]),
        reverse=True,
    )
    for path in ordered[settings.kept_generations :]:
        if path != kept:
            shutil.rmtree(path)


def _rows(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    row = connection.execute(f"select count(*) from {table}").fetchone()
    return int(row[0]) if row else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_tree(directory: Path) -> None:
    for path in directory.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    for path in [directory, *(path for path in directory.rglob("*") if path.is_dir())]:
        sync_directory(path)


def _escaped(path: Path) -> str:
    return str(path).replace("'", "''")
