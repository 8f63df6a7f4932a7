"""The tables say what the files say: every value, in exact types, and nothing that is left of the night before."""

from __future__ import annotations

from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.unit.policy.small_policy import STEPS, VERSION, Place, changed, write_policy

from regua.policy.compilation import TABLES, compile_policies
from regua.policy.policies import Policies, load_policies
from regua.policy.policy_file import Conditions


@pytest.fixture
def warehouse() -> Any:
    with duckdb.connect() as connection:
        yield connection


@pytest.fixture(scope="module")
def shipped(project_dir: Path) -> Policies:
    return load_policies(project_dir / "include" / "policies")


@pytest.fixture(scope="module")
def compiled(shipped: Policies) -> Any:
    """The shipped policies in a warehouse; only read."""
    with duckdb.connect() as connection:
        compile_policies(connection, shipped)
        yield connection


def _rows(warehouse: duckdb.DuckDBPyConnection, table: str) -> list[dict[str, Any]]:
    found = warehouse.execute(f"from policy.{table}")
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _compiled(warehouse: duckdb.DuckDBPyConnection, folder: Path, changes: dict[Place, Any]) -> str:
    write_policy(folder / "small.yml", changes)
    policies = load_policies(folder)
    compile_policies(warehouse, policies)
    return policies.default.versions[0].version_hash


def test_what_is_read_back_is_what_was_written(compiled: duckdb.DuckDBPyConnection, shipped: Policies) -> None:
    """Each shipped version is put together again from the tables and compared with its file."""
    read = {table: _rows(compiled, table) for table in TABLES}
    assert all(read.values()), f"tables without a row prove nothing: {[t for t, rows in read.items() if not rows]}"
    assert {row["policy_code"]: row["is_default"] for row in read["policies"]} == {
        policy.code: policy.content.default for policy in shipped
    }
    versions = [version for policy in shipped for version in policy.versions]
    assert len(read["versions"]) == len(versions)
    for version in versions:
        mine = {
            table: [r for r in rows if r.get("version_hash") == version.version_hash] for table, rows in read.items()
        }
        [row] = mine["versions"]
        content = version.content
        assert (row["policy_code"], row["effective_from"], row["effective_to"]) == (
            version.policy_code,
            version.effective_from,
            version.effective_to,
        )
        for part in (content.late_charges, content.limits, content.thresholds, content.clearing):
            assert {name: row[name] for name in type(part).model_fields} == part.model_dump()
        assert (row["tolerance_amount"], row["prescription_years"], row["feed_max_age_days"]) == (
            content.tolerance_amount,
            content.prescription_years,
            content.feed_max_age_days,
        )

        applies_to = {(r["segment_code"], r["person_type_code"]) for r in mine["assignments"]}
        assert applies_to == (
            set()
            if content.applies_to is None
            else {
                (s, p) for s in content.applies_to.segments or [None] for p in content.applies_to.person_types or [None]
            }
        )
        assert {(r["segment_code"], r["instalment_count"], r["discount_pct"]) for r in mine["offers"]} == {
            (segment, offer.instalments, offer.discount_pct)
            for offer in content.offers
            for segment in offer.segments or [None]
        }

        assert [r["step_code"] for r in sorted(mine["steps"], key=lambda r: r["position"])] == [
            s.code for s in content.steps
        ]
        for step in content.steps:
            [row] = [r for r in mine["steps"] if r["step_code"] == step.code]
            lists = {
                "segments": {r["segment_code"] for r in mine["step_segments"] if r["step_code"] == step.code},
                "person_types": {
                    r["person_type_code"] for r in mine["step_person_types"] if r["step_code"] == step.code
                },
                "payment_methods": {
                    r["payment_method_code"] for r in mine["step_payment_methods"] if r["step_code"] == step.code
                },
            }
            rebuilt = Conditions.model_validate(
                {name: sorted(lists[name]) if name in lists else row[name] for name in Conditions.model_fields}
            )
            assert rebuilt == step.conditions
            assert {name: row[f"is_limited_to_{name}"] for name in lists} == {
                name: bool(codes) for name, codes in lists.items()
            }
            assert {
                "offset_days": row["offset_days"],
                "channel": row["channel_code"],
                "phase": row["phase_code"],
                "template": row["template_code"],
                "notice": row["notice_code"],
                "holdout_pct": row["holdout_pct"],
                "fallback_for": row["fallback_for_channel_code"],
            } == step.model_dump(exclude={"code", "conditions", "limits", "variants"})
            assert row["is_legal_notice"] == (step.notice is not None)
            limits = content.limits_of(step).model_dump()
            assert {name: row[name] for name in limits} == limits
            variants = sorted((r for r in mine["variants"] if r["step_code"] == step.code), key=lambda r: r["from_pct"])
            assert [(r["variant_code"], r["to_pct"] - r["from_pct"], r["template_code"]) for r in variants] == [
                (variant.code, variant.share_pct, variant.template) for variant in step.variants
            ]


