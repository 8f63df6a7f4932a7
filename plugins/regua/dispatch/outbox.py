"""The only door from the ledger to the network: what is claimed here may be sent once, and its answer comes back."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from regua.channels.contents import MessageContent
from regua.channels.sending import Answer, Outcome
from regua.dispatch.last_look import Knowledge, LastLook, take_last_look
from regua.errors import InputError
from regua.instants import Clock
from regua.ledger.event_log import MessageEvent, append_events, writing_messages
from regua.ledger.facts import FACT_EVENTS
from regua.ledger.messages import (
    CONTACT_DAYS,
    CONTENTS,
    HELD_BATCHES,
    MARKS,
    MESSAGES,
    PAYMENT_NOTICES,
    PLANS,
    REACHED_FROM,
    State,
)

_NOT_REACHED_WAIT = timedelta(minutes=1)
_LONGEST_WAIT = timedelta(minutes=15)
_STATE_AFTER = {
    Answer.ACCEPTED: State.ACCEPTED,
    Answer.UNKNOWN: State.UNKNOWN,
    Answer.REJECTED: State.REJECTED,
    # Not processed, so it may be tried again; the run stops.
    Answer.UNAUTHORISED: State.PLANNED,
    Answer.LIMITED: State.PLANNED,
    Answer.NOT_REACHED: State.PLANNED,
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A planned message as it was read; it may be claimed only while it is still the same."""

    content: MessageContent
    content_sha256: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send one message once, until `lease_until`. A later owner has a larger epoch."""

    message_id: str
    epoch: int
    claimed_at: datetime
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of a claim."""

    claim: Claim
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Hold:
    """Under which batch the provider holds messages, and until when. `batch_id` None: they go at once."""

    batch_id: str | None
    send_at: datetime | None


class StoppedError(InputError):
    """Sending is stopped, by the switch or because the plan has not passed its gate."""


