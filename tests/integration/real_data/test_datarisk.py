"""A real portfolio, quirks left in, against an aging computed by others in plain Python.

The data is public but not ours to ship: the test runs where it lies beside the project, in shared/data/datarisk, and
says so where it is skipped.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from regua.ingest.checking import check_source
from regua.ingest.mapping import read_source
from regua.instants import utc_clock
from regua.nightly.stages import Night, run_night
from regua.policy.policies import load_policies
from regua.publish.aging import read_aging
from regua.settings import Settings, load_settings
from regua.simulation.replaying import LadderReplay
from regua.transform.dbt_run import compile_models

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT.parent / "shared" / "data" / "datarisk"
DAYS = ("2018-12-31", "2019-03-03", "2019-05-05", "2019-06-30")

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the Datarisk portfolio is not in {DATA}"),
]


@pytest.fixture(scope="module", params=["br-bank", "plain"])
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Settings]:
    """The portfolio's first expected day, run as a night under one of the calendars."""
    home = tmp_path_factory.mktemp(request.param)
    inbox = home / "inbox" / "datarisk"
    inbox.mkdir(parents=True)
    for path in DATA.glob("*.csv"):
        shutil.copyfile(path, inbox / path.name)
    sources = home / "sources"
    sources.mkdir()
    mapping = (ROOT / "include" / "sources" / "datarisk.yml").read_text(encoding="utf-8")
    assert "calendar: br-bank" in mapping
    (sources / "datarisk.yml").write_text(mapping.replace("calendar: br-bank", f"calendar: {request.param}"))
    settings = replace(load_settings({"REGUA_HOME": str(home)}), sources_dir=sources, source_names=("datarisk",))
    run_night(settings, Night(date.fromisoformat(DAYS[0]), None, "real"), utc_clock)
    return request.param, settings


def _expected(calendar: str, day: str) -> dict:
    expectations = json.loads((DATA / "expected_aging.json").read_text())
    return next(e for e in expectations if (e["calendar"], e["as_of"]) == (calendar, day))


def test_the_mapping_takes_every_file(published: tuple[str, Settings]) -> None:
    _, settings = published
    findings = list(check_source(read_source(settings.sources_dir, "datarisk"), settings.inbox, {}))
    assert findings
    assert [finding.text for finding in findings if finding.severity == "fault"] == []


@pytest.mark.parametrize("day", DAYS)
def test_the_aging_is_equal_to_the_cent(published: tuple[str, Settings], day: str) -> None:
    """The expectation counts charges without an amount; ours are in quarantine, each of them found again below."""
    calendar, settings = published
    aging = read_aging(settings, date.fromisoformat(day))
    expected = _expected(calendar, day)["buckets"]
    assert {bucket.code: (bucket.invoice_count, bucket.open_amount) for bucket in aging.buckets} == {
        code: (bucket["count"] - bucket["count_null_amount"], Decimal(bucket["amount"]))
        for code, bucket in expected.items()
    }


@pytest.mark.parametrize("day", DAYS)
def test_each_charge_without_an_amount_is_in_quarantine(published: tuple[str, Settings], day: str) -> None:
    """Read back from quarantine, they make up what our buckets lack: nothing is lost, nothing is guessed."""
    calendar, settings = published
    with duckdb.connect(str(settings.warehouse_path), read_only=True) as warehouse:
        records = warehouse.execute(
            "select record, reason_code, column_name from quarantine.rejected_rows where entity = 'invoices'"
        ).fetchall()
        overdue = {
            customer
            for (customer,) in warehouse.execute(
                "select distinct customer_id from marts.fct_invoice_aging where is_overdue and as_of_date = ?", [day]
            ).fetchall()
        }
    assert {(reason, column) for _, reason, column in records} == {("missing_value", "amount")}
    assert len(records) == 338
    rows = [json.loads(record) for record, _, _ in records]
    open_rows = [row for row in rows if row["DATA_EMISSAO_DOCUMENTO"] <= day < row["DATA_PAGAMENTO"]]
    expected = _expected(calendar, day)
    assert len(open_rows) == sum(bucket["count_null_amount"] for bucket in expected["buckets"].values())
    if day == DAYS[0]:
        assert len(overdue) == expected["customers_overdue"]


def _replay(settings: Settings, warehouse: Path, first: date, count: int) -> LadderReplay:
    replay = LadderReplay(
        duckdb.connect(),
        warehouse,
        compile_models(settings),
        load_policies(settings.policies_dir),
        first,
        first + timedelta(days=count - 1),
    )
    for day, known_at, _ in replay.days:
        replay.run_day(day, known_at)
    return replay


def test_a_simulated_day_decides_what_the_night_did(published: tuple[str, Settings]) -> None:
    _, settings = published
    connection = _replay(settings, settings.warehouse_path, date.fromisoformat(DAYS[0]), 1).connection
    ours, theirs = "from marts.fct_dunning_decisions", "from warehouse.marts.fct_dunning_decisions"
    [(count,)] = connection.execute(f"select count(*) {ours}").fetchall()
    assert count > 100
    for one, other in ((ours, theirs), (theirs, ours)):
        assert connection.execute(f"{one} except all {other}").fetchall() == []


def test_nobody_who_has_paid_is_written_to_in_a_month_around_carnival(
    published: tuple[str, Settings], tmp_path: Path
) -> None:
    """The portfolio names no address, so everybody gets one here; what was paid and when is real."""
    _, settings = published
    reachable = tmp_path / "reachable.duckdb"
    shutil.copyfile(settings.warehouse_path, reachable)
    with duckdb.connect(str(reachable)) as warehouse:
        warehouse.execute(
            "insert into raw.contact_points by name select 'cp-' || customer_id as contact_point_id, customer_id, "
            "'email' as contact_type_code, 'customer' || customer_id || '@example.com' as address, "
            "date '2000-01-01' as valid_from_date, _source, _file, _line, 'made up' as _batch_id, _loaded_at "
            "from raw.customers"
        )
    connection = _replay(settings, reachable, date(2019, 2, 15), 30).connection
    paid = connection.execute(
        "select decisions.invoice_id from marts.fct_dunning_decisions as decisions "
        "inner join raw.payments as payments on decisions.invoice_id = payments.invoice_id "
        "where decisions.outcome_code = 'eligible' and payments.payment_date <= decisions.as_of_date"
    ).fetchall()
    assert paid == []
    [(messages, days, repeated)] = connection.execute(
        "select count(*), count(distinct as_of_date), (select count(*) from (select step_key from "
        "marts.fct_dunning_decisions where step_key is not null group by step_key having count(*) > 1)) "
        "from marts.fct_dunning_messages"
    ).fetchall()
    assert messages > 1000
    # Sundays and the two days of Carnival are closed.
    assert days == 30 - 4 - 2
    assert repeated == 0
