"""The committed bank calendar against the library it is made from, and against dates anybody can look up."""

from __future__ import annotations

import csv
import datetime as dt
from pathlib import Path

import holidays
import pytest

from regua.transform.bank_calendar import SEED_PATH, bank_holidays, write_seed

pytestmark = pytest.mark.timeout(60)

DAYS = dict(bank_holidays())


def test_the_committed_seed_is_what_the_generator_writes(tmp_path: Path) -> None:
    """A release of the library that moves a holiday shows here, before it moves a due date."""
    write_seed(tmp_path / "seed.csv")
    assert SEED_PATH.read_text(encoding="utf-8") == (tmp_path / "seed.csv").read_text(encoding="utf-8")
    with SEED_PATH.open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(DAYS)


@pytest.mark.parametrize(
    ("day", "is_holiday"),
    [
        pytest.param("2026-02-16", True, id="carnival monday"),
        pytest.param("2026-02-17", True, id="carnival tuesday"),
        pytest.param("2026-02-18", False, id="ash wednesday opens at noon"),
        pytest.param("2026-04-02", False, id="maundy thursday"),
        pytest.param("2026-04-03", True, id="good friday"),
        pytest.param("2000-04-21", True, id="good friday and tiradentes on one day"),
        pytest.param("2026-06-04", True, id="corpus christi"),
        pytest.param("2023-11-20", False, id="20 november before the law"),
        pytest.param("2024-11-20", True, id="20 november since 2024"),
        pytest.param("2026-10-28", False, id="civil servants' day"),
        pytest.param("2026-12-24", False, id="christmas eve"),
        pytest.param("2026-12-31", False, id="last day of the year"),
        pytest.param("2007-05-01", True, id="labour day"),
        pytest.param("2060-12-25", True, id="last year of the calendar"),
    ],
)
def test_a_known_date_is_or_is_not_a_bank_holiday(day: str, is_holiday: bool) -> None:
    assert (dt.date.fromisoformat(day) in DAYS) is is_holiday


def test_it_differs_from_the_exchanges_calendar_only_where_banks_do() -> None:
    """B3 closes on 24 and 31 December (or the year's last weekday) and closed on Maundy Thursday until 1999."""
    exchange = holidays.financial_holidays("BVMF", years=range(1990, 2061), language="pt_BR")
    only_exchange = {name for day, name in exchange.items() if day not in DAYS}
    assert only_exchange == {"Véspera de Natal", "Último dia útil do ano", "Quinta-feira Santa"}
    assert not set(DAYS) - set(exchange)
