"""Reports of a published day, in three forms, the same every time; sums that agree with each other."""

from __future__ import annotations

import csv
import io
import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import click
import duckdb
import openpyxl
import pytest
from click.testing import CliRunner

from regua.cli import cli
from regua.errors import InputError
from regua.publish.reports import REPORTS, as_csv, read_report, write_report
from regua.settings import Settings, load_settings

DAY = date(2026, 6, 30)
CHARGES = """
create table fct_invoice_charges as
select
    *, 'p' as policy_code, 0.00::decimal(18, 2) as credited_amount, 0.00::decimal(18, 2) as credit_amount,
    open_amount + fine_amount + interest_amount as payable_amount
from (values
('i1', 'c1', 's1', 'shop', 'V1', 'BRL', date '2026-05-01', 60, '31-60', true, 100.00, 0.00, 100.00, 2.00, 2.00, null),
('i2', 'c1', null, 'shop', 'V2', 'BRL', date '2026-06-27', 3, '1-30', true, 50.00, 10.00, 40.00, 0.80, 0.04, 'paused'),
('=i3', 'c2', null, 'none', 'none', 'USD', date '2026-04-01', 90, '61-90', true, 10.00, 0.00, 10.00, 0.20, 0.30, null),
('i4', 'c2', null, 'none', 'V1', 'BRL', date '2026-07-10', -10, 'current', false, 70.00, 0.00, 70.00, 0.00, 0.00, null)
) as rows (
    invoice_id, contact_customer_id, subscription_id, segment_code, seller_code, currency_code, due_date,
    days_past_due, aging_bucket_code, is_overdue, amount, paid_amount, open_amount, fine_amount, interest_amount,
    hold_code
)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = load_settings({"REGUA_HOME": str(tmp_path)})
    for name, known_at in (("2026-06-30_older", "2026-06-30 05:00:00"), ("2026-06-30_newer", "2026-06-30 09:00:00")):
        folder = settings.serving_dir / "generations" / name
        folder.mkdir(parents=True)
        manifest = {"as_of": "2026-06-30", "known_at": known_at}
        (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        with duckdb.connect(str(folder / "serving.duckdb")) as serving:
            serving.execute(CHARGES if name.endswith("newer") else "create table something (x integer)")
    return settings


def rows(settings: Settings, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(as_csv(read_report(settings, name, DAY)).decode())))


def test_the_oldest_debt_stands_first_with_its_composition(settings: Settings) -> None:
    found = rows(settings, "delinquency")
    assert [row["invoice_id"] for row in found] == ["=i3", "i1", "i2"]
    assert (found[2]["amount"], found[2]["paid_amount"], found[2]["open_amount"]) == ("50.00", "10.00", "40.00")
    assert (found[2]["fine_amount"], found[2]["interest_amount"], found[2]["payable_amount"]) == (
        "0.80",
        "0.04",
        "40.84",
    )


def test_customers_segments_and_sellers_add_up_by_currency(settings: Settings) -> None:
    assert [
        (row["contact_customer_id"], row["currency_code"], row["payable_amount"]) for row in rows(settings, "customers")
    ] == [
        ("c2", "USD", "10.50"),
        ("c1", "BRL", "144.84"),
    ]
    assert [(row["segment_code"], row["customer_count"], row["open_amount"]) for row in rows(settings, "segments")] == [
        ("shop", "1", "140.00"),
        ("none", "1", "10.00"),
    ]
    assert [(row["seller_code"], row["currency_code"], row["open_amount"]) for row in rows(settings, "sellers")] == [
        ("V1", "BRL", "100.00"),
        ("V2", "BRL", "40.00"),
        ("none", "USD", "10.00"),
    ]


def test_the_summary_holds_what_is_not_due_and_small_delays_apart(settings: Settings) -> None:
    found = {(row["currency_code"], row["aging_bucket_code"]): row for row in rows(settings, "summary")}
    assert list(found) == [("BRL", "current"), ("BRL", "1-30"), ("BRL", "31-60"), ("USD", "61-90")]
    assert found["BRL", "1-30"]["small_delay_amount"] == "40.00"
    assert found["BRL", "31-60"]["small_delay_amount"] == "0.00"
    assert sum(Decimal(row["open_amount"]) for row in found.values()) == Decimal("220.00")


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("ending", [".csv", ".xlsx", ".parquet"])
def test_every_report_is_written_in_each_form_and_the_same_twice(
    name: str, ending: str, settings: Settings, tmp_path: Path
) -> None:
    table = read_report(settings, name, DAY)
    contents = []
    for number in (1, 2):
        path = tmp_path / f"{number}{ending}"
        write_report(table, path)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    if ending == ".parquet":
        with duckdb.connect() as connection:
            assert connection.execute(f"from '{tmp_path / '1.parquet'}'").fetchall() == list(table.rows)
    if ending == ".xlsx":
        sheet = openpyxl.load_workbook(tmp_path / "1.xlsx").active
        assert [cell.value for cell in sheet[1]] == list(table.columns)
        assert sheet.max_row == 1 + len(table.rows)
        assert all(cell.data_type != "f" for row in sheet for cell in row)


def test_every_report_can_be_asked_for_by_command(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    [name] = (one for one in cli.commands["report"].params if one.name == "name")
    assert isinstance(name.type, click.Choice)
    assert list(name.type.choices) == list(REPORTS)
    monkeypatch.setenv("REGUA_HOME", str(settings.home))
    shown = CliRunner().invoke(cli, ["report", "sellers", "--as-of", DAY.isoformat()])
    assert shown.output.startswith("seller_code,")


def test_what_cannot_be_had_says_what_can(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="regua aging --as-of 2026-06-29"):
        read_report(settings, "summary", date(2026, 6, 29))
    with pytest.raises(InputError, match=r"\.csv, \.xlsx, \.parquet"):
        write_report(read_report(settings, "summary", DAY), tmp_path / "report.pdf")
