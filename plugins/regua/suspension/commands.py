"""`regua suspensions`: what the DAGs do, and what a person decides. What is heavy is imported where it is used."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path

import click

from regua.cli_types import Day, today
from regua.errors import InputError
from regua.instants import utc_clock
from regua.settings import load_settings


def _no_longer_than(length: int) -> Callable[[click.Context, click.Parameter, str], str]:
    def checked(_: click.Context, parameter: click.Parameter, given: str) -> str:
        if len(given) > length:
            raise click.BadParameter(f"{len(given)} characters, and at most {length} are kept.", param=parameter)
        return given

    return checked


_AUTHOR = click.option("--author", required=True, help="Id of who says it.", callback=_no_longer_than(200))
_REASON = click.option("--reason", required=True, help="Why; kept for good.", callback=_no_longer_than(500))


@click.group()
def suspensions() -> None:
    """Take access away and give it back: prove, publish, approve, refresh."""


@suspensions.command("publish")
@click.option("--as-of", type=Day(), help="Day to publish. [default: today in São Paulo]")
@click.option("--once", is_flag=True, help="Where the day's list was published, say so and do nothing.")
def publish_command(as_of: date | None, once: bool) -> None:
    """Prove the day's list and publish it; what is above the caps waits for `approve`."""
    from regua.suspension.proving import AlreadyPublishedError, prove
    from regua.suspension.publishing import publish
    from regua.suspension.reporting import print_published

    settings, day = load_settings(), as_of or today()
    try:
        proposal = prove(settings, day, utc_clock)
    except AlreadyPublishedError as error:
        if not once:
            raise
        click.echo(str(error))
        return
    print_published(settings, publish(settings, proposal.number, utc_clock))
    if proposal.held_count:
        click.echo(f"\n{proposal.summary}\n")
        click.echo(
            f"Held: {len(proposal.held_subscription_ids)} suspensions, {len(proposal.held_invoice_ids)} debts for the "
            f"bureau. To publish them: regua suspensions approve {proposal.number} --author WHO"
        )


@suspensions.command("waiting")
def waiting_command() -> None:
    """Numbers of the proposals that wait for a person, one a line."""
    from regua.suspension.reporting import waiting_numbers

    for number in waiting_numbers(load_settings()):
        click.echo(number)


@suspensions.command("proposal")
@click.argument("proposal", type=int)
def proposal_command(proposal: int) -> None:
    """What a person reads before saying yes or no to PROPOSAL."""
    from regua.ledger.database import open_ledger
    from regua.suspension.ledger_state import read_proposal

    with open_ledger(load_settings()) as engine, engine.connect() as connection:
        click.echo(read_proposal(connection, proposal).summary)


@suspensions.command("approve")
@click.argument("proposal", type=int)
@_AUTHOR
def approve_command(proposal: int, author: str) -> None:
    """Publish what PROPOSAL holds: a new sequence, with who said so and when."""
    from regua.suspension.publishing import publish_approved
    from regua.suspension.reporting import print_published

    settings = load_settings()
    published = publish_approved(settings, proposal, utc_clock, author=author, decided_at=utc_clock())
    print_published(settings, published)


@suspensions.command("reject")
@click.argument("proposal", type=int)
@_AUTHOR
def reject_command(proposal: int, author: str) -> None:
    """Say no to what PROPOSAL holds; the next day's proof asks again."""
    from regua.suspension.publishing import reject

    reject(load_settings(), proposal, utc_clock, author=author)
    click.echo(f"Proposal {proposal} is rejected: nothing that it holds will be published.")


@suspensions.command("refresh")
def refresh_command() -> None:
    """Give access back to whom a payment or a fact since the last list gives it."""
    from regua.suspension.publishing import refresh
    from regua.suspension.reporting import print_published

    settings = load_settings()
    published = refresh(settings, utc_clock)
    if published is None:
        click.echo("Nobody is to be given access back.")
    else:
        print_published(settings, published)


