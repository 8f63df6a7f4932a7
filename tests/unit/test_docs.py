"""What the documentation says is there is there: links, anchors, fields, reason codes, examples."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import duckdb
import pytest
import yaml

from regua.contract.contract_page import render_contract
from regua.ingest import reading
from regua.ingest.conversion import REASONS
from regua.ingest.expressions import literal, quoted, referenced_columns
from regua.ingest.mapping import Feed, FileSet, Source, TableSet

_FENCE = re.compile(r"^(```+|~~~+).*?^\1\s*$", re.MULTILINE | re.DOTALL)
_INLINE_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*$", re.MULTILINE)
_NAMED_PAGE = re.compile(r"\b(?:docs/[\w/-]+\.md|(?:README|CONTRIBUTING|CHANGELOG)\.md)\b")


@pytest.fixture(scope="module")
def pages(project_dir: Path) -> list[Path]:
    found = [path for name in ("README", "CONTRIBUTING") if (path := project_dir / f"{name}.md").is_file()]
    found += sorted((project_dir / "docs").rglob("*.md"))
    assert len(found) >= 15, "next to no page was found: the scan looks in the wrong place"
    return found


@pytest.fixture(scope="module")
def sources_page(project_dir: Path) -> str:
    return (project_dir / "docs/how-to/sources.md").read_text(encoding="utf-8")


def prose(text: str) -> str:
    return _FENCE.sub("", text)


def anchors(text: str) -> set[str]:
    """The anchors GitHub gives the headings of a page; a repeated heading gets a number."""
    found: set[str] = set()
    for heading in _HEADING.findall(prose(text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number = 1
        while (anchor := slug if number == 1 else f"{slug}-{number - 1}") in found:
            number += 1
        found.add(anchor)
    return found


def relative_links(text: str) -> list[str]:
    targets = _LINK.findall(_INLINE_CODE.sub("", prose(text)))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def broken(page: Path) -> list[str]:
    faults = []
    for target in relative_links(page.read_text(encoding="utf-8")):
        path_text, _, anchor = unquote(target).partition("#")
        path = (page.parent / path_text).resolve() if path_text else page
        if not path.exists():
            faults.append(f"{page.name}: {target}: no such file")
        elif anchor and anchor not in anchors(path.read_text(encoding="utf-8")):
            faults.append(f"{page.name}: {target}: no such heading")
    return faults


def test_every_relative_link_leads_somewhere(pages: list[Path]) -> None:
    links = [link for page in pages for link in relative_links(page.read_text(encoding="utf-8"))]
    assert len(links) >= 30, "next to no link was found: the scan sees nothing"
    assert [fault for page in pages for fault in broken(page)] == []


def test_every_page_is_in_the_index(project_dir: Path, pages: list[Path]) -> None:
    index = project_dir / "docs/README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in relative_links(index.read_text("utf-8"))}
    assert {page.name for page in pages if page != index and page.resolve() not in linked} == set()


def test_the_scan_sees_a_broken_link(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Top\n[a](gone.md) [b](#nowhere) [c](#top) [d](https://example.com)\n```\n[e](code.md)\n```\n")
    assert broken(page) == ["page.md: gone.md: no such file", "page.md: #nowhere: no such heading"]


def test_pages_that_the_code_names_exist(project_dir: Path) -> None:
    """Docstrings, messages and configuration send people to pages by path."""
    files = [
        path
        for folder in ("plugins", "dags", "include", "dbt_project/models", "scripts")
        for path in (project_dir / folder).rglob("*")
        if path.is_file() and path.suffix in ("", ".py", ".yml", ".sql")
    ]
    files += [project_dir / name for name in ("Makefile", "docker-compose.yml", ".env.example", "pyproject.toml")]
    named = {
        (page, path.name)
        for path in files
        for page in _NAMED_PAGE.findall(path.read_text(encoding="utf-8", errors="replace"))
    }
    assert len(named) >= 5, "no page is named anywhere: the scan sees nothing"
    assert {(page, path) for page, path in named if not (project_dir / page).is_file()} == set()


def test_the_contract_page_is_made_of_the_contract(project_dir: Path) -> None:
    """`python -m regua.contract.contract_page > docs/reference/contract.md` makes it anew."""
    assert (project_dir / "docs/reference/contract.md").read_text(encoding="utf-8") == render_contract()


def test_every_reason_code_is_explained(sources_page: str) -> None:
    codes = {*REASONS, *(code for code, _ in reading._REJECTIONS.values()), "not_json", "unreadable_record"}
    section = sources_page.split("## What becomes of a bad row")[1].split("\n## ")[0]
    explained = set(re.findall(r"^\| `([a-z_]+)` \|", section, re.MULTILINE))
    assert len(codes) > 12
    assert explained == codes


def test_every_field_of_a_mapping_is_explained(project_dir: Path, sources_page: str) -> None:
    database_page = project_dir / "docs/how-to/sources-postgres.md"
    both_pages = sources_page + (database_page.read_text(encoding="utf-8") if database_page.is_file() else "")
    for model, page in ((Source, sources_page), (FileSet, sources_page), (Feed, sources_page), (TableSet, both_pages)):
        missing = [field for field in model.model_fields if f"`{field}`" not in page]
        assert model.model_fields
        assert missing == [], model.__name__


def test_every_mapping_shown_is_valid(sources_page: str) -> None:
    """They are what people copy: each must pass the validation, and each of its expressions be one."""
    blocks = [
        yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", sources_page, re.MULTILINE | re.DOTALL)
    ]
    mappings = [Source.model_validate(block) for block in blocks if "files" in block]
    assert len(mappings) >= 4
    for mapping in mappings:
        for feeding_set in mapping.files.values():
            for feed in feeding_set.feeds.values():
                for expression in (*feeding_set.derived.values(), *feed.columns.values(), feed.where or "true"):
                    assert isinstance(referenced_columns(expression, "docs/how-to/sources.md"), list)


def _example_rows(page: str) -> list[tuple[str, str, str, str]]:
    section = page.split("| Need | Expression | Columns of the file | Gives |")[1].split("\n\n")[0]
    rows = []
    for line in section.strip().splitlines()[1:]:
        need, expression, columns, gives = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        rows.append((need, expression.strip("`").replace(r"\|", "|"), columns, gives.split("`")[1]))
    return rows


def test_every_expression_shown_gives_what_the_page_says(sources_page: str) -> None:
    rows = _example_rows(sources_page)
    assert len(rows) >= 15, "the table of expressions was not found"
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'America/Sao_Paulo'")
        for need, expression, columns, expected in rows:
            values = re.findall(r"(\w+) = `([^`]*)`", columns)
            given = ", ".join([f"{literal(value)} as {quoted(name)}" for name, value in values] or ["1 as nothing"])
            # As a mapping would: refused here means refused there.
            referenced_columns(expression, need)
            found = connection.execute(f"select ({expression})::varchar from (select {given})").fetchone()
            assert found is not None
            assert (found[0] or "").strip() == expected, need


def test_the_page_of_kpis_describes_every_column_as_the_models_do(project_dir: Path) -> None:
    described = yaml.safe_load(
        (project_dir / "dbt_project/models/marts/kpi/_kpi__models.yml").read_text(encoding="utf-8")
    )
    tables = []
    for model in described["models"]:
        rows = []
        for column in model["columns"]:
            is_filled = any(constraint["type"] == "not_null" for constraint in column.get("constraints", []))
            may_be_empty = "" if is_filled else " May be empty."
            rows.append(f"| `{column['name']}` | {column['data_type']} | {column['description']}{may_be_empty} |")
        head = ["", f"### `{model['name']}`", "", " ".join(model["description"].split()), ""]
        tables += [*head, "| Column | Type | Meaning |", "|---|---|---|", *rows]
    page = (project_dir / "docs/reference/kpis.md").read_text(encoding="utf-8")
    assert page.endswith("\n".join(tables) + "\n")
