"""Opening the ledger: SQLite below REGUA_HOME, or PostgreSQL by REGUA_LEDGER_URL, always of the newest schema."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from regua.errors import BusyError, InputError
from regua.settings import Settings

_WAIT_SECONDS = 10
_NAMED_AT_ONCE = 500
_MIGRATIONS = "regua.ledger:migrations"
# Held while the schema is brought up to date; any number serves that nothing else in this database locks by.
_MIGRATION_LOCK = 7_364_826
_URL_FORM = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with special characters of the password percent-encoded"


@contextmanager
def open_ledger(settings: Settings) -> Iterator[sa.Engine]:
    """The ledger's engine; the store is made when there is none.

    Raises InputError for a URL that names no PostgreSQL and a schema this release does not know, BusyError when the
    store cannot be reached or somebody else holds it. Neither message holds the password.
    """
    engine = _engine(settings)
    try:
        with _told(engine):
            _migrate(engine)
            yield engine
    finally:
        engine.dispose()


@contextmanager
def writing(engine: sa.Engine, table: sa.Table | None = None) -> Iterator[sa.Connection]:
    """A transaction that alone appends to `table`: rows are numbered in the order in which they become visible."""
    with engine.connect().execution_options(sqlite_begin="IMMEDIATE") as connection, connection.begin():
        if table is not None and engine.dialect.name == "postgresql":
            connection.execute(sa.text(f"lock table {table.name} in share row exclusive mode"))
        yield connection


def slices(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """In pieces that a statement can name one by one."""
    return (values[start : start + _NAMED_AT_ONCE] for start in range(0, len(values), _NAMED_AT_ONCE))


def _engine(settings: Settings) -> sa.Engine:
    if settings.ledger_url is None:
        path = settings.home / "ledger" / "ledger.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        return _sqlite_engine(path)
    try:
        url = sa.make_url(settings.ledger_url)
    except sa.exc.ArgumentError:
        # The chain is cut: what cannot be parsed may be a piece of the password.
        raise InputError(f"REGUA_LEDGER_URL is no URL; it must have the form {_URL_FORM}.") from None
    if url.drivername != "postgresql" or not url.database:
        raise InputError(f"REGUA_LEDGER_URL must have the form {_URL_FORM}; leave it out to keep the ledger in SQLite.")
    options = {"connect_timeout": str(_WAIT_SECONDS), "application_name": "regua"}
    try:
        return sa.create_engine(
            url.set(drivername="postgresql+psycopg2"),
            connect_args=options | {"options": f"-c lock_timeout={_WAIT_SECONDS}s"},
            hide_parameters=True,
        )
    except ModuleNotFoundError as error:
        raise InputError("REGUA_LEDGER_URL needs psycopg2: install régua with its extra `production`.") from error


def _sqlite_engine(path: Path) -> sa.Engine:
    url = sa.URL.create("sqlite", database=str(path))
    # An error or a log that quotes a statement must not quote names and addresses with it.
    engine = sa.create_engine(url, connect_args={"timeout": _WAIT_SECONDS}, hide_parameters=True)

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        # Python's driver would begin transactions by itself, and only before some statements.
        connection.isolation_level = None
        for pragma in ("journal_mode = wal", "synchronous = full", "foreign_keys = on"):
            connection.execute(f"pragma {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"begin {connection.get_execution_options().get('sqlite_begin', 'deferred')}")

    return engine


def _migrate(engine: sa.Engine) -> None:
    config = Config()
    config.set_main_option("script_location", _MIGRATIONS)
    scripts = ScriptDirectory.from_config(config)
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found == scripts.get_current_head():
        return
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise InputError(
                f"The ledger {place(engine)} has the schema {found!r}, which this release does not know: a newer one "
                "wrote it. Install that release again."
            ) from error


@contextmanager
def _told(engine: sa.Engine) -> Iterator[None]:
    """Not reachable, locked or full becomes BusyError. The chain is cut: a driver's message may quote values."""
    try:
        yield
    except sa.exc.OperationalError as error:
        reason = " ".join(str(error.orig).split()) if isinstance(error.orig, Exception) else "no answer"
        password = engine.url.password
        if password:
            reason = reason.replace(str(password), "***")
        raise BusyError(f"The ledger {place(engine)} cannot be used now: {reason}. Try again later.") from None


def place(engine: sa.Engine) -> str:
    """Where the ledger is, for messages: without the password."""
    return engine.url.render_as_string(hide_password=True)
