"""What an HTTP status says about a message, whichever provider gave it (reliability: what may be tried again)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime

from regua.channels.provider_http import Reply
from regua.channels.sending import Answer

# A provider that wishes for a longer pause gets another run.
LONGEST_PAUSE_SECONDS = 900.0
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,3})?")
_EPOCH = re.compile(r"[0-9]{9,11}")


def answer_of(reply: Reply) -> Answer:
    """408 is among the unknown: a proxy gives it for requests that the provider may have read."""
    status = reply.status
    if 200 <= status < 300:
        return Answer.ACCEPTED
    if status == 429:
        return Answer.LIMITED
    if status in (401, 403):
        return Answer.UNAUTHORISED
    if 400 <= status < 500 and status != 408:
        return Answer.REJECTED
    return Answer.UNKNOWN


def pause_seconds(headers: Message, now: datetime) -> float | None:
    """What Retry-After (seconds or a date) or X-RateLimit-Reset (epoch) asks for; None when absent or absurd."""
    text = str(headers.get("Retry-After", "")).strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), LONGEST_PAUSE_SECONDS)
    until = _date(text)
    if until is None:
        text = str(headers.get("X-RateLimit-Reset", "")).strip()
        until = datetime.fromtimestamp(int(text), UTC) if _EPOCH.fullmatch(text) else None
    if until is None:
        return None
    return min(max((until - _aware(now)).total_seconds(), 0.0), LONGEST_PAUSE_SECONDS)


def epoch_seconds(instant: datetime) -> int:
    """Instants without a zone are UTC throughout."""
    return int(_aware(instant).timestamp())


def _aware(instant: datetime) -> datetime:
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _date(text: str) -> datetime | None:
    try:
        return _aware(parsedate_to_datetime(text))
    except (ValueError, TypeError, OverflowError):
        return None
