"""What the panel shows comes from the served folder alone: sums as whole cents, of the published day, once each."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from regua.errors import InputError
from regua.panel.data import panel_data
from regua.settings import Settings, load_settings

AS_OF = date(2026, 6, 30)
GATES = [{"gate": "raw", "expectation_count": 88, "red_count": 0}]
FEEDS = [{"source": "erp", "file_set": "invoices", "last_load_at": "2026-07-01 05:00:00"}]
KEYS = ("BRL", "small", "default")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home in which two days, one week apart and one in between, are served."""
    settings = load_settings({"REGUA_HOME": str(tmp_path)})
    current = settings.serving_dir / "current"
    current.mkdir(parents=True)
    manifest = {"as_of": AS_OF.isoformat(), "known_at": "2026-07-01 05:00:00.000000", "gates": GATES, "feeds": FEEDS}
    (current / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with duckdb.connect(str(current / "serving.duckdb")) as serving:
        for table, columns in _TABLES.items():
            serving.execute(f"create table {table} ({columns})")
        for day, amount in (("2026-06-23", "0.10"), ("2026-06-29", "7.00"), ("2026-06-30", "123456789012345.67")):
            serving.execute(
                "insert into kpi_daily by name select ?::date as day_date, ? as currency_code, ? as segment_code, "
                "? as policy_code, ?::decimal(18, 2) as open_amount, 1.5::decimal(18, 2) as collected_amount",
                [day, *KEYS, amount],
            )
    return settings


_SPLIT = "currency_code varchar, segment_code varchar, policy_code varchar"
_DAILY = (
    *("open_amount", "overdue_amount", "small_delay_amount", "overdue_over_30_amount", "overdue_over_90_amount"),
    *("billed_due_amount", "billed_amount", "collected_amount", "recovered_amount", "new_overdue_amount"),
)
_TRUST = (
    *("contact_count", "unknown_count", "false_contact_count", "suspension_count", "false_suspension_count"),
    *("returned_count", "returned_7_count", "returned_days", "cancellation_proposed_count"),
)
_STEPS = ("planned_count", "accepted_count", "delivered_count", "bounced_count", "credited_count")
_TABLES = {
    "kpi_daily": f"day_date date, {_SPLIT}, open_count bigint, overdue_count bigint, "
    + ", ".join(f"{name} decimal(18, 2)" for name in _DAILY),
    "kpi_aging": f"day_date date, {_SPLIT}, aging_bucket_code varchar, open_amount decimal(18, 2), "
    "invoice_count bigint",
    "kpi_recovery_cohorts": f"cohort_month date, {_SPLIT}, horizon_days integer, overdue_amount decimal(18, 2), "
    "observed_amount decimal(18, 2), recovered_amount decimal(18, 2)",
    "kpi_roll_rates": f"month_date date, {_SPLIT}, from_code varchar, to_code varchar, amount decimal(18, 2)",
    "kpi_step_performance": f"month_date date, {_SPLIT}, step_code varchar, channel_code varchar, "
    "credited_amount decimal(18, 2), " + ", ".join(f"{name} bigint" for name in _STEPS),
    "kpi_cash_forecast": "currency_code varchar, week_number integer, week_end_date date, "
    "expected_amount decimal(18, 2), low_amount decimal(18, 2), high_amount decimal(18, 2), error_pct decimal(9, 2), "
    "bias_pct decimal(9, 2)",
    "kpi_trust": f"month_date date, {_SPLIT}, " + ", ".join(f"{name} bigint" for name in _TRUST),
    "kpi_promises": f"month_date date, {_SPLIT}, promise_count bigint, kept_count bigint, "
    "promised_amount decimal(18, 2), kept_amount decimal(18, 2)",
    "kpi_agreements": f"month_date date, {_SPLIT}, agreement_count bigint, broken_count bigint, "
    "covered_amount decimal(18, 2), broken_amount decimal(18, 2)",
    "kpi_experiments": "currency_code varchar, policy_code varchar, step_code varchar, channel_code varchar, "
    "treated_count bigint, treated_paid_count bigint, holdout_count bigint, holdout_paid_count bigint, "
    "lift_pct decimal(9, 2), lift_low_pct decimal(9, 2), lift_high_pct decimal(9, 2)",
    "kpi_churn": "month_date date, currency_code varchar, segment_code varchar, active_count bigint, "
    "ended_count bigint, unpaid_count bigint, recovered_count bigint",
    "kpi_gates": "month_date date, gate_code varchar, night_count bigint, red_night_count bigint, "
    "red_expectation_count bigint",
}


def rows(table: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


def test_balances_are_of_the_day_and_of_whole_weeks_before_it_in_whole_cents(settings: Settings) -> None:
    balances = rows(panel_data(settings)["tables"]["balances"])
    assert [(row["day_date"], row["open_amount"]) for row in balances] == [
        ("2026-06-23", 10),
        # Not one cent is lost to a float.
        ("2026-06-30", 12345678901234567),
    ]


def test_what_moved_is_added_up_over_every_day_of_the_month(settings: Settings) -> None:
    [flow] = rows(panel_data(settings)["tables"]["flows"])
    assert (flow["month_date"], flow["collected_amount"], flow["recovered_amount"]) == ("2026-06-01", 450, None)


def test_gates_and_feeds_are_those_that_the_night_s_manifest_tells(settings: Settings) -> None:
    tables = panel_data(settings)["tables"]
    assert (rows(tables["gates"]), rows(tables["feeds"])) == (GATES, FEEDS)
    assert not settings.warehouse_path.exists()


def test_a_generation_of_before_shows_no_gates_instead_of_green_ones(settings: Settings) -> None:
    path = settings.serving_dir / "current" / "manifest.json"
    path.write_text(json.dumps({"as_of": "2026-06-30", "known_at": "2026-07-01 05:00:00.000000"}), encoding="utf-8")
    assert panel_data(settings)["tables"]["gates"]["rows"] == []


def test_before_the_first_night_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run a night first"):
        panel_data(load_settings({"REGUA_HOME": str(tmp_path)}))
