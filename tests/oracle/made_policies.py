"""Policies that nobody would write, to be held against the rules: valid, short of room, and changed in mid-ladder."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from tests.dbt.warehouse_fixture import PROJECT_DIR

from regua.policy.policies import Policies, Policy, combine, load_policies
from regua.policy.policy_file import PolicyFile

OFFSETS = (-7, -5, -3, -2, -1, 0, 0, 1, 2, 3, 4, 5, 6, 8, 10, 10, 12, 14, 15, 17, 20, 21, 25, 25, 30, 35, 40)
CHANNELS = ("email", "email", "email", "sms", "sms", "call", "whatsapp", "letter")
SUSPENSION_DAYS, BUREAU_DAYS = range(8, 18), range(30, 41)
MADE, CHANGING, NOT_BEGUN, UNKNOWN = "made", "changing", "not_begun", "nobody_wrote_it"
CODES = ("default", "gentle_consumer", "value_and_risk", MADE, CHANGING, NOT_BEGUN)


def shipped_policies() -> Policies:
    return load_policies(PROJECT_DIR / "include" / "policies")


def policies_for(seed: int, days: Sequence[date]) -> Policies:
    """The shipped ones and three more; from an odd seed another default, too."""
    dice = random.Random(f"policies:{seed}")  # noqa: S311 - the same policies in every run
    policies = dict(shipped_policies().by_code)
    middle = days[len(days) // 2]
    if seed % 2:
        older = random_version(dice)
        newer = varied(older, dice) if dice.random() < 0.7 else random_version(dice)
        policies["default"] = policy_of("default", [older, newer | {"effective_from": middle}], default=True)
    first = random_version(dice)
    policies[MADE] = policy_of(MADE, [first | {"applies_to": {"segments": ["pme"], "person_types": ["company"]}}])
    older = random_version(dice)
    policies[CHANGING] = policy_of(CHANGING, [older, varied(older, dice) | {"effective_from": middle}])
    begins = days[-1] + timedelta(days=1) if dice.random() < 0.5 else middle
    policies[NOT_BEGUN] = policy_of(NOT_BEGUN, [random_version(dice) | {"effective_from": begins}])
    return combine(policies.values())


def policy_of(code: str, versions: Sequence[dict[str, Any]], *, default: bool = False) -> Policy:
    content = {"description": "Made for a test.", "default": default, "versions": [*versions]}
    return Policy(code, Path(f"{code}.yml"), PolicyFile.model_validate(content))


def random_version(dice: random.Random) -> dict[str, Any]:
    version = _first_valid(lambda: _version(dice))
    assert version is not None, "The policies that are made are never valid."
    return version


def varied(version: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """The same ladder with steps gone, moved, renamed and new, and other limits; where that cannot be, another one."""
    return _first_valid(lambda: _variation(version, dice)) or random_version(dice)


def _first_valid(make: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    for _ in range(200):
        version = make()
        try:
            PolicyFile.model_validate({"description": "x", "default": True, "versions": [version]})
        except ValidationError:
            continue
        return version
    return None


def _version(dice: random.Random) -> dict[str, Any]:
    offsets = sorted(dice.sample(OFFSETS, dice.randint(5, 10)))
    if dice.random() < 0.8:
        offsets = sorted([*offsets, dice.choice(SUSPENSION_DAYS)])
    steps = [_step(number, offset, dice) for number, offset in enumerate(offsets)]
    if dice.random() < 0.7:
        steps = [part for step in steps for part in _with_stand_in(step, dice)]
    return _fitted(
        {
            "tolerance_amount": dice.choice((0, 0, 5, 10.5, 20)),
            "late_charges": {
                "fine_pct": dice.choice((0, 2, 2.5, 10)),
                "monthly_interest_pct": dice.choice((0, 1, 1.17, 3)),
                "consumer_fine_cap_pct": 2,
            },
            "limits": {
                "messages_per_channel_and_day": dice.randint(1, 2),
                "contacts_per_week": dice.randint(1, 4),
                "days_between_contacts": dice.randint(0, 3),
            },
            "clearing": {"boleto_business_days": dice.randint(0, 3), "pix_automatico_days": dice.randint(0, 8)},
            "prescription_years": dice.choice((5, 5, 6, 1)),
            "feed_max_age_days": dice.randint(0, 3),
            "contact_windows": {
                "SP": {"business_day": "8-20", "saturday": "8:30-14"},
                "AM": {"business_day": "9-19", "sunday": "10-12", "holiday": "10-11"},
                "other": {"business_day": "9-19"} | ({"holiday": "9-12"} if dice.random() < 0.5 else {}),
            },
            "whatsapp_after_due": True,
            "offers": [
                {"segments": ["medio", "pme"], "instalments": 3, "discount_pct": 3.33},
                {"instalments": 6, "discount_pct": 10},
            ][: dice.randint(1, 2)],
            "steps": steps,
        }
        | ({"email_window": {"business_day": "8-18", "saturday": "9-12"}} if dice.random() < 0.5 else {}),
        dice,
    )


def _fitted(version: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """With thresholds and limits under which each step can go out at all."""
    steps = version["steps"]
    notices = [step["offset_days"] for step in steps if step.get("notice") == "suspension"]
    bureau = [step["offset_days"] for step in steps if step.get("notice") == "credit_bureau"]
    banner = dice.randint(0, 8)
    thresholds: dict[str, Any] = {"suspension_grace_business_days": dice.randint(3, 4), "banner_after_days": banner}
    if notices:
        thresholds["suspend_after_days"] = max(banner, max(notices) + dice.randint(1, 6))
        thresholds["cancel_after_days"] = thresholds["suspend_after_days"] + dice.randint(0, 40)
    if bureau:
        thresholds["notice_age_days"] = dice.randint(1, 8)
        thresholds["bureau_after_days"] = max(
            min(bureau) + thresholds["notice_age_days"], thresholds.get("suspend_after_days", banner)
        )
    days = sorted({step["offset_days"] for step in steps if _is_for_everybody(step)})
    for step in steps:
        before = [day for day in days if day < step["offset_days"]]
        limits = {}
        if before and step["offset_days"] - before[-1] < version["limits"]["days_between_contacts"]:
            limits["days_between_contacts"] = dice.randint(0, step["offset_days"] - before[-1])
        contacts = 1 + sum(day > step["offset_days"] - 7 for day in before)
        if contacts > version["limits"]["contacts_per_week"]:
            limits["contacts_per_week"] = contacts
        if dice.random() < 0.2:
            limits["messages_per_channel_and_day"] = dice.randint(1, 2)
        step["limits"] = limits
    return version | {"thresholds": thresholds}


def _is_for_everybody(step: dict[str, Any]) -> bool:
    return "conditions" not in step and "fallback_for" not in step


def _step(number: int, offset_days: int, dice: random.Random) -> dict[str, Any]:
    channel = dice.choice(CHANNELS)
    step: dict[str, Any] = {
        "code": f"step_{number}",
        "offset_days": offset_days,
        "channel": channel,
        "phase": _phase(offset_days),
        "template": f"words_{number}",
    }
    if channel != "call" and offset_days in SUSPENSION_DAYS and dice.random() < 0.6:
        step["notice"] = "suspension"
    elif channel != "call" and offset_days in BUREAU_DAYS and dice.random() < 0.7:
        step["notice"] = "credit_bureau"
    elif dice.random() < 0.25:
        step["holdout_pct"] = dice.choice((50, 33.33))
    if dice.random() < 0.3:
        step["variants"] = [
            {"code": "short", "share_pct": dice.choice((50, 33.33)), "template": "short_words"},
            {"code": "long", "share_pct": 25, "template": "long_words"},
        ][: dice.randint(1, 2)]
    if dice.random() < 0.4:
        step["conditions"] = dice.choice(
            (
                {"minimum_amount": 100},
                {"maximum_amount": 99.99},
                {"maximum_score": 60},
                {"minimum_score": 40.01},
                {"minimum_late_count": 1},
                {"maximum_late_count": 1},
                {"minimum_open_invoices": 2},
                {"maximum_open_invoices": 1},
                {"segments": ["pme", "varejo"]},
                {"person_types": ["individual"]},
                {"payment_methods": ["boleto", "pix"]},
                {"has_suspension_clause": True},
                {"has_suspension_clause": False, "minimum_amount": 50},
            )
        )
    return step


def _phase(offset_days: int) -> str:
    ends = ((0, "preventive"), (7, "friendly"), (17, "intensified"), (29, "renegotiation"))
    return next((phase for end, phase in ends if offset_days <= end), "severe")


def _with_stand_in(step: dict[str, Any], dice: random.Random) -> list[dict[str, Any]]:
    """The step, and perhaps a letter or an SMS where its channel does not reach."""
    if step["channel"] in ("letter", "call") or dice.random() < 0.5:
        return [step]
    channel = dice.choice([other for other in ("letter", "sms") if other != step["channel"]])
    kept = {name: step[name] for name in ("offset_days", "phase", "notice") if name in step}
    code = f"{step['code']}_instead"
    return [step, kept | {"code": code, "channel": channel, "template": "instead", "fallback_for": step["channel"]}]


def _variation(version: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    changed = copy.deepcopy(version)
    steps = []
    # A step and the one that stands in for it belong together, and stay as they are.
    paired = {step["offset_days"] for step in changed["steps"] if "fallback_for" in step}
    for step in changed["steps"]:
        fate = dice.random()
        if step["offset_days"] in paired:
            steps.append(step)
            continue
        if fate < 0.12:
            continue
        if fate < 0.24:
            step["code"] += "_renamed"
        elif fate < 0.5:
            step["offset_days"] += dice.choice((-2, -1, 1, 3))
            step["phase"] = _phase(step["offset_days"])
        elif fate < 0.6:
            step["channel"] = dice.choice(CHANNELS)
        elif fate < 0.7:
            step.pop("conditions", None)
        steps.append(step)
    if dice.random() < 0.7:
        steps.append(_step(90, dice.choice(OFFSETS), dice))
    changed["steps"] = sorted(steps, key=lambda step: step["offset_days"])
    changed["tolerance_amount"] = dice.choice((0, 15))
    changed["prescription_years"] = dice.choice((5, 6))
    changed["limits"]["days_between_contacts"] = dice.randint(1, 3)
    return _fitted(changed, dice)
