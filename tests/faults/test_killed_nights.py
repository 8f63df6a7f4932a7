"""A night killed anywhere, and run again, gives the bytes it would have given."""

from __future__ import annotations

import hashlib
from pathlib import Path

import duckdb
import pytest
from tests.faults.conftest import KILLS, SECOND_DAY, Nights

from regua.contract.entities import load_contract
from regua.nightly.stages import STAGES
from regua.settings import Settings

pytestmark = pytest.mark.timeout(420)


def served(settings: Settings) -> dict[str, str]:
    """sha256 of the manifest and of every Parquet file that readers are sent to."""
    current = settings.serving_dir / "current"
    files = [current / "manifest.json", *sorted((current / "parquet").iterdir())]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def stored(settings: Settings) -> dict[str, list[tuple]]:
    tables = [f"raw.{entity}" for entity in load_contract()]
    tables += ["raw.superseded", "quarantine.rejected_rows", "ops.batches"]
    with duckdb.connect(str(settings.warehouse_path), read_only=True) as warehouse:
        return {table: warehouse.execute(f"select * from {table} order by all").fetchall() for table in tables}


def left_behind(settings: Settings) -> list[Path]:
    """What a killed process was making and nobody would ever look for."""
    return [
        path for path in settings.home.rglob("*") if path.name.endswith(".part") or path.name.startswith(".building")
    ]


def test_every_stage_has_its_kills():
    assert list(KILLS) == list(STAGES)
    assert all(kills for kills in KILLS.values())


def test_the_killed_processes_were_killed_and_the_others_came_through(nights: Nights):
    ends = {(step["home"], step.get("stage"), str(step.get("kill"))): step.get("signal", 0) for step in nights.report}
    for (home, stage, kill), signal in ends.items():
        output = Path(home) / "output.txt"
        if kill == "None":
            assert signal == 0, f"{stage}: {output.read_text()[-2000:]}"
    assert [step for step in nights.report if step.get("exit", 0) != 0] == []
    in_stages = [step for step in nights.report if step["home"].endswith("by_stage") and step.get("kill")]
    certain = [step for step in in_stages if step["kill"][0] != "timer"]
    assert [(step["stage"], step["kill"]) for step in certain if step.get("signal") != 9] == []
    assert {step["stage"] for step in in_stages if step.get("signal") == 9} == set(STAGES)
    assert sum(step.get("signal") == 9 for step in nights.report) >= len(certain) + 5


@pytest.mark.parametrize("killed", ["killed_by_stage", "killed_at_random"])
def test_a_killed_night_run_again_serves_the_same_bytes(nights: Nights, killed):
    expected = served(nights.undisturbed)
    assert len(expected) >= 5
    assert served(getattr(nights, killed)) == expected


@pytest.mark.parametrize("killed", ["killed_by_stage", "killed_at_random"])
def test_a_killed_night_run_again_has_stored_the_same_rows(nights: Nights, killed):
    expected = stored(nights.undisturbed)
    assert expected["raw.invoices"]
    assert expected["quarantine.rejected_rows"]
    assert stored(getattr(nights, killed)) == expected


@pytest.mark.parametrize("killed", ["killed_by_stage", "killed_at_random"])
def test_nothing_is_left_lying_about(nights: Nights, killed):
    settings = getattr(nights, killed)
    assert left_behind(settings) == []
    generations = sorted(path.name for path in (settings.serving_dir / "generations").iterdir())
    assert generations == sorted(path.name for path in (nights.undisturbed.serving_dir / "generations").iterdir())
    assert sorted(path.name for path in settings.serving_dir.iterdir()) == ["current", "generations"]
    assert (settings.serving_dir / "current").resolve().name.startswith(str(SECOND_DAY))
