"""What the DAGs and the command line call: plan a day, judge the plan, send what may be sent now."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from math import ceil
from typing import Any

import sqlalchemy as sa

from regua.channels.checking import faults_of
from regua.channels.contents import MessageContent
from regua.channels.dispatch_file import CHANNELS, DispatchFile, read_dispatch_file
from regua.channels.opening import open_channel
from regua.channels.rendering import Renderer, UnsendableError
from regua.channels.sending import Channel, Rendered
from regua.dispatch.dispatching import Bounds, Run, RunReport
from regua.dispatch.outbox import Outbox, StoppedError, stop_reason
from regua.dispatch.payments import note_new_payments
from regua.dispatch.plan_gate import gate_plan
from regua.dispatch.planning import Plan, read_night, write_plan
from regua.dispatch.recalling import Channels, Recall, look_before_release
from regua.errors import BusyError, InputError
from regua.instants import Clock, local_day
from regua.ledger.database import open_ledger
from regua.ledger.event_log import writing_messages
from regua.ledger.messages import MARKS, MESSAGES, PAYMENT_NOTICES, PLANS, State
from regua.quality.gate import GateReport
from regua.settings import Settings

# SendGrid has at most ten batches cancelled at one time; what a run holds must be recallable whole, with two to spare.
_BATCHES_PER_RUN = 8
# Beyond the slowest answer: after it nobody is still sending what was claimed.
_LEASE = timedelta(minutes=10)


class CheckedWriter:
    """Renders a message and refuses what does not pass the check."""

    def __init__(self, settings: Settings, dispatch_file: DispatchFile) -> None:
        self._renderer = Renderer(settings.templates_dir, dispatch_file)
        self._dispatch_file = dispatch_file

    def write(self, content: MessageContent) -> Rendered:
        """Raises UnsendableError with the first fault."""
        rendered = self._renderer.render(content)
        faults = faults_of(content, rendered, self._dispatch_file)
        if faults:
            raise UnsendableError(faults[0])
        return rendered


@dataclass(frozen=True, slots=True)
class Dispatch:
    """What one dispatch did: what it took back before its release, and a report of each channel."""

    as_of: date
    payments_noted: int
    recall: Recall
    reports: tuple[RunReport, ...]


def plan_day(settings: Settings, as_of: date, clock: Clock) -> Plan:
    """Write the plan of the night of `as_of` into the ledger. Raises InputError for a day that is not today's."""
    require_today(settings, as_of, clock)
    with open_ledger(settings) as engine:
        _require_environment(engine, settings)
        with engine.connect() as connection:
            unseen = sa.select(PAYMENT_NOTICES.c.notice_id).where(PAYMENT_NOTICES.c.seen_at.is_(None))
            notice_ids: list[str] = list(connection.execute(unseen).scalars())
        return write_plan(engine, read_night(settings, as_of, notice_ids), clock)


def judge_plan(settings: Settings, as_of: date, clock: Clock) -> GateReport:
    """Run the gate of the plan. Raises RedGateError when it is red."""
    dispatch_file = read_dispatch_file(settings.dispatch_path)
    with open_ledger(settings) as engine:
        return gate_plan(settings, engine, as_of, dispatch_file, CheckedWriter(settings, dispatch_file), clock)


def require_green_plan(settings: Settings, as_of: date, clock: Clock) -> int:
    """How many messages of `as_of` are still planned.

    Raises StoppedError where the plan is red or sending is stopped, which somebody was told of already, and InputError
    for another day than today and for one without a plan.
    """
    require_today(settings, as_of, clock)
    with open_ledger(settings) as engine, engine.connect() as connection:
        plan = connection.execute(sa.select(PLANS.c.gate_code).where(PLANS.c.as_of_date == as_of)).one_or_none()
        reason = stop_reason(connection, as_of, settings.stop_path)
        if reason is not None:
            raise InputError(reason) if plan is None else StoppedError(reason)
        planned = sa.select(sa.func.count()).where(
            MESSAGES.c.as_of_date == as_of, MESSAGES.c.state_code == State.PLANNED
        )
        return int(connection.execute(planned).scalar_one())


