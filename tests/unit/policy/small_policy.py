"""A valid policy of three steps, and ways to change it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

Place = tuple[str | int, ...]
REMOVED = object()

SMALL_POLICY: dict[str, Any] = {
    "description": "Small.",
    "default": True,
    "versions": [
        {
            "late_charges": {"fine_pct": 2, "monthly_interest_pct": 1, "consumer_fine_cap_pct": 2},
            "thresholds": {"banner_after_days": 5, "suspend_after_days": 20},
            "prescription_years": 5,
            "contact_windows": {"SP": {"business_day": "8-20", "saturday": "8-14"}, "other": {"business_day": "9-19"}},
            "offers": [{"instalments": 3, "discount_pct": 5}],
            "steps": [
                {
                    "code": "before",
                    "offset_days": -5,
                    "channel": "email",
                    "phase": "preventive",
                    "template": "reminder",
                },
                {
                    "code": "notice",
                    "offset_days": 10,
                    "channel": "email",
                    "phase": "intensified",
                    "template": "notice",
                    "notice": "suspension",
                },
                {"code": "offer", "offset_days": 25, "channel": "sms", "phase": "renegotiation", "template": "offer"},
            ],
        }
    ],
}
VERSION: Place = ("versions", 0)
STEPS: Place = (*VERSION, "steps")


def changed(changes: Mapping[Place, Any]) -> dict[str, Any]:
    """The small policy with values set, added to a list (index = its length) or REMOVED."""
    policy = copy.deepcopy(SMALL_POLICY)
    for place, value in changes.items():
        part: Any = policy
        for key in place[:-1]:
            part = part.setdefault(key, {}) if isinstance(part, dict) else part[key]
        if value is REMOVED:
            del part[place[-1]]
        elif isinstance(part, list) and place[-1] == len(part):
            part.append(value)
        else:
            part[place[-1]] = value
    return policy


def write_policy(path: Path, changes: Mapping[Place, Any] | None = None) -> Path:
    path.write_text(yaml.safe_dump(changed(changes or {}), sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def step(
    code: str, offset_days: int, channel: str = "email", phase: str = "intensified", **more: Any
) -> dict[str, Any]:
    return {"code": code, "offset_days": offset_days, "channel": channel, "phase": phase, "template": "t", **more}
