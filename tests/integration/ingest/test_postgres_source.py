"""A PostgreSQL database as a source, against a real server, with the mapping that is shipped as the worked example."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from regua.errors import BusyError, InputError
from regua.ingest.arrival import Arrival, LandingStore
from regua.ingest.landing import land
from regua.ingest.loading import Batch, load_pending
from regua.ingest.mapping import Source, read_source
from regua.ingest.table_extraction import check_tables
from regua.instants import read_instant
from regua.settings import Settings, load_settings
from regua.warehouse.store import reading, writing

_SCHEMA = """
create schema billing;
create type billing.charge_status as enum ('draft', 'pending', 'paid', 'canceled');
create table billing.customers (
    id integer primary key, full_name text, kind char(2), document varchar(20), email text, address jsonb,
    created_at timestamptz
);
create table billing.charges (
    id uuid primary key, customer_id integer not null, issued_at timestamptz not null, due_on date not null,
    amount numeric not null, status billing.charge_status not null default 'pending', canceled_at timestamptz,
    method text, paid_at timestamptz, paid_cents bigint, notes json, updated_at timestamptz
);
create table billing.credits (
    id bigint primary key, charge_id uuid not null, granted_on date not null, amount money not null,
    created_at timestamp not null, updated_at timestamp
);
insert into billing.customers values
    (1, 'Padaria Aurora', 'PJ', '11.222.333/0001-81', 'contato@aurora.example', '{"uf": "SP"}', '2024-01-01 03:00+00'),
    (2, 'Ana Exemplo', 'PF', '529.982.247-25', null, '{"uf": "BA"}', '2024-01-02 02:59:59+00');
"""
_CHARGE = """
insert into billing.charges (id, customer_id, issued_at, due_on, amount, updated_at) values (%s, 1, %s, %s, %s, %s)
"""
_MAPPING = Path(__file__).resolve().parents[3] / "include" / "sources" / "billing_database.yml"
_FIRST_NIGHT = read_instant("2024-03-10 05:00")


def charge_id(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012d}"


@dataclass
class Company:
    """One billing database, one installation of régua, and a clock that both nights and tests move."""

    uri: str
    settings: Settings
    source: Source
    now: datetime = _FIRST_NIGHT
    environ: dict[str, str] = field(default_factory=dict)

    def sql(self, statement: str, *values: Any) -> None:
        with psycopg.connect(self.uri, autocommit=True) as connection:
            connection.execute(statement, values or None)

    def add_charge(self, number: int, *, amount: str = "100.00", updated_at: str = "2024-03-09 12:00+00") -> None:
        self.sql(_CHARGE, charge_id(number), "2024-03-01 12:00+00", "2024-03-20", Decimal(amount), updated_at)

    def clock(self) -> datetime:
        return self.now

    def land(self) -> tuple[Arrival, ...]:
        return land(self.settings.landing_dir, self.settings.inbox, [self.source], self.clock, self.environ).landed

    def load(self) -> list[Batch]:
        with writing(self.settings, readable_dirs=[self.settings.landing_dir]) as warehouse:
            return load_pending(
                warehouse,
                self.settings.landing_dir,
                self.settings.work_dir,
                [self.source],
                as_of=self.now.date(),
                known_at=self.now + timedelta(minutes=1),
            )

    def night(self) -> dict[tuple[str, str], Batch]:
        self.land()
        return {(batch.file_set, batch.entity): batch for batch in self.load()}

    def next_night(self) -> dict[tuple[str, str], Batch]:
        self.now += timedelta(days=1)
        return self.night()

    def arrivals(self, set_name: str) -> list[Arrival]:
        store = LandingStore(self.settings.landing_dir, self.source.name)
        return [arrival for arrival in store.arrivals() if arrival.file_set == set_name]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with reading(self.settings) as warehouse:
            return warehouse.execute(query).fetchall()

    def current(self, entity: str, columns: str) -> list[tuple[Any, ...]]:
        return self.rows(
            f"select {columns} from raw.{entity} as known where not exists (select 1 from raw.superseded as gone "
            f"where gone.entity = '{entity}' and gone._batch_id = known._batch_id and gone._line = known._line) "
            "order by all"
        )


@pytest.fixture
def company(postgres_server, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Company]:
    name = f"billing_{abs(hash(request.node.nodeid)):x}"
    with psycopg.connect(postgres_server.get_uri(), autocommit=True) as connection:
        connection.execute(f"create database {name}")
    uri = postgres_server.get_uri(database=name)
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "billing_database.yml").write_text(_MAPPING.read_text())
    settings = load_settings(
        {"REGUA_HOME": str(tmp_path / "home"), "REGUA_SOURCES_DIR": str(sources), "REGUA_WAREHOUSE_MEMORY": "1GB"}
    )
    made = Company(uri, settings, read_source(sources, "billing_database"), environ={"BILLING_DATABASE_URI": uri})
    made.sql(_SCHEMA)
    for number in range(1, 41):
        made.add_charge(number)
    yield made
    with psycopg.connect(postgres_server.get_uri(), autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


def remap(company: Company, *changes: tuple[str, str]) -> None:
    """Rewrite the installation's mapping."""
    path = company.settings.sources_dir / "billing_database.yml"
    text = path.read_text()
    for before, after in changes:
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    path.write_text(text)
    company.source = read_source(company.settings.sources_dir, "billing_database")


