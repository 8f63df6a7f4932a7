"""A ledger in SQLite, and one in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests.integration.suspension.made_webhooks import Ledger

from regua.ledger.database import open_ledger
from regua.settings import load_settings


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    environment = {"REGUA_HOME": str(tmp_path), "REGUA_ENV": "local"}
    if request.param == "sqlite":
        with open_ledger(load_settings(environment)) as engine:
            yield Ledger(engine, environment)
        return
    server = request.getfixturevalue("postgres_server")
    name = f"webhooks_{abs(hash(request.node.nodeid)):x}"
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"create database {name}")
    environment["REGUA_LEDGER_URL"] = server.get_uri(database=name)
    with open_ledger(load_settings(environment)) as engine:
        yield Ledger(engine, environment)
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")
