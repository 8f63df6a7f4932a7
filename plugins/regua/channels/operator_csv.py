"""Lists for people: CSV as a Brazilian Excel opens it, in which no cell can run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from decimal import Decimal

# What a spreadsheet takes for the beginning of a formula; the wide forms are what some locales turn into the narrow.
_LEADING = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def write_operator_csv(header: Sequence[str], rows: Iterable[Sequence[str | int | Decimal | None]]) -> bytes:
    """Semicolons, decimal comma, UTF-8 with its mark. Texts are made inert; numbers stay numbers."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode("utf-8-sig")


def inert(text: str) -> str:
    """An apostrophe before it makes a spreadsheet show a text instead of running it."""
    return f"'{text}" if text.lstrip(" \u00a0\u3000").startswith(_LEADING) or text.startswith(_LEADING) else text


def _cell(value: str | int | Decimal | None) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}".replace(".", ",")
    return str(value) if isinstance(value, int) else inert(value)
