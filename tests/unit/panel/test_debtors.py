"""Customers behind the numbers: who owes most, by id alone, and who has looked."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from regua.cli import cli
from regua.panel.debtors import ROW_LIMIT, keep_look, open_invoices, read_listing, read_looks
from regua.settings import Settings, load_settings

NOON = datetime.fromisoformat("2026-07-01 15:00")
INVOICES = """
create table fct_invoices as from (values
    ('i1', 'c1', 'BRL', date '2026-05-01', 100.00, 60, '31-60', true),
    ('i2', 'c1', 'BRL', date '2026-07-20', 50.00, -20, 'current', false),
    ('i3', 'c2', 'BRL', date '2026-06-01', 300.00, 29, '1-30', true),
    ('i4', 'c3', 'BRL', date '2026-07-20', 900.00, -20, 'current', false),
    ('i5', 'c2', 'BRL', date '2026-06-01', 0.00, null, null, false)
) as rows (
    invoice_id, customer_id, currency_code, due_date, open_amount, days_past_due, aging_bucket_code, is_overdue
)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = load_settings({"REGUA_HOME": str(tmp_path)})
    current = settings.serving_dir / "current"
    current.mkdir(parents=True)
    (current / "manifest.json").write_text(json.dumps({"as_of": "2026-06-30"}), encoding="utf-8")
    with duckdb.connect(str(current / "serving.duckdb")) as serving:
        serving.execute(INVOICES)
    return settings


def test_who_has_most_overdue_stands_first_and_who_has_nothing_is_not_there(settings: Settings) -> None:
    assert read_listing(settings, "debtors", {}).rows == (
        ("c2", "1", "300.00", "300.00", "29", "BRL"),
        ("c1", "2", "100.00", "150.00", "60", "BRL"),
    )
    assert [row[0] for row in open_invoices(settings, "c1").rows] == ["i1", "i2"]
    assert open_invoices(settings, "c1' or true --").rows == ()


def test_the_first_rows_are_shown_and_how_many_there_are(settings: Settings) -> None:
    with duckdb.connect(str(settings.serving_dir / "current" / "serving.duckdb")) as serving:
        serving.execute(
            "insert into fct_invoices select 'more' || number, 'c9', 'BRL', date '2026-05-01', 1.00, 60, '31-60', true "
            "from range($count) as numbers (number)",
            {"count": ROW_LIMIT + 7},
        )
    found = open_invoices(settings, "c9")
    assert (len(found.rows), found.total_count) == (ROW_LIMIT, ROW_LIMIT + 7)
    assert found.columns[0] == "invoice_id"


def test_each_look_is_kept_and_shown(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_look(settings, "ana", None, "invoices bucket=90+", lambda: NOON)
    keep_look(settings, "ana", "c1", "customer", lambda: NOON)
    keep_look(settings, "rui", "c2", "customer", lambda: NOON)
    assert [(look.user_name, look.customer_id, look.listing) for look in read_looks(settings)] == [
        ("rui", "c2", "customer"),
        ("ana", "c1", "customer"),
        ("ana", None, "invoices bucket=90+"),
    ]
    monkeypatch.setenv("REGUA_HOME", str(settings.home))
    shown = CliRunner().invoke(cli, ["panel", "looks", "--customer", "c1"])
    assert shown.output == "2026-07-01 15:00:00  ana  c1\n"