class Outbox:
    """Messages of one day and channel, for one run. Safe to use from several processes at once.

    `keeps_hours` is false where nobody is contacted: then a message may be claimed at any hour.
    """

    def __init__(
        self,
        engine: sa.Engine,
        as_of: date,
        channel_code: str,
        *,
        run_id: str,
        sender_code: str,
        lease: timedelta,
        keeps_hours: bool,
        stop_file: Path,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._as_of = as_of
        self._channel_code = channel_code
        self._run_id = run_id
        self._sender_code = sender_code
        self._lease = lease
        self._keeps_hours = keeps_hours
        self._stop_file = stop_file
        self._clock = clock
        self._look: tuple[tuple[Any, ...], LastLook] | None = None
        self.owner = f"{socket.gethostname()}:{os.getpid()}"

    def begin(self) -> dict[State, int]:
        """Name what earlier runs of the channel left open."""
        return name_leftovers(
            self._engine,
            self._as_of,
            self._clock,
            channel_code=self._channel_code,
            run_id=self._run_id,
            keeps_hours=self._keeps_hours,
        )

    @property
    def first_id(self) -> str:
        """Where among the ids this run begins: elsewhere than others, so that they do not write the same messages."""
        return hashlib.md5(self._run_id.encode(), usedforsecurity=False).hexdigest()

    def candidates(self, limit: int, *, after: str = "", up_to: str = "g") -> list[Candidate]:
        """Planned messages that may go out now, by id, which is hexadecimal; nothing is locked or promised."""
        query = (
            sa.select(MESSAGES.c.content_sha256, CONTENTS.c.content)
            .join(CONTENTS, CONTENTS.c.message_id == MESSAGES.c.message_id)
            .where(*self._claimable(self._clock()), MESSAGES.c.message_id > after, MESSAGES.c.message_id <= up_to)
            .order_by(MESSAGES.c.message_id)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [
                Candidate(MessageContent.from_json(row.content), row.content_sha256)
                for row in connection.execute(query)
            ]

    def refuse(self, refused: Iterable[tuple[Candidate, str]]) -> None:
        """Messages that must not be sent as they are, with the reason: no claim, no attempt."""
        with writing_messages(self._engine) as connection:
            now = self._clock()
            events: list[MessageEvent] = []
            for candidate, reason in refused:
                self._leave(connection, events, candidate.content.message_id, State.SUPPRESSED, reason, now)
            append_events(connection, events, now)

    def exchange(self, answered: Sequence[Answered], wanted: Sequence[Candidate], hold: Hold) -> list[Claim]:
        """Record what came of earlier claims and claim `wanted`, in one transaction that is durable when this returns.

        The last look is taken inside. Answers are recorded whatever the claims come to. Raises StoppedError, with the
        answers recorded, when nothing may be sent now.
        """
        stopped = None
        claims: list[Claim] = []
        with writing_messages(self._engine) as connection:
            now = self._clock()
            events: list[MessageEvent] = []
            self._record(connection, events, answered, now)
            self._follow_recalls(connection, events, answered, now)
            if wanted:
                stopped = stop_reason(connection, self._as_of, self._stop_file)
                if stopped is None and hold.batch_id is not None and _is_recalled(connection, hold.batch_id):
                    stopped = f"Batch {hold.batch_id} was recalled while it was being filled."
                if stopped is None:
                    claims = self._claim(connection, events, wanted, hold, now)
            append_events(connection, events, now)
        if stopped is not None:
            raise StoppedError(stopped)
        return claims

    def still_holds(self, claim: Claim) -> bool:
        """Whether the claim is still this run's: to be asked when its lease may be over, before anything is sent."""
        query = sa.select(MESSAGES.c.epoch, MESSAGES.c.state_code).where(MESSAGES.c.message_id == claim.message_id)
        with self._engine.connect() as connection:
            row = connection.execute(query).one()
        return self._clock() < claim.lease_until and (row.epoch, row.state_code) == (claim.epoch, State.CLAIMED)

    def _claimable(self, now: datetime) -> list[sa.ColumnElement[bool]]:
        conditions = [
            MESSAGES.c.state_code == State.PLANNED,
            MESSAGES.c.channel_code == self._channel_code,
            MESSAGES.c.as_of_date == self._as_of,
            sa.or_(MESSAGES.c.not_before_at.is_(None), MESSAGES.c.not_before_at <= now),
        ]
        if self._keeps_hours:
            conditions += [MESSAGES.c.opens_at <= now, MESSAGES.c.closes_at > now]
        return conditions

    def _claim(
        self,
        connection: sa.Connection,
        events: list[MessageEvent],
        wanted: Sequence[Candidate],
        hold: Hold,
        now: datetime,
    ) -> list[Claim]:
        by_id = {candidate.content.message_id: candidate for candidate in wanted}
        query = sa.select(
            MESSAGES.c.message_id,
            MESSAGES.c.epoch,
            MESSAGES.c.address_hash,
            MESSAGES.c.content_sha256,
            MESSAGES.c.closes_at,
        ).where(MESSAGES.c.message_id.in_(by_id), *self._claimable(now))
        rows = [row for row in connection.execute(query) if row.content_sha256 == by_id[row.message_id].content_sha256]
        look = self._last_look(connection, now)
        contacted = self._contacted(connection, [row.address_hash for row in rows])
        claimed = []
        for row in rows:
            hindrance = look.hindrance(by_id[row.message_id].content)
            if hindrance is not None:
                self._leave(connection, events, row.message_id, hindrance.state, hindrance.reason, now)
            elif row.address_hash in contacted:
                self._leave(connection, events, row.message_id, State.SUPPRESSED, "contacted_that_day", now)
            elif self._keeps_hours and hold.send_at is not None and hold.send_at >= row.closes_at:
                self._leave(connection, events, row.message_id, State.EXPIRED, "window_closes_before_release", now)
            else:
                contacted.add(row.address_hash)
                claimed.append(row)
        if not claimed:
            return []
        lease_until = now + self._lease
        updated = connection.execute(
            sa.update(MESSAGES)
            .where(MESSAGES.c.message_id.in_([row.message_id for row in claimed]), *self._claimable(now))
            .values(
                state_code=State.CLAIMED,
                reason_code=None,
                state_at=now,
                epoch=MESSAGES.c.epoch + 1,
                attempt_count=MESSAGES.c.attempt_count + 1,
                lease_until=lease_until,
                run_id=self._run_id,
                sender_code=self._sender_code,
                batch_id=hold.batch_id,
                send_at=hold.send_at,
            )
        ).rowcount
        if updated != len(claimed):
            raise RuntimeError(
                f"{updated} of {len(claimed)} messages were claimed: the ledger is written from elsewhere"
            )
        connection.execute(
            sa.insert(CONTACT_DAYS),
            [
                {
                    "address_hash": row.address_hash,
                    "channel_code": self._channel_code,
                    "local_date": self._as_of,
                    "message_id": row.message_id,
                }
                for row in claimed
            ],
        )
        if hold.batch_id is not None and hold.send_at is not None:
            self._keep_batch(connection, hold.batch_id, hold.send_at)
        events += [
            MessageEvent(State.CLAIMED, row.message_id, None, self._run_id, row.epoch + 1, {"owner": self.owner})
            for row in claimed
        ]
        return [Claim(row.message_id, row.epoch + 1, now, lease_until) for row in claimed]

    def _record(
        self, connection: sa.Connection, events: list[MessageEvent], answered: Sequence[Answered], now: datetime
    ) -> None:
        """The answers to claims. One that comes after its lease is over counts where it proves more than was known."""
        by_state: dict[State, list[Answered]] = {}
        for each in answered:
            by_state.setdefault(_state_after(each.outcome), []).append(each)
        for state, some in by_state.items():
            if state is State.PLANNED:
                # Each has to wait as long as its own answer says.
                recorded = {key for each in some for key in self._move(connection, state, [each], now)}
            else:
                recorded = self._move(connection, state, some, now)
            for each in some:
                claim, outcome = each.claim, each.outcome
                if claim.message_id not in recorded:
                    events.append(MessageEvent("late", claim.message_id, outcome.answer, self._run_id, claim.epoch))
                    continue
                detail = {"provider_message_id": outcome.provider_message_id} if outcome.provider_message_id else {}
                events.append(
                    MessageEvent(state, claim.message_id, _reason(outcome), self._run_id, claim.epoch, detail)
                )
            if state in (State.PLANNED, State.REJECTED) and recorded:
                connection.execute(sa.delete(CONTACT_DAYS).where(CONTACT_DAYS.c.message_id.in_(recorded)))

    def _move(self, connection: sa.Connection, state: State, answered: Sequence[Answered], now: datetime) -> set[str]:
        """Claims of this very epoch into `state`, in one statement; answers whose they were."""
        not_before_at = None
        if state is State.PLANNED:
            [outcome] = [each.outcome for each in answered]
            wait = timedelta(seconds=outcome.retry_after_seconds or 0) or _NOT_REACHED_WAIT
            not_before_at = now + min(wait, _LONGEST_WAIT)
        given = (
            sa.values(
                sa.column("message_id", sa.String),
                sa.column("epoch", sa.Integer),
                sa.column("reason_code", sa.String),
                sa.column("provider_message_id", sa.String),
                name="given",
            )
            .data(
                [
                    (
                        each.claim.message_id,
                        each.claim.epoch,
                        _reason(each.outcome),
                        each.outcome.provider_message_id,
                    )
                    for each in answered
                ]
            )
            .cte()
        )
        statement = (
            sa.update(MESSAGES)
            .where(
                MESSAGES.c.message_id == given.c.message_id,
                MESSAGES.c.epoch == given.c.epoch,
                MESSAGES.c.state_code.in_(REACHED_FROM[state] - {State.PLANNED}),
            )
            .values(
                state_code=state,
                state_at=now,
                reason_code=sa.cast(given.c.reason_code, sa.String),
                provider_message_id=sa.cast(given.c.provider_message_id, sa.String),
                not_before_at=not_before_at,
            )
            .returning(MESSAGES.c.message_id)
        )
        return set(connection.execute(statement).scalars())

    def _follow_recalls(
        self, connection: sa.Connection, events: list[MessageEvent], answered: Sequence[Answered], now: datetime
    ) -> None:
        """What the provider accepted into a batch that it had already given up will not go out."""
        accepted = [each.claim.message_id for each in answered if each.outcome.answer is Answer.ACCEPTED]
        if not accepted:
            return
        given_up = sa.select(HELD_BATCHES.c.batch_id).where(HELD_BATCHES.c.is_recall_confirmed)
        found = connection.execute(
            sa.update(MESSAGES)
            .where(
                MESSAGES.c.message_id.in_(accepted),
                MESSAGES.c.state_code == State.ACCEPTED,
                MESSAGES.c.channel_code == self._channel_code,
                MESSAGES.c.as_of_date == self._as_of,
                MESSAGES.c.batch_id.in_(given_up),
            )
            .values(state_code=State.SUPPRESSED, reason_code="recalled", state_at=now)
            .returning(MESSAGES.c.message_id)
        )
        events += [MessageEvent(State.SUPPRESSED, each.message_id, "recalled", self._run_id) for each in found]

    def _leave(
        self,
        connection: sa.Connection,
        events: list[MessageEvent],
        message_id: str,
        state: State,
        reason: str,
        now: datetime,
    ) -> None:
        updated = connection.execute(
            sa.update(MESSAGES)
            .where(MESSAGES.c.message_id == message_id, MESSAGES.c.state_code == State.PLANNED)
            .values(state_code=state, reason_code=reason[:200], state_at=now)
        ).rowcount
        if updated:
            events.append(MessageEvent(state, message_id, reason[:200], self._run_id))

    def _last_look(self, connection: sa.Connection, now: datetime) -> LastLook:
        """Read again only when something was said since: the facts of years need not be read for every claim."""
        plan = connection.execute(
            sa.select(PLANS.c.known_at, PLANS.c.known_fact_numbers, PLANS.c.planned_at).where(
                PLANS.c.as_of_date == self._as_of
            )
        ).one()
        mark = (
            plan.planned_at,
            connection.execute(sa.select(sa.func.max(FACT_EVENTS.c.event_number))).scalar_one(),
            *connection.execute(
                sa.select(sa.func.count(), sa.func.max(PAYMENT_NOTICES.c.seen_at)).select_from(PAYMENT_NOTICES)
            ).one(),
        )
        if self._look is None or self._look[0] != mark:
            self._look = (mark, take_last_look(connection, Knowledge(plan.known_at, plan.known_fact_numbers), now))
        return self._look[1]

    def _contacted(self, connection: sa.Connection, address_hashes: Sequence[str]) -> set[str]:
        query = sa.select(CONTACT_DAYS.c.address_hash).where(
            CONTACT_DAYS.c.address_hash.in_(address_hashes),
            CONTACT_DAYS.c.channel_code == self._channel_code,
            CONTACT_DAYS.c.local_date == self._as_of,
        )
        return set(connection.execute(query).scalars())

    def _keep_batch(self, connection: sa.Connection, batch_id: str, send_at: datetime) -> None:
        query = sa.select(HELD_BATCHES.c.batch_id).where(HELD_BATCHES.c.batch_id == batch_id)
        if connection.execute(query).one_or_none() is None:
            connection.execute(
                sa.insert(HELD_BATCHES).values(
                    batch_id=batch_id,
                    run_id=self._run_id,
                    channel_code=self._channel_code,
                    send_at=send_at,
                    is_recall_confirmed=False,
                )
            )


def name_leftovers(
    engine: sa.Engine,
    day: date,
    clock: Clock,
    *,
    channel_code: str | None = None,
    run_id: str | None = None,
    keeps_hours: bool = True,
) -> dict[State, int]:
    """What earlier runs left open by `day`, of one channel or of all; answers how many got which state.

    A claim whose lease is over may have been sent: it becomes `unknown`. What was not sent within its hours expires.
    """
    own = [MESSAGES.c.as_of_date <= day]
    if channel_code is not None:
        own.append(MESSAGES.c.channel_code == channel_code)
    with writing_messages(engine) as connection:
        now = clock()
        is_over = MESSAGES.c.as_of_date < day
        if keeps_hours:
            is_over = sa.or_(is_over, MESSAGES.c.closes_at <= now)
        left = {
            State.UNKNOWN: (State.CLAIMED, MESSAGES.c.lease_until < now, "lease_over"),
            State.EXPIRED: (State.PLANNED, is_over, "window_closed"),
        }
        counts = {}
        events = []
        for state, (before, condition, reason) in left.items():
            statement = (
                sa.update(MESSAGES)
                .where(*own, MESSAGES.c.state_code == before, condition)
                .values(state_code=state, reason_code=reason, state_at=now)
                .returning(MESSAGES.c.message_id, MESSAGES.c.epoch)
            )
            found = connection.execute(statement).all()
            counts[state] = len(found)
            events += [MessageEvent(state, row.message_id, reason, run_id, row.epoch) for row in found]
        append_events(connection, events, now)
    return counts


def _state_after(outcome: Outcome) -> State:
    """A refusal of the address itself is proof that nothing will reach it: the step's fallback may follow."""
    if outcome.answer is Answer.REJECTED and outcome.is_address_fault:
        return State.BOUNCED
    return _STATE_AFTER[outcome.answer]


def _reason(outcome: Outcome) -> str | None:
    return outcome.reason[:200] or None


def _is_recalled(connection: sa.Connection, batch_id: str) -> bool:
    query = sa.select(HELD_BATCHES.c.recalled_at).where(HELD_BATCHES.c.batch_id == batch_id)
    return connection.execute(query).scalar_one_or_none() is not None


def stopped_by(connection: sa.Connection, stop_file: Path) -> str | None:
    """What stops all sending, or None."""
    if stop_file.exists():
        return f"Sending is stopped by the file {stop_file}. `regua ledger resume` removes it."
    mark = sa.select(MARKS.c.value).where(MARKS.c.mark_code == "stopped")
    stopped: str | None = connection.execute(mark).scalar_one_or_none()
    if stopped is not None:
        return f"Sending is stopped: {stopped}. `regua ledger resume` lets it go on."
    return None


def stop_reason(connection: sa.Connection, as_of: date, stop_file: Path) -> str | None:
    """Why nothing of a day may be sent now, or None. What cannot be read forbids."""
    stopped = stopped_by(connection, stop_file)
    if stopped is not None:
        return stopped
    query = sa.select(PLANS.c.gate_code, PLANS.c.gate_reason).where(PLANS.c.as_of_date == as_of)
    plan: Any = connection.execute(query).one_or_none()
    if plan is None:
        return f"There is no plan of {as_of}: run `regua plan --as-of {as_of}` after the night."
    if plan.gate_code != "green":
        told = plan.gate_reason or "it has not been run"
        return f"The plan of {as_of} has not passed its gate, so no message leaves: {told}"
    return None
