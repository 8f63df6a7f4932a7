"""`regua plan`, `regua dispatch`, `regua ledger`. Each command calls one function; what is heavy is imported there."""

from __future__ import annotations

import os
from datetime import date

import click

from regua.cli_types import Day, today
from regua.instants import utc_clock
from regua.settings import load_settings

_AUTHOR = click.option("--author", required=True, help="Id of who says it.")
_REASON = click.option("--reason", required=True, help="Why; kept for good.")
_CHANNELS = click.Choice(["email", "sms", "whatsapp", "letter", "call"])


@click.command()
@click.option("--as-of", type=Day(), help="Day to plan. [default: today in São Paulo]")
def plan(as_of: date | None) -> None:
    """Write the night's messages into the ledger and run the gate of the plan. Contacts nobody."""
    from regua.dispatch.daily import judge_plan, plan_day
    from regua.dispatch.reporting import print_plan

    settings, day = load_settings(), as_of or today()
    print_plan(plan_day(settings, day, utc_clock))
    report = judge_plan(settings, day, utc_clock)
    click.echo(f"The gate of the plan is green: {len(report.outcomes)} expectations, {report.docs_path}")


@click.command()
@click.option("--as-of", type=Day(), help="Day whose plan is sent. [default: today in São Paulo]")
@click.option("--channel", "channels", multiple=True, type=_CHANNELS, help="Only this one; may be repeated.")
def dispatch(as_of: date | None, channels: tuple[str, ...]) -> None:
    """Send what may be sent now; with REGUA_ENV=local, write it below REGUA_HOME/preview."""
    from regua.channels.dispatch_file import CHANNELS
    from regua.dispatch.daily import dispatch_day
    from regua.dispatch.reporting import print_dispatch

    settings, day = load_settings(), as_of or today()
    run_id = f"by-hand-{utc_clock():%Y%m%dT%H%M%S}"
    print_dispatch(dispatch_day(settings, day, utc_clock, run_id=run_id, channel_codes=channels or CHANNELS))
    if not settings.contacts_people:
        click.echo(f"Nobody was contacted: open {settings.home / 'preview' / day.isoformat() / 'index.html'}")


@click.group()
def ledger() -> None:
    """See what was sent and what became of it; stop, recall and settle."""


@ledger.command("status")
@click.option("--as-of", type=Day(), help="Day of the plan. [default: the newest]")
def ledger_status(as_of: date | None) -> None:
    """Messages by state, what is held, whether sending is stopped, whether the event log is whole."""
    from regua.dispatch.reporting import print_status

    print_status(load_settings(), utc_clock, as_of)


@ledger.command("history")
@click.argument("customer")
def ledger_history(customer: str) -> None:
    """All messages to a customer, with all that happened to each."""
    from regua.dispatch.reporting import history_of

    told = history_of(load_settings(), customer)
    click.echo("\n".join(told) if told else f"The ledger holds no message to {customer}.")


@ledger.command("unknowns")
def ledger_unknowns() -> None:
    """Messages of which nobody knows whether they went out, with the reason, oldest first."""
    from regua.dispatch.evidence import unknowns
    from regua.ledger.database import open_ledger

    with open_ledger(load_settings()) as engine:
        found = unknowns(engine)
    for each in found:
        click.echo(
            f"{each.message_id}  {each.as_of_date}  {each.channel_code}  {each.customer_id}  {each.reason_code}  "
            f"since {each.state_at:%Y-%m-%d %H:%M} UTC"
        )
    if not found:
        click.echo("The fate of every message is known.", err=True)


@ledger.command("settle")
@click.argument("message_id")
@click.argument("fate", type=click.Choice(["sent", "not_sent", "delivered"]))
@_AUTHOR
@_REASON
def ledger_settle(message_id: str, fate: str, author: str, reason: str) -> None:
    """Say what became of a message of unknown fate, by what the provider's own log shows."""
    from regua.dispatch.evidence import settle
    from regua.ledger.database import open_ledger

    with open_ledger(load_settings()) as engine:
        settle(engine, message_id, fate, author, reason, utc_clock)
    click.echo(f"{message_id} is settled: {fate}.")


@ledger.command("paid")
@click.argument("invoice_id")
@click.argument("payment_id")
@_AUTHOR
def ledger_paid(invoice_id: str, payment_id: str, author: str) -> None:
    """Say that an invoice was paid: nothing is sent about it until a night has seen PAYMENT_ID."""
    from regua.dispatch.payments import note_payment
    from regua.ledger.database import open_ledger

    with open_ledger(load_settings()) as engine:
        is_new = note_payment(engine, payment_id, invoice_id, author[:20], utc_clock)
    click.echo(f"{payment_id} of {invoice_id} is noted." if is_new else f"{payment_id} was noted before.")


@ledger.command("stop")
@_AUTHOR
@_REASON
def ledger_stop(author: str, reason: str) -> None:
    """Stop all sending, and recall what the providers still hold."""
    from regua.channels.dispatch_file import read_dispatch_file
    from regua.dispatch.daily import opened_channels
    from regua.dispatch.recalling import stop, write_stop_file
    from regua.ledger.database import open_ledger

    settings = load_settings()
    write_stop_file(settings.stop_path, author, reason)
    click.echo(f"Nothing is claimed any more: {settings.stop_path}")
    dispatch_file = read_dispatch_file(settings.dispatch_path)
    with open_ledger(settings) as engine, opened_channels(settings, dispatch_file, os.environ) as channels:
        recalled = stop(engine, settings.stop_path, channels, utc_clock, author=author, reason=reason)
    click.echo(f"Sending is stopped. {_told(recalled.batches, recalled.recalled, recalled.unconfirmed_batch_ids)}")


@ledger.command("resume")
@_AUTHOR
@_REASON
def ledger_resume(author: str, reason: str) -> None:
    """Let sending go on."""
    from regua.dispatch.recalling import resume
    from regua.ledger.database import open_ledger

    settings = load_settings()
    with open_ledger(settings) as engine:
        resume(engine, settings.stop_path, utc_clock, author=author, reason=reason)
    click.echo("Sending goes on with the next dispatch.")


@ledger.command("recall")
@click.argument("run_id")
def ledger_recall(run_id: str) -> None:
    """Take back what a run left with the providers and they still hold."""
    from regua.channels.dispatch_file import read_dispatch_file
    from regua.dispatch.daily import opened_channels
    from regua.dispatch.recalling import recall
    from regua.ledger.database import open_ledger

    settings = load_settings()
    dispatch_file = read_dispatch_file(settings.dispatch_path)
    with open_ledger(settings) as engine, opened_channels(settings, dispatch_file, os.environ) as channels:
        recalled = recall(engine, channels, utc_clock, run_id=run_id)
    click.echo(_told(recalled.batches, recalled.recalled, recalled.unconfirmed_batch_ids))


def _told(batches: int, messages: int, unconfirmed: tuple[str, ...]) -> str:
    told = f"{messages:,} messages in {batches - len(unconfirmed):,} batches were recalled."
    if unconfirmed:
        told += f" Not confirmed by the provider, so they may go out: {', '.join(unconfirmed)}."
    return told
