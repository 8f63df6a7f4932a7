"""Nights built one after the other by dbt, and the same days simulated: the same decisions, row by row."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from regua.cli import cli
from regua.errors import InputError
from regua.ledger.fact_commands import add_fact
from regua.nightly.stages import Night, run_stage
from regua.policy.policies import load_policies
from regua.sample.portfolio import generate, generate_next_day
from regua.settings import Settings, load_settings
from regua.simulation.comparing import INSTALLED, PUBLISHED, Simulation, simulate
from regua.simulation.explaining import Explanation, explain
from regua.simulation.replaying import LadderReplay, Share
from regua.transform.dbt_run import compile_models

FIRST_DAY = date(2026, 6, 26)  # a Friday: the days after it are closed for some channels
DAYS = [FIRST_DAY + timedelta(days=number) for number in range(5)]
PORTFOLIO: dict[str, Any] = {"customers": 150, "months": 5, "as_of": FIRST_DAY, "seed": 11, "memory": "1GB"}
HISTORIES = ("fct_dunning_decisions", "fct_dunning_messages", "fct_dunning_message_lines")

pytestmark = pytest.mark.timeout(900)


def clock_of(day: date) -> datetime:
    """Landing takes a microsecond; every night of these has the same one."""
    return datetime(day.year, day.month, day.day, 5)  # noqa: DTZ001 - instants here are UTC without a zone


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Five nights with what each learnt, from landing to the decisions; gates and serving have tests of their own."""
    home = tmp_path_factory.mktemp("published")
    settings = replace(load_settings({"REGUA_HOME": str(home)}), warehouse_memory="1GB", warehouse_threads=2)
    inbox = settings.inbox / "sample"
    for place, day in enumerate(DAYS):
        if place:
            generate_next_day(inbox, **PORTFOLIO, day=day, changed_pct=None)
        else:
            generate(inbox, **PORTFOLIO)
        if place == 2:
            # Said in mid-ladder, known from the third night on.
            add_fact(
                settings,
                lambda day=day: clock_of(day),
                "pause",
                {
                    "customer_id": _held_back(settings, DAYS[1]),
                    "valid_from_date": str(day),
                    "valid_to_date": str(day + timedelta(days=1)),
                },
                author="ana",
                reason="asked for it",
                allow_unknown=True,
            )
        night = Night(day, None, f"night {day}")
        for stage in ("land", "load", "staging", "intermediate", "marts", "dunning"):
            night = run_stage(settings, night, stage, lambda day=day: clock_of(day))
    return settings


@pytest.fixture(scope="module")
def simulated(published: Settings) -> Simulation:
    return simulate(published, [], DAYS[0], DAYS[-1])


def _held_back(settings: Settings, day: date) -> str:
    """Somebody whose ladder stands still, so that there is something to hold back on the days after."""
    with duckdb.connect(str(settings.warehouse_path), read_only=True) as warehouse:
        [(customer,)] = warehouse.execute(
            "select min(customer_id) from marts.fct_dunning_decisions where as_of_date = ? and outcome_code = ?",
            [day, "no_contact_point"],
        ).fetchall()
    return str(customer)


def paused_customer(published: Settings) -> str:
    return _held_back(published, DAYS[1])


def rows(connection: duckdb.DuckDBPyConnection, relation: str) -> list[tuple[Any, ...]]:
    return connection.execute(f"select * from {relation} order by all").fetchall()


def test_simulated_days_decide_what_the_nights_published(published: Settings) -> None:
    """Each day with what its own night knew, in two shares as the command runs them."""
    models = compile_models(published)
    policies = load_policies(published.policies_dir)
    found: dict[str, list[tuple[Any, ...]]] = {table: [] for table in HISTORIES}
    for number in range(2):
        with duckdb.connect() as connection:
            replay = LadderReplay(
                connection, published.warehouse_path, models, policies, DAYS[0], DAYS[-1], share=Share(number, 2)
            )
            assert [is_known_then for _, _, is_known_then in replay.days] == [True] * len(DAYS)
            assert len({known_at for _, known_at, _ in replay.days}) == len(DAYS)
            for day, known_at, _ in replay.days:
                replay.run_day(day, known_at)
            part = {table: rows(connection, f"marts.{table}") for table in HISTORIES}
            assert all(part.values()), "a share without a customer proves nothing"
            for table in HISTORIES:
                found[table] += part[table]
    with duckdb.connect(str(published.warehouse_path), read_only=True) as warehouse:
        for table in HISTORIES:
            assert sorted(found[table], key=str) == sorted(rows(warehouse, f"marts.{table}"), key=str)


def test_the_same_policies_differ_from_what_was_published_in_nothing(simulated: Simulation) -> None:
    assert simulated.sides == (INSTALLED, PUBLISHED)
    assert simulated.known_then_count == simulated.shared_day_count == len(DAYS)
    assert simulated.differences == ()
    ours, theirs = ([row[1:] for row in simulated.steps if row[0] == side] for side in simulated.sides)
    assert ours == theirs
    assert ours
    our_suspensions, their_suspensions = (row[1:] for row in simulated.suspended)
    assert our_suspensions == their_suspensions


def test_a_simulation_leaves_the_warehouse_as_it_was(published: Settings) -> None:
    before = published.warehouse_path.read_bytes()
    simulate(published, [], DAYS[0], DAYS[1])
    assert published.warehouse_path.read_bytes() == before


