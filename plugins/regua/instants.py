"""The injected clock, and the one way instants are written: UTC, to the microsecond, without a zone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

Clock = Callable[[], datetime]
LOCAL = ZoneInfo("America/Sao_Paulo")
_WRITTEN = "%Y-%m-%d %H:%M:%S.%f"


def utc_clock() -> datetime:
    """The machine's clock, for entry points to pass along; nothing below them reads it."""
    return datetime.now(UTC).replace(tzinfo=None)


# Before every arrival; a value for "never yet" that compares.
BEFORE_ALL = datetime.fromisoformat("0001-01-01T00:00:00")


def write_instant(instant: datetime) -> str:
    return instant.strftime(_WRITTEN)


def read_instant(text: str) -> datetime:
    """Inverse of `write_instant`; also takes ISO 8601, with a zone or without (then it is UTC)."""
    instant = datetime.fromisoformat(text)
    return to_utc(instant) if instant.tzinfo else instant


def to_utc(instant: datetime) -> datetime:
    """An instant with a zone, as all others are held: in UTC and without one."""
    return instant.astimezone(UTC).replace(tzinfo=None)


def local_day(instant: datetime) -> date:
    """The business day of an instant held in UTC."""
    return instant.replace(tzinfo=UTC).astimezone(LOCAL).date()
