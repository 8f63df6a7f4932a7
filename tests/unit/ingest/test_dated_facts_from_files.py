"""Dated facts come from a company's files as everything else does; here what only they have: shares and either-or."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError
from tests.unit.ingest.company import Company, opened_company, source_of

WAIVERS = {
    "glob": "waivers_*.csv",
    "mode": "snapshot",
    "quarantine_limit_pct": 100,
    "feeds": {
        "waivers": {
            "columns": {
                "waiver_id": "id",
                "customer_id": "customer",
                "invoice_id": "invoice",
                "waived_pct": "share",
                "valid_from_date": "since",
            }
        }
    },
}


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    with opened_company(tmp_path, source_of(waivers=WAIVERS)) as opened:
        yield opened


@pytest.mark.parametrize(
    ("row", "becomes"),
    [
        ("C1,,0", "0.00"),
        ("C1,,100", "100.00"),
        (",I1,12.5", "12.50"),
        ("C1,I1,33.33", "33.33"),
        ("C1,,100.01", "out_of_range"),
        ("C1,,-1", "out_of_range"),
        ("C1,,1000", "out_of_range"),
        ("C1,,12.345", "too_many_decimals"),
        ("C1,,half", "unreadable_number"),
        ("C1,,", "missing_value"),
        (",,50", "missing_value"),
    ],
)
def test_a_waiver_is_a_share_of_somebodys_or_some_invoices_charges(company: Company, row: str, becomes: str) -> None:
    company.receive("waivers_1.csv", f"id,customer,invoice,share,since\nW1,{row},2026-06-30\n")
    shares = company.known("waived_pct::varchar", "waivers")
    assert shares + company.quarantined("reason_code") == ([becomes] if shares else [(becomes,)])


def test_a_mapping_that_says_neither_whose_nor_which_is_refused() -> None:
    columns = {"exemption_id": "id", "valid_from_date": "since"}
    with pytest.raises(ValidationError, match="exemptions needs customer_id or invoice_id"):
        source_of(exemptions={"glob": "e_*", "mode": "snapshot", "feeds": {"exemptions": {"columns": columns}}})
    either = columns | {"invoice_id": "invoice"}
    source_of(exemptions={"glob": "e_*", "mode": "snapshot", "feeds": {"exemptions": {"columns": either}}})
