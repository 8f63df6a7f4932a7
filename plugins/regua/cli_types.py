"""What the commands' options are read as."""

from __future__ import annotations

from datetime import date, datetime

import click

from regua.instants import local_day, read_instant, utc_clock


class Day(click.ParamType[date]):
    name = "date"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> date:
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no day; write YYYY-MM-DD", param, ctx)


class Instant(click.ParamType[datetime]):
    name = "instant"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return read_instant(str(value))
        except ValueError:
            self.fail(f"{value!r} is no instant; write 'YYYY-MM-DD HH:MM:SS' in UTC", param, ctx)


def today() -> date:
    return local_day(utc_clock())
