"""A house with a ledger in SQLite, and one in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests.integration.conftest import postgres_server  # noqa: F401 - used by name
from tests.integration.dispatch.made_plans import House

from regua.ledger.database import open_ledger
from regua.settings import load_settings


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    environment = {"REGUA_HOME": str(tmp_path), "REGUA_ENV": "production"}
    if request.param == "sqlite":
        settings = load_settings(environment)
        with open_ledger(settings) as engine:
            yield House(engine, settings, tmp_path)
        return
    server = request.getfixturevalue("postgres_server")
    name = f"dispatch_{abs(hash(request.node.nodeid)):x}"
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"create database {name}")
    settings = load_settings(environment | {"REGUA_LEDGER_URL": server.get_uri(database=name)})
    with open_ledger(settings) as engine:
        yield House(engine, settings, tmp_path)
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")
