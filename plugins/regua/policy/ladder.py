"""A policy as a table for people: the ladder that holds on a day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from regua.policy.policies import EffectiveVersion
from regua.policy.policy_file import Conditions, Step, Version

_WIDTH = 120


def print_ladder(version: EffectiveVersion, console: Console | None = None) -> None:
    """Print the steps with their conditions and limits, then what else the version says."""
    console = console or (Console() if Console().is_terminal else Console(width=_WIDTH))
    start = "ever" if version.effective_from == date.min else str(version.effective_from)
    end = "" if version.effective_to == date.max else f" until {version.effective_to}"
    table = Table(
        title=f"policy {version.policy_code}, version {version.version_hash}, since {start}{end}", title_justify="left"
    )
    table.add_column("day", justify="right", no_wrap=True)
    for name in ("step", "channel", "phase", "template", "when and how"):
        table.add_column(name, no_wrap=name != "when and how")
    for step in version.content.steps:
        notes = escape("; ".join(_step_notes(step)))
        table.add_row(f"{step.offset_days:+}", step.code, step.channel, step.phase, step.template, notes)
    console.print(table)
    for line in _terms(version.content):
        console.print(escape(line), highlight=False)


def _step_notes(step: Step) -> Iterator[str]:
    if step.notice is not None:
        yield f"legal notice of {step.notice}"
    if step.fallback_for is not None:
        yield f"only where {step.fallback_for} cannot be delivered"
    yield from _condition_notes(step.conditions)
    for name, limit in step.limits.model_dump(exclude_none=True).items():
        yield f"{name} {limit}"
    if step.holdout_pct:
        yield f"{step.holdout_pct} % held out"
    for variant in step.variants:
        yield f"{variant.share_pct} % get {variant.template} ({variant.code})"


def _condition_notes(conditions: Conditions) -> Iterator[str]:
    for name, value in conditions.model_dump(exclude_defaults=True).items():
        if isinstance(value, list):
            yield f"{name} {', '.join(value)}"
        elif isinstance(value, bool):
            yield name if value else f"not {name}"
        else:
            yield f"{name} {value}"


def _terms(version: Version) -> Iterator[str]:
    if version.applies_to is not None:
        lists = version.applies_to.model_dump(exclude_defaults=True)
        yield "for: " + "; ".join(f"{name} {', '.join(codes)}" for name, codes in lists.items())
    never = {name: "never" for name, days in version.thresholds.model_dump().items() if days is None}
    for title, written in (
        ("thresholds", version.thresholds.model_dump() | never),
        ("late charges", version.late_charges.model_dump()),
        ("limits", version.limits.model_dump()),
        ("clearing", version.clearing.model_dump()),
    ):
        yield f"{title}: {', '.join(f'{name} {value}' for name, value in written.items())}"
    yield (
        f"tolerance_amount {version.tolerance_amount}, feed_max_age_days {version.feed_max_age_days}, "
        f"prescription_years {version.prescription_years}"
    )
    for offer in version.offers:
        yield (
            f"offer to {', '.join(offer.segments) or 'all others'}: up to {offer.instalments} instalments, or "
            f"{offer.discount_pct} % off for paying at once"
        )
    for state, week in version.contact_windows.items():
        hours = ", ".join(f"{name} {hours}" for name, hours in week.model_dump(exclude_none=True).items())
        yield f"calls, SMS and WhatsApp in {state}: {hours or 'never'}"
    hours = ", ".join(
        f"{name} {hours}" for name, hours in version.week_of("email", "").model_dump(exclude_none=True).items()
    )
    yield f"e-mail: {hours or 'never'}"
