"""What the ledger holds, for the person who asks: counts by state, what is held, the story of a customer."""

from __future__ import annotations

from datetime import date
from typing import Any

import sqlalchemy as sa
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from regua.channels.sending import Answer
from regua.dispatch.daily import Dispatch, newest_plan_day
from regua.dispatch.outbox import stop_reason
from regua.dispatch.planning import Plan
from regua.instants import Clock, write_instant
from regua.ledger.database import open_ledger
from regua.ledger.event_log import broken_link
from regua.ledger.messages import EVENTS, HELD_BATCHES, MESSAGES, PAYMENT_NOTICES, PLANS, State
from regua.settings import Settings

_WIDTH = 120


def console() -> Console:
    return Console(width=_WIDTH) if not Console().is_terminal else Console()


def print_plan(plan: Plan) -> None:
    told = [f"{plan.message_count:,} messages decided for {plan.as_of}", f"{plan.new:,} new in the ledger"]
    for count, words in (
        (plan.withdrawn, "no longer decided"),
        (plan.already_taken, "left out, because a step of them went out before"),
        (plan.expired, "of earlier days expired"),
    ):
        if count:
            told.append(f"{count:,} {words}")
    console().print(", ".join(told) + ".", highlight=False)


def print_dispatch(dispatch: Dispatch) -> None:
    table = Table(title=f"the dispatch of {dispatch.as_of}", title_justify="left")
    for name in (
        "channel",
        "attempted",
        "accepted",
        "put off",
        "rejected",
        "unknown",
        "not fit to send",
        "ended early",
    ):
        table.add_column(name, justify="left" if name in ("channel", "ended early") else "right")
    for report in dispatch.reports:
        answers = report.answers
        counts = (
            report.attempted,
            answers[Answer.ACCEPTED],
            answers[Answer.LIMITED] + answers[Answer.NOT_REACHED] + answers[Answer.UNAUTHORISED],
            answers[Answer.REJECTED],
            answers[Answer.UNKNOWN],
            report.refused,
        )
        table.add_row(report.channel_code, *(f"{count:,}" for count in counts), report.ended or "")
    console().print(table if dispatch.reports else f"Nothing of {dispatch.as_of} is left to send now.")
    if dispatch.payments_noted or dispatch.recalled.batches:
        console().print(
            f"payments noted since the night: {dispatch.payments_noted:,}; held batches recalled: "
            f"{dispatch.recalled.batches:,}, with {dispatch.recalled.recalled:,} messages"
        )


def print_status(settings: Settings, clock: Clock, as_of: date | None) -> None:
    """Counts by channel and state of a day, what is held, whether sending is stopped, and whether the log is whole."""
    shown = console()
    with open_ledger(settings) as engine:
        day = as_of or newest_plan_day(engine)
        if day is None:
            shown.print("The ledger holds no plan: `regua plan` writes one after a night.")
            return
        with engine.connect() as connection:
            plan: Any = connection.execute(sa.select(PLANS).where(PLANS.c.as_of_date == day)).one_or_none()
            counts: Any = connection.execute(
                sa.select(MESSAGES.c.channel_code, MESSAGES.c.state_code, MESSAGES.c.reason_code, sa.func.count())
                .where(MESSAGES.c.as_of_date == day)
                .group_by(MESSAGES.c.channel_code, MESSAGES.c.state_code, MESSAGES.c.reason_code)
                .order_by(MESSAGES.c.channel_code, MESSAGES.c.state_code, MESSAGES.c.reason_code)
            ).all()
            unknown: int = connection.execute(
                sa.select(sa.func.count()).where(MESSAGES.c.state_code == State.UNKNOWN)
            ).scalar_one()
            held: Any = connection.execute(
                sa.select(HELD_BATCHES.c.run_id, sa.func.count(), sa.func.max(HELD_BATCHES.c.send_at))
                .where(HELD_BATCHES.c.send_at > clock(), HELD_BATCHES.c.is_recall_confirmed.is_(False))
                .group_by(HELD_BATCHES.c.run_id)
            ).all()
            notices: int = connection.execute(
                sa.select(sa.func.count()).where(PAYMENT_NOTICES.c.seen_at.is_(None))
            ).scalar_one()
            reason = stop_reason(connection, day, settings.stop_path)
        broken = broken_link(engine)
    table = Table(title=f"messages of {day}", title_justify="left")
    for name in ("channel", "state", "reason", "messages"):
        table.add_column(name, justify="right" if name == "messages" else "left")
    for channel, state, why, count in counts:
        table.add_row(channel, state, escape(why or ""), f"{count:,}")
    shown.print(table)
    if plan is not None:
        shown.print(f"planned at {write_instant(plan.planned_at)} UTC, gate {plan.gate_code}", highlight=False)
    for run_id, batches, send_at in held:
        shown.print(f"held by the provider: run {run_id}, {batches:,} batches, until {write_instant(send_at)} UTC")
    shown.print(f"of unknown fate, all days: {unknown:,}; payments noted that no night has seen: {notices:,}")
    shown.print(
        "event log: whole"
        if broken is None
        else f"[bold red]event log: broken at event {broken}: see runbook[/bold red]"
    )
    if reason is not None:
        shown.print(f"[bold red]{escape(reason)}[/bold red]", soft_wrap=True)


def history_of(settings: Settings, customer_id: str) -> list[str]:
    """All messages to a customer with all that happened to them, oldest first."""
    with open_ledger(settings) as engine, engine.connect() as connection:
        messages = connection.execute(
            sa.select(MESSAGES)
            .where(MESSAGES.c.customer_id == customer_id)
            .order_by(MESSAGES.c.as_of_date, MESSAGES.c.channel_code)
        ).all()
        told = []
        for message in messages:
            state = f"{message.state_code} ({message.reason_code})" if message.reason_code else message.state_code
            told.append(
                f"{message.as_of_date} {message.channel_code} {message.step_code}: {state}, {message.message_id}"
            )
            events = connection.execute(
                sa.select(EVENTS).where(EVENTS.c.message_id == message.message_id).order_by(EVENTS.c.event_number)
            )
            for event in events:
                words = [write_instant(event.recorded_at), event.kind_code]
                words += [event.reason_code] if event.reason_code else []
                words += [f"run {event.run_id}"] if event.run_id else []
                told.append("  " + "  ".join(words))
    return told
