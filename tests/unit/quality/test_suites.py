"""Suite files: what is missing, unknown or without a reason is refused; parameters cannot become SQL."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from regua.errors import InputError
from regua.quality.suites import Expectation, Threshold, load_suite

NIGHT = {
    "as_of": dt.date(2026, 3, 10),
    "known_at": dt.datetime.fromisoformat("2026-03-10 05:00:00.000007"),
    "file_sets": ("s.payments", "o'brien.x"),
    "is_business_day": True,
}
EXPECTATION = "expectations:\n  one: {target: t, description: d, when_red: w, query: select 1}\n"


def _expectation(query: str, **thresholds: float) -> Expectation:
    return Expectation(
        "one", "t", "at most {limit} %", "w", query, {k: Threshold(v, "r") for k, v in thresholds.items()}
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "top level"),
        ("expectations: {}", "checks nothing"),
        ("expectation:\n  one: {}", "top level"),
        ("expectations: [", "not readable YAML"),
        ("expectations:\n  one: {target: t, description: d, query: select 1}", "missing or unknown: when_red"),
        (EXPECTATION.replace("query", "sql"), "missing or unknown: query, sql"),
        (EXPECTATION.replace("when_red: w", "when_red: w, thresholds: {limit: 3}"), "threshold limit needs"),
        (EXPECTATION.replace("when_red: w", "when_red: w, thresholds: {limit: {value: 3}}"), "threshold limit needs"),
        (
            EXPECTATION.replace("when_red: w", "when_red: w, thresholds: {limit: {value: '3', reason: r}}"),
            "limit needs",
        ),
    ],
)
def test_a_faulty_suite_is_refused_by_name(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "raw.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=complaint):
        load_suite(path)


def test_a_missing_suite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_suite(tmp_path / "raw.yml")


def test_placeholders_become_typed_literals() -> None:
    statement = _expectation("select {as_of}, {known_at}, {file_sets}, {is_business_day}, {limit}", limit=0.5)
    assert (
        "select date '2026-03-10', timestamp '2026-03-10 05:00:00.000007', ['s.payments', 'o''brien.x']::varchar[], "
        "true, 0.5" in statement.statement(NIGHT)
    )
    assert statement.sentence == "at most 0.5 %"


def test_an_unknown_placeholder_is_refused_and_other_braces_are_left_alone() -> None:
    assert "{'a': 1}" in _expectation("select {'a': 1}").statement(NIGHT)
    assert "x{3}" in _expectation("select 'x{3}'").statement(NIGHT)
    with pytest.raises(InputError, match=r"\{today\}"):
        _expectation("select {today}").statement(NIGHT)


def test_rows_are_defined_where_a_query_speaks_of_them() -> None:
    assert not _expectation("select current_database()").statement(NIGHT).startswith("with")
    statement = _expectation("select * from tonight_payments").statement(NIGHT)
    assert (
        statement.index("current_payments as")
        < statement.index("tonight_payments as")
        < statement.index("select * from (")
    )
    assert "{" not in statement
