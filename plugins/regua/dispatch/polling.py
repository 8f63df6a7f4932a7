"""Asking the providers what they did not tell: callbacks get lost, and some installations have no public address."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import sqlalchemy as sa

from regua.channels.dispatch_file import DispatchFile, read_dispatch_file
from regua.channels.provider_evidence import FoundMessage
from regua.channels.sendgrid_mail import SendgridMail
from regua.channels.twilio_messages import TwilioMessages
from regua.dispatch.evidence import Evidence, Recorded, address_hasher, contradictions_since, record_evidence, unknowns
from regua.dispatch.evidence_facts import EventCode
from regua.dispatch.provider_events import found_evidence, suppression_evidence
from regua.errors import InputError
from regua.instants import Clock, read_instant, write_instant
from regua.ledger.database import open_ledger
from regua.ledger.event_log import writing_messages
from regua.ledger.messages import EVENTS, MARKS, MESSAGES, State
from regua.settings import Settings

_log = logging.getLogger(__name__)
_DAYS_ASKED = timedelta(days=7)
# What was accepted a moment ago tells of itself; what is unknown is asked for first.
_ACCEPTED_RESTS = timedelta(minutes=30)
_MOST_SMS, _MOST_EMAILS = 500, 30
# SendGrid shows six messages a minute, and to accounts without Email Activity none.
_EMAIL_PAUSE_SECONDS = 10.0
_EMAILS_NOT_SHOWN = 3
_RUNS_FOR = timedelta(minutes=8)
# SendGrid's lists may be written some time after what they tell of; what is read twice is kept once.
_OVERLAP = timedelta(hours=2)
_SENDGRID_POLLED, _REPORTED = "sendgrid_polled", "evidence_reported"
_UNKNOWN_IS_LATE = timedelta(hours=24)
_NAMED = 20


class _Provider(Protocol):
    sender_code: str

    def message_status(self, provider_message_id: str) -> FoundMessage | None: ...


@dataclass(frozen=True, slots=True)
class Poll:
    """How many messages were asked for, and what came of the answers."""

    asked: int
    suppressions: int
    recorded: Recorded


def poll_evidence(
    settings: Settings, clock: Clock, environ: Mapping[str, str], pause: Callable[[float], None] = time.sleep
) -> Poll:
    """Ask Twilio and SendGrid for messages of the last week whose end is open, and SendGrid for its new suppressions.

    Bounded in time and number: what is left is asked next time. Where nobody is contacted nothing is asked. Raises
    BusyError when SendGrid cannot be reached, InputError when a key may not ask.
    """
    if not settings.contacts_people:
        return Poll(0, 0, Recorded())
    dispatch_file = read_dispatch_file(settings.dispatch_path)
    with open_ledger(settings) as engine:
        until = clock() + _RUNS_FOR
        answers: list[Evidence] = []
        asked = 0
        for channel_code, provider in _providers(dispatch_file, environ):
            is_email = channel_code == "email"
            open_messages = _open_messages(
                engine, channel_code, provider.sender_code, _MOST_EMAILS if is_email else _MOST_SMS, clock()
            )
            not_shown = 0
            for place, message in enumerate(open_messages):
                if clock() >= until or (is_email and not_shown == _EMAILS_NOT_SHOWN):
                    break
                if is_email and place:
                    pause(_EMAIL_PAUSE_SECONDS)
                found = _found(provider, message)
                # One of unknown fate may never have been sent; one that was accepted and is not shown tells that the
                # account cannot ask.
                if found or message.state_code == State.ACCEPTED:
                    not_shown = 0 if found else not_shown + 1
                answers += _news(provider.sender_code, message, found)
                asked += 1
        recorded = record_evidence(engine, answers, clock)
        suppressed = _poll_suppressions(engine, dispatch_file, environ, clock)
    _log.info("asked for %d messages: %s; %d new suppressions", asked, recorded, suppressed)
    return Poll(asked, suppressed, recorded)


def report_evidence(settings: Settings, clock: Clock) -> int:
    """Raise InputError once for what a person must look at: contradictions, and messages unknown for a day.

    Answers how many messages are unknown now. From then on they count as sent, until somebody settles them.
    """
    with open_ledger(settings) as engine:
        now = clock()
        reported = _mark(engine, _REPORTED)
        number, since = _read_report(reported)
        with engine.connect() as connection:
            newest: int | None = connection.execute(sa.select(sa.func.max(EVENTS.c.event_number))).scalar_one()
        # Those that come meanwhile are told next time.
        contradictions = [each for each in contradictions_since(engine, number) if each[0] <= (newest or 0)]
        open_ones = unknowns(engine)
        late = [each for each in open_ones if since - _UNKNOWN_IS_LATE < each.state_at <= now - _UNKNOWN_IS_LATE]
        _set_mark(engine, _REPORTED, f"{newest or 0} {write_instant(now)}")
    told = []
    if contradictions:
        named = ", ".join(f"{message_id} ({was})" for _, message_id, was in contradictions[:_NAMED])
        told.append(f"Providers prove {len(contradictions)} messages that were held for not sent: {named}.")
    if late:
        named = ", ".join(each.message_id for each in late[:_NAMED])
        told.append(f"{len(late)} messages are of unknown fate for a day and count as sent: {named}.")
    if told:
        raise InputError("\n".join([*told, "See docs/runbooks/provider-down.md."]))
    return len(open_ones)


def _providers(dispatch_file: DispatchFile, environ: Mapping[str, str]) -> list[tuple[str, _Provider]]:
    """Those whose keys are there, by channel."""
    providers: list[tuple[str, _Provider]] = []
    sid, token = environ.get("TWILIO_ACCOUNT_SID", ""), environ.get("TWILIO_AUTH_TOKEN", "")
    if sid and token:
        for channel_code in ("sms", "whatsapp"):
            providers.append(
                (channel_code, TwilioMessages(channel_code, dispatch_file.sending(channel_code), sid, token))
            )
    sendgrid = _sendgrid(dispatch_file, environ)
    if sendgrid is not None:
        providers.append(("email", sendgrid))
    return providers


def _sendgrid(dispatch_file: DispatchFile, environ: Mapping[str, str]) -> SendgridMail | None:
    key = environ.get("SENDGRID_API_KEY", "")
    if dispatch_file.channels.email.sender != "sendgrid" or not key:
        return None
    return SendgridMail(dispatch_file.channels.email, key)


def _found(provider: _Provider, message: Any) -> FoundMessage | None:
    if message.provider_message_id is not None:
        return provider.message_status(message.provider_message_id)
    # Its answer was lost: SendGrid knows our own id, Twilio tells it by its callback alone.
    return provider.sent_message(message.message_id) if isinstance(provider, SendgridMail) else None


def _news(sender_code: str, message: Any, found: FoundMessage | None) -> list[Evidence]:
    """That a provider still has what it took is none."""
    item = found_evidence(sender_code, message.message_id, found) if found else None
    is_known = item is None or (item.event_code is EventCode.PROCESSED and message.state_code == State.ACCEPTED)
    return [] if item is None or is_known else [item]


def _open_messages(engine: sa.Engine, channel_code: str, sender_code: str, most: int, now: datetime) -> list[Any]:
    """Unknown ones first, then the accepted, oldest first."""
    is_unknown = MESSAGES.c.state_code == State.UNKNOWN
    goes_at = sa.func.coalesce(MESSAGES.c.send_at, MESSAGES.c.state_at)
    query = (
        sa.select(MESSAGES.c.message_id, MESSAGES.c.provider_message_id, MESSAGES.c.state_code)
        .where(
            MESSAGES.c.channel_code == channel_code,
            MESSAGES.c.sender_code == sender_code,
            MESSAGES.c.state_at > now - _DAYS_ASKED,
            sa.or_(is_unknown, sa.and_(MESSAGES.c.state_code == State.ACCEPTED, goes_at <= now - _ACCEPTED_RESTS)),
        )
        .order_by(sa.case((is_unknown, 0), else_=1), MESSAGES.c.state_at, MESSAGES.c.message_id)
        .limit(most)
    )
    with engine.connect() as connection:
        return list(connection.execute(query).all())


def _poll_suppressions(engine: sa.Engine, dispatch_file: DispatchFile, environ: Mapping[str, str], clock: Clock) -> int:
    """From where the last poll began; the mark moves when all is kept."""
    sendgrid = _sendgrid(dispatch_file, environ)
    if sendgrid is None:
        return 0
    started = clock()
    mark = _mark(engine, _SENDGRID_POLLED)
    since = read_instant(mark) - _OVERLAP if mark is not None else started - _DAYS_ASKED
    hashed = address_hasher(engine)
    found = [suppression_evidence(each, hashed) for each in sendgrid.suppressions(since)]
    recorded = record_evidence(engine, [item for item in found if item is not None], clock)
    _set_mark(engine, _SENDGRID_POLLED, write_instant(started))
    return recorded.new


def _mark(engine: sa.Engine, mark_code: str) -> str | None:
    with engine.connect() as connection:
        query = sa.select(MARKS.c.value).where(MARKS.c.mark_code == mark_code)
        found: str | None = connection.execute(query).scalar_one_or_none()
    return found


def _set_mark(engine: sa.Engine, mark_code: str, value: str) -> None:
    with writing_messages(engine) as connection:
        connection.execute(sa.delete(MARKS).where(MARKS.c.mark_code == mark_code))
        connection.execute(sa.insert(MARKS).values(mark_code=mark_code, value=value))


def _read_report(mark: str | None) -> tuple[int, datetime]:
    """The last event that was looked at, and when."""
    if mark is None:
        return 0, datetime(1, 1, 3)  # noqa: DTZ001 - before all, with room for a day
    number, _, at = mark.partition(" ")
    return int(number), read_instant(at)