def test_types_are_exact(compiled: duckdb.DuckDBPyConnection) -> None:
    described = compiled.execute(
        "select column_name, data_type from information_schema.columns where table_schema = 'policy'"
    ).fetchall()
    assert {kind for _, kind in described} == {
        "VARCHAR",
        "BOOLEAN",
        "DATE",
        "INTEGER",
        "DECIMAL(18,2)",
        "DECIMAL(5,2)",
    }
    assert {kind for name, kind in described if name.endswith("_amount")} == {"DECIMAL(18,2)"}
    assert {kind for name, kind in described if name.endswith("_pct")} == {"DECIMAL(5,2)"}


def test_keys_are_unique(compiled: duckdb.DuckDBPyConnection) -> None:
    keys = {
        "policies": "policy_code",
        "versions": "version_hash",
        "steps": "version_hash, step_code",
        "assignments": "version_hash, segment_code, person_type_code",
        "offers": "version_hash, segment_code",
        "windows": "version_hash, channel_code, state_code, day_type_code",
        "variants": "version_hash, step_code, variant_code",
        "step_segments": "version_hash, step_code, segment_code",
        "step_person_types": "version_hash, step_code, person_type_code",
        "step_payment_methods": "version_hash, step_code, payment_method_code",
    }
    assert keys.keys() == TABLES.keys()
    for table, key in keys.items():
        repeated = compiled.execute(f"select {key} from policy.{table} group by all having count(*) > 1").fetchall()
        assert repeated == [], table


def test_each_day_has_one_version_of_each_policy_that_has_begun(
    compiled: duckdb.DuckDBPyConnection, shipped: Policies
) -> None:
    for day in (
        date(1990, 1, 1),
        date(2024, 12, 31),
        date(2025, 1, 1),
        date(2025, 12, 31),
        date(2026, 1, 1),
        date(2060, 12, 31),
    ):
        found = compiled.execute(
            "select policy_code from policy.versions where $1 between effective_from and effective_to", [day]
        ).fetchall()
        expected = {policy.code: 1 for policy in shipped if policy.version_on(day)}
        assert Counter(code for (code,) in found) == expected
        assert "default" in expected


# Channel, state, type of day and the hours on it: domain rules for contacts, as SQL finds them.
_WINDOWS = [
    ("call", "SP", "business_day", (8, 20)),
    ("call", "SP", "saturday", (8, 14)),
    ("call", "SP", "sunday", None),
    ("call", "SP", "holiday", None),
    ("sms", "RJ", "business_day", (9, 19)),
    ("sms", "RJ", "saturday", None),
    ("whatsapp", "ES", "business_day", (8, 19)),
    ("whatsapp", "ES", "saturday", None),
    ("call", "AM", "business_day", (9, 19)),
    ("call", "AM", "saturday", None),
    ("call", "AM", "holiday", None),
    ("call", "AL", "business_day", (8, 20)),
    ("call", "AL", "saturday", (8, 14)),
    ("call", "AL", "sunday", None),
    ("sms", "BA", "business_day", (9, 19)),
    ("sms", "BA", "saturday", None),
    ("sms", "other", "business_day", (9, 19)),
    ("sms", "other", "saturday", None),
    ("sms", "other", "holiday", None),
    ("email", "RJ", "business_day", (8, 20)),
    ("email", "RJ", "saturday", (8, 14)),
    ("email", "other", "sunday", None),
    ("letter", "RJ", "sunday", (0, 24)),
    ("letter", "other", "holiday", (0, 24)),
]


