"""The models on a small warehouse, built night by night as the pipeline does."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.dbt.warehouse_fixture import RawWarehouse, read_rows, table_content, warehouse_settings

from regua.contract.entities import load_contract
from regua.errors import InputError
from regua.settings import Settings
from regua.transform.dbt_run import LAYERS, ModelOutcome, replay, run_layer, run_unit_tests

pytestmark = pytest.mark.timeout(600)

FIRST = dt.date(2026, 1, 30)
SECOND = dt.date(2026, 2, 2)
FIRST_KNOWN = dt.datetime(2026, 1, 31, 5, tzinfo=dt.UTC)
SECOND_KNOWN = dt.datetime(2026, 2, 3, 5, tzinfo=dt.UTC)
DAILY_MARTS = ("marts.fct_invoice_aging", "marts.agg_aging_daily", "marts.agg_balance_movements_daily")
MARTS = ("marts.dim_customers", "marts.fct_invoices", *DAILY_MARTS)


def written_instant(moment: dt.datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(sep=" ")


def build_night(
    settings: Settings,
    as_of: dt.date,
    known_at: dt.datetime,
    previous: tuple[dt.date, dt.datetime] | None = None,
    tolerance: str = "0.00",
) -> list[ModelOutcome]:
    previous_as_of, previous_known_at = previous or (None, None)
    outcomes = []
    for layer in LAYERS:
        outcomes += run_layer(
            settings,
            as_of,
            known_at,
            layer,
            previous_as_of=previous_as_of,
            previous_known_at=previous_known_at,
            tolerance_amount=Decimal(tolerance),
        )
    return outcomes


def add_first_arrival(raw: RawWarehouse, shuffle: random.Random | None = None) -> dict[str, int]:
    """A few of each kind of invoice, known on the first night; gives the lines of the invoices by id."""
    customers = [{"customer_id": f"c{number}"} for number in range(1, 4)]
    invoices: list[dict[str, Any]] = [
        {"invoice_id": f"i{number}", "customer_id": f"c{number % 3 + 1}", "due_date": due, "amount": f"{number}00.10"}
        for number, due in enumerate(("2026-01-05", "2026-01-29", "2026-01-31", "2025-10-01", "2026-03-01"), start=1)
    ]
    invoices.append({"invoice_id": "dollars", "currency_code": "USD", "calendar_code": "plain"})
    payments = [
        {"payment_id": "p1", "invoice_id": "i1", "payment_date": "2026-01-06", "amount": "100.10"},
        {"payment_id": "p2", "invoice_id": "i2", "payment_date": "2026-01-30", "amount": "50.05"},
        {"payment_id": "p3", "invoice_id": "i4", "payment_date": "2026-01-10", "amount": "400.10"},
    ]
    granted = [{"credit_id": "k1", "customer_id": "c3", "invoice_id": "i5", "applied_date": "2026-01-20"}]
    if shuffle:
        for rows in (customers, invoices, payments):
            shuffle.shuffle(rows)
    known = written_instant(FIRST_KNOWN)
    raw.add("customers", known, customers)
    lines = dict(zip((row["invoice_id"] for row in invoices), raw.add("invoices", known, invoices), strict=True))
    raw.add("payments", known, payments)
    raw.add("credits", known, granted)
    return lines


def add_second_arrival(raw: RawWarehouse, invoice_lines: dict[str, int]) -> None:
    """What the second night learns: facts of its own days, a late payment, a correction and a removal."""
    known = written_instant(SECOND_KNOWN)
    raw.add("invoices", known, [{"invoice_id": "i7", "issue_date": "2026-02-01", "due_date": "2026-02-15"}])
    raw.add(
        "payments",
        known,
        [
            {"payment_id": "p4", "invoice_id": "i2", "payment_date": "2026-02-02", "amount": "200.00"},
            {"payment_id": "late", "invoice_id": "i3", "payment_date": "2026-01-15", "amount": "0.10"},
        ],
    )
    raw.add(
        "invoices", known, [{"invoice_id": "i5", "customer_id": "c3", "due_date": "2026-03-01", "amount": "480.00"}]
    )
    raw.supersede("invoices", invoice_lines["i5"], known)
    raw.supersede("invoices", invoice_lines["dollars"], known, "removed")


class TwoNights:
    """A warehouse with two nights built, and what each left behind."""

    def __init__(self, home: Path, shuffle: random.Random | None = None) -> None:
        self.settings = warehouse_settings(home)
        self.raw = RawWarehouse(self.settings.warehouse_path)
        self.invoice_lines = add_first_arrival(self.raw, shuffle)
        self.first_outcomes = build_night(self.settings, FIRST, FIRST_KNOWN)
        self.first_content = table_content(self.raw.path, MARTS)
        add_second_arrival(self.raw, self.invoice_lines)
        build_night(self.settings, SECOND, SECOND_KNOWN, (FIRST, FIRST_KNOWN))
        self.second_content = table_content(self.raw.path, MARTS)

    def rebuild_second(self) -> None:
        build_night(self.settings, SECOND, SECOND_KNOWN, (FIRST, FIRST_KNOWN))


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> TwoNights:
    return TwoNights(tmp_path_factory.mktemp("two_nights"))


def movements(raw: RawWarehouse, as_of: dt.date, currency: str = "BRL") -> dict[str, Decimal]:
    rows = raw.rows(
        "select movement_code, amount from marts.agg_balance_movements_daily"
        f" where as_of_date = '{as_of}' and currency_code = '{currency}' and (amount <> 0 or movement_code = 'closing')"
    )
    return dict(rows)


def test_every_unit_test_of_the_models_passes(nights: TwoNights) -> None:
    """A run that found none would pass on nothing, so the count is compared with the files."""
    written = sum(
        len(yaml.safe_load(path.read_text(encoding="utf-8"))["unit_tests"])
        for path in nights.settings.dbt_project_dir.rglob("*__unit_tests.yml")
    )
    outcomes = run_unit_tests(nights.settings, nights.raw.path)
    assert written > 40
    assert len(outcomes) == written
    assert {outcome.status for outcome in outcomes} == {"pass"}


def test_a_night_builds_every_model_and_runs_their_data_tests(nights: TwoNights) -> None:
    models = {outcome.model for outcome in nights.first_outcomes if outcome.kind == "model"}
    written = {path.stem for path in (nights.settings.dbt_project_dir / "models").rglob("*.sql")}
    singular = {path.stem for path in (nights.settings.dbt_project_dir / "tests").glob("*.sql")}
    ran = [outcome.model for outcome in nights.first_outcomes]
    assert models == written
    assert singular <= set(ran)
    assert len(ran) == len(set(ran)), "something was built or tested in two layers"
    assert not [outcome for outcome in nights.first_outcomes if outcome.kind == "unit_test"]


def test_the_project_folder_stays_clean(nights: TwoNights) -> None:
    assert not (nights.settings.dbt_project_dir / "target").exists()
    assert not (nights.settings.dbt_project_dir / "logs").exists()


def test_no_published_column_can_hold_a_personal_identifier(nights: TwoNights) -> None:
    personal = {column.name for entity in load_contract().values() for column in entity.columns if column.personal}
    published = nights.raw.rows("select column_name from information_schema.columns where table_schema = 'marts'")
    assert personal
    assert not personal & {name for (name,) in published}


def test_the_first_night_begins_with_its_balance(nights: TwoNights) -> None:
    # 300.10 + (200.10 - 50.05) + (500.10 - 10.00)
    assert movements(nights.raw, FIRST) == {"initial": Decimal("940.25"), "closing": Decimal("940.25")}
    assert movements(nights.raw, FIRST, "USD") == {"initial": Decimal("100.00"), "closing": Decimal("100.00")}


def test_what_the_second_night_learnt_is_told_apart_from_what_happened(nights: TwoNights) -> None:
    """The late payment (-0.10) and the corrected amount (-20.10) restate the first night; the rest happened since."""
    assert movements(nights.raw, SECOND) == {
        "opening": Decimal("940.25"),
        "restated": Decimal("-20.20"),
        "issued": Decimal("100.00"),
        "paid": Decimal("-200.00"),
        "excess": Decimal("49.95"),
        "closing": Decimal("870.00"),
    }
    assert movements(nights.raw, SECOND, "USD") == {
        "opening": Decimal("100.00"),
        "restated": Decimal("-100.00"),
        "closing": Decimal("0.00"),
    }


def test_a_day_once_published_stays_when_the_next_is_built(nights: TwoNights) -> None:
    for table in DAILY_MARTS:
        kept = [row for row in nights.second_content[table] if row[0] == FIRST]
        assert kept == nights.first_content[table]
        assert kept


def test_the_same_night_twice_gives_the_same_rows(nights: TwoNights) -> None:
    nights.rebuild_second()
    assert table_content(nights.raw.path, MARTS) == nights.second_content


def test_the_order_of_the_rows_read_changes_nothing(nights: TwoNights, tmp_path: Path) -> None:
    shuffled = TwoNights(tmp_path, random.Random(20260122))  # noqa: S311  a shuffle anybody can repeat
    assert list(shuffled.invoice_lines) != list(nights.invoice_lines)
    assert shuffled.second_content == nights.second_content


def test_a_replay_gives_what_was_published_and_leaves_the_warehouse_as_it_was(
    nights: TwoNights, tmp_path: Path
) -> None:
    before = nights.raw.path.read_bytes()
    scratch = tmp_path / "replay.duckdb"
    outcomes = replay(nights.settings, FIRST, FIRST_KNOWN, scratch)
    assert {outcome.status for outcome in outcomes} <= {"success", "pass"}
    assert table_content(scratch, MARTS) == nights.first_content
    assert nights.raw.path.read_bytes() == before


def test_a_replay_of_a_later_night_reads_its_yesterday_from_the_warehouse(nights: TwoNights, tmp_path: Path) -> None:
    scratch = tmp_path / "replay.duckdb"
    replay(nights.settings, SECOND, SECOND_KNOWN, scratch, previous_as_of=FIRST, previous_known_at=FIRST_KNOWN)
    of_the_day = {table: [row for row in rows if row[0] == SECOND] for table, rows in nights.second_content.items()}
    assert table_content(scratch, MARTS) == of_the_day


def test_a_replay_never_builds_over_a_file(nights: TwoNights, tmp_path: Path) -> None:
    scratch = tmp_path / "replay.duckdb"
    scratch.touch()
    with pytest.raises(InputError, match="exists"):
        replay(nights.settings, FIRST, FIRST_KNOWN, scratch)


def test_days_may_come_out_of_order_and_a_past_day_may_learn_more(tmp_path: Path) -> None:
    nights = TwoNights(tmp_path)
    build_night(nights.settings, FIRST, SECOND_KNOWN)
    content = table_content(nights.raw.path, DAILY_MARTS)
    second = [row for row in content["marts.fct_invoice_aging"] if row[0] == SECOND]
    assert second == [row for row in nights.second_content["marts.fct_invoice_aging"] if row[0] == SECOND]
    # The late payment and the correction are now known of the first day too.
    assert movements(nights.raw, FIRST)["closing"] == Decimal("920.05")
    between = dt.date(2026, 2, 1)
    build_night(nights.settings, between, SECOND_KNOWN, (FIRST, SECOND_KNOWN))
    assert movements(nights.raw, between) == {
        "opening": Decimal("920.05"),
        "issued": Decimal("100.00"),
        "closing": Decimal("1020.05"),
    }
    # And back to what was known on the first night, with a yesterday that knew more: everything is told as restated.
    build_night(nights.settings, between, FIRST_KNOWN, (FIRST, SECOND_KNOWN))
    assert movements(nights.raw, between) == {
        "opening": Decimal("920.05"),
        "restated": Decimal("20.20"),
        "closing": Decimal("940.25"),
    }


def test_a_day_on_which_nothing_is_open_any_more_keeps_no_rows_of_its_first_build(tmp_path: Path) -> None:
    """dbt's own delete+insert finds no day in no rows, and leaves the old ones."""
    settings = warehouse_settings(tmp_path)
    raw = RawWarehouse(settings.warehouse_path)
    raw.add("customers", "2026-01-01", [{"customer_id": "c1"}])
    (line,) = raw.add("invoices", "2026-01-01", [{"invoice_id": "i1"}])
    build_night(settings, FIRST, FIRST_KNOWN)
    assert len(raw.rows("from marts.fct_invoice_aging")) == 1
    raw.supersede("invoices", line, "2026-02-01", "removed")
    build_night(settings, FIRST, SECOND_KNOWN)
    assert raw.rows("from marts.fct_invoice_aging") == []


