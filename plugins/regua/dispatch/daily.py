"""What the DAGs and the command line call: plan a day, judge the plan, send what may be sent now."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from math import ceil
from typing import Any

import sqlalchemy as sa

from regua.channels.checking import faults_of
from regua.channels.contents import MessageContent
from regua.channels.dispatch_file import CHANNELS, DispatchFile, EmailSending, read_dispatch_file
from regua.channels.opening import open_channel
from regua.channels.rendering import Renderer, UnsendableError
from regua.channels.sending import Channel, Rendered
from regua.dispatch.dispatching import Bounds, Run, RunReport
from regua.dispatch.evidence import record_evidence
from regua.dispatch.evidence_facts import UNWANTED_REASONS, EventCode, Evidence
from regua.dispatch.last_look import planned_knowledge
from regua.dispatch.outbox import Outbox, StoppedError, stop_reason, stopped_by
from regua.dispatch.payments import note_new_payments, unseen_notices
from regua.dispatch.plan_gate import gate_plan
from regua.dispatch.planning import Plan, read_night, write_plan
from regua.dispatch.recalling import Channels, Recall, look_before_release, recall
from regua.errors import BusyError, InputError
from regua.instants import Clock, local_day
from regua.ledger.database import open_ledger
from regua.ledger.event_log import writing_messages
from regua.ledger.messages import HELD_BATCHES, MARKS, MESSAGES, PLANS, State
from regua.quality.gate import GateReport
from regua.settings import Settings

# SendGrid has at most ten batches cancelled at one time; what is held must be recallable whole, with two to spare.
_BATCHES = 8
# Below the task's time-out, by enough for what comes after the last answer.
_RUNS_FOR = timedelta(minutes=18)
_SHORTEST_RUN = timedelta(minutes=1)
_HANDED_OVER_WHOLE = ("letter", "call")
# Beyond the slowest answer: after it nobody is still sending what was claimed.
_LEASE = timedelta(minutes=10)


class CheckedWriter:
    """Renders a message and refuses what does not pass the check."""

    def __init__(self, settings: Settings, dispatch_file: DispatchFile) -> None:
        self._renderer = Renderer(settings.templates_dir, dispatch_file)
        self._dispatch_file = dispatch_file

    def write(self, content: MessageContent) -> Rendered:
        """Raises UnsendableError with the first fault."""
        try:
            rendered = self._renderer.render(content)
            faults = faults_of(content, rendered, self._dispatch_file)
        except InputError:
            raise
        except Exception as error:  # noqa: BLE001 - what one customer is called must not hold up all others
            raise UnsendableError(f"defect: {type(error).__name__}") from None
        if faults:
            raise UnsendableError(faults[0])
        return rendered


@dataclass(frozen=True, slots=True)
class Dispatch:
    """What one dispatch did: what it took back before its release, and a report of each channel."""

    as_of: date
    payments_noted: int
    recalled: Recall
    reports: tuple[RunReport, ...]


def plan_day(settings: Settings, as_of: date, clock: Clock) -> Plan:
    """Write the plan of the night of `as_of` into the ledger. Raises InputError for a day that is not today's."""
    require_today(settings, as_of, clock)
    with open_ledger(settings) as engine:
        _require_environment(engine, settings)
        return write_plan(engine, read_night(settings, as_of, unseen_notices(engine)), clock)


def judge_plan(settings: Settings, as_of: date, clock: Clock) -> GateReport:
    """Run the gate of the plan. Raises RedGateError when it is red."""
    dispatch_file = read_dispatch_file(settings.dispatch_path)
    with open_ledger(settings) as engine:
        return gate_plan(settings, engine, as_of, dispatch_file, CheckedWriter(settings, dispatch_file), clock)


