"""One subscription that is suspended on AS_OF, and ways to change what is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from regua.policy.policies import Policies, Policy, combine
from regua.policy.policy_file import PolicyFile
from regua.suspension.raw_facts import RawFacts, Rejections

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
NOTHING_REJECTED = Rejections()

# A Tuesday, 29 days after the due date, a Monday.
AS_OF = date(2026, 6, 30)
DUE = date(2026, 6, 1)
# 23:59 in São Paulo.
LOADED_AT = datetime.fromisoformat("2026-07-01 02:59")
THRESHOLDS: dict[str, Any] = {
    "banner_after_days": 5,
    "suspend_after_days": 20,
    "suspension_grace_business_days": 1,
    "suspension_notice_age_days": 5,
    "cancel_after_days": 60,
    "bureau_after_days": 60,
    "notice_age_days": 10,
}
# Each row that a case adds says only what is different.
_DEFAULTS: Rows = {
    "customers": [{"customer_id": "c"}],
    "subscriptions": [
        {"subscription_id": "s", "customer_id": "c", "status_code": "active", "has_suspension_clause": True}
    ],
    "invoices": [
        {
            "invoice_id": "i",
            "customer_id": "c",
            "subscription_id": "s",
            "issue_date": date(2026, 1, 1),
            "due_date": DUE,
            "amount": Decimal("100.00"),
            "currency_code": "BRL",
            "status_code": "open",
            "payment_method_code": "pix",
            "calendar_code": "br-bank",
        }
    ],
    "payments": [
        {
            "invoice_id": "i",
            "payment_date": date(2026, 6, 10),
            "amount": Decimal("100.00"),
            "currency_code": "BRL",
            "_loaded_at": LOADED_AT,
        }
    ],
    "credits": [
        {
            "customer_id": "c",
            "applied_date": DUE,
            "amount": Decimal("100.00"),
            "currency_code": "BRL",
            "_loaded_at": LOADED_AT,
        }
    ],
    "agreements": [{"agreement_id": "a", "customer_id": "c", "valid_from_date": DUE}],
    "agreement_invoices": [{"agreement_id": "a", "invoice_id": "i", "valid_from_date": DUE}],
    "promises": [{"promised_date": AS_OF, "valid_from_date": DUE}],
    "disputes": [{"invoice_id": "i", "valid_from_date": DUE}],
    "exemptions": [{"valid_from_date": DUE}],
    "pauses": [{"customer_id": "c", "valid_from_date": DUE, "valid_to_date": AS_OF}],
    "trust_unlocks": [{"customer_id": "c", "valid_from_date": DUE, "valid_to_date": AS_OF}],
    "touches": [
        {
            "touch_id": "t",
            "customer_id": "c",
            "invoice_id": "i",
            "step_code": "suspension_notice",
            "planned_date": date(2026, 6, 11),
            "fate_code": "delivered",
            "delivered_date": date(2026, 6, 12),
        }
    ],
}
_ALWAYS_THERE = ("customers", "subscriptions", "invoices", "touches")


def facts_of(
    rows: Rows | None = None, *, holidays: frozenset[date] = frozenset(), rejections: Rejections = NOTHING_REJECTED
) -> RawFacts:
    """The suspended subscription; of an entity that a case has rows of, these in place of its own."""
    given = {entity: [{}] for entity in _ALWAYS_THERE} | dict(rows or {})
    return RawFacts(
        {entity: [_DEFAULTS[entity][0] | dict(row) for row in added] for entity, added in given.items()},
        holidays,
        rejections,
    )


def days_before(count: int) -> date:
    return AS_OF - timedelta(days=count)


def policy_of(code: str, *, default: bool = False, **changes: Any) -> Policy:
    """Of two notices; `changes` are of its version."""
    version = {
        "tolerance_amount": "5.00",
        "late_charges": {"fine_pct": 2, "monthly_interest_pct": 1, "consumer_fine_cap_pct": 2},
        "thresholds": THRESHOLDS,
        "clearing": {"boleto_business_days": 1, "pix_automatico_days": 7},
        "prescription_years": 5,
        "contact_windows": {"other": {"business_day": "9-19"}},
        "steps": [
            step("friendly", 2),
            step("suspension_notice", 10, notice="suspension"),
            step("bureau_notice", 40, notice="credit_bureau"),
        ],
    }
    content = {"description": "Small.", "default": default, "versions": [version | changes]}
    return Policy(code, Path(f"{code}.yml"), PolicyFile.model_validate(content))


def step(code: str, offset_days: int, **more: Any) -> dict[str, Any]:
    return {"code": code, "offset_days": offset_days, "channel": "email", "phase": "friendly", "template": "t"} | more


def policies_of(*others: Policy, **changes: Any) -> Policies:
    """The default, with changes, and others."""
    return combine([policy_of("default", default=True, **changes), *others])