def test_the_first_night_reads_every_table_whole(company: Company):
    batches = company.night()
    assert {key: batch.accepted_count for key, batch in batches.items()} == {
        ("customers", "customers"): 2,
        ("charges", "invoices"): 40,
        ("charges", "payments"): 0,
        ("credits", "credits"): 0,
    }
    assert company.current("customers", "customer_id, name, person_type_code, state_code, created_date") == [
        ("1", "Padaria Aurora", "company", "SP", date(2024, 1, 1)),
        ("2", "Ana Exemplo", "individual", "BA", date(2024, 1, 1)),
    ]
    assert company.arrivals("charges")[0].extraction.cursor_to == read_instant("2024-03-09 12:00")


def test_numbers_arrive_exact(company: Company):
    """numeric, money and whole cents never pass through a float, nor is money taken for a number of cents."""
    company.sql(_CHARGE, charge_id(91), "2024-03-01", "2024-03-20", Decimal("1234567890123456.78"), "2024-03-09")
    company.sql(
        "insert into billing.charges (id, customer_id, issued_at, due_on, amount, paid_at, paid_cents, updated_at) "
        "select %s, 1, '2024-03-01', '2024-03-20', 0.1 + 0.2, '2024-03-05 12:00+00', 123456789012345, '2024-03-09'",
        charge_id(92),
    )
    company.sql("insert into billing.credits values (1, %s, '2024-03-02', 1234.56, '2024-03-02')", charge_id(91))
    company.night()
    assert company.current("invoices", "amount")[0] == (Decimal("0.30"),)
    assert company.current("invoices", "amount")[-1] == (Decimal("1234567890123456.78"),)
    assert company.current("payments", "amount") == [(Decimal("1234567890123.45"),)]
    assert company.current("credits", "amount") == [(Decimal("1234.56"),)]


def test_amounts_beyond_cents_and_not_a_number_are_quarantined(company: Company):
    remap(company, ("    cursor: updated_at\n", "    cursor: updated_at\n    quarantine_limit_pct: 10\n"))
    company.add_charge(91, amount="10.5000")
    company.add_charge(92, amount="10.505")
    company.add_charge(93, amount="NaN")
    batch = company.night()["charges", "invoices"]
    assert (batch.accepted_count, batch.quarantined_count) == (41, 2)
    reasons = company.rows("select reason_code, column_name from quarantine.rejected_rows order by all")
    assert reasons == [("too_many_decimals", "amount"), ("unreadable_number", "amount")]


def test_an_instant_becomes_the_day_it_was_in_sao_paulo(company: Company):
    """00:30 UTC on 10 March is 21:30 on 9 March; the machine's and the server's zones have no say."""
    company.sql("alter database {} set timezone = 'Asia/Tokyo'".format(company.uri.split("/")[3].split("?")[0]))
    company.sql(
        "update billing.charges set issued_at = '2024-03-10 00:30+00', paid_at = '2024-03-10 03:00+00', paid_cents = 1 "
        "where id = %s",
        charge_id(1),
    )
    company.night()
    first = [row for row in company.current("invoices", "invoice_id, issue_date") if row[0] == charge_id(1)]
    assert first == [(charge_id(1), date(2024, 3, 9))]
    assert company.current("payments", "payment_date") == [(date(2024, 3, 10),)]


def test_infinity_is_read_as_no_date(company: Company):
    company.sql("update billing.charges set canceled_at = 'infinity' where id = %s", charge_id(1))
    company.night()
    assert company.current("invoices", "distinct cancelled_date") == [(None,)]


