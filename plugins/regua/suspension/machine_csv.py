"""Tables for programs: commas, LF, UTF-8, a point for decimals; and no cell that a spreadsheet would run.

A column's name says what may stand in it. Nothing is changed to fit: what does not is refused.
"""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from regua.contract.entities import ID_PATTERN
from regua.errors import InputError

_CENT = Decimal("0.01")
_CODE = "[a-z][a-z0-9_]{0,39}"
# By the end of a column's name, the first that fits: what a cell of it must be, as words and as a pattern.
_KINDS = (
    ("currency_code", "a currency code", "[A-Z]{3}"),
    ("_code", "a code", _CODE),
    ("level", "a code", _CODE),
    ("text_key", "a key", rf"{_CODE}\.{_CODE}"),
    ("_id", "an id", ID_PATTERN),
    ("_date", "a day", "[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    ("_amount", "an amount with two decimals", r"-?[0-9]{1,16}\.[0-9]{2}"),
    ("_count", "a whole number", "[0-9]{1,9}"),
    ("days_past_due", "a whole number", "-?[0-9]{1,9}"),
    ("has_access", "true or false", "true|false"),
    ("payment_url", "an https address", r"https://[^\s/?#@\\]+(?:[/?#]\S*)?"),
)
_MAY_BE_EMPTY = frozenset(
    ("oldest_invoice_id", "oldest_due_date", "days_past_due", "currency_code", "notice_id", "notice_delivered_date",
     "unlocked_until_date", "payment_url")
)  # fmt: skip
_URL_LIMIT = 2048


class Table(NamedTuple):
    """Rows as they stand in the file, every cell a text; sorted by the columns of `key`, and one row each."""

    columns: tuple[str, ...]
    key: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def cell(value: str | int | Decimal | date | None) -> str:
    """As a program reads it; nothing is an empty cell. What cannot be told in cents is left for the check to find."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        is_in_cents = value.is_finite() and value == value.quantize(_CENT)
        return f"{value.quantize(_CENT) if is_in_cents else value:f}"
    return value.isoformat() if isinstance(value, date) else str(value)


def write_machine_csv(table: Table, name: str, *, has_bom: bool) -> bytes:
    """Raises InputError naming row and column, never the value, of a cell that may not stand there."""
    _check(table, name)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    return text.getvalue().encode("utf-8-sig" if has_bom else "utf-8")


def read_machine_csv(content: bytes, columns: Sequence[str], name: str) -> list[tuple[str, ...]]:
    """The rows below the header. Raises InputError when it is not a table of these columns."""
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{name} is not a CSV in UTF-8: {error}.") from error
    if not rows or rows[0] != list(columns):
        raise InputError(f"{name}: its header is not {','.join(columns)}.")
    for number, row in enumerate(rows[1:], start=1):
        if len(row) != len(columns):
            raise InputError(f"{name}: row {number} has {len(row)} cells, the header {len(columns)}.")
    return [tuple(row) for row in rows[1:]]


def balance_totals(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> dict[str, Decimal]:
    """Sum of `balance_amount` by currency; empty for a table without. What is nothing needs no currency."""
    totals: defaultdict[str, Decimal] = defaultdict(Decimal)
    if "balance_amount" in columns:
        amount, currency = columns.index("balance_amount"), columns.index("currency_code")
        for row in rows:
            if row[currency] or Decimal(row[amount]):
                totals[row[currency]] += Decimal(row[amount])
    return dict(sorted(totals.items()))


def may_stand(column: str, value: str) -> bool:
    """Whether a text may stand in a column of this name."""
    return _fits(_kind(column)[1], value)


def _fits(pattern: re.Pattern[str], value: str) -> bool:
    return pattern.fullmatch(value) is not None and value.isprintable() and len(value) <= _URL_LIMIT


def _check(table: Table, name: str) -> None:
    kinds = [_kind(column) for column in table.columns]
    key_places = [table.columns.index(column) for column in table.key]
    last: list[str] = []
    for number, row in enumerate(table.rows, start=1):
        for column, (words, pattern), value in zip(table.columns, kinds, row, strict=True):
            if not value and column in _MAY_BE_EMPTY:
                continue
            if not _fits(pattern, value):
                raise InputError(f"{name}: row {number}, column {column}: this is not {words}.")
        key = [row[place] for place in key_places]
        if key <= last:
            raise InputError(f"{name}: row {number}: {', '.join(table.key)} is there twice, or out of order.")
        last = key


def _kind(column: str) -> tuple[str, re.Pattern[str]]:
    for ending, words, pattern in _KINDS:
        if column.endswith(ending):
            return words, re.compile(pattern)
    raise KeyError(column)
