"""What the commands show of publications: counts, ids and dates; names only in the workbook that somebody asks for."""

from __future__ import annotations

from pathlib import Path

import click
import sqlalchemy as sa

from regua.errors import InputError
from regua.ledger.database import open_ledger
from regua.ledger.suspensions import CHANGES, COPIES, PROPOSALS, PUBLICATIONS
from regua.ledger.webhooks import WEBHOOK_DELIVERIES
from regua.settings import Settings
from regua.suspension.ledger_state import last_publication, read_standings
from regua.suspension.publishing import Published
from regua.suspension.workbook import write_workbook
from regua.warehouse.store import reading

_SHOWN = 10
_NAMES = "select customer_id, name from staging.stg_customers where customer_id in (select unnest($customer_ids))"


def print_published(settings: Settings, published: Published) -> None:
    click.echo(
        f"Sequence {published.sequence} of {published.as_of} ({published.kind_code}): "
        f"{published.suspended_count} suspended, {published.reactivated_count} given back, "
        f"{published.without_access_count} without access, {published.held_count} held. "
        f"{settings.suspensions_dir / published.manifest_name}"
    )


def print_status(settings: Settings) -> None:
    waiting = waiting_numbers(settings)
    with open_ledger(settings) as engine, engine.connect() as connection:
        newest = connection.execute(
            sa.select(PUBLICATIONS).order_by(PUBLICATIONS.c.sequence.desc()).limit(_SHOWN)
        ).all()
        copies = connection.execute(sa.select(COPIES).where(COPIES.c.copied_at.is_(None))).all()
        states = connection.execute(
            sa.select(WEBHOOK_DELIVERIES.c.state_code, sa.func.count()).group_by(WEBHOOK_DELIVERIES.c.state_code)
        ).all()
    if not newest:
        click.echo("Nothing was ever published: `regua suspensions publish` after a night and its plan.")
    for row in reversed(newest):
        placed = "" if row.placed_at else ", NOT PLACED: `regua suspensions deliver` ends it"
        by = f" by {row.author_id}" if row.author_id else ""
        click.echo(
            f"{row.sequence}  {row.as_of_date}  {row.kind_code}{by}: {row.suspended_count} suspended, "
            f"{row.reactivated_count} given back, {row.without_access_count} without access{placed}"
        )
    for number in waiting:
        click.echo(f"waits for a person: proposal {number} (regua suspensions proposal {number})")
    for row in copies:
        click.echo(f"not copied to {row.target_code}: sequence {row.sequence}, {row.last_reason}")
    if states:
        click.echo(
            "webhooks: " + ", ".join(f"{count} {state}" for state, count in sorted(tuple(row) for row in states))
        )


def waiting_numbers(settings: Settings) -> list[int]:
    """Of the proposals that hold something back until a person says a word."""
    query = sa.select(PROPOSALS.c.proposal_number).where(
        PROPOSALS.c.state_code == "published", PROPOSALS.c.held_count > 0
    )
    with open_ledger(settings) as engine, engine.connect() as connection:
        return list(connection.execute(query).scalars())


def history_of(settings: Settings, subscription_id: str) -> list[str]:
    """A line for each change that was published, oldest first."""
    with open_ledger(settings) as engine, engine.connect() as connection:
        rows = connection.execute(
            sa.select(CHANGES).where(CHANGES.c.subscription_id == subscription_id).order_by(CHANGES.c.sequence)
        ).all()
    return [
        f"{row.as_of_date}  sequence {row.sequence}: {row.standing_before_code} → {row.standing_code} "
        f"({row.change_code or 'no change of access'}, {row.reason_code})"
        for row in rows
    ]


def write_newest_workbook(settings: Settings, output: Path) -> None:
    """Raises InputError when nothing was ever published."""
    with open_ledger(settings) as engine, engine.connect() as connection:
        last = last_publication(connection)
        entries = list(read_standings(connection).values())
    if last is None:
        raise InputError("Nothing was ever published: there is no list to write.")
    with reading(settings) as warehouse:
        names = dict(
            warehouse.execute(_NAMES, {"customer_ids": sorted({entry.customer_id for entry in entries})}).fetchall()
        )
    write_workbook(output, last.as_of_date, last.sequence, last.recorded_at, entries, names)