def test_a_row_committed_late_is_read_within_the_overlap(company: Company):
    """A transaction stamps its rows when it begins: its commit may come after later rows were read."""
    company.sql(
        "insert into billing.charges (id, customer_id, issued_at, due_on, amount, updated_at) values "
        f"('{charge_id(50)}', 1, '2024-03-01', '2024-03-20', 5, '2024-03-09 13:00+00')"
    )
    company.night()
    company.add_charge(51, updated_at="2024-03-09 12:10+00")
    batch = company.next_night()["charges", "invoices"]
    assert (batch.read_count, batch.accepted_count, batch.unchanged_count) == (42, 1, 41)


def test_a_row_committed_later_than_the_overlap_stops_the_night(company: Company):
    """It would be a payment nobody sees. With a longer overlap, and the reading taken away, it is found."""
    company.sql("update billing.charges set updated_at = '2024-03-09 20:00+00' where id = %s", charge_id(1))
    company.night()
    company.add_charge(51, updated_at="2024-03-09 12:10+00")
    with pytest.raises(InputError, match="holds 1 invoices that no reading has brought") as refused:
        company.next_night()
    assert "Raise `overlap`" in str(refused.value)
    remap(company, ("overlap: 1h", "overlap: 12h"))
    store = LandingStore(company.settings.landing_dir, company.source.name)
    store.discard(company.arrivals("charges")[-1].batch_id, "one row came late")
    assert company.night()["charges", "invoices"].accepted_count == 1


def test_what_changed_is_read_and_replaces_what_was_known(company: Company):
    company.night()
    company.sql(
        "update billing.charges set status = 'canceled', canceled_at = '2024-03-10 12:00+00', "
        "updated_at = '2024-03-10 12:00+00' where id = %s",
        charge_id(7),
    )
    batch = company.next_night()["charges", "invoices"]
    assert (batch.accepted_count, batch.superseded_count, batch.removed_count) == (1, 1, 0)
    assert company.current("invoices", "status_code") == [("cancelled",), *[("open",)] * 39]
    # From now on only what changed since is read, and the hour before it again.
    assert company.next_night()["charges", "invoices"].read_count == 1


def test_a_deleted_row_is_seen_by_its_missing_key(company: Company):
    company.night()
    company.sql("delete from billing.charges where id = %s", charge_id(7))
    batch = company.next_night()["charges", "invoices"]
    assert (batch.accepted_count, batch.removed_count) == (0, 1)
    assert company.current("invoices", "count(*)") == [(39,)]
    assert company.rows("select distinct reason_code from raw.superseded") == [("removed",)]


def test_a_payment_taken_back_leaves_although_its_row_stays(company: Company):
    """`where` no longer lets the row through: the debt is open again, even when nobody touched updated_at."""
    company.sql("update billing.charges set paid_at = '2024-03-05', paid_cents = 10000")
    remap(company, ("    cursor: updated_at\n", "    cursor: updated_at\n    missing_limit_pct: 50\n"))
    company.night()
    company.sql("update billing.charges set paid_at = null, updated_at = '2024-03-10' where id = %s", charge_id(7))
    company.sql("update billing.charges set paid_at = null where id = %s", charge_id(8))
    assert company.next_night()["charges", "payments"].removed_count == 2
    assert company.current("payments", "count(*)") == [(38,)]
    assert company.current("invoices", "count(*)") == [(40,)]


def test_too_many_missing_keys_stop_the_night(company: Company):
    company.night()
    company.sql("delete from billing.charges where id > %s", charge_id(30))
    with pytest.raises(InputError, match="10 of the 40 invoices known from this set are missing"):
        company.next_night()
    assert company.current("invoices", "count(*)") == [(40,)]


def test_without_a_key_list_deletes_are_not_looked_for(company: Company):
    remap(company, ("    overlap: 1h\n", "    overlap: 1h\n    deletes: none\n"))
    company.night()
    company.sql("delete from billing.charges where id = %s", charge_id(7))
    assert company.next_night()["charges", "invoices"].removed_count == 0
    assert company.arrivals("charges")[-1].extraction.keys_sha256 is None


def test_a_snapshot_table_loses_what_it_no_longer_holds(company: Company):
    remap(company, ("    mode: snapshot\n", "    mode: snapshot\n    missing_limit_pct: 50\n"))
    company.night()
    company.sql("delete from billing.customers where id = 2")
    assert company.next_night()["customers", "customers"].removed_count == 1
    assert company.current("customers", "customer_id") == [("1",)]


