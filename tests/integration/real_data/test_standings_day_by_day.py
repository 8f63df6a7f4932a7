"""Access in a real portfolio, a list a day: who is suspended has not paid, and comes back once when he has.

Of the public portfolio what was owed and paid, and when, is real. It names neither contracts nor addresses: each
customer has one contract with a suspension clause here, and an e-mail to which notices are delivered on their day.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from regua.channels.dispatch_file import read_dispatch_file
from regua.contract.entities import load_contract
from regua.dispatch.last_look import LastLook
from regua.instants import utc_clock
from regua.nightly.stages import Night, run_night
from regua.policy.policies import Policies, load_policies
from regua.settings import Settings, load_settings
from regua.simulation.replaying import LadderReplay
from regua.suspension.deciding import entries_of
from regua.suspension.found_night import FoundNight, invoice_fates, read_found_night
from regua.suspension.proving import suspending_invoice_ids
from regua.suspension.relief import News
from regua.suspension.second_derivation import derive_from_warehouse
from regua.suspension.standing import Change, Entry, Standing
from regua.transform.dbt_run import compile_models

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT.parent / "shared" / "data" / "datarisk"
FIRST = date(2018, 8, 20)
DAY_COUNT = 315
# The second derivation reads all there is each time.
DERIVED_EVERY = 15
RAW_TABLES = (
    *(f"raw.{entity}" for entity in load_contract()),
    *("raw.superseded", "ops.batches", "quarantine.rejected_rows"),
)
WANTED = ("fct_dunning_decisions", "fct_customer_standing", "fct_subscription_standing", "fct_bureau_candidates")

pytestmark = [
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the Datarisk portfolio is not in {DATA}"),
]
_log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The portfolio after one night, with contracts and addresses."""
    home = tmp_path_factory.mktemp("real")
    inbox = home / "inbox" / "datarisk"
    inbox.mkdir(parents=True)
    for path in DATA.glob("*.csv"):
        shutil.copyfile(path, inbox / path.name)
    settings = replace(load_settings({"REGUA_HOME": str(home)}), source_names=("datarisk",))
    run_night(settings, Night(date(2019, 6, 30), None, "real"), utc_clock)
    with duckdb.connect(str(settings.warehouse_path)) as warehouse:
        warehouse.execute(
            "insert into raw.contact_points by name select 'cp-' || customer_id as contact_point_id, customer_id, "
            "'email' as contact_type_code, 'customer' || customer_id || '@example.com' as address, "
            "date '2000-01-01' as valid_from_date, _source, _file, _line, 'made up' as _batch_id, _loaded_at "
            "from raw.customers"
        )
        warehouse.execute(
            "insert into raw.subscriptions by name select 's-' || customer_id as subscription_id, customer_id, "
            "'active' as status_code, date '2000-01-01' as start_date, true as has_suspension_clause, "
            "false as is_prepaid, _source, _file, _line, 'made up' as _batch_id, _loaded_at from raw.customers"
        )
        warehouse.execute("update raw.invoices set subscription_id = 's-' || customer_id")
    return settings


def test_a_list_a_day_names_nobody_who_has_paid_and_each_comes_back_once(settings: Settings) -> None:
    policies = load_policies(settings.policies_dir)
    replay = LadderReplay(
        duckdb.connect(),
        settings.warehouse_path,
        compile_models(settings),
        policies,
        FIRST,
        FIRST + timedelta(days=DAY_COUNT - 1),
        wanted=(*WANTED, "int_dispatch_payment_codes"),
        assumes_delivery=True,
    )
    connection = replay.connection
    connection.execute(
        "create table ops.stage_runs as select 'serve' as stage, null::date as as_of, null::timestamp as known_at, "
        "'succeeded' as state, null::timestamp as started_at"
    )
    before: dict[str, Entry] = {}
    counts: Counter[str] = Counter()
    off_since: dict[str, date] = {}
    for number, (day, known_at, _) in enumerate(replay.days):
        replay.run_day(day, known_at)
        connection.execute("update ops.stage_runs set as_of = $1, known_at = $2, started_at = $2", [day, known_at])
        night = read_found_night(connection, day, read_dispatch_file(settings.dispatch_path))
        if number % DERIVED_EVERY == 0:
            _require_the_same(connection, settings, policies, night, known_at)
        fates = invoice_fates(connection, suspending_invoice_ids(before.values()))
        entries = entries_of(night, before, fates, News(LastLook({}, {}, ()), (), {}, day))
        _require_unpaid(connection, entries, day)
        for entry in entries:
            last = before.get(entry.subscription_id)
            had_access = last is None or last.has_access
            assert (entry.change_code is Change.REACTIVATE) == (entry.has_access and not had_access)
            assert (entry.change_code is Change.SUSPEND) == (not entry.has_access and had_access)
            if entry.change_code is Change.SUSPEND:
                assert last is not None
                assert last.reached_code == "notice", f"{entry} skipped a step"
                off_since[entry.subscription_id] = day
            elif entry.change_code is Change.REACTIVATE:
                # Nobody comes back who was not off, so nobody comes back twice.
                counts["days off"] += (day - off_since.pop(entry.subscription_id)).days
            counts[entry.change_code or "unchanged"] += 1
        counts["most off"] = max(counts["most off"], sum(not entry.has_access for entry in entries))
        counts["bureau candidates"] = max(counts["bureau candidates"], len(night.candidates))
        before = {one.subscription_id: one for one in entries if one.standing_code is not Standing.REGULAR}
    _log.warning("%d days: %s", DAY_COUNT, dict(counts))
    assert counts[Change.SUSPEND] > 50
    assert counts[Change.REACTIVATE] > 20
    assert len(off_since) == sum(not entry.has_access for entry in before.values())


def _require_unpaid(connection: duckdb.DuckDBPyConnection, entries: list[Entry], day: date) -> None:
    """By the rows of the files alone: no invoice for which access is off was paid by the day."""
    invoice_ids = suspending_invoice_ids(entry for entry in entries if not entry.has_access)
    paid = connection.execute(
        "select invoice_id from warehouse.raw.payments "
        "where payment_date <= $day and invoice_id in (select unnest($invoice_ids))",
        {"day": day, "invoice_ids": invoice_ids},
    ).fetchall()
    assert paid == [], day


def _require_the_same(
    connection: duckdb.DuckDBPyConnection, settings: Settings, policies: Policies, night: FoundNight, known_at: datetime
) -> None:
    with duckdb.connect() as copied:
        # The second derivation reads by a connection of its own, to which the replay's day is unknown.
        for table in RAW_TABLES:
            schema = table.partition(".")[0]
            rows = connection.sql(f"from {table}").to_arrow_table()
            copied.register("given", rows)
            copied.execute(f"create schema if not exists {schema}; create table {table} as from given")
            copied.unregister("given")
        derived = derive_from_warehouse(copied, settings, policies, night.as_of, known_at)
    by_sql: Mapping[str, object] = {
        found.subscription_id: (found.level_code, found.debt.suspending_invoice_ids)
        for found in night.founds
        if found.level_code != "regular"
    }
    assert by_sql == {
        level.subscription_id: (level.level_code, level.suspending_invoice_ids) for level in derived.levels.values()
    }
    assert {candidate.invoice_id for candidate in night.candidates} == derived.bureau_invoice_ids
