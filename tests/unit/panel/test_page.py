"""The page is whole, says the same twice, and lets nothing of its data become a script."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

import pytest
import yaml
from tests.conftest import PROJECT_DIR

from regua.panel.data import _QUERIES, asset, definitions, in_portuguese, written
from regua.panel.page import SCRIPTS, page
from regua.settings import load_settings

DATA: dict[str, Any] = {"as_of": "2026-06-30", "tables": {}, "definitions": {"x": "</script><script>alert(1)</script>"}}


def test_the_same_data_give_the_same_page_and_all_of_it_is_in_it() -> None:
    assert page(DATA) == page(dict(reversed(DATA.items())))
    assert "@@" not in re.sub(r"<script>.*?</script>", "", page(DATA), flags=re.DOTALL)


def test_what_stands_in_the_data_cannot_end_its_script() -> None:
    [island] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page(DATA), re.DOTALL)
    assert json.loads(island) == DATA
    assert "<" not in written(DATA)


def test_the_policy_lets_the_page_s_own_scripts_run_and_nothing_be_fetched() -> None:
    text = page(DATA)
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', text)
    for name in SCRIPTS:
        digest = base64.b64encode(hashlib.sha256(asset(name).encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.split("style-src")[0]
    # Neither a host nor an address is named by what we wrote.
    for name in ("panel.html", "panel.css", *SCRIPTS[1:]):
        assert not re.findall(r"(?:https?:)?//[a-z]", asset(name).replace("//\u0020", "")), name


@pytest.mark.parametrize("language", ["pt-BR", "en"])
def test_both_languages_have_every_text(language: str) -> None:
    script = asset("texts.js")
    used = set(re.findall(r'\bt\("(\w+)"\)', "".join(map(asset, SCRIPTS[1:])))) | set(
        re.findall(r'data-text="(\w+)"', asset("panel.html"))
    )
    own = script.split("const TEXTS = {")[1].split("\n  },\n")[0 if language == "pt-BR" else 1]
    assert {text for text in used if not re.search(rf"\b{text}:", own)} == set()


def test_definitions_are_those_of_dbt_and_every_mart_that_is_shown_has_one() -> None:
    found = definitions(load_settings({}))
    written_models = yaml.safe_load(
        (PROJECT_DIR / "dbt_project/models/marts/kpi/_kpi__models.yml").read_text(encoding="utf-8")
    )
    assert set(found) == {model["name"] for model in written_models["models"]}
    shown = set(re.findall(r"mart: \"(\w+)\"", asset("charts.js"))) | {
        mart for query in _QUERIES.values() for mart in re.findall(r"from (kpi_\w+)", query)
    }
    assert shown <= set(found)


def test_every_mart_and_column_is_told_in_portuguese_too_and_nothing_else_is() -> None:
    english = definitions(load_settings({}))
    portuguese = in_portuguese(english)
    assert all(portuguese[mart]["columns"].keys() == model["columns"].keys() for mart, model in english.items())
    told = yaml.safe_load(asset("definitions.pt-BR.yml"))
    assert set(told["marts"]) == set(english)
    known = {name for model in english.values() for name in model["columns"]}
    known |= {f"{mart}.{name}" for mart, model in english.items() for name in model["columns"]}
    assert set(told["columns"]) <= known


def test_each_chart_adds_up_a_table_that_there_is() -> None:
    assert set(re.findall(r'\bof: "(\w+)"', asset("charts.js"))) <= {*_QUERIES, "gates"}