def test_a_second_run_of_a_day_on_which_nothing_changed_lands_nothing(company: Company):
    """Not even `known_at` moves, so that the night can be run again and gives the same bytes."""
    first = land(company.settings.landing_dir, company.settings.inbox, [company.source], company.clock, company.environ)
    company.load()
    company.now += timedelta(hours=2)
    again = land(company.settings.landing_dir, company.settings.inbox, [company.source], company.clock, company.environ)
    assert (again.landed, again.unchanged_count, again.known_at) == ((), 3, first.known_at)
    # The third day too: its first run reads less than the second run of another would, the second the same.
    company.next_night()
    company.now += timedelta(hours=2)
    assert company.land() == ()


def test_a_change_between_two_runs_of_a_day_is_landed_and_undone_again(company: Company):
    """The old state coming back is news: it must not be taken for the first run's content."""
    company.night()
    for name in ("Nome Novo", "Ana Exemplo"):
        company.now += timedelta(hours=1)
        company.sql("update billing.customers set full_name = %s where id = 2", name)
        assert company.night()["customers", "customers"].accepted_count == 1
        assert (name,) in company.current("customers", "name")


def test_a_quiet_day_shows_that_the_tables_were_read(company: Company):
    """The gate asks when each set was loaded last; an empty table or an unchanged one is not a late one."""
    company.night()
    batches = company.next_night()
    assert batches["credits", "credits"].read_count == 0
    assert batches["customers", "customers"].unchanged_count == 2
    newest = company.rows("select file_set, max(_loaded_at)::date from ops.batches group by file_set order by 1")
    assert newest == [(name, date(2024, 3, 11)) for name in ("charges", "credits", "customers")]
    assert company.rows("select count(*) from raw.superseded") == [(0,)]
    assert len(list((company.settings.landing_dir / "contents").rglob("*.part"))) == 0


def test_all_tables_are_seen_at_one_instant(company: Company, monkeypatch: pytest.MonkeyPatch):
    """A charge and its credit committed while tables are being read come together, the next time."""
    from regua.ingest import table_extraction

    extract = table_extraction._Snapshot.extract
    added: list[str] = []

    def extract_and_add(snapshot: Any, reading: Any, *rest: Any) -> Any:
        if not added:
            added.append(charge_id(60))
            company.add_charge(60)
            company.sql("insert into billing.credits values (1, %s, '2024-03-02', 5, '2024-03-09')", charge_id(60))
        return extract(snapshot, reading, *rest)

    monkeypatch.setattr(table_extraction._Snapshot, "extract", extract_and_add)
    first = company.night()
    assert (first["charges", "invoices"].read_count, first["credits", "credits"].read_count) == (40, 0)
    second = company.next_night()
    assert (second["charges", "invoices"].accepted_count, second["credits", "credits"].accepted_count) == (1, 1)


def test_a_row_dated_in_the_future_does_not_hide_the_next_ones(company: Company):
    company.add_charge(50, updated_at="2999-01-01 00:00+00")
    company.night()
    assert company.arrivals("charges")[0].extraction.cursor_to < read_instant("2999-01-01")
    company.sql(
        "insert into billing.charges (id, customer_id, issued_at, due_on, amount, updated_at) values "
        f"('{charge_id(51)}', 1, '2024-03-01', '2024-03-20', 5, now())"
    )
    assert company.next_night()["charges", "invoices"].accepted_count == 1


def test_a_changed_mapping_is_applied_to_all_rows(company: Company):
    company.night()
    remap(company, ("then 'draft' else 'open' end", "then 'draft' when 'pending' then 'open' else 'cancelled' end"))
    company.sql("update billing.charges set status = 'paid' where id = %s", charge_id(1))
    batch = company.next_night()["charges", "invoices"]
    assert (batch.read_count, batch.accepted_count) == (40, 1)


