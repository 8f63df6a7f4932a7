"""What two results say differently, in lines to be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from typing import Any

from tests.oracle.ladder_oracle import DayResult
from tests.oracle.scenario import Scenario

MOST_DIFFERENCES = 12


def assert_alike(scenario: Scenario, by_sql: Mapping[date, DayResult], by_oracle: Mapping[date, DayResult]) -> None:
    """Fails with the first day that differs, its differences, and the rows about whom they are."""
    assert [*by_sql] == [*by_oracle]
    for day, ours in by_sql.items():
        found = [*differences(ours, by_oracle[day])]
        if found:
            shown = found[:MOST_DIFFERENCES]
            ids = {part for place, _ in shown for part in place if isinstance(part, str)}
            told = [f"  {text}" for _, text in shown] + [f"  … and {len(found) - len(shown)} more"]
            raise AssertionError(
                "\n".join(
                    [f"SQL and oracle differ on {day} in {scenario}:", *told, "What is known of them:"]
                    + [f"  {row}" for row in scenario.story_of(_with_customers(scenario, ids))]
                )
            )


def differences(ours: DayResult, theirs: DayResult) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Where, and what; `ours` is the SQL's."""
    for table in fields(DayResult):
        yield from _between(table.name, (), getattr(ours, table.name), getattr(theirs, table.name))


def _between(name: str, place: tuple[Any, ...], ours: Any, theirs: Any) -> Iterator[tuple[tuple[Any, ...], str]]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted({*ours, *theirs}, key=str):
            inner = (*place, *(key if isinstance(key, tuple) else (key,)))
            if key not in theirs:
                yield inner, f"{name} {inner}: only SQL has {ours[key]}"
            elif key not in ours:
                yield inner, f"{name} {inner}: only the oracle has {theirs[key]}"
            else:
                yield from _between(name, inner, ours[key], theirs[key])
    elif is_dataclass(ours) and is_dataclass(theirs):
        for part in fields(ours):
            yield from _between(f"{name}.{part.name}", place, getattr(ours, part.name), getattr(theirs, part.name))
    elif ours != theirs:
        yield place, f"{name} {place}: SQL {ours}, oracle {theirs}"


def _with_customers(scenario: Scenario, ids: set[str]) -> set[str]:
    """The customers of the invoices that differ, all that were merged into them, and the invoices of these."""
    invoices = [version.row for version in scenario.versions if version.entity == "invoices"]
    wanted = ids | {row["customer_id"] for row in invoices if row["invoice_id"] in ids}
    while (
        merged := {
            version.row["customer_id"]
            for version in scenario.versions
            if version.entity == "customers" and version.row.get("merged_into_customer_id") in wanted
        }
        - wanted
    ):
        wanted |= merged
    return wanted | {row["invoice_id"] for row in invoices if row["customer_id"] in wanted}
