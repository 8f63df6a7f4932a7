"""One run over one channel: render, check, claim, send, record, until nothing is left or something says stop."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import sqlalchemy as sa

from regua.channels.contents import MessageContent
from regua.channels.sending import Answer, Channel, Outcome, Outgoing, Rendered
from regua.dispatch.outbox import Answered, Candidate, Claim, Hold, Outbox, StoppedError
from regua.errors import InputError, ReguaError
from regua.instants import Clock
from regua.ledger.messages import State

_PAGE = 200
# A run of unknowns means that something is broken: better a late message than one nobody can account for.
_UNKNOWN_IN_A_ROW = 5
_UNKNOWN_SHARE = 0.02
_SHARE_COUNTS_FROM = 100
# Longer than this the next run waits better than this one.
_LONGEST_PAUSE_SECONDS = 120
# A claim older than this was slept over: the machine was paused, or the process.
_SLEPT = timedelta(seconds=5)
_RECORDING_TRIES = 5
_AT_ONCE = Hold(None, None)
_NEXT_RUN_GOES_ON = ("time_over", "cap_reached", "held_full", "limited")


class Writer(Protocol):
    """Makes a message of its content. Raises InputError, without personal values, for one that must not be sent."""

    def write(self, content: MessageContent) -> Rendered: ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one run may do. The provider holds messages `hold_for`, in so many batches of `batch_size`."""

    messages: int
    connections: int
    timeout: timedelta
    hold_for: timedelta = timedelta(0)
    batch_size: int = 1
    batches: int = 1_000_000
    run_for: timedelta = timedelta(minutes=12)


@dataclass(slots=True)
class RunReport:
    """What a run did: answers by kind, messages refused before any attempt, and why it ended early, if it did.

    `refused_addresses` are (message_id, reason) of those whose address the provider will not have.
    """

    channel_code: str
    answers: Counter[Answer] = field(default_factory=Counter)
    refused: int = 0
    left_open: int = 0
    refused_addresses: list[tuple[str, str]] = field(default_factory=list)
    ended: str | None = None

    @property
    def is_trouble(self) -> bool:
        """Whether somebody must see to it. Otherwise the next run goes on by itself."""
        return self.ended is not None and not self.ended.startswith(_NEXT_RUN_GOES_ON)

    @property
    def attempted(self) -> int:
        return self.answers.total()