def test_rows_of_a_discarded_reading_are_read_again_the_next_day(company: Company):
    company.night()
    company.add_charge(50, updated_at="2024-03-10 12:00+00")
    company.now += timedelta(days=1)
    company.land()
    store = LandingStore(company.settings.landing_dir, company.source.name)
    store.discard(company.arrivals("charges")[-1].batch_id, "not tonight")
    assert company.land() == ()
    company.load()
    company.add_charge(51, updated_at="2024-03-11 12:00+00")
    assert company.next_night()["charges", "invoices"].accepted_count == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            "alter table billing.charges rename due_on to due_date",
            r"charges \(table billing\.charges in .*: there is no column 'due_on', needed for invoices\.due_date; "
            r"was it renamed to 'due_date'\?",
            id="renamed column",
        ),
        pytest.param("alter table billing.charges drop updated_at", "needed for the cursor", id="cursor gone"),
        pytest.param("drop table billing.customers", 'customers" does not exist .SQLSTATE 42P01', id="table gone"),
        pytest.param(
            "update billing.charges set updated_at = null where amount = 100",
            "40 rows have no time in the cursor",
            id="null cursor",
        ),
        pytest.param(
            "alter table billing.charges alter updated_at type text",
            "cursor 'updated_at' is of type text",
            id="cursor is text",
        ),
    ],
)
def test_a_database_that_changed_is_refused_with_what_to_do(company: Company, change: str, message: str):
    company.night()
    company.sql(change)
    with pytest.raises(InputError, match=message):
        company.next_night()
    assert company.current("invoices", "count(*)") == [(40,)]
    assert re.search(message, "\n".join(check_tables(company.source, company.environ)))


def test_every_fault_of_every_table_is_named_at_once(company: Company):
    company.sql("drop table billing.customers; alter table billing.charges drop method, drop due_on")
    faults = "\n".join(check_tables(company.source, company.environ))
    assert all(word in faults for word in ("billing.customers", "'method'", "'due_on'"))
    assert "billing_database.credits" not in faults


def test_a_good_database_has_no_faults(company: Company):
    assert check_tables(company.source, company.environ) == []


def test_a_table_without_a_grant_is_named(company: Company, postgres_server):
    company.sql(
        "drop role if exists reader; create role reader login password 'x'; grant usage on schema billing to reader"
    )
    company.sql("grant select on billing.charges, billing.credits to reader")
    company.environ["BILLING_DATABASE_URI"] = company.uri.replace("postgres:@", "reader:@")
    with pytest.raises(InputError, match="permission denied for table customers"):
        company.night()
    company.sql("drop owned by reader; drop role reader")


def test_nothing_can_be_written_through_the_mapping(company: Company):
    """The transaction is read-only, whatever a query calls."""
    company.sql(
        "create function billing.wipe() returns bigint language sql as 'delete from billing.credits returning id'"
    )
    remap(
        company,
        ("      from billing.credits\n", "      from (select *, billing.wipe() from billing.credits) as credits\n"),
    )
    company.sql("insert into billing.credits values (1, %s, '2024-03-02', 5, '2024-03-02')", charge_id(1))
    with pytest.raises((InputError, BusyError)):
        company.night()
    with psycopg.connect(company.uri) as connection:
        assert connection.execute("select count(*) from billing.credits").fetchone() == (1,)


def test_a_slow_query_is_stopped_by_the_server(company: Company):
    remap(
        company,
        ("connection: BILLING_DATABASE_URI", "connection: BILLING_DATABASE_URI\nstatement_timeout: 1s"),
        ("      from billing.credits\n", "      from (select *, pg_sleep(2)::text from billing.credits) as credits\n"),
    )
    company.sql("insert into billing.credits values (1, %s, '2024-03-02', 5, '2024-03-02')", charge_id(1))
    company.sql("insert into billing.credits values (2, %s, '2024-03-02', 5, '2024-03-02')", charge_id(1))
    with pytest.raises(BusyError, match=r"credits.*not read within 1 s.*statement_timeout"):
        company.night()
    assert company.arrivals("customers") == []


def test_a_server_that_is_down_is_tried_again_later(company: Company):
    company.night()
    company.environ["BILLING_DATABASE_URI"] = "postgresql://regua:s3cret-w0rd@127.0.0.1:1/billing"
    with pytest.raises(
        BusyError, match=r"cannot connect to billing on 127\.0\.0\.1:1 \(URI in BILLING_DATABASE_URI\)"
    ) as down:
        company.next_night()
    assert "s3cret-w0rd" not in str(down.value)
    assert company.current("invoices", "count(*)") == [(40,)]


def test_files_land_although_the_database_is_down(company: Company):
    remap(
        company,
        (
            "tables:\n",
            "files:\n  payments:\n    glob: p.csv\n    mode: delta\n    feeds:\n      payments:\n"
            "        columns: {payment_id: a, invoice_id: b, payment_date: c, amount: d}\ntables:\n",
        ),
    )
    inbox = company.settings.inbox / "billing_database"
    inbox.mkdir(parents=True)
    (inbox / "p.csv").write_text("a,b,c,d\n1,2,2024-03-01,3\n")
    company.environ["BILLING_DATABASE_URI"] = "postgresql://127.0.0.1:1/billing"
    with pytest.raises(BusyError):
        company.land()
    assert len(company.arrivals("payments")) == 1