def dispatch_day(
    settings: Settings,
    as_of: date,
    clock: Clock,
    *,
    run_id: str,
    channel_codes: Sequence[str] = CHANNELS,
    environ: Mapping[str, str] = os.environ,
    on_channel: Callable[[RunReport], None] = lambda report: None,
) -> Dispatch:
    """Send what may be sent now. One channel's trouble holds up no other: what went wrong is raised at the end.

    Raises InputError for a day that is not today's, a ledger of another environment, a plan that is not green and a
    channel that is not set up; BusyError for a provider that cannot be reached.
    """
    require_today(settings, as_of, clock)
    dispatch_file = read_dispatch_file(settings.dispatch_path)
    writer = CheckedWriter(settings, dispatch_file)
    reports: list[RunReport] = []
    troubles: list[str] = []
    with open_ledger(settings) as engine, opened_channels(settings, dispatch_file, environ) as channels:
        _require_environment(engine, settings)
        noted = note_new_payments(settings, engine, as_of, clock)
        recall = look_before_release(engine, channels, clock)
        for channel_code in channel_codes:
            planned, left_open = _open_counts(engine, as_of, channel_code)
            if not planned and not left_open:
                continue
            try:
                channel = channels(channel_code)
                report = _run(
                    settings, engine, channel, writer, dispatch_file, as_of, channel_code, planned, run_id, clock
                )
                channel.finish()
            except (InputError, BusyError) as error:
                troubles.append(f"{channel_code}: {error}")
                continue
            reports.append(report)
            on_channel(report)
    if recall.unconfirmed_batch_ids:
        troubles.append(f"not recalled, though it should have been: batches {', '.join(recall.unconfirmed_batch_ids)}")
    troubles += [f"{each.channel_code}: ended early, {each.ended}" for each in reports if each.ended is not None]
    if troubles:
        raise InputError("\n".join([f"The dispatch of {as_of} is not complete:", *troubles]))
    return Dispatch(as_of, noted, recall, tuple(reports))


@contextmanager
def opened_channels(settings: Settings, dispatch_file: DispatchFile, environ: Mapping[str, str]) -> Iterator[Channels]:
    """Each channel opened when it is first asked for."""

    @cache
    def opened(channel_code: str) -> Channel:
        return open_channel(channel_code, dispatch_file, settings.environment, settings.home, environ)

    yield opened


def require_today(settings: Settings, as_of: date, clock: Clock) -> None:
    """A message of another day would speak of amounts that are not so. Where nobody is contacted, any day will do."""
    today = local_day(clock())
    if settings.contacts_people and as_of != today:
        raise InputError(f"{as_of} is not today, {today}: only the plan of today is sent. Nothing was done.")


def _run(
    settings: Settings,
    engine: sa.Engine,
    channel: Channel,
    writer: CheckedWriter,
    dispatch_file: DispatchFile,
    as_of: date,
    channel_code: str,
    planned: int,
    run_id: str,
    clock: Clock,
) -> RunReport:
    sending = dispatch_file.sending(channel_code)
    outbox = Outbox(
        engine,
        as_of,
        channel_code,
        run_id=run_id,
        sender_code=channel.sender_code,
        lease=_LEASE,
        keeps_hours=settings.contacts_people,
        stop_file=settings.stop_path,
        clock=clock,
    )
    bounds = Bounds(
        messages=sending.messages_per_run,
        connections=sending.connections,
        timeout=timedelta(seconds=sending.timeout_seconds),
        hold_for=timedelta(minutes=getattr(sending, "hold_minutes", 0)),
        batch_size=max(getattr(sending, "messages_per_batch", 1), ceil(planned / _BATCHES_PER_RUN)),
    )
    return Run(outbox, channel, writer, bounds, channel_code, clock).run()


def _open_counts(engine: sa.Engine, as_of: date, channel_code: str) -> tuple[int, int]:
    """Messages still planned, and those that an earlier run claimed and did not finish."""
    states = (State.PLANNED, State.CLAIMED)
    query = (
        sa.select(MESSAGES.c.state_code, sa.func.count())
        .where(
            MESSAGES.c.as_of_date <= as_of,
            MESSAGES.c.channel_code == channel_code,
            MESSAGES.c.state_code.in_(states),
        )
        .group_by(MESSAGES.c.state_code)
    )
    with engine.connect() as connection:
        counts: dict[str, int] = {row[0]: row[1] for row in connection.execute(query)}
    return counts.get(State.PLANNED, 0), counts.get(State.CLAIMED, 0)


def _require_environment(engine: sa.Engine, settings: Settings) -> None:
    """What a ledger of a trial holds as sent was never sent: it must not keep a real message from going out."""
    with writing_messages(engine) as connection:
        query = sa.select(MARKS.c.value).where(MARKS.c.mark_code == "environment")
        found: str | None = connection.execute(query).scalar_one_or_none()
        if found is None:
            connection.execute(sa.insert(MARKS).values(mark_code="environment", value=settings.environment))
        elif found != settings.environment:
            raise InputError(
                f"This ledger is of the environment {found}, and REGUA_ENV is {settings.environment}. What was sent in "
                "one was not sent in the other: give each a REGUA_HOME, and a REGUA_LEDGER_URL, of its own."
            )


def newest_plan_day(engine: sa.Engine) -> date | None:
    with engine.connect() as connection:
        found: Any = connection.execute(sa.select(sa.func.max(PLANS.c.as_of_date))).scalar_one()
    return found  # type: ignore[no-any-return]
