"""A file may be right and its manifest wrong: sending the manifest alone again must be enough."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from tests.unit.ingest.company import Company, invoice_file, invoice_line

from regua.errors import InputError


def _declare(path: Path, **said: object) -> None:
    manifest = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), **said}
    path.with_name(path.name + ".manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_a_manifest_sent_again_for_the_same_file_takes_the_place_of_the_wrong_one(open_company) -> None:
    company: Company = open_company()
    path = company.send("invoices_1.csv", invoice_file(invoice_line(1)))
    _declare(path, rows=2)
    company.land()
    with pytest.raises(InputError, match="the manifest says 2 rows, the file holds 1"):
        company.load()
    _declare(path, rows=1)
    assert company.land().unchanged_count == 1
    assert [batch.accepted_count for batch in company.load()] == [1]


def test_a_manifest_of_another_content_is_refused_beside_a_known_file(open_company) -> None:
    company: Company = open_company()
    path = company.send("invoices_1.csv", invoice_file(invoice_line(1)))
    company.land()
    _declare(path, sha256="0" * 64)
    with pytest.raises(InputError, match="the manifest says 000000000000"):
        company.land()


def test_a_manifest_that_is_gone_changes_nothing(open_company) -> None:
    company: Company = open_company()
    path = company.send("invoices_1.csv", invoice_file(invoice_line(1)))
    _declare(path, rows=1)
    company.land()
    path.with_name(path.name + ".manifest.json").unlink()
    company.land()
    assert [batch.accepted_count for batch in company.load()] == [1]