@suspensions.command("correct")
@click.option("--as-of", type=Day(), help="Day whose list is corrected. [default: today in São Paulo]")
@_AUTHOR
@_REASON
def correct_command(as_of: date | None, author: str, reason: str) -> None:
    """Prove and publish the day's list once more, as a new sequence: the files of before stay as they are."""
    from regua.suspension.proving import prove
    from regua.suspension.publishing import publish
    from regua.suspension.reporting import print_published

    settings, day = load_settings(), as_of or today()
    proposal = prove(settings, day, utc_clock, kind_code="correction", reason=reason, author=author)
    print_published(settings, publish(settings, proposal.number, utc_clock))
    if proposal.held_count:
        click.echo(f"\n{proposal.summary}\n\nHeld: regua suspensions approve {proposal.number} --author WHO")


@suspensions.command("deliver")
def deliver_command() -> None:
    """Copy files to their targets and deliver the webhooks that are due."""
    from regua.suspension.publishing import hand_over

    handed = hand_over(load_settings(), utc_clock, os.environ)
    deliveries = handed.deliveries
    click.echo(
        f"{handed.copied_count} lists copied; webhooks: {deliveries.delivered} delivered, {deliveries.superseded} "
        f"overtaken by a newer one, {deliveries.dead} given up, {deliveries.pending} still to be delivered"
    )
    for endpoint_code, reason in deliveries.left.items():
        click.echo(f"{endpoint_code} was left early: {reason}")
    if handed.troubles:
        raise InputError("\n".join(handed.troubles))


@suspensions.command("status")
def status_command() -> None:
    """The newest publications, what waits for a person, copies and webhooks that have not arrived."""
    from regua.suspension.reporting import print_status

    print_status(load_settings())


@suspensions.command("show")
@click.argument("subscription")
def show_command(subscription: str) -> None:
    """All that was ever published of one subscription."""
    from regua.suspension.reporting import history_of

    told = history_of(load_settings(), subscription)
    click.echo("\n".join(told) if told else f"Nothing was ever published of {subscription}.")


@suspensions.command("verify")
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def verify_command(manifest: Path) -> None:
    """Check the files that MANIFEST names against it: hashes, rows, totals."""
    from regua.suspension.artefacts import verify

    found = verify(manifest.parent, manifest.name)
    click.echo(f"{manifest.name}: sequence {found.sequence}, {len(found.files)} files are whole.")


@suspensions.command("workbook")
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
def workbook_command(output: Path) -> None:
    """Write the newest list with customers' names as a spreadsheet for people."""
    from regua.suspension.reporting import write_newest_workbook

    write_newest_workbook(load_settings(), output)
    click.echo(f"{output} holds names: keep it where only those may read it who must.")


@suspensions.command("webhooks")
@click.option("--redeliver", help="Id of an event that was given up, or `all`.")
@click.option("--author", help="Id of who wants it delivered again.")
def webhooks_command(redeliver: str | None, author: str | None) -> None:
    """Webhooks that were given up, with the reason; --redeliver tries them again."""
    from regua.ledger.database import open_ledger
    from regua.suspension import webhooks

    with open_ledger(load_settings()) as engine:
        if redeliver is not None:
            if author is None:
                raise InputError("--redeliver needs --author.")
            ids = None if redeliver == "all" else [redeliver]
            count = webhooks.redeliver(engine, ids, author=author, clock=utc_clock)
            click.echo(f"{count} webhooks will be delivered again: regua suspensions deliver")
            return
        dead = webhooks.dead_letters(engine)
    for letter in dead:
        about = f"{letter.endpoint_code}  {letter.type_code}  {letter.subject_id}"
        click.echo(f"{letter.event_id}  {about}  {letter.last_reason}")
    if not dead:
        click.echo("No webhook was given up.", err=True)


@suspensions.command("listed")
def listed_command() -> None:
    """Debts that stand with the credit bureau, those to be taken off first, with their last day."""
    from regua.suspension.bureau import open_listings

    for one in open_listings(load_settings()):
        due = f"  remove by {one.remove_by_date} ({one.removal_reason_code})" if one.remove_by_date else ""
        candidate = one.candidate
        click.echo(f"{candidate.invoice_id}  {candidate.customer_id}  since {one.listed_date}{due}")


@suspensions.command("removed")
@click.argument("invoices", nargs=-1, required=True)
@_AUTHOR
def removed_command(invoices: tuple[str, ...], author: str) -> None:
    """Confirm that the credit bureau does not list INVOICES any more."""
    from regua.suspension.bureau import confirm_removed

    confirm_removed(load_settings(), invoices, author, utc_clock)
    click.echo(f"{len(invoices)} confirmed.")
