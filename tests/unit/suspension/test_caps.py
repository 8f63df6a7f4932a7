"""Above which numbers a person is asked, and what that person is told."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from regua.suspension.proving import NOTHING_DONE, DoneToday, PassedCaps, passed_caps
from regua.suspension.standing import Change, Entry, Standing
from regua.suspension.suspension_file import Band, Caps

DAY = date(2026, 6, 30)
CAPS = Caps(
    new_suspensions=20,
    new_suspensions_pct_of_active=Decimal("1.00"),
    band=Band(days=28, from_lists=5, pct=50, subscriptions=20),
)


def entries(new: int = 0, kept: int = 0) -> list[Entry]:
    changes = [Change.SUSPEND] * new + [Change.KEEP] * kept
    return [
        Entry(f"s{number}", "c", DAY, Standing.SUSPENDED, "suspended", "notice", DAY, "over_threshold", change)
        for number, change in enumerate(changes)
    ]


def passed(
    new: int = 0,
    *,
    kept: int = 0,
    added: int = 0,
    active: int = 100,
    before: tuple[int, ...] = (),
    today: DoneToday = NOTHING_DONE,
) -> PassedCaps:
    return passed_caps(CAPS, active, entries(new, kept), added, before, today)


@pytest.mark.parametrize(
    ("new", "active", "is_over"), [(20, 100, False), (21, 100, True), (30, 3099, False), (31, 3099, True)]
)
def test_a_person_is_asked_above_the_larger_of_a_number_and_a_share(new: int, active: int, is_over: bool) -> None:
    assert bool(passed(new, active=active).suspensions) is is_over


def test_a_cap_is_of_a_day_however_many_lists_it_has() -> None:
    after_some = DoneToday(suspended_count=15, listed_count=20)
    assert passed(5, today=after_some).suspensions == ()
    assert passed(6, today=after_some).suspensions == (
        "6 novas suspensões, com 15 já publicadas hoje, e o limite é 20",
    )
    assert passed(added=1, today=after_some).listings == (
        "1 novas inclusões no bureau de crédito, com 20 já publicadas hoje, e o limite é 20",
    )
    # Who takes nothing is not asked about, whatever the day has seen.
    assert passed(0, today=DoneToday(50, 50)) == PassedCaps((), ())


@pytest.mark.parametrize(
    ("kept", "before", "is_over"),
    [
        (119, (100,) * 5, False),
        (150, (100,) * 5, True),
        (40, (100,) * 5, True),
        (150, (100,) * 4, False),
        # Of few, so many more are not many.
        (19, (1,) * 5, False),
    ],
)
def test_a_total_far_from_the_last_weeks_is_asked_about(kept: int, before: tuple[int, ...], is_over: bool) -> None:
    assert bool(passed(1, kept=kept, before=before).suspensions) is is_over