def test_a_night_with_an_empty_portfolio_builds(tmp_path: Path) -> None:
    settings = warehouse_settings(tmp_path)
    RawWarehouse(settings.warehouse_path)
    build_night(settings, FIRST, FIRST_KNOWN)
    assert read_rows(settings.warehouse_path, "select count(*) from marts.agg_aging_daily") == [(0,)]


def test_a_yesterday_that_changed_with_no_new_fact_stops_the_night(tmp_path: Path) -> None:
    """The failure feared most: something that was right yesterday is different today and nothing came in."""
    settings = warehouse_settings(tmp_path)
    raw = RawWarehouse(settings.warehouse_path)
    add_first_arrival(raw)
    build_night(settings, FIRST, FIRST_KNOWN)
    raw.execute("update raw.invoices set amount = amount + 0.01 where invoice_id = 'i3'")
    with pytest.raises(InputError, match="assert_every_restated_invoice_has_a_new_fact"):
        build_night(settings, SECOND, SECOND_KNOWN, (FIRST, FIRST_KNOWN))


def test_a_failed_model_is_named_with_its_reason(tmp_path: Path) -> None:
    settings = warehouse_settings(tmp_path)
    raw = RawWarehouse(settings.warehouse_path)
    raw.add("customers", "2026-01-01", [{"customer_id": "c1"}, {"customer_id": "c1"}])
    with pytest.raises(InputError, match="unique_stg_customers_customer_id: fail"):
        run_layer(settings, FIRST, FIRST_KNOWN, "staging")


