"""Opening the warehouse, keeping a second writer out, and the tables that Python writes."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path

import duckdb

from regua.contract.entities import LINEAGE_COLUMNS, load_contract
from regua.errors import BusyError, InputError
from regua.instants import Clock, write_instant
from regua.settings import Settings

_OWN_TABLES = """
create schema if not exists raw;
create schema if not exists quarantine;
create schema if not exists ops;
create table if not exists raw.superseded (
    entity varchar not null, _batch_id varchar not null, _line bigint not null,
    _superseded_at timestamp not null, reason_code varchar not null
);
create table if not exists quarantine.rejected_rows (
    _source varchar not null, _file varchar not null, _line bigint not null, _batch_id varchar not null,
    _loaded_at timestamp not null, entity varchar not null, reason_code varchar not null, column_name varchar,
    message varchar not null, key_text varchar, money_amount decimal(18, 2), record varchar, invoice_key_text varchar
);
-- A warehouse of before lacks it; of what was refused then nobody knows which invoice it was about.
alter table quarantine.rejected_rows add column if not exists invoice_key_text varchar;
create table if not exists ops.batches (
    _batch_id varchar not null, _source varchar not null, file_set varchar not null, entity varchar not null,
    _file varchar not null, sha256 varchar not null, _loaded_at timestamp not null, mode varchar not null,
    read_count bigint not null, accepted_count bigint not null, quarantined_count bigint not null,
    duplicate_count bigint not null, unchanged_count bigint not null, superseded_count bigint not null,
    removed_count bigint not null, read_amount decimal(38, 2) not null, accepted_amount decimal(38, 2) not null,
    quarantined_amount decimal(38, 2) not null, duplicate_amount decimal(38, 2) not null, header varchar not null,
    as_of date not null, expected_max_age_days integer not null
);
create table if not exists ops.confirmations (
    _batch_id varchar not null, _source varchar not null, file_set varchar not null, confirmed_at timestamp not null
);
create table if not exists ops.stage_runs (
    as_of date not null, known_at timestamp, run_id varchar not null, stage varchar not null,
    started_at timestamp not null, seconds double not null, state varchar not null, detail varchar not null
);
create table if not exists ops.model_runs (
    as_of date not null, known_at timestamp not null, run_id varchar not null, layer varchar not null,
    model varchar not null, status varchar not null, seconds double not null, rows_affected bigint, message varchar
);
create table if not exists ops.gate_runs (
    as_of date not null, known_at timestamp not null, run_id varchar not null, gate varchar not null,
    expectation varchar not null, target varchar not null, success boolean not null, observed varchar, detail varchar
);
"""


@contextmanager
def writing(settings: Settings, *, readable_dirs: Sequence[Path] = ()) -> Iterator[duckdb.DuckDBPyConnection]:
    """A writing connection that can read files below `readable_dirs` and nowhere else; checkpointed when all went well.

    The caller holds `warehouse_lock`. Files from outside are parsed here, so the connection can neither open the
    network nor be talked into more by a mapping's SQL.
    """
    settings.warehouse_path.parent.mkdir(parents=True, exist_ok=True)
    settings.work_dir.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(settings.warehouse_path), config=_config(settings)) as connection:
        create_tables(connection)
        confine(connection, [settings.work_dir, *readable_dirs])
        yield connection
        connection.execute("checkpoint")


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Make what is missing of the tables that Python writes; what is there stays."""
    connection.execute(_OWN_TABLES)
    for entity in load_contract().values():
        columns = {column.name: column.sql_type for column in entity.columns} | LINEAGE_COLUMNS
        written = ", ".join(f"{name} {sql_type}" for name, sql_type in columns.items())
        connection.execute(f"create table if not exists raw.{entity.name} ({written})")
        # A warehouse older than the contract lacks its newest columns; what was loaded before has them empty.
        for name, sql_type in columns.items():
            connection.execute(f"alter table raw.{entity.name} add column if not exists {name} {sql_type}")


@contextmanager
def reading(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection. Raises BusyError while another process writes, InputError when there is no warehouse."""
    if not settings.warehouse_path.is_file():
        raise InputError(
            f"No night was ever run in {settings.home}: there is no warehouse. Run one first (`regua run`)."
        )
    try:
        connection = duckdb.connect(str(settings.warehouse_path), read_only=True, config=_config(settings))
    except duckdb.IOException as error:
        if "lock" in str(error).lower():
            raise BusyError(
                f"The warehouse is being written: {_holder(settings.lock_path)}. Try again later."
            ) from error
        raise
    with connection:
        yield connection


def published_night(warehouse: duckdb.DuckDBPyConnection) -> tuple[date, datetime] | None:
    """The newest night and what it knew; None while it has not run to its end."""
    newest = _newest_stage(warehouse)
    return newest[1:] if newest is not None and newest[0] == "serve" else None


def published_known_at(warehouse: duckdb.DuckDBPyConnection, as_of: date) -> datetime:
    """What the newest night knew. Raises InputError unless it is that of `as_of`, run to its end."""
    newest = _newest_stage(warehouse)
    if newest is None or newest[:2] != ("serve", as_of):
        found = f"{newest[0]} of {newest[1]}" if newest else "nothing"
        raise InputError(
            f"The warehouse does not hold the published night of {as_of}: the newest finished step is {found}. "
            "Run that night to its end first."
        )
    return newest[2]


def _newest_stage(warehouse: duckdb.DuckDBPyConnection) -> tuple[str, date, datetime] | None:
    newest: list[tuple[str, date, datetime]] = warehouse.execute(
        "select stage, as_of, known_at from ops.stage_runs "
        "where stage in ('staging', 'intermediate', 'marts', 'dunning', 'kpis', 'gate_marts', 'serve') "
        "and state = 'succeeded' order by started_at desc limit 1"
    ).fetchall()  # `fetchone` leaves a result open, and then no table can be registered.
    return newest[0] if newest else None


def confine(connection: duckdb.DuckDBPyConnection, readable_dirs: Sequence[Path]) -> None:
    """Let the connection read below `readable_dirs` only, for the rest of its life, and think in UTC.

    An expression over an instant must not mean another day on another machine.
    """
    listed = ", ".join("'" + str(directory.absolute()).replace("'", "''") + "/'" for directory in readable_dirs)
    connection.execute("set TimeZone = 'UTC'")
    connection.execute(f"set allowed_directories = [{listed}]")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


@contextmanager
def warehouse_lock(settings: Settings, purpose: str, clock: Clock) -> Iterator[None]:
    """Hold the only right to write. Raises BusyError saying who holds it; a dead holder's lock is free at once."""
    settings.lock_path.parent.mkdir(parents=True, exist_ok=True)
    with settings.lock_path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                f"The warehouse is busy: {_holder(settings.lock_path)}. Try again when it is done."
            ) from error
        holder = {
            "purpose": purpose,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": write_instant(clock()),
        }
        file.truncate(0)
        file.write(json.dumps(holder))
        file.flush()
        yield


def _holder(lock_path: Path) -> str:
    try:
        holder = json.loads(lock_path.read_text())
        return "{purpose}, process {pid} on {host}, since {since} UTC".format(**holder)
    except (OSError, ValueError, TypeError, KeyError):
        return "held by a process that has not said who it is"


def _config(settings: Settings) -> dict[str, str | bool | int | float | list[str]]:
    return {
        "memory_limit": settings.warehouse_memory,
        "threads": settings.warehouse_threads,
        "temp_directory": str(settings.work_dir / "spill"),
    }