@pytest.mark.parametrize(
    "uri",
    [
        pytest.param("postgresql://regua:s3cret@w0rd@localhost/billing", id="at sign in the password"),
        pytest.param("postgresql://regua:s3cret/w0rd@localhost/billing", id="slash in the password"),
        pytest.param("postgresql://regua:s3cret#w0rd@localhost/billing", id="hash in the password"),
        pytest.param("postgresql://regua:s3cret:w0rd@localhost/billing", id="colon in the password"),
        pytest.param("host=localhost password=s3cret-w0rd", id="not a URI"),
        pytest.param("s3cret w0rd", id="anything"),
    ],
)
def test_a_malformed_address_is_refused_without_repeating_it(company: Company, uri: str):
    company.environ["BILLING_DATABASE_URI"] = uri
    with pytest.raises(InputError, match="BILLING_DATABASE_URI does not hold a URI of the form") as refused:
        company.night()
    assert not any(part in str(refused.value) for part in ("s3cret", "w0rd"))


def test_an_unset_variable_is_named(company: Company):
    company.environ.clear()
    with pytest.raises(InputError, match="BILLING_DATABASE_URI is not set"):
        company.night()


def test_a_wrong_password_is_no_matter_of_waiting_and_is_not_shown(company: Company, postgres_server):
    company.sql("drop role if exists guarded; create role guarded login password 'right'")
    access = postgres_server.pgdata / "pg_hba.conf"
    before = access.read_text()
    access.write_text(f"local all guarded scram-sha-256\n{before}")
    try:
        company.sql("select pg_reload_conf()")
        _until(lambda: "password" in _refusal(company, "guarded", "s3cret%2Fw0rd"))
        company.environ["BILLING_DATABASE_URI"] = company.uri.replace("postgres:@", "guarded:s3cret%2Fw0rd@")
        with pytest.raises(InputError, match="password authentication failed") as refused:
            company.night()
        assert "w0rd" not in repr(refused.value)
        assert refused.value.__cause__ is None
        assert "w0rd" not in "\n".join(check_tables(company.source, company.environ))
    finally:
        access.write_text(before)
        company.sql("select pg_reload_conf()")
        company.sql("drop role guarded")


def test_a_value_that_cannot_be_computed_is_not_quoted(company: Company):
    """The server's message would hold the value, which may be a person's."""
    remap(
        company,
        ("credits.granted_on, credits.amount", "credits.granted_on, customers.full_name::numeric as amount"),
        ("      from billing.credits\n", "      from billing.credits cross join billing.customers\n"),
    )
    company.sql("insert into billing.credits values (1, %s, '2024-03-02', 5, '2024-03-02')", charge_id(1))
    with pytest.raises((InputError, BusyError), match=r"billing_database\.credits") as refused:
        company.night()
    assert "Aurora" not in str(refused.value)


def test_a_kill_between_reading_and_recording_loses_nothing(company: Company, tmp_path: Path):
    """The cursor stands in the arrival's record and nowhere else: without the record the rows are read again."""
    company.night()
    company.add_charge(50, updated_at="2024-03-10 12:00+00")
    script = f"""
import os, signal
from datetime import datetime
from regua.ingest import arrival, landing, mapping
from pathlib import Path
arrival.LandingStore.record = lambda store, record: os.kill(os.getpid(), signal.SIGKILL)
source = mapping.read_source(Path({str(company.settings.sources_dir)!r}), "billing_database")
landing.land(Path({str(company.settings.landing_dir)!r}), Path("/none"), [source], lambda: datetime(2024, 3, 11, 5))
"""
    plugins = str(Path(__file__).resolve().parents[3] / "plugins")
    killed = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | company.environ | {"PYTHONPATH": plugins}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert len(company.arrivals("charges")) == 1
    assert company.next_night()["charges", "invoices"].accepted_count == 1


def _refusal(company: Company, user: str, password: str) -> str:
    try:
        psycopg.connect(company.uri.replace("postgres:@", f"{user}:{password}@")).close()
    except psycopg.OperationalError as error:
        return str(error)
    return ""


def _until(holds: Callable[[], bool]) -> None:
    """The server re-reads its access rules in its own time."""
    for _ in range(200):
        if holds():
            return
    raise AssertionError("the server never took the new access rules")
