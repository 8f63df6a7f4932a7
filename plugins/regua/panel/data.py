"""What the panel shows, from a night's serving folder alone: sums, codes and days, nobody's name.

Rows are as fine as the panel's filters (currency, segment, policy, channel), so the page adds them up by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import yaml

from regua.publish.serving import current_generation, read_serving_manifest
from regua.settings import Settings

# One week apart, so that a year of them is a picture and not a wall.
_WEEKS = """
select day_date, currency_code, segment_code, policy_code, {columns}
from {table}
where ($as_of - day_date) % 7 = 0
order by all
"""
_BALANCES = (
    *("open_amount", "overdue_amount", "small_delay_amount", "overdue_over_30_amount", "overdue_over_90_amount"),
    *("billed_due_amount", "open_count", "overdue_count"),
)
_FLOWS = """
select date_trunc('month', day_date)::date as month_date, currency_code, segment_code, policy_code,
    sum(billed_amount) as billed_amount, sum(collected_amount) as collected_amount,
    sum(recovered_amount) as recovered_amount, sum(new_overdue_amount) as new_overdue_amount
from kpi_daily
group by all
order by all
"""
_QUERIES = {
    "balances": _WEEKS.format(columns=", ".join(_BALANCES), table="kpi_daily"),
    "aging": _WEEKS.format(columns="aging_bucket_code, open_amount, invoice_count", table="kpi_aging"),
    "flows": _FLOWS,
    "cohorts": """
        select cohort_month, currency_code, segment_code, policy_code, horizon_days,
            sum(overdue_amount) as overdue_amount, sum(observed_amount) as observed_amount,
            sum(recovered_amount) as recovered_amount
        from kpi_recovery_cohorts group by all order by all
    """,
    "rolls": """
        select month_date, currency_code, segment_code, policy_code, from_code, to_code, amount
        from kpi_roll_rates order by all
    """,
    "steps": """
        select month_date, currency_code, segment_code, policy_code, step_code, channel_code, planned_count,
            accepted_count, delivered_count, bounced_count, credited_count, credited_amount
        from kpi_step_performance order by all
    """,
    "forecast": """
        select currency_code, week_number, week_end_date, expected_amount, low_amount, high_amount, error_pct, bias_pct
        from kpi_cash_forecast order by all
    """,
    "trust": """
        select month_date, currency_code, segment_code, policy_code, contact_count, unknown_count, false_contact_count,
            suspension_count, false_suspension_count, returned_count, returned_7_count, returned_days,
            cancellation_proposed_count
        from kpi_trust order by all
    """,
    "promises": """
        select month_date, currency_code, segment_code, policy_code, promise_count, kept_count, promised_amount,
            kept_amount
        from kpi_promises order by all
    """,
    "agreements": """
        select month_date, currency_code, segment_code, policy_code, agreement_count, broken_count, covered_amount,
            broken_amount
        from kpi_agreements order by all
    """,
    "experiments": """
        select currency_code, policy_code, step_code, channel_code, treated_count, treated_paid_count, holdout_count,
            holdout_paid_count, lift_pct, lift_low_pct, lift_high_pct
        from kpi_experiments order by all
    """,
    "churn": """
        select month_date, currency_code, segment_code, active_count, ended_count, unpaid_count, recovered_count
        from kpi_churn order by all
    """,
    "nights": """
        select month_date, gate_code, night_count, red_night_count, red_expectation_count
        from kpi_gates order by all
    """,
}
_GATE_COLUMNS = ("gate", "expectation_count", "red_count")
_FEED_COLUMNS = ("source", "file_set", "last_load_at")


def panel_data(settings: Settings) -> dict[str, Any]:
    """Everything the page needs, of the generation that is served now. Raises InputError before the first night."""
    generation = current_generation(settings)
    manifest = read_serving_manifest(generation)
    english = definitions(settings)
    as_of = date.fromisoformat(manifest["as_of"])
    with duckdb.connect(str(generation / "serving.duckdb"), read_only=True) as serving:
        tables = {name: _table(serving, query, {"as_of": as_of}) for name, query in _QUERIES.items()}
    return {
        "as_of": manifest["as_of"],
        "known_at": manifest["known_at"],
        "definitions": {"en": english, "pt-BR": in_portuguese(english)},
        "tables": tables | _night(manifest),
    }


def definitions(settings: Settings) -> dict[str, dict[str, Any]]:
    """By mart what one row is, and its columns: the very descriptions that dbt has."""
    path = settings.dbt_project_dir / "models" / "marts" / "kpi" / "_kpi__models.yml"
    described = yaml.safe_load(path.read_text(encoding="utf-8"))["models"]
    return {
        model["name"]: {
            "description": model["description"].strip(),
            "columns": {column["name"]: column["description"].strip() for column in model["columns"]},
        }
        for model in described
    }


def in_portuguese(english: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The same marts and columns; a column means the same everywhere unless it is told of one mart by `mart.column`."""
    told = yaml.safe_load(asset("definitions.pt-BR.yml"))
    columns: Mapping[str, str] = told["columns"]
    return {
        mart: {
            "description": told["marts"][mart],
            "columns": {name: columns.get(f"{mart}.{name}") or columns[name] for name in model["columns"]},
        }
        for mart, model in english.items()
    }


def written(data: Mapping[str, Any]) -> str:
    """As JSON that may stand inside a page: the same data give the same text."""
    text = json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _night(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The night's gates and how fresh its feeds were, by its manifest; nothing where an older one tells none."""
    told = {"gates": _GATE_COLUMNS, "feeds": _FEED_COLUMNS}
    return {
        name: {
            "columns": list(columns),
            "rows": [[row[column] for column in columns] for row in manifest.get(name, [])],
        }
        for name, columns in told.items()
    }


def _table(connection: duckdb.DuckDBPyConnection, query: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Columns and rows; amounts in cents, whole numbers that a page adds up without losing one."""
    found = connection.execute(query, {name: value for name, value in given.items() if f"${name}" in query})
    columns = [column[0] for column in found.description or ()]
    rows = [[_plain(name, value) for name, value in zip(columns, row, strict=True)] for row in found.fetchall()]
    return {"columns": columns, "rows": rows}


def _plain(column: str, value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value * 100) if column.endswith("_amount") else float(value)
    return value


def asset(name: str) -> str:
    """A file of the page, as text."""
    return (Path(__file__).parent / "static" / name).read_text(encoding="utf-8")