class Run:
    """A run; `pause` waits so many seconds and is given so that a test need not."""

    def __init__(
        self,
        outbox: Outbox,
        channel: Channel,
        writer: Writer,
        bounds: Bounds,
        channel_code: str,
        clock: Clock,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._outbox = outbox
        self._channel = channel
        self._writer = writer
        self._bounds = bounds
        self._clock = clock
        self._pause = pause
        self._report = RunReport(channel_code)
        self._ready: deque[tuple[Candidate, Rendered]] = deque()
        self._answered: list[Answered] = []
        self._unknown_in_a_row = 0
        self._claimed_count = 0
        self._hold = _AT_ONCE
        self._is_holding = bool(bounds.hold_for)
        self._hold_left = 0
        self._batches_left = bounds.batches
        self._not_before: datetime | None = None
        self._defect: BaseException | None = None
        self._ranges: deque[tuple[str, str]] = deque()
        self._has_put_off = False
        self._begin_round()

    def run(self) -> RunReport:
        """Raises what the ledger or the provider's refusal of a batch raises, once all that was sent is recorded."""
        self._report.left_open = self._outbox.begin()[State.UNKNOWN]
        started = self._clock()
        in_flight: dict[Future[Outcome], Claim] = {}
        with ThreadPoolExecutor(self._bounds.connections, thread_name_prefix="send") as pool:
            try:
                while not self._is_done(in_flight):
                    if self._clock() - started > self._bounds.run_for:
                        self._report.ended = self._report.ended or "time_over"
                    self._refill()
                    self._wait_out_limit(in_flight)
                    wanted = self._next(self._bounds.connections - len(in_flight))
                    for claim, outgoing in self._exchange(wanted):
                        in_flight[pool.submit(self._send, claim, outgoing)] = claim
                    if in_flight:
                        self._collect(in_flight)
            finally:
                self._drain(in_flight)
        if self._defect is not None:
            raise self._defect
        return self._report

    def _is_done(self, in_flight: dict[Future[Outcome], Claim]) -> bool:
        if in_flight:
            return False
        if self._report.ended is None and not self._ready and not self._ranges and self._has_put_off:
            # Those that the provider put off come round again.
            self._begin_round()
        return self._report.ended is not None or (not self._ready and not self._ranges)

    def _begin_round(self) -> None:
        """All ids once: from this run's first one to the last, then from the beginning."""
        first_id = self._outbox.first_id
        self._ranges = deque([(first_id, "g"), ("", first_id)])
        self._has_put_off = False

    def _refill(self) -> None:
        while self._report.ended is None and not self._ready and self._ranges:
            after, up_to = self._ranges[0]
            page = self._outbox.candidates(_PAGE, after=after, up_to=up_to)
            if len(page) < _PAGE:
                self._ranges.popleft()
            else:
                self._ranges[0] = (page[-1].content.message_id, up_to)
            self._prepare(page)

    def _prepare(self, page: Iterable[Candidate]) -> None:
        refused = []
        for candidate in page:
            try:
                self._ready.append((candidate, self._writer.write(candidate.content)))
            except InputError as error:
                refused.append((candidate, f"not_fit: {error}"))
        if refused:
            self._outbox.refuse(refused)
            self._report.refused += len(refused)

    def _next(self, free: int) -> list[tuple[Candidate, Rendered]]:
        """The messages to claim now: no more than connections are free, the run may send, and one batch holds."""
        if self._report.ended is not None or not self._ready:
            return []
        left = self._bounds.messages - self._claimed_count
        if left <= 0:
            self._report.ended = "cap_reached"
            return []
        count = min(free, left, len(self._ready))
        if count and self._is_holding:
            if self._hold_left == 0:
                if self._batches_left == 0:
                    self._report.ended = "held_full: as much is held as can be recalled; the next run goes on"
                    return []
                self._open_batch()
            count = min(count, self._hold_left) if self._is_holding else count
        return [self._ready.popleft() for _ in range(count)]

    def _open_batch(self) -> None:
        batch_id = self._channel.open_batch()
        if batch_id is None:
            # This provider holds nothing.
            self._is_holding = False
            return
        self._hold = Hold(batch_id, self._clock() + self._bounds.hold_for)
        self._hold_left = self._bounds.batch_size
        self._batches_left -= 1

    def _exchange(self, wanted: list[tuple[Candidate, Rendered]]) -> list[tuple[Claim, Outgoing]]:
        if not wanted and not self._answered:
            return []
        answered, self._answered = self._answered, []
        hold = self._hold
        try:
            claims = self._outbox.exchange(answered, [candidate for candidate, _ in wanted], hold)
        except StoppedError as error:
            self._report.ended = str(error)
            return []
        except BaseException:
            self._answered = answered
            raise
        self._claimed_count += len(claims)
        self._hold_left = max(0, self._hold_left - len(claims))
        by_id = {candidate.content.message_id: (candidate, rendered) for candidate, rendered in wanted}
        return [
            (
                claim,
                Outgoing(by_id[claim.message_id][0].content, by_id[claim.message_id][1], hold.send_at, hold.batch_id),
            )
            for claim in claims
        ]

    def _send(self, claim: Claim, outgoing: Outgoing) -> Outcome:
        now = self._clock()
        # Nothing is begun that might last beyond the lease, and nothing after a sleep without asking.
        if now + self._bounds.timeout >= claim.lease_until:
            return Outcome(Answer.NOT_REACHED, "lease_over_before_sending")
        if now - claim.claimed_at > _SLEPT and not self._outbox.still_holds(claim):
            return Outcome(Answer.NOT_REACHED, "claim_lost_before_sending")
        return self._channel.send(outgoing)

    def _collect(self, in_flight: dict[Future[Outcome], Claim]) -> None:
        """Wait for answers and take those that have come."""
        done, _ = wait(in_flight, return_when=FIRST_COMPLETED)
        for future in done:
            claim = in_flight.pop(future)
            error = future.exception()
            if error is not None:
                # A channel may not raise: whether it had sent is not known, and the run ends.
                self._defect = error
                self._report.ended = f"defect: {type(error).__name__}"
                outcome = Outcome(Answer.UNKNOWN, f"defect: {type(error).__name__}")
            else:
                outcome = future.result()
            if outcome.is_address_fault:
                self._report.refused_addresses.append((claim.message_id, outcome.reason))
            self._answered.append(Answered(claim, outcome))
            self._judge(outcome)

    def _judge(self, outcome: Outcome) -> None:
        report = self._report
        report.answers[outcome.answer] += 1
        self._has_put_off = self._has_put_off or outcome.answer in (Answer.LIMITED, Answer.NOT_REACHED)
        self._unknown_in_a_row = self._unknown_in_a_row + 1 if outcome.answer is Answer.UNKNOWN else 0
        if outcome.answer is Answer.UNAUTHORISED:
            report.ended = report.ended or f"unauthorised: {outcome.reason}"
        elif outcome.answer is Answer.LIMITED:
            seconds = outcome.retry_after_seconds or 1.0
            self._not_before = max(self._not_before or self._clock(), self._clock() + timedelta(seconds=seconds))
            if seconds > _LONGEST_PAUSE_SECONDS:
                report.ended = report.ended or "limited: the provider wants us to come back later"
        elif outcome.answer is Answer.NOT_REACHED and report.answers[Answer.NOT_REACHED] >= _UNKNOWN_IN_A_ROW:
            report.ended = report.ended or f"not_reached: {outcome.reason}"
        unknown = report.answers[Answer.UNKNOWN]
        if self._unknown_in_a_row >= _UNKNOWN_IN_A_ROW or (
            report.attempted >= _SHARE_COUNTS_FROM and unknown > report.attempted * _UNKNOWN_SHARE
        ):
            report.ended = report.ended or f"breaker: {unknown} of {report.attempted} with unknown fate"

    def _wait_out_limit(self, in_flight: dict[Future[Outcome], Claim]) -> None:
        """Nothing new is begun before the provider wants it; what is under way is not held up."""
        if self._not_before is None or in_flight:
            return
        seconds = (self._not_before - self._clock()).total_seconds()
        self._not_before = None
        if self._report.ended is None and seconds > 0:
            self._exchange([])
            self._pause(min(seconds, _LONGEST_PAUSE_SECONDS))

    def _drain(self, in_flight: dict[Future[Outcome], Claim]) -> None:
        """Whatever ended the run: what was sent gets its answer recorded, if the ledger can be written at all."""
        while in_flight:
            self._collect(in_flight)
        for number in range(_RECORDING_TRIES):
            if not self._answered:
                return
            try:
                self._exchange([])
            except (ReguaError, sa.exc.OperationalError):
                if number == _RECORDING_TRIES - 1:
                    raise
                self._pause(2.0**number)
