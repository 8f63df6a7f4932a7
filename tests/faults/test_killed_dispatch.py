"""Dispatchers killed anywhere, restarted and killed again: the provider has no message twice, the ledger loses none.

Ten thousand kills: `make faults`. Here some hundreds, in lanes that run beside each other.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.conftest import PROJECT_DIR
from tests.faults.crash_harness import OUTBOXES, ProviderLog, look
from tests.faults.dispatcher_process import AT_RANDOM, DISPATCH_PLACES, PLAN_PLACES
from tests.integration.conftest import postgres_server  # noqa: F401 - used by name
from tests.integration.dispatch.made_plans import House, RememberingChannel, made_message

from regua.channels.sending import Answer, Outcome
from regua.ledger.database import open_ledger
from regua.ledger.messages import MESSAGES
from regua.settings import load_settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
KILLS = 320
LANES = [("sqlite", 1), ("sqlite", 4), ("postgresql", 1), ("postgresql", 4)]


def harness(*arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.crash_harness", *arguments],
        cwd=PROJECT_DIR,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{PROJECT_DIR / 'plugins'}:{PROJECT_DIR}"},
        capture_output=True,
        text=True,
        timeout=380,
    )
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert reports, done.stderr
    assert [report["broke_off"] for report in reports if report["broke_off"]] == []
    return reports


@pytest.fixture(scope="module")
def reports(request: pytest.FixtureRequest) -> dict[tuple[str, int], dict[str, Any]]:
    server = request.getfixturevalue("postgres_server")
    found = harness("--kills", str(KILLS), "--jobs", str(len(LANES)), "--postgres", server.get_uri())
    return {(report["database"], report["dispatchers"]): report for report in found}


def test_hundreds_were_killed_in_every_place(reports: dict[tuple[str, int], dict[str, Any]]) -> None:
    assert sorted(reports) == sorted(LANES)
    assert sum(report["kills"] for report in reports.values()) >= KILLS
    kills: Counter[str] = Counter()
    for report in reports.values():
        kills += Counter(report["kills_by_place"])
    assert set(kills) >= {AT_RANDOM, *DISPATCH_PLACES, *PLAN_PLACES}
    assert sum(report["pauses"] for report in reports.values()) >= 5


@pytest.mark.parametrize("lane", LANES, ids=lambda lane: f"{lane[0]}-{lane[1]}")
def test_no_message_and_no_step_went_out_twice(reports: dict[tuple[str, int], dict[str, Any]], lane) -> None:
    assert reports[lane]["taken"] > 50
    assert reports[lane]["duplicates"] == 0, reports[lane]["examples"]


@pytest.mark.parametrize("lane", LANES, ids=lambda lane: f"{lane[0]}-{lane[1]}")
def test_every_message_is_accounted_for(reports: dict[tuple[str, int], dict[str, Any]], lane) -> None:
    assert reports[lane]["messages"] > 100
    assert reports[lane]["faults"] == 0, reports[lane]["examples"]


@pytest.mark.parametrize("broken", [name for name in OUTBOXES if name])
def test_the_harness_finds_what_a_wrong_dispatcher_sends_twice(broken: str) -> None:
    [report] = harness("--kills", "25", "--databases", "sqlite", "--dispatchers", "1", "--break", broken)
    assert report["duplicates"] >= 3


# The check itself


@pytest.fixture
def sent(tmp_path: Path) -> Iterator[tuple[House, ProviderLog]]:
    """Two messages that went out and one that was refused, in a ledger that anybody may write to."""
    settings = load_settings({"REGUA_HOME": str(tmp_path), "REGUA_ENV": "production"})
    with open_ledger(settings) as engine:
        house = House(engine, settings, tmp_path)
        house.plan(*(made_message(number) for number in range(3)))
        house.send(RememberingChannel({"C2": [Outcome(Answer.REJECTED, "http_400")]}))
        with engine.begin() as connection:
            connection.execute(sa.text("drop trigger message_events_refuse_update"))
        yield house, ProviderLog(tuple((house.message_of(f"C{number}").message_id, None) for number in range(2)), NONE)


NONE: frozenset[str] = frozenset()


def _found(house: House, log: ProviderLog) -> list[str]:
    found = look(house.engine, log, [[made_message(number) for number in range(3)]])
    return [*found.duplicates, *found.faults]


def test_the_check_is_content_with_what_is_right(sent: tuple[House, ProviderLog]) -> None:
    assert _found(*sent) == []


def _with_state(state: str, reason: str | None = None, customer: str = "C0") -> Callable[[House], None]:
    def change(house: House) -> None:
        with house.engine.begin() as connection:
            which = MESSAGES.c.customer_id == customer
            connection.execute(sa.update(MESSAGES).where(which).values(state_code=state, reason_code=reason))

    return change


def _sql(statement: str) -> Callable[[House], None]:
    def change(house: House) -> None:
        with house.engine.begin() as connection:
            connection.execute(sa.text(statement))

    return change


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (_with_state("planned"), "is left planned"),
        (_with_state("claimed"), "is left claimed"),
        (_with_state("expired", "day_over"), "was taken and is expired"),
        (_with_state("suppressed", "recalled"), "its batch was not cancelled"),
        (_with_state("unknown"), "without a reason"),
        (_with_state("accepted", customer="C2"), "is accepted and was not taken"),
        (_sql("update message_events set reason_code = 'otherwise' where event_number = 3"), "broken at 3"),
        (_sql("update message_events set epoch = 1, message_id = (select message_id from message_events "
              "where kind_code = 'claimed' limit 1) where kind_code = 'claimed'"), "claimed 3 times in epoch 1"),
        (_sql("delete from message_steps where customer_id = 'C0'"), "a step of it belongs to"),
    ],
    ids=lambda value: value.replace(" ", "_") if isinstance(value, str) else "",
)  # fmt: skip
def test_the_check_sees(sent: tuple[House, ProviderLog], change: Callable[[House], None], fault: str) -> None:
    house, log = sent
    change(house)
    assert any(fault in sentence for sentence in _found(house, log))


def test_the_check_sees_a_message_and_a_step_taken_twice(sent: tuple[House, ProviderLog]) -> None:
    house, log = sent
    twice = ProviderLog((*log.taken, log.taken[0]), NONE)
    assert f"{log.taken[0][0]} was taken 2 times" in _found(house, twice)