def recall_what_must_not_go(settings: Settings, clock: Clock, environ: Mapping[str, str] = os.environ) -> Recall:
    """Take back what is held and must not be released: all of it while sending is stopped, whatever the plan says."""
    dispatch_file = read_dispatch_file(settings.dispatch_path)
    with open_ledger(settings) as engine, opened_channels(settings, dispatch_file, environ) as channels:
        with engine.connect() as connection:
            is_stopped = stopped_by(connection, settings.stop_path) is not None
        return recall(engine, channels, clock) if is_stopped else look_before_release(engine, channels, clock)


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
    reports: list[RunReport] = []
    troubles: list[str] = []
    with open_ledger(settings) as engine, opened_channels(settings, dispatch_file, environ) as channels:
        _require_environment(engine, settings)
        recalled = look_before_release(engine, channels, clock)
        with engine.connect() as connection:
            known_at = planned_knowledge(connection, as_of).known_at
        noted = note_new_payments(settings, engine, known_at, clock)
        if noted:
            recalled = look_before_release(engine, channels, clock)
        writer = CheckedWriter(settings, dispatch_file)
        day = _Day(settings, engine, channels, writer, dispatch_file, as_of, run_id, clock)
        ends_at = clock() + _RUNS_FOR
        for place, channel_code in enumerate(channel_codes):
            # Each gets its share of what is left, so that a slow one does not starve the others.
            run_for = max((ends_at - clock()) / (len(channel_codes) - place), _SHORTEST_RUN)
            try:
                report = day.send_through(channel_code, run_for)
            except (InputError, BusyError) as error:
                troubles.append(f"{channel_code}: {error}")
                continue
            if report is not None:
                reports.append(report)
                on_channel(report)
    if recalled.unconfirmed_batch_ids:
        troubles.append(
            f"not recalled, though it should have been: batches {', '.join(recalled.unconfirmed_batch_ids)}"
        )
    troubles += [f"{each.channel_code}: ended early, {each.ended}" for each in reports if each.is_trouble]
    if troubles:
        raise InputError("\n".join([f"The dispatch of {as_of} is not complete:", *troubles]))
    return Dispatch(as_of, noted, recalled, tuple(reports))


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


@dataclass(frozen=True, slots=True)
class _Day:
    """What all channels of one dispatch have in common."""

    settings: Settings
    engine: sa.Engine
    channels: Channels
    writer: CheckedWriter
    dispatch_file: DispatchFile
    as_of: date
    run_id: str
    clock: Clock

    def send_through(self, channel_code: str, run_for: timedelta) -> RunReport | None:
        """One run over one channel; None when it had nothing to do."""
        planned, left_open, accepted = self._counts(channel_code)
        report = None
        if planned or left_open:
            channel = self.channels(channel_code)
            outbox = Outbox(
                self.engine,
                self.as_of,
                channel_code,
                run_id=self.run_id,
                sender_code=channel.sender_code,
                lease=_LEASE,
                keeps_hours=self.settings.contacts_people,
                stop_file=self.settings.stop_path,
                clock=self.clock,
            )
            bounds = self._bounds(channel_code, planned, run_for)
            report = Run(outbox, channel, self.writer, bounds, channel_code, self.clock).run()
            self._keep_refused_addresses(channel.sender_code, report)
        if report is not None or (accepted and channel_code in _HANDED_OVER_WHOLE):
            # Again where an earlier run wrote letters or calls and died before it handed them over.
            self.channels(channel_code).finish()
        return report

    def _bounds(self, channel_code: str, planned: int, run_for: timedelta) -> Bounds:
        sending = self.dispatch_file.sending(channel_code)
        bounds = Bounds(
            messages=sending.messages_per_run,
            connections=sending.connections,
            timeout=timedelta(seconds=sending.timeout_seconds),
            run_for=run_for,
        )
        if not isinstance(sending, EmailSending):
            return bounds
        batches = max(_BATCHES - self._held_batches(channel_code), 0)
        return replace(
            bounds,
            hold_for=timedelta(minutes=sending.hold_minutes),
            batch_size=max(sending.messages_per_batch, ceil(planned / max(batches, 1))),
            batches=batches,
        )

    def _keep_refused_addresses(self, sender_code: str, report: RunReport) -> None:
        """What a provider refused at once is evidence like a bounce that it tells of later."""
        refused = [
            Evidence(
                sender_code,
                EventCode.OPTED_OUT if reason in UNWANTED_REASONS else EventCode.BOUNCED,
                message_id=message_id,
                reason=reason,
            )
            for message_id, reason in report.refused_addresses
        ]
        record_evidence(self.engine, refused, self.clock)

    def _held_batches(self, channel_code: str) -> int:
        query = sa.select(sa.func.count()).where(
            HELD_BATCHES.c.channel_code == channel_code, HELD_BATCHES.c.send_at > self.clock()
        )
        with self.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def _counts(self, channel_code: str) -> tuple[int, int, int]:
        """Messages planned, those an earlier run claimed and did not finish, those of the day that were handed over."""
        query = (
            sa.select(MESSAGES.c.state_code, sa.func.count())
            .where(
                MESSAGES.c.as_of_date == self.as_of,
                MESSAGES.c.channel_code == channel_code,
                MESSAGES.c.state_code.in_((State.PLANNED, State.CLAIMED, State.ACCEPTED)),
            )
            .group_by(MESSAGES.c.state_code)
        )
        with self.engine.connect() as connection:
            counts: dict[str, int] = {row[0]: row[1] for row in connection.execute(query)}
        return counts.get(State.PLANNED, 0), counts.get(State.CLAIMED, 0), counts.get(State.ACCEPTED, 0)


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
