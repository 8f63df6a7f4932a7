"""Facts recorded by command: what the ledger keeps, on both databases, and what the nights know of it."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from click.testing import CliRunner
from tests.integration.conftest import every_table
from tests.integration.quality.gate_warehouse import AS_OF, KNOWN_AT, build_healthy_home

from regua.cli import cli
from regua.contract.entities import load_contract
from regua.errors import BusyError, InputError
from regua.ingest.arrival import LandingStore
from regua.ledger.database import open_ledger
from regua.ledger.fact_commands import add_fact, amend_fact, described_history, recorded_facts, retract_fact
from regua.ledger.facts import FACT_EVENTS, Fact, read_events
from regua.nightly.stages import Night, land_night, load_night
from regua.publish.serving import publish
from regua.quality.gate import run_gate
from regua.settings import Settings, load_settings
from regua.warehouse.store import reading, writing

DAY = date(2026, 6, 30)
FIRST_INSTANT = datetime.fromisoformat("2026-06-30 05:00")
MAPPING = """
description: A company whose invoices do not matter here
files:
  customers:
    glob: "customers_*.csv"
    mode: snapshot
    feeds: {customers: {columns: {customer_id: id}}}
"""
PROMISE = {"customer_id": "C1", "promised_date": "2026-07-03", "valid_from_date": "2026-06-30"}


@dataclass
class Office:
    """An installation, its people and its nights, with a clock that moves a minute at each look."""

    settings: Settings
    now: datetime = FIRST_INSTANT

    def clock(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now

    def add(self, entity: str = "promise", reason: str = "said so", **given: str) -> Fact:
        values = PROMISE | given if entity == "promise" else {"valid_from_date": "2026-06-30"} | given
        return add_fact(self.settings, self.clock, entity, values, author="ana", reason=reason, allow_unknown=True)

    def end(self, fact: Fact, last_day: str) -> Fact:
        given = {"valid_to_date": last_day}
        return amend_fact(self.settings, self.clock, fact.fact_id, given, author="bia", reason="it is over")

    def withdraw(self, fact: Fact) -> Fact:
        return retract_fact(self.settings, self.clock, fact.fact_id, author="bia", reason="wrong customer")

    def night(self) -> Night:
        landed, _ = land_night(self.settings, Night(DAY, None, "test"), self.clock)
        return load_night(self.settings, landed, self.clock)[0]

    def known(self, night: Night, columns: str = "promise_id, valid_to_date", entity: str = "promises") -> list[Any]:
        """What the models of a night, or of its replay, see of an entity."""
        with reading(self.settings) as warehouse:
            return warehouse.execute(
                f"select {columns} from raw.{entity} as versions where _loaded_at <= $at and not exists "
                f"(select 1 from raw.superseded as gone where gone.entity = '{entity}' and _superseded_at <= $at "
                "and gone._batch_id = versions._batch_id and gone._line = versions._line) order by all",
                {"at": night.known},
            ).fetchall()

    def arrivals(self) -> list[str]:
        return [arrival.file_name for arrival in LandingStore(self.settings.landing_dir, "operators").arrivals()]


@pytest.fixture(params=["sqlite", "postgresql"])
def office(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Office]:
    """The ledger lies in a database of its own, of each kind in turn."""
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "acme.yml").write_text(MAPPING)
    inbox = tmp_path / "home" / "inbox" / "acme"
    inbox.mkdir(parents=True)
    (inbox / "customers_1.csv").write_text("id\nC1\nC2\n")
    environment = {
        "REGUA_ENV": "test",
        "REGUA_HOME": str(tmp_path / "home"),
        "REGUA_SOURCES_DIR": str(tmp_path / "sources"),
        "REGUA_SOURCES": "acme",
        "REGUA_WAREHOUSE_MEMORY": "1GB",
    }
    if request.param == "sqlite":
        yield Office(load_settings(environment))
        return
    server = request.getfixturevalue("postgres_server")
    name = f"ledger_{abs(hash(request.node.nodeid)):x}"
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"create database {name}")
    yield Office(load_settings(environment | {"REGUA_LEDGER_URL": server.get_uri(database=name)}))
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


def test_the_migrations_make_the_tables_that_the_code_uses(office: Office) -> None:
    with open_ledger(office.settings) as engine, engine.connect() as connection:
        assert "fact_events" in sa.inspect(connection).get_table_names()
        assert compare_metadata(MigrationContext.configure(connection), every_table()) == []
        if engine.dialect.name == "sqlite":
            assert connection.exec_driver_sql("pragma journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("pragma synchronous").scalar() == 2


def test_a_fact_is_what_was_last_said_and_its_history_all_that_was(office: Office) -> None:
    fact = office.add(amount="150")
    assert (fact.author_id, fact.reason, fact.values["amount"]) == ("ana", "said so", "150.00")
    assert recorded_facts(office.settings, "promises", customer="C1") == [fact]
    ended = office.end(fact, "2026-07-01")
    assert ended == replace(fact, values={**fact.values, "valid_to_date": "2026-07-01"})
    office.withdraw(fact)
    assert recorded_facts(office.settings, None) == []
    _, recorded, changed, withdrawn = described_history(office.settings, fact.fact_id)
    assert "ana: recorded customer_id=C1" in recorded
    assert "bia: changed valid_to_date=2026-07-01 (it is over)" in changed
    assert "bia: withdrawn (wrong customer)" in withdrawn


def test_facts_are_listed_by_kind_by_whom_they_are_about_and_by_day(office: Office) -> None:
    promise = office.add()
    pause = office.add("pause", customer_id="C2", valid_to_date="2026-07-10")
    dispute = office.add("dispute", invoice_id="I1")
    listed = lambda *entity, **chosen: recorded_facts(office.settings, *(entity or (None,)), **chosen)  # noqa: E731
    assert listed() == [promise, pause, dispute]
    assert listed("pause") == [pause]
    assert listed(customer="C1") == [promise]
    assert listed(invoice="I1") == [dispute]
    assert listed(as_of=date(2026, 6, 29)) == []
    assert listed(as_of=date(2026, 7, 10)) == [promise, pause, dispute]
    assert listed(as_of=date(2026, 7, 11)) == [promise, dispute]


def test_nothing_in_the_ledger_can_be_rewritten(office: Office) -> None:
    office.add()
    with open_ledger(office.settings) as engine:
        for statement in (sa.update(FACT_EVENTS).values(reason="another"), sa.delete(FACT_EVENTS)):
            with pytest.raises(sa.exc.DBAPIError, match="append-only"), engine.begin() as connection:
                connection.execute(statement)
        with engine.connect() as connection:
            assert [event.reason for event in read_events(connection)] == ["said so"]


def test_a_change_that_says_nothing_new_or_comes_too_late_is_refused(office: Office) -> None:
    fact = office.add()
    office.end(fact, "2026-07-01")
    with pytest.raises(InputError, match="says so already"):
        office.end(fact, "2026-07-01")
    with pytest.raises(InputError, match="never hold"):
        office.end(fact, "2026-06-29")
    office.withdraw(fact)
    for late in (lambda: office.end(fact, "2026-07-02"), lambda: office.withdraw(fact)):
        with pytest.raises(InputError, match="was withdrawn"):
            late()
    for unknown in ("op-99", "op-2", "P1", ""):
        with pytest.raises(InputError, match="No fact"):
            described_history(office.settings, unknown)


def test_two_changes_at_once_do_not_both_win(office: Office) -> None:
    """Each was validated with the fact as it was before the other."""
    fact = office.add()
    answers: list[str] = []
    barrier = threading.Barrier(4)

    def change(day: int) -> None:
        barrier.wait()
        try:
            given = {"promised_date": f"2026-07-{day:02}"}
            amend_fact(office.settings, office.clock, fact.fact_id, given, author="ana", reason="x")
            answers.append("done")
        except InputError as error:
            answers.append("somebody else" if "somebody else" in str(error) else str(error))

    threads = [threading.Thread(target=change, args=(day,)) for day in range(10, 14)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    assert set(answers) <= {"done", "somebody else"}
    assert len(described_history(office.settings, fact.fact_id)) - 2 == answers.count("done") >= 1


def test_writers_at_once_are_all_kept_in_the_order_of_their_numbers(office: Office) -> None:
    """Also those that find no ledger and make it."""
    threads = [threading.Thread(target=office.add, kwargs={"customer_id": f"C{number}"}) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    facts = recorded_facts(office.settings, "promise")
    assert sorted(str(fact.values["customer_id"]) for fact in facts) == [f"C{number}" for number in range(6)]
    assert len({fact.fact_id for fact in facts}) == 6


def test_a_night_without_any_fact_lands_nothing_of_it(office: Office) -> None:
    night = office.night()
    assert office.arrivals() == []
    assert office.known(night) == []
    assert office.night().known == night.known


def test_the_night_sees_a_promise_and_a_replay_sees_what_was_known_before_it_ended(office: Office) -> None:
    fact = office.add(reason='pagará dia 3 — \u2028 "sem falta"')
    first = office.night()
    assert office.known(first) == [(fact.fact_id, None)]
    columns = "customer_id, promised_date, amount, currency_code, valid_from_date, author_id, reason, _source"
    assert office.known(first, columns) == [
        ("C1", date(2026, 7, 3), None, "BRL", DAY, "ana", 'pagará dia 3 — \u2028 "sem falta"', "operators")
    ]
    again = office.night()
    assert again.known == first.known, "a second run of the night found something new"
    office.end(fact, "2026-07-01")
    second = office.night()
    assert office.known(second) == [(fact.fact_id, date(2026, 7, 1))]
    office.withdraw(fact)
    third = office.night()
    assert office.known(third) == []
    assert office.known(second) == [(fact.fact_id, date(2026, 7, 1))]
    assert office.known(first) == [(fact.fact_id, None)]


def test_a_fact_recorded_after_the_landing_is_not_known_to_that_night(office: Office) -> None:
    landed, _ = land_night(office.settings, Night(DAY, None, "test"), office.clock)
    fact = office.add()
    night, _ = load_night(office.settings, landed, office.clock)
    assert office.known(night) == []
    assert office.known(office.night()) == [(fact.fact_id, None)]


def test_every_kind_of_fact_comes_through(office: Office) -> None:
    agreement = office.add("agreement", customer_id="C1")
    given: dict[str, dict[str, str]] = {
        "contact_point": {"customer_id": "C1", "contact_type_code": "email", "address": "ana@example.com"},
        "consent": {"customer_id": "C1", "channel_code": "whatsapp", "is_opted_in": "yes"},
        "agreement_invoice": {"agreement_id": agreement.fact_id, "invoice_id": "I1"},
        "agreement_instalment": {"agreement_id": agreement.fact_id, "due_date": "2026-07-10", "amount": "50.10"},
        "promise": {},
        "dispute": {"invoice_id": "I1"},
        "exemption": {"customer_id": "C1"},
        "pause": {"customer_id": "C1", "valid_to_date": "2026-07-01"},
        "trust_unlock": {"customer_id": "C1", "valid_to_date": "2026-07-03"},
        "waiver": {"invoice_id": "I1", "waived_pct": "50"},
    }
    for entity, values in given.items():
        office.add(entity, **values)
    night = office.night()
    found = {
        entity.name: len(office.known(night, entity.key, entity.name))
        for entity in load_contract().values()
        if entity.is_dated
    }
    assert found == dict.fromkeys(found, 1)
    assert len(found) == 11
    with reading(office.settings) as warehouse:
        assert warehouse.execute("select count(*) from quarantine.rejected_rows").fetchone() == (0,)
        assert warehouse.execute("select waived_pct::varchar from raw.waivers").fetchone() == ("50.00",)
    assert not (office.settings.work_dir / "operators").exists(), "addresses were left behind"


def test_another_ledger_stops_the_night_until_somebody_says_that_the_facts_are_lost(office: Office) -> None:
    """An empty ledger reads like 'nobody ever opted out'."""
    office.add("consent", customer_id="C1", channel_code="sms", is_opted_in="no")
    office.night()
    other = Office(replace(office.settings, ledger_url=None), office.now)
    if office.settings.ledger_url is None:
        shutil.rmtree(office.settings.home / "ledger")
    with pytest.raises(InputError, match="does not hold the consents") as refusal:
        other.night()
    other.add("consent", customer_id="C2", channel_code="sms", is_opted_in="no")
    with pytest.raises(InputError, match="does not hold the consents"):
        other.night()
    batch_id = str(refusal.value).split("regua source discard operators ")[1].split()[0]
    LandingStore(office.settings.landing_dir, "operators").discard(batch_id, "the disk burnt")
    assert other.known(other.night(), "customer_id", "consents") == [("C2",)]


def test_a_column_that_the_contract_got_since_does_not_look_like_another_ledger(office: Office) -> None:
    office.add()
    office.night()
    store = LandingStore(office.settings.landing_dir, "operators")
    (arrival,) = store.arrivals()
    row = json.loads(store.content_path(arrival.sha256).read_text())
    assert row.pop("amount") is None
    store.content_path(arrival.sha256).chmod(0o644)
    store.content_path(arrival.sha256).write_text(json.dumps(row) + "\n")
    office.night()


def test_a_source_cannot_take_the_name_of_the_built_in_one(office: Office) -> None:
    office.settings = replace(office.settings, source_names=("operators",))
    with pytest.raises(InputError, match="REGUA_SOURCES names 'operators'"):
        office.night()


def test_an_id_that_nothing_known_has_is_refused_unless_the_person_insists(office: Office, tmp_path: Path) -> None:
    published = build_healthy_home(tmp_path / "published")
    publish(published, as_of=AS_OF, known_at=KNOWN_AT)
    office.settings = replace(published, ledger_url=office.settings.ledger_url)

    def add(entity: str, **given: str) -> Fact:
        values = {"valid_from_date": "2026-06-30"} | given
        return add_fact(office.settings, office.clock, entity, values, author="ana", reason="x")

    add("exemption", customer_id="cus_1", invoice_id="inv_1")
    with pytest.raises(InputError, match=r"Nothing known has customer_id=C9, invoice_id=I9"):
        add("exemption", customer_id="C9", invoice_id="I9")
    agreement = add("agreement", customer_id="cus_1")
    add("agreement_invoice", agreement_id=agreement.fact_id, invoice_id="inv_1")
    office.withdraw(agreement)
    for agreement_id in (agreement.fact_id, "op-1", "op-99"):
        with pytest.raises(InputError, match=f"agreement_id={agreement_id}"):
            add("agreement_invoice", agreement_id=agreement_id, invoice_id="inv_1")


def test_a_ledger_that_a_newer_release_wrote_is_left_alone(office: Office) -> None:
    office.add()
    with open_ledger(office.settings) as engine, engine.begin() as connection:
        connection.execute(sa.text("update alembic_version set version_num = '9999'"))
    with pytest.raises(InputError, match="newer"):
        office.add()


@pytest.mark.parametrize(
    "url", ["ledger", "mysql://u:hushhush@h/d", "postgresql://u:hushhush@h", "postgresql+asyncpg://u:hushhush@h/d"]
)
def test_a_url_that_is_no_postgresql_is_refused_without_its_password(tmp_path: Path, url: str) -> None:
    settings = load_settings({"REGUA_HOME": str(tmp_path), "REGUA_LEDGER_URL": url})
    with pytest.raises(InputError, match="REGUA_LEDGER_URL") as refusal, open_ledger(settings):
        pass
    assert "hushhush" not in str(refusal.value)


def test_a_ledger_that_does_not_answer_stops_the_night_for_now(tmp_path: Path) -> None:
    """Who must not be contacted is not known: that is no reason to go on, and a retry may find it."""
    url = "postgresql://ledger:hushhush@127.0.0.1:9/ledger"
    settings = load_settings({"REGUA_HOME": str(tmp_path), "REGUA_LEDGER_URL": url})
    with pytest.raises(BusyError, match="cannot be used now") as refusal:
        land_night(settings, Night(DAY, None, "test"), lambda: FIRST_INSTANT)
    assert "hushhush" not in str(refusal.value)


def test_the_commands_do_it_from_the_first_word_to_the_last(tmp_path: Path) -> None:
    environment = {"REGUA_HOME": str(tmp_path), "REGUA_ENV": "test"}

    def regua(*words: str) -> str:
        answer = CliRunner().invoke(cli, ["fact", *words], env=environment)
        if answer.exception:
            raise answer.exception
        return answer.output

    said = ("--author", "ana", "--reason", "pagará dia 3")
    assert "promised_date*" in regua("entities")
    assert regua("list") == "No such fact was recorded.\n"
    with pytest.raises(InputError, match="--allow-unknown"):
        regua("add", "promise", "--customer", "C1", "promised_date=2026-07-03", *said)
    promise = ("promise", "--customer", "C1", "promised_date=2026-07-03", "--from", "2026-06-30")
    added = regua("add", *promise, "--allow-unknown", *said)
    assert added.startswith("op-1  promise  customer_id=C1 promised_date=2026-07-03")
    assert "amount=20.00" in regua("change", "op-1", "amount=20", *said)
    assert "amount" not in regua("change", "op-1", "amount=", *said)
    assert "until 2026-07-01" in regua("end", "op-1", "--on", "2026-07-01", *said)
    assert regua("list", "promise", "--as-of", "2026-07-02") == "No such fact was recorded.\n"
    assert regua("list", "--customer", "C1").startswith("op-1")
    assert regua("withdraw", "op-1", *said) == "op-1 is withdrawn.\n"
    assert regua("show", "op-1").count("ana: ") == 6
    with pytest.raises(SystemExit):
        regua("add", "promise", "--customer", "C1", "promised_date=2026-07-03", "--reason", "nobody said it")


@pytest.mark.slow
def test_the_gate_on_raw_takes_many_facts_of_customers_that_are_gone_and_no_other_orphans(tmp_path: Path) -> None:
    """A campaign's facts have no usual number, and a fact outlives its customer. A mapping with wrong ids is red."""
    settings = load_settings({"REGUA_ENV": "test", "REGUA_HOME": str(tmp_path), "REGUA_WAREHOUSE_MEMORY": "1GB"})
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "acme.yml").write_text(MAPPING)
    (tmp_path / "inbox" / "acme").mkdir(parents=True)
    (tmp_path / "inbox" / "acme" / "customers_1.csv").write_text("id\nC1\n")
    settings = replace(settings, sources_dir=tmp_path / "sources", source_names=("acme",))
    office = Office(settings)
    for number in range(30):
        office.add("exemption", customer_id=f"gone_{number}")
    night = office.night()
    with writing(settings) as warehouse:
        warehouse.execute(
            "insert into ops.batches by name select batches.* replace ("
            "_loaded_at - to_days((7 * week)::integer) as _loaded_at, as_of - (7 * week)::integer as as_of, "
            "2 as read_count, 2 as accepted_count, 'old' || week as _batch_id) "
            "from ops.batches cross join range(1, 5) as weeks (week) where entity = 'exemptions'"
        )
    assert [outcome.expectation for outcome in run_gate(settings, "raw", as_of=DAY, known_at=night.known).red] == []
    with writing(settings) as warehouse:
        warehouse.execute("update raw.exemptions set _source = 'crm'")
    red = run_gate(settings, "raw", as_of=DAY, known_at=night.known).red
    assert [outcome.expectation for outcome in red] == ["exemptions_refer_to_rows_that_exist"]
