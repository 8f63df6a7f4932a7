"""The queries that docs/how-to/bi.md offers run as they stand on what a night serves, and find something."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest

from regua.ingest.landing import land
from regua.ingest.loading import load_pending
from regua.ingest.mapping import read_source
from regua.instants import utc_clock
from regua.policy.compilation import compile_policies
from regua.policy.policies import load_policies
from regua.publish.serving import current_generation, publish
from regua.sample.portfolio import write_sample
from regua.settings import load_settings
from regua.transform.dbt_run import LAYERS, run_layer
from regua.warehouse.store import writing

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/bi.md"
QUERIES = re.findall(r"\n([^\n]+):\n\n```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
LAST_DAY = date(2026, 6, 30)

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two served days of a small portfolio; gates are left out, they have tests of their own."""
    settings = replace(
        load_settings({"REGUA_HOME": str(tmp_path_factory.mktemp("bi"))}), warehouse_memory="1GB", warehouse_threads=2
    )
    write_sample(settings, customers=300, months=6, as_of=LAST_DAY, seed=20260630)
    source = read_source(settings.sources_dir, "sample")
    known_at = land(settings.landing_dir, settings.inbox, [source], utc_clock).known_at
    with writing(settings, readable_dirs=[settings.landing_dir]) as warehouse:
        compile_policies(warehouse, load_policies(settings.policies_dir))
        load_pending(warehouse, settings.landing_dir, settings.work_dir, [source], as_of=LAST_DAY, known_at=known_at)
    first_day = LAST_DAY - timedelta(days=10)
    for as_of, previous in ((first_day, None), (LAST_DAY, first_day)):
        for layer in LAYERS:
            run_layer(
                settings,
                as_of,
                known_at,
                layer,
                previous_as_of=previous,
                previous_known_at=known_at if previous else None,
            )
        publish(settings, as_of=as_of, known_at=known_at)
    return current_generation(settings) / "serving.duckdb"


def test_every_query_of_the_page_is_found() -> None:
    assert len(QUERIES) >= 14
    assert PAGE.read_text(encoding="utf-8").count("```sql") == len(QUERIES), "a query has no sentence before it"


@pytest.mark.parametrize("query", [query for _, query in QUERIES], ids=[title[:60] for title, _ in QUERIES])
def test_the_query_runs_and_finds_something(served: Path, query: str) -> None:
    with duckdb.connect(str(served), read_only=True) as connection:
        assert connection.execute(query).fetchall()


def test_every_served_table_is_described(served: Path) -> None:
    with duckdb.connect(str(served), read_only=True) as connection:
        tables = {name for (name,) in connection.execute("select table_name from information_schema.tables").fetchall()}
    described = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert tables == described
