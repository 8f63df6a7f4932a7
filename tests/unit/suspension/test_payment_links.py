"""Where a banner leads to: the invoice's own page on a host of ours, and never anywhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from regua.channels.dispatch_file import read_dispatch_file
from regua.suspension.found_night import _payment_link
from regua.suspension.machine_csv import may_stand

PORTAL = "https://pagar.nuvemfacil.example/faturas"


@pytest.mark.parametrize(
    ("url", "leads_to"),
    [
        ("https://pagar.nuvemfacil.example/f/1", "https://pagar.nuvemfacil.example/f/1"),
        (None, PORTAL),
        ("", PORTAL),
        ("http://pagar.nuvemfacil.example/f/1", PORTAL),
        ("https://elsewhere.example/f/1", PORTAL),
        ("https://bank@pagar.nuvemfacil.example/f/1", PORTAL),
        ("https://pagar.nuvemfacil.example.evil.example/", PORTAL),
        ("https://pagar.nuvemfacil.example/a b", PORTAL),
        ("https://[pagar", PORTAL),
        ("javascript:alert(1)", PORTAL),
        ("https://pagar.nuvemfacil.example/" + "x" * 3000, PORTAL),
    ],
)
def test_one_bad_link_leads_to_the_portal_and_stops_no_list(project_dir: Path, url: str | None, leads_to: str) -> None:
    found = _payment_link(url, read_dispatch_file(project_dir / "include" / "dispatch.yml"))
    assert found == leads_to
    assert may_stand("payment_url", found)
