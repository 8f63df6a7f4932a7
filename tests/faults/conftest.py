"""The nights that the tests here look at: one undisturbed, one killed in every stage, one killed at any moment.

All of them are run once, in one helper process, because importing dbt and Great Expectations takes longer than a night.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import PROJECT_DIR
from tests.faults.killed_night import settings_of

from regua.ingest.inspection import MANIFEST_ENDING
from regua.sample.portfolio import generate, generate_next_day
from regua.settings import Settings

FIRST_DAY, SECOND_DAY = date(2026, 6, 29), date(2026, 6, 30)
PORTFOLIO = {"customers": 300, "months": 6, "as_of": FIRST_DAY, "seed": 7}

# Where a stage is killed, one after the other, before it is let through.
KILLS: dict[str, list[list[Any]]] = {
    "land": [
        ["call", "os.fsync", 1],
        ["call", "os.replace", 1],
        ["call", "regua.ingest.arrival.LandingStore.record", 2],
        ["done"],
    ],
    "load": [
        ["call", "regua.ingest.loading._FeedLoad._append", 1],
        ["call", "regua.ingest.loading._load", 2],
        ["call", "regua.ingest.loading._FeedLoad._quarantine", 1],
        ["call", "regua.ingest.loading._record", 1],
        ["done"],
    ],
    "gate_raw": [["timer", 0.6], ["done"]],
    "staging": [["timer", 1.5], ["done"]],
    "intermediate": [["timer", 0.9], ["done"]],
    "marts": [["timer", 0.6], ["timer", 1.4], ["done"]],
    "dunning": [["timer", 0.6], ["timer", 1.4], ["done"]],
    "kpis": [["timer", 0.6], ["done"]],
    "gate_marts": [["timer", 0.3], ["done"]],
    "serve": [
        ["call", "regua.publish.serving._write_database", 1],
        ["call", "regua.publish.serving.write_whole", 1],
        ["call", "os.rename", 1],
        ["call", "regua.publish.serving._swap", 1],
        ["call", "os.symlink", 1],
        ["call", "os.replace", 2],
        ["call", "regua.publish.serving._forget_old", 1],
        ["done"],
    ],
}
RANDOM_MOMENTS = (2.3, 6.1)

CANARY = {
    "CODIGO": "CANARIO-1",
    "NOME_RAZAO_SOCIAL": "Zuleica Canarinho Xavier",
    "CNPJ_CPF": "314.159.265-90",
    "EMAIL": "zuleica.canarinho@exemplo.com.br",
    "TELEFONE": "(11) 93141-5926",
}
CANARY_WORDS = ("zuleica", "canarinho", "314.159.265-90", "31415926590", "93141-5926", "931415926")


@dataclass(frozen=True)
class Nights:
    """Homes after the second night, and what became of each process (`signal` or `exit`)."""

    undisturbed: Settings
    killed_by_stage: Settings
    killed_at_random: Settings
    report: list[dict[str, Any]]


@pytest.fixture(scope="session")
def first_home(tmp_path_factory) -> Path:
    """A home in which nothing has run, with the exports of the first day."""
    home = tmp_path_factory.mktemp("nights") / "first"
    generate(home / "inbox" / "sample", **PORTFOLIO, memory="1GB")
    _plant_canaries(home / "inbox" / "sample" / f"customers_{FIRST_DAY}.csv")
    return home


@pytest.fixture(scope="session")
def nights(first_home: Path) -> Nights:
    homes = {name: first_home.with_name(name) for name in ("undisturbed", "killed_by_stage", "killed_at_random")}
    second_day = first_home.with_name("second_day")
    generate_next_day(second_day / "sample", **PORTFOLIO, day=SECOND_DAY, memory="1GB")
    _plant_canaries(second_day / "sample" / f"customers_{SECOND_DAY}.csv")
    delivered = {"delivered": str(second_day)}
    first = {"home": str(first_home), "as_of": str(FIRST_DAY), "landed_at": f"{FIRST_DAY} 05:00:00"}
    second = {"as_of": str(SECOND_DAY), "landed_at": f"{SECOND_DAY} 05:00:00"}
    plan: list[dict[str, Any]] = [first]
    for home in homes.values():
        plan += [{"copy": [str(first_home), str(home)]}, {"home": str(home)} | delivered]
    plan.append(second | {"home": str(homes["undisturbed"])})
    by_stage = second | {"home": str(homes["killed_by_stage"])}
    for stage, kills in KILLS.items():
        plan += [by_stage | {"stage": stage, "kill": kill} for kill in kills]
        plan.append(by_stage | {"stage": stage})
    at_random = second | {"home": str(homes["killed_at_random"])}
    plan += [at_random | {"kill": ["timer", seconds]} for seconds in RANDOM_MOMENTS]
    plan.append(at_random)
    plan += [{"home": str(home), "show": True} for home in homes.values()]
    path = first_home.with_name("plan.json")
    path.write_text(json.dumps(plan))
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.killed_night", str(path)],
        cwd=PROJECT_DIR,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": f"{PROJECT_DIR / 'plugins'}:{PROJECT_DIR}",
            "HOME": str(first_home.parent),
        },
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    report = [json.loads(line) for line in done.stdout.splitlines()]
    return Nights(*(settings_of(home) for home in homes.values()), report)


def _plant_canaries(path: Path) -> None:
    """Two more customers whose data must not be seen again: one that is good, one for the quarantine."""
    rows = list(csv.reader(io.StringIO(path.read_bytes().decode("cp1252")), delimiter=";"))
    header = rows[0]
    template = dict(zip(header, rows[1], strict=True)) | CANARY
    quarantined = template | {"CODIGO": "CANARIO-2", "DATA_CADASTRO": f"nascida {CANARY['NOME_RAZAO_SOCIAL']}"}
    text = io.StringIO()
    written = csv.writer(text, delimiter=";", lineterminator="\r\n")
    written.writerows([*rows, *([record[name] for name in header] for record in (template, quarantined))])
    content = text.getvalue().encode("cp1252")
    path.write_bytes(content)
    manifest_path = path.with_name(path.name + MANIFEST_ENDING)
    manifest = json.loads(manifest_path.read_text())
    manifest |= {"sha256": hashlib.sha256(content).hexdigest(), "rows": manifest["rows"] + 2}
    manifest_path.write_text(json.dumps(manifest))
