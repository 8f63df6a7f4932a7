"""docs/reference/suspension-files.md is the contract of those who read the files: its tables and its example hold."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.suspension.publications import ENTRIES, PUBLICATION, placed

from regua.suspension.artefacts import BANNER_COLUMNS, CHANGES_COLUMNS, LIST_COLUMNS, place, stage
from regua.suspension.bureau_lists import ADDED_COLUMNS, REMOVALS_COLUMNS

NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def page(project_dir: Path) -> str:
    return (project_dir / "docs/reference/suspension-files.md").read_text(encoding="utf-8")


@pytest.fixture
def read(page: str) -> Any:
    [example] = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(example, names)  # noqa: S102 - it is the page's own
    return names["without_access"]


@pytest.mark.parametrize(
    ("section", "columns"),
    [
        ("The list", LIST_COLUMNS),
        ("Changes", CHANGES_COLUMNS),
        ("Banners", BANNER_COLUMNS),
        ("Credit bureau", ADDED_COLUMNS + REMOVALS_COLUMNS),
    ],
)
def test_each_table_names_the_columns_in_their_order(page, section, columns):
    text = page.split(f"\n## {section}\n")[1].split("\n## ")[0]
    assert tuple(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == columns


def test_every_file_and_every_field_of_a_manifest_is_named(page, tmp_path):
    manifest = placed(tmp_path)
    later = replace(PUBLICATION, edition=2, sequence=42)
    assert [name for name in (*manifest.names, *placed(tmp_path, later).names) if f"`{name}`" not in page] == []
    [shown] = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    example, written = json.loads(shown), manifest.to_json()
    assert example.keys() == written.keys()
    assert example["files"][0].keys() == written["files"][0].keys()
    assert [field for field in written if f"`{field}`" not in page] == []


def test_the_example_reads_the_newest_edition(read, tmp_path):
    placed(tmp_path)
    assert read(tmp_path, NOW) == {"s1", "s2", "s6"}
    for edition in range(2, 12):
        staged = tmp_path / f".staged-{edition}"
        manifest = stage(staged, replace(PUBLICATION, edition=edition), ENTRIES[:1] if edition == 11 else ENTRIES)
        place(staged, tmp_path, manifest.names)
    assert read(tmp_path, NOW) == {"s2"}


def test_the_example_reads_files_with_the_mark(read, tmp_path):
    placed(tmp_path, has_bom=True)
    assert read(tmp_path, NOW) == {"s1", "s2", "s6"}


def test_the_example_acts_on_nothing_old_and_nothing_damaged(read, tmp_path):
    manifest = placed(tmp_path)
    with pytest.raises(RuntimeError, match="too old"):
        read(tmp_path, NOW + timedelta(days=2))
    (tmp_path / manifest.names[3]).write_text("")
    with pytest.raises(RuntimeError, match=r"_bureau.csv is not the one"):
        read(tmp_path, NOW)
