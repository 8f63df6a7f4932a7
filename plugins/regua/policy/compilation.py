"""The policies as tables of schema `policy`, so that SQL decides with joins and knows no YAML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, get_args

import duckdb

from regua.policy.policies import EffectiveVersion, Policies
from regua.policy.policy_file import OTHER_STATES, STATE_CODES, Channel, Step, Version, Week, minutes_of

_MONEY, _PERCENTAGE = "decimal(18, 2)", "decimal(5, 2)"
_VERSION = {"version_hash": "varchar not null"}
_STEP = _VERSION | {"step_code": "varchar not null"}
_LIMITS = {
    "messages_per_channel_and_day": "integer not null",
    "contacts_per_week": "integer not null",
    "days_between_contacts": "integer not null",
}
# What no step asks for is null.
_SCALAR_CONDITIONS = {
    "minimum_amount": _MONEY,
    "maximum_amount": _MONEY,
    "minimum_late_count": "integer",
    "maximum_late_count": "integer",
    "minimum_score": _PERCENTAGE,
    "maximum_score": _PERCENTAGE,
    "minimum_open_invoices": "integer",
    "maximum_open_invoices": "integer",
    "has_suspension_clause": "boolean",
}
# Condition → column of its own table, policy.step_<condition>; steps.is_limited_to_<condition> says whether to look.
_LIST_CONDITIONS = {
    "segments": "segment_code",
    "person_types": "person_type_code",
    "payment_methods": "payment_method_code",
}

TABLES: Mapping[str, Mapping[str, str]] = {
    # One row per policy.
    "policies": {
        "policy_code": "varchar not null",
        "description": "varchar not null",
        "is_default": "boolean not null",
    },
    # One row per version, in force from effective_from to effective_to, both included.
    "versions": _VERSION
    | {
        "policy_code": "varchar not null",
        "effective_from": "date not null",
        "effective_to": "date not null",
        "tolerance_amount": f"{_MONEY} not null",
        "fine_pct": f"{_PERCENTAGE} not null",
        "monthly_interest_pct": f"{_PERCENTAGE} not null",
        "consumer_fine_cap_pct": f"{_PERCENTAGE} not null",
        **_LIMITS,
        "banner_after_days": "integer",
        "suspend_after_days": "integer",
        "suspension_grace_business_days": "integer not null",
        "suspension_notice_age_days": "integer not null",
        "cancel_after_days": "integer",
        "bureau_after_days": "integer",
        "notice_age_days": "integer",
        "boleto_business_days": "integer not null",
        "pix_automatico_days": "integer not null",
        "prescription_years": "integer not null",
        "feed_max_age_days": "integer not null",
    },
    # One row per version, segment and type of person it is for; null means any. No customer fits two rows of one day.
    "assignments": _VERSION
    | {"policy_code": "varchar not null", "segment_code": "varchar", "person_type_code": "varchar"},
    # One row per version and step; of two steps the one with the higher position is the higher. Limits are its own.
    "steps": _STEP
    | {
        "position": "integer not null",
        "offset_days": "integer not null",
        "channel_code": "varchar not null",
        "phase_code": "varchar not null",
        "template_code": "varchar not null",
        "notice_code": "varchar",
        "is_legal_notice": "boolean not null",
        "fallback_for_channel_code": "varchar",
        **_LIMITS,
        "holdout_pct": f"{_PERCENTAGE} not null",
        **_SCALAR_CONDITIONS,
        **{f"is_limited_to_{condition}": "boolean not null" for condition in _LIST_CONDITIONS},
    },
    # One row per step and code it is limited to.
    **{f"step_{condition}": _STEP | {column: "varchar not null"} for condition, column in _LIST_CONDITIONS.items()},
    # One row per step and variant, for customers whose share lies in [from_pct, to_pct).
    "variants": _STEP
    | {
        "variant_code": "varchar not null",
        "from_pct": f"{_PERCENTAGE} not null",
        "to_pct": f"{_PERCENTAGE} not null",
        "template_code": "varchar not null",
    },
    # One row per version, channel, state (each UF, and `other` for none) and type of day on which it may be used, from
    # opens_minute to before closes_minute, in minutes after local midnight. No row, no contact.
    "windows": _VERSION
    | {
        "channel_code": "varchar not null",
        "state_code": "varchar not null",
        "day_type_code": "varchar not null",
        "opens_minute": "integer not null",
        "closes_minute": "integer not null",
    },
    # One row per version and segment; null is for all segments that no other row names.
    "offers": _VERSION
    | {
        "segment_code": "varchar",
        "instalment_count": "integer not null",
        "discount_pct": f"{_PERCENTAGE} not null",
    },
}

_Row = Mapping[str, Any]
_CHUNK = 500


def compile_policies(connection: duckdb.DuckDBPyConnection, policies: Policies) -> None:
    """Replace schema `policy` by what the policies say, all at once or not at all. Opens its own transaction."""
    rows: dict[str, list[_Row]] = {table: [] for table in TABLES}
    for policy in policies:
        rows["policies"].append(
            {
                "policy_code": policy.code,
                "description": policy.content.description,
                "is_default": policy.content.default,
            }
        )
        for version in policy.versions:
            for table, row in _version_rows(version):
                rows[table].append({"version_hash": version.version_hash, **row})
    connection.execute("begin transaction")
    try:
        connection.execute("create schema if not exists policy")
        for table, columns in TABLES.items():
            written = ", ".join(f"{name} {sql_type}" for name, sql_type in columns.items())
            connection.execute(f"create or replace table policy.{table} ({written})")
            _insert(connection, table, rows[table])
    except duckdb.Error:
        connection.execute("rollback")
        raise
    connection.execute("commit")


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[_Row]) -> None:
    columns = TABLES[table]
    places = f"({', '.join('?' for _ in columns)})"
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        values = [row[column] for row in chunk for column in columns]
        connection.execute(f"insert into policy.{table} values {', '.join([places] * len(chunk))}", values)


def _version_rows(version: EffectiveVersion) -> Iterator[tuple[str, _Row]]:
    content = version.content
    yield (
        "versions",
        {
            "policy_code": version.policy_code,
            "effective_from": version.effective_from,
            "effective_to": version.effective_to,
            "tolerance_amount": content.tolerance_amount,
            **content.late_charges.model_dump(),
            **content.limits.model_dump(),
            **content.thresholds.model_dump(),
            **content.clearing.model_dump(),
            "prescription_years": content.prescription_years,
            "feed_max_age_days": content.feed_max_age_days,
        },
    )
    if content.applies_to is not None:
        for segment in _or_any(content.applies_to.segments):
            for person_type in _or_any(content.applies_to.person_types):
                yield (
                    "assignments",
                    {"policy_code": version.policy_code, "segment_code": segment, "person_type_code": person_type},
                )
    for offer in content.offers:
        for segment in _or_any(offer.segments):
            yield (
                "offers",
                {
                    "segment_code": segment,
                    "instalment_count": offer.instalments,
                    "discount_pct": offer.discount_pct,
                },
            )
    for channel in get_args(Channel):
        for state in (*STATE_CODES, OTHER_STATES):
            week = content.week_of(channel, state)
            for day_type in Week.model_fields:
                hours = getattr(week, day_type)
                if hours is not None:
                    opens, closes = minutes_of(hours)
                    yield (
                        "windows",
                        {
                            "channel_code": channel,
                            "state_code": state,
                            "day_type_code": day_type,
                            "opens_minute": opens,
                            "closes_minute": closes,
                        },
                    )
    for position, step in enumerate(content.steps, start=1):
        for table, row in _step_rows(content, step, position):
            yield table, {"step_code": step.code, **row}


def _or_any(codes: list[str]) -> list[str | None]:
    return [*codes] or [None]


def _step_rows(content: Version, step: Step, position: int) -> Iterator[tuple[str, _Row]]:
    conditions = step.conditions
    yield (
        "steps",
        {
            "position": position,
            "offset_days": step.offset_days,
            "channel_code": step.channel,
            "phase_code": step.phase,
            "template_code": step.template,
            "notice_code": step.notice,
            "is_legal_notice": step.notice is not None,
            "fallback_for_channel_code": step.fallback_for,
            **content.limits_of(step).model_dump(),
            "holdout_pct": step.holdout_pct,
            **{condition: getattr(conditions, condition) for condition in _SCALAR_CONDITIONS},
            **{f"is_limited_to_{condition}": bool(getattr(conditions, condition)) for condition in _LIST_CONDITIONS},
        },
    )
    for condition, column in _LIST_CONDITIONS.items():
        for code in getattr(conditions, condition):
            yield f"step_{condition}", {column: code}
    from_pct = Decimal("0.00")
    for variant in step.variants:
        to_pct = from_pct + variant.share_pct
        yield (
            "variants",
            {
                "variant_code": variant.code,
                "from_pct": from_pct,
                "to_pct": to_pct,
                "template_code": variant.template,
            },
        )
        from_pct = to_pct
