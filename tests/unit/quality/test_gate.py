"""The report's message, the calendar of empty feeds, and the shipped suites."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from regua.contract.entities import load_contract
from regua.errors import InputError
from regua.quality.gate import (
    ExpectationOutcome,
    GateReport,
    RedGateError,
    _file_sets,
    _is_business_day,
    gate_expectations,
)
from regua.settings import load_settings

SETTINGS = load_settings({"REGUA_ENV": "test"})
OUTCOMES = (
    ExpectationOutcome("all_is_well", "raw.x", "All is well.", True, "no finding", "nothing"),
    ExpectationOutcome("keys_are_unique", "raw.invoices", "Keys are unique.", False, "1 finding: key_count=2", "Look."),
)


def test_a_red_gate_says_what_where_observed_against_expected_and_what_to_do() -> None:
    report = GateReport("raw", dt.date(2026, 3, 10), False, OUTCOMES, Path("/home/q/index.html"))
    assert str(RedGateError(report)) == (
        "The raw gate is red for 2026-03-10: 1 of 2 expectations do not hold. The last good night stays served.\n"
        "- raw.invoices, keys_are_unique\n"
        "    expected: Keys are unique.\n"
        "    observed: 1 finding: key_count=2\n"
        "    to do:    Look.\n"
        "Whole report: /home/q/index.html"
    )
    with pytest.raises(InputError):
        report.raise_if_red()


@pytest.mark.parametrize(
    ("day", "is_business_day"),
    [("2026-03-10", True), ("2026-03-14", False), ("2026-02-16", False), ("2024-11-20", False), ("2023-11-20", True)],
    ids=["Tuesday", "Saturday", "Carnival Monday", "20 November from 2024", "20 November before"],
)
def test_banks_work_on_business_days_only(day: str, is_business_day: bool) -> None:
    assert _is_business_day(dt.date.fromisoformat(day), SETTINGS.dbt_project_dir / "seeds") is is_business_day


def test_without_the_calendar_no_empty_feed_is_excused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"bank_holidays\.csv does not exist"):
        _is_business_day(dt.date(2026, 3, 10), tmp_path)


def test_the_contract_gives_expectations_for_each_entity_and_suites_give_reasons() -> None:
    expectations = gate_expectations(SETTINGS, "raw") + gate_expectations(SETTINGS, "marts")
    for entity in load_contract():
        assert sum(e.target == f"raw.{entity}" for e in expectations) >= 4
    assert all(threshold.reason for e in expectations for threshold in e.thresholds.values())
    assert all("{" not in e.sentence for e in expectations)


def test_sets_of_files_and_of_tables_are_both_expected_to_be_fresh() -> None:
    settings = load_settings({"REGUA_ENV": "test", "REGUA_SOURCES": "sample,billing_database"})
    assert {"sample.invoices", "billing_database.charges"} <= set(_file_sets(settings))
