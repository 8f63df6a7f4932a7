"""Taking back what a provider still holds: by hand, by the switch that stops everything, and because somebody paid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from regua.channels.contents import MessageContent
from regua.channels.sending import Channel
from regua.dispatch.last_look import Hindrance, Knowledge, look_since, take_last_look
from regua.durable_file import write_whole
from regua.errors import InputError
from regua.instants import Clock
from regua.ledger.event_log import MessageEvent, append_events, writing_messages
from regua.ledger.messages import CONTENTS, HELD_BATCHES, MARKS, MESSAGES, PLANS, State

Channels = Callable[[str], Channel]
_WITH_ITS_BATCH = Hindrance(State.SUPPRESSED, "recalled_with_its_batch")
_NO_LONGER_DECIDED = Hindrance(State.SUPPRESSED, "no_longer_decided")
_BY_HAND = Hindrance(State.SUPPRESSED, "recalled")


@dataclass(frozen=True, slots=True)
class Recall:
    """Of the batches that should not go out: messages taken back, and batches of which the provider did not say so."""

    batches: int
    recalled: int
    unconfirmed_batch_ids: tuple[str, ...]


def write_stop_file(stop_file: Path, author: str, reason: str) -> None:
    """This alone stops every claim: it needs neither the ledger nor a provider."""
    write_whole(stop_file, f"{author}: {reason}\n")


def stop(engine: sa.Engine, stop_file: Path, channels: Channels, clock: Clock, *, author: str, reason: str) -> Recall:
    """Nothing is claimed from now on, and what is held is recalled. The file comes first."""
    write_stop_file(stop_file, author, reason)
    with writing_messages(engine) as connection:
        now = clock()
        connection.execute(sa.delete(MARKS).where(MARKS.c.mark_code == "stopped"))
        connection.execute(sa.insert(MARKS).values(mark_code="stopped", value=f"{reason} ({author})"[:500]))
        append_events(connection, [MessageEvent("stopped", reason_code=reason[:200], detail={"author": author})], now)
    return recall(engine, channels, clock)


def resume(engine: sa.Engine, stop_file: Path, clock: Clock, *, author: str, reason: str) -> None:
    """Raises InputError when nothing was stopped."""
    with writing_messages(engine) as connection:
        removed = connection.execute(sa.delete(MARKS).where(MARKS.c.mark_code == "stopped")).rowcount
        if not removed and not stop_file.exists():
            raise InputError("Sending is not stopped.")
        event = MessageEvent("resumed", reason_code=reason[:200], detail={"author": author})
        append_events(connection, [event], clock())
    stop_file.unlink(missing_ok=True)


def recall(engine: sa.Engine, channels: Channels, clock: Clock, *, run_id: str | None = None) -> Recall:
    """Take back all that is held, or what one run left. Raises InputError for a run that left nothing held."""
    conditions = [] if run_id is None else [HELD_BATCHES.c.run_id == run_id]
    with engine.connect() as connection:
        held = connection.execute(
            sa.select(HELD_BATCHES.c.batch_id, HELD_BATCHES.c.channel_code).where(
                HELD_BATCHES.c.send_at > clock(), HELD_BATCHES.c.is_recall_confirmed.is_(False), *conditions
            )
        ).all()
    if run_id is not None and not held:
        raise InputError(f"Nothing of run {run_id!r} is held any more; `regua ledger status` lists what is.")
    return _recall_batches(engine, channels, {row.batch_id: row.channel_code for row in held}, {}, clock, _BY_HAND)


def look_before_release(engine: sa.Engine, channels: Channels, clock: Clock) -> Recall:
    """Recall each held batch with a message that must not go out, and ask again where a recall was not confirmed.

    The other messages of a batch are decided anew tomorrow.
    """
    with engine.connect() as connection:
        now = clock()
        is_held = (HELD_BATCHES.c.send_at > now, HELD_BATCHES.c.is_recall_confirmed.is_(False))
        query = (
            sa.select(MESSAGES, CONTENTS.c.content)
            .join(CONTENTS, CONTENTS.c.message_id == MESSAGES.c.message_id)
            .join(HELD_BATCHES, HELD_BATCHES.c.batch_id == MESSAGES.c.batch_id)
            # One of unknown fate may lie there as well.
            .where(MESSAGES.c.state_code.in_((State.ACCEPTED, State.UNKNOWN, State.CLAIMED)), *is_held)
        )
        held = connection.execute(query).all()
        asked = connection.execute(
            sa.select(HELD_BATCHES.c.batch_id, HELD_BATCHES.c.channel_code).where(
                HELD_BATCHES.c.recalled_at.is_not(None), *is_held
            )
        ).all()
        plans = sa.select(PLANS).where(PLANS.c.as_of_date.in_({row.as_of_date for row in held}))
        looks = {
            plan.as_of_date: take_last_look(connection, Knowledge(plan.known_at, plan.known_fact_numbers), now)
            for plan in connection.execute(plans)
        }
        # A day that was planned anew knows more than what it was sent with.
        since = look_since(connection, min((row.state_at for row in held), default=now), now)
    hindered = {}
    for row in held:
        content = MessageContent.from_json(row.content)
        hindrance = looks[row.as_of_date].hindrance(content) or since.hindrance(content, after=row.state_at)
        if not row.is_decided:
            hindrance = hindrance or _NO_LONGER_DECIDED
        if hindrance is not None:
            hindered[row.message_id] = hindrance
    batches = {row.batch_id: row.channel_code for row in held if row.message_id in hindered}
    batches |= {row.batch_id: row.channel_code for row in asked}
    return _recall_batches(engine, channels, batches, hindered, clock, _WITH_ITS_BATCH)


def _recall_batches(
    engine: sa.Engine,
    channels: Channels,
    batches: Mapping[str, str],
    hindered: Mapping[str, Hindrance],
    clock: Clock,
    otherwise: Hindrance,
) -> Recall:
    recalled, unconfirmed = 0, []
    for batch_id, channel_code in batches.items():
        # First in the ledger, so that nothing more is claimed into it, then at the provider.
        with writing_messages(engine) as connection:
            connection.execute(
                sa.update(HELD_BATCHES).where(HELD_BATCHES.c.batch_id == batch_id).values(recalled_at=clock())
            )
        if not channels(channel_code).recall(batch_id):
            unconfirmed.append(batch_id)
            continue
        with writing_messages(engine) as connection:
            now = clock()
            connection.execute(
                sa.update(HELD_BATCHES).where(HELD_BATCHES.c.batch_id == batch_id).values(is_recall_confirmed=True)
            )
            events = []
            for hindrance in {*hindered.values(), otherwise}:
                which = [key for key, own in hindered.items() if own == hindrance]
                is_its = MESSAGES.c.message_id.in_(which)
                if hindrance == otherwise:
                    is_its = MESSAGES.c.message_id.not_in([key for key, own in hindered.items() if own != hindrance])
                found = connection.execute(
                    sa.update(MESSAGES)
                    .where(MESSAGES.c.batch_id == batch_id, MESSAGES.c.state_code == State.ACCEPTED, is_its)
                    .values(state_code=hindrance.state, reason_code=hindrance.reason, state_at=now)
                    .returning(MESSAGES.c.message_id)
                )
                detail = {"batch_id": batch_id}
                events += [
                    MessageEvent(hindrance.state, row.message_id, hindrance.reason, detail=detail) for row in found
                ]
            append_events(connection, events, now)
            recalled += len(events)
    return Recall(len(batches), recalled, tuple(unconfirmed))
