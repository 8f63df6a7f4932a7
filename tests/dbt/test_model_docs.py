"""dbt's documentation of the models: one page, whole, of a project of which no night was ever run."""

from __future__ import annotations

from pathlib import Path

import pytest

from regua.settings import load_settings
from regua.transform.dbt_run import write_model_docs

pytestmark = pytest.mark.timeout(300)


def test_the_page_describes_every_mart(tmp_path: Path, project_dir: Path) -> None:
    page = tmp_path / "docs" / "index.html"
    write_model_docs(load_settings({"REGUA_HOME": str(tmp_path / "home")}), page)
    text = page.read_text(encoding="utf-8")
    marts = {path.stem for path in (project_dir / "dbt_project" / "models" / "marts").rglob("*.sql")}
    assert len(marts) > 20
    assert {mart for mart in marts if f"model.regua.{mart}" not in text} == set()
    assert "All that was ever billed and whose due date has passed" in text