@pytest.mark.parametrize(
    ("channel", "state", "day_type", "hours"), _WINDOWS, ids=[f"{c} {s} {d}" for c, s, d, _ in _WINDOWS]
)
def test_the_default_policy_keeps_the_contact_windows_of_the_states(
    compiled: duckdb.DuckDBPyConnection, channel: str, state: str, day_type: str, hours: tuple[int, int] | None
) -> None:
    found = compiled.execute(
        "select opens_minute, closes_minute from policy.windows join policy.versions using (version_hash) "
        "where policy_code = 'default' and channel_code = ? and state_code = ? and day_type_code = ?",
        [channel, state, day_type],
    ).fetchall()
    assert found == ([] if hours is None else [(hours[0] * 60, hours[1] * 60)])


def test_every_state_and_other_has_rows_of_every_channel(compiled: duckdb.DuckDBPyConnection) -> None:
    """Joined by equality: a state without rows would never be contacted and nobody would see why."""
    counted = compiled.execute(
        "select version_hash, count(distinct (channel_code, state_code)) from policy.windows group by version_hash"
    ).fetchall()
    assert {count for _, count in counted} == {5 * 28}


def test_variants_take_consecutive_shares_from_zero_on(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    variants = [{"code": code, "share_pct": share, "template": code} for code, share in (("a", 33.33), ("b", 66.67))]
    _compiled(warehouse, tmp_path, {(*STEPS, 0, "variants"): variants})
    found = warehouse.execute("select variant_code, from_pct, to_pct from policy.variants order by from_pct").fetchall()
    assert found == [("a", Decimal("0.00"), Decimal("33.33")), ("b", Decimal("33.33"), Decimal("100.00"))]


def test_the_newest_files_replace_what_was_compiled(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    before = _compiled(warehouse, tmp_path, {})
    after = _compiled(warehouse, tmp_path, {(*VERSION, "tolerance_amount"): 1})
    assert before != after
    for table in ("versions", "steps", "windows"):
        assert {row["version_hash"] for row in _rows(warehouse, table)} == {after}


def test_compiling_twice_gives_the_same_rows(warehouse: duckdb.DuckDBPyConnection, shipped: Policies) -> None:
    compile_policies(warehouse, shipped)
    first = {table: _rows(warehouse, table) for table in TABLES}
    compile_policies(warehouse, shipped)
    assert {table: _rows(warehouse, table) for table in TABLES} == first


def test_a_compilation_that_fails_leaves_yesterdays_tables(
    warehouse: duckdb.DuckDBPyConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _compiled(warehouse, tmp_path, {})
    monkeypatch.setitem(TABLES, "windows", TABLES["windows"] | {"opens_minute": "no_such_type"})  # type: ignore[arg-type]
    with pytest.raises(duckdb.Error):
        _compiled(warehouse, tmp_path, {(*VERSION, "tolerance_amount"): 1})
    assert {row["version_hash"] for row in _rows(warehouse, "steps")} == {before}
    warehouse.execute("begin transaction")


def test_text_of_a_policy_is_a_value_and_never_sql(warehouse: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    spiteful = "'); drop schema policy cascade; --"
    _compiled(warehouse, tmp_path, {("description",): spiteful})
    assert [row["description"] for row in _rows(warehouse, "policies")] == [spiteful]
    assert changed({})["description"] != spiteful
