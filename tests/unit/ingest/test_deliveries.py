"""A feed without news is not a late feed: the same content delivered again must be seen, and must load nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, timedelta
from pathlib import Path

import pytest
from tests.unit.ingest.company import (
    FIRST_INSTANT,
    Company,
    invoice_file,
    invoice_line,
    invoice_set,
    opened_company,
    source_of,
)


def _written_at(path: Path, days_after: float) -> None:
    instant = (FIRST_INSTANT + timedelta(days=days_after)).replace(tzinfo=UTC).timestamp()
    os.utime(path, (instant, instant))


def _confirmations(company: Company) -> list[tuple[object, ...]]:
    return company.warehouse.execute("select file_set, confirmed_at from ops.confirmations order by 2").fetchall()


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Company]:
    with opened_company(tmp_path, source_of(invoices=invoice_set())) as opened:
        yield opened


def test_the_same_content_written_again_is_kept_as_a_sign_of_life_and_loads_nothing(company: Company) -> None:
    path = company.send("invoices_1.csv", invoice_file(invoice_line(1)))
    _written_at(path, -1)
    company.land()
    assert len(company.load()) == 1
    _written_at(path, 2)
    company.clock.now = FIRST_INSTANT + timedelta(days=3)
    assert company.land().landed == ()
    assert company.load() == []
    assert _confirmations(company) == [("invoices", FIRST_INSTANT + timedelta(days=2))]


def test_a_file_that_merely_lies_there_confirms_nothing(company: Company) -> None:
    path = company.send("invoices_1.csv", invoice_file(invoice_line(1)))
    _written_at(path, -1)
    for _ in range(3):
        company.land()
        company.load()
    assert _confirmations(company) == []


def test_a_file_from_the_future_confirms_no_later_than_now(company: Company) -> None:
    path = company.send("invoices_1.csv", invoice_file(invoice_line(1)))
    _written_at(path, -1)
    company.land()
    company.load()
    _written_at(path, 900)
    company.clock.now = FIRST_INSTANT + timedelta(days=1)
    company.land()
    company.load()
    [(_, confirmed_at)] = _confirmations(company)
    assert confirmed_at <= company.clock.now