def test_a_draft_says_what_it_would_have_sent_and_who_differs_and_why(published: Settings, tmp_path: Path) -> None:
    """The draft has no SMS the day before the due date: nothing else of the default changes."""
    draft = tmp_path / "default.yml"
    text = (published.policies_dir / "default.yml").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if "due_tomorrow_sms" in line)
    draft.write_text(text.replace(line + "\n", ""), encoding="utf-8")
    found = simulate(published, [draft], DAYS[0], DAYS[-1])
    assert found.sides == ("default.yml", PUBLISHED)
    by_side = {side: {row[1]: row[5] for row in found.steps if row[0] == side} for side in found.sides}
    assert "due_tomorrow_sms" not in by_side["default.yml"]
    missed = [row for row in found.differences if row[1] == "due_tomorrow_sms"]
    assert [row[:3] for row in missed] == [(PUBLISHED, "due_tomorrow_sms", "no such step")]
    assert missed[0][3] == by_side[PUBLISHED]["due_tomorrow_sms"] > 0
    written = json.dumps(found.to_json())
    assert "no such step" in written


def test_two_policies_stand_side_by_side_on_a_page_that_needs_no_network(published: Settings, tmp_path: Path) -> None:
    from regua.simulation.presenting import show_simulation, write_page

    drafts = []
    for name, days in (("early", 3), ("late", 9)):
        text = (published.policies_dir / "default.yml").read_text(encoding="utf-8")
        draft = tmp_path / f"{name}.yml"
        draft.write_text(text.replace("offset_days: 6,", f"offset_days: {days},"))
        drafts.append(draft)
    found = simulate(published, drafts, DAYS[0], DAYS[-1])
    assert found.sides == ("early.yml", "late.yml")
    assert found.differences
    page = tmp_path / "out" / "page.html"
    write_page(found, page)
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 3
    assert "http" not in text.replace("http://www.w3.org/", "")
    assert "overdue_email" in text
    show_simulation(found)


def test_days_in_the_wrong_order_and_a_third_policy_are_refused(published: Settings) -> None:
    with pytest.raises(InputError, match="is before"):
        simulate(published, [], DAYS[1], DAYS[0])
    path = published.policies_dir / "default.yml"
    with pytest.raises(InputError, match="not more"):
        simulate(published, [path, path, path], DAYS[0], DAYS[1])


def told_of(published: Settings, outcome: str, day: date = DAYS[-1]) -> Explanation:
    """The account of somebody who had this outcome on the day."""
    with duckdb.connect(str(published.warehouse_path), read_only=True) as warehouse:
        [(customer,)] = warehouse.execute(
            "select min(customer_id) from marts.fct_dunning_decisions where as_of_date = ? and outcome_code = ?",
            [day, outcome],
        ).fetchall()
    assert customer is not None
    return explain(published, customer, day)


@pytest.mark.parametrize("day", [DAYS[3], DAYS[-1]], ids=["a past day", "the newest day"])
def test_an_explanation_is_what_was_published(published: Settings, day: date) -> None:
    told = told_of(published, "eligible", day)
    now = {(row["invoice_id"], row["step_code"]): row["outcome_code"] for row in told.decisions}
    then = {(row["invoice_id"], row["step_code"]): row["outcome_code"] for row in told.published}
    assert now == then
    assert "eligible" in now.values()
    assert told.messages
    assert sum(line["open_amount"] for line in told.message_lines) == sum(m["open_amount"] for m in told.messages)


def test_an_explanation_names_the_rule_that_decided_and_the_fact_it_used(published: Settings) -> None:
    told = explain(published, paused_customer(published), DAYS[2])
    decisive = {row["rule_code"]: row for row in told.trace if row["is_decisive"]}
    assert set(decisive) == {"paused"}
    assert decisive["paused"]["evidence_id"].startswith("op-")
    assert decisive["paused"]["evidence_date"] == DAYS[3]
    passed = [row["rule_code"] for row in told.trace if not row["is_decisive"]]
    assert set(passed) == {"quarantined", "paid", "prescribed", "disputed", "under_agreement", "exempt"}


def test_the_commands_tell_it_without_a_name_or_an_address(
    published: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGUA_HOME", str(published.home))
    customer = paused_customer(published)
    with duckdb.connect(str(published.warehouse_path), read_only=True) as warehouse:
        personal = warehouse.execute(
            "select name, email, document from raw.customers where customer_id = ? limit 1", [customer]
        ).fetchone()
    assert personal is not None
    assert personal[0]
    for output in ("text", "json"):
        result = CliRunner().invoke(cli, ["explain", customer, "--as-of", str(DAYS[2]), "--format", output])
        assert result.exit_code == 0, result.output
        assert "paused" in result.output
        assert not [value for value in personal if value and value in result.output]
    result = CliRunner().invoke(cli, ["simulate", "--from", str(DAYS[0]), "--to", str(DAYS[1]), "--format", "json"])
    assert json.loads(result.stdout)["days_known_then"] == 2


def test_a_customer_nobody_names_is_said_to_be_unknown(published: Settings) -> None:
    with pytest.raises(InputError, match="No customer and no invoice names 'nobody'"):
        explain(published, "nobody", DAYS[-1])
