"""A disk that fills up while a file is loaded stops the night and changes nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from tests.unit.ingest.company import Company, invoice_file, invoice_line, invoice_set, opened_company, source_of

from regua.warehouse.store import writing

pytestmark = pytest.mark.timeout(120)


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "home"
    disk = home / "warehouse"
    disk.mkdir(parents=True)
    mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk))
    try:
        yield home
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_stops_the_load_and_the_next_one_goes_through(small_disk: Path):
    source = source_of(invoices=invoice_set())
    with opened_company(small_disk, source) as company:
        company.receive("invoices_1.csv", invoice_file(invoice_line(1)))
        before = company.everything()
        company.send(
            "invoices_2.csv",
            invoice_file(*[invoice_line(f"{n * 7919 % 1000003}-{n}", f"{n}.37") for n in range(300_000)]),
        )
        company.land()
    with pytest.raises(duckdb.Error, match=r"(?i)no space|disk|write"), opened_company(small_disk, source) as company:
        company.load()
    mount("-o", "remount,size=400m", str(small_disk / "warehouse"))
    with writing(company.settings, readable_dirs=[company.settings.landing_dir]) as warehouse:
        again = Company(company.settings, source, warehouse)
        # The disk may fill up only when the checkpoint comes, after the whole file is committed.
        assert again.everything() == before or len(again.known("invoice_id")) == 300_001
        again.load()
        assert again.load() == []
        assert again.warehouse.execute("select sum(accepted_count) from ops.batches").fetchall() == [(300_001,)]
        assert again.warehouse.execute("select count(*) from raw.invoices").fetchall() == [(300_001,)]