def test_a_layer_in_which_nothing_ran_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAYERS, "marts", ("path:models/nowhere",))
    settings = warehouse_settings(tmp_path)
    RawWarehouse(settings.warehouse_path)
    with pytest.raises(InputError, match="nothing to run"):
        run_layer(settings, FIRST, FIRST_KNOWN, "marts")


def test_the_tolerance_is_the_nights(tmp_path: Path) -> None:
    settings = warehouse_settings(tmp_path)
    raw = RawWarehouse(settings.warehouse_path)
    raw.add("customers", "2026-01-01", [{"customer_id": "c1"}])
    raw.add("invoices", "2026-01-01", [{"invoice_id": "i1", "amount": "5.00"}, {"invoice_id": "i2", "amount": "5.01"}])
    build_night(settings, FIRST, FIRST_KNOWN, tolerance="5.00")
    assert raw.rows("select invoice_id, is_overdue from marts.fct_invoices order by 1") == [("i1", False), ("i2", True)]
    assert raw.rows("select sum(open_amount) from marts.agg_aging_daily") == [(Decimal("10.01"),)]


def test_money_for_an_unknown_invoice_is_a_warning_that_names_the_currency(tmp_path: Path) -> None:
    """Its invoice may be in quarantine: the night goes on, and says so."""
    settings = warehouse_settings(tmp_path)
    raw = RawWarehouse(settings.warehouse_path)
    add_first_arrival(raw)
    raw.add("payments", "2026-01-01", [{"payment_id": "lost", "invoice_id": "?", "payment_date": "2026-01-02"}])
    outcomes = build_night(settings, FIRST, FIRST_KNOWN)
    warned = [outcome.model for outcome in outcomes if outcome.status == "warn"]
    assert warned == ["assert_balances_carry_every_payment_and_credit"]


def test_an_invoice_of_a_customer_nobody_registered_is_not_lost(tmp_path: Path) -> None:
    settings = warehouse_settings(tmp_path)
    raw = RawWarehouse(settings.warehouse_path)
    raw.add("invoices", "2026-01-01", [{"invoice_id": "i1", "customer_id": "nobody"}])
    build_night(settings, FIRST, FIRST_KNOWN)
    assert raw.rows("select customer_id, is_registered from marts.dim_customers") == [("nobody", False)]
