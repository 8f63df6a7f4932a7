"""What is published of a subscription: the table of docs/reference/suspension.md, and what must hold in any order."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regua.suspension.standing import LEVELS, Change, Debt, Entry, Found, Standing, held_entry, kept_entry, next_entry

DAY = date(2026, 6, 30)
UNLOCK = DAY + timedelta(days=5)


def found(level: str, until: date | None = None) -> Found:
    debt = Debt() if level == "regular" else Debt(invoice_count=1, suspending_invoice_ids=("i1",))
    return Found("s1", "c1", level, "over_threshold", debt, unlocked_until_date=until)


def entry(standing: str, reached: str, *, reached_before: str | None = None, as_of: date = DAY) -> Entry:
    return Entry(
        "s1", "c1", as_of, Standing(standing), reached, reached_before or reached, as_of, "over_threshold", None
    )  # fmt: skip


YESTERDAY = DAY - timedelta(days=1)
REGULAR = None
NOTICE = entry("notice", "notice", as_of=YESTERDAY)
SUSPENDED = entry("suspended", "suspended", as_of=YESTERDAY)
PROPOSED = entry("cancellation_proposed", "cancellation_proposed", as_of=YESTERDAY)
UNLOCKED = entry("trust_unlock", "suspended", as_of=YESTERDAY)
REACTIVATED = entry("reactivated", "regular", as_of=YESTERDAY)


@pytest.mark.parametrize(
    ("before", "level", "until", "standing", "change"),
    [
        pytest.param(REGULAR, "regular", None, "regular", None, id="nothing is owed"),
        pytest.param(REGULAR, "notice", None, "notice", None, id="a banner"),
        pytest.param(REGULAR, "suspended", None, "notice", None, id="nobody is suspended without a day of notice"),
        pytest.param(REGULAR, "cancellation_proposed", None, "notice", None, id="however late it is found"),
        pytest.param(NOTICE, "suspended", None, "suspended", "suspend", id="suspended"),
        pytest.param(NOTICE, "cancellation_proposed", None, "suspended", "suspend", id="no cancellation first"),
        pytest.param(NOTICE, "regular", None, "regular", None, id="paid before"),
        pytest.param(SUSPENDED, "suspended", None, "suspended", "keep", id="still suspended"),
        pytest.param(
            SUSPENDED, "cancellation_proposed", None, "cancellation_proposed", "propose_cancellation", id="up"
        ),
        pytest.param(PROPOSED, "cancellation_proposed", None, "cancellation_proposed", "keep", id="proposed once"),
        pytest.param(PROPOSED, "suspended", None, "suspended", "keep", id="a younger debt is left"),
        pytest.param(SUSPENDED, "regular", None, "reactivated", "reactivate", id="paid"),
        pytest.param(SUSPENDED, "notice", None, "reactivated", "reactivate", id="disputed, another is late"),
        pytest.param(REACTIVATED, "regular", None, "regular", None, id="the day after"),
        pytest.param(REACTIVATED, "suspended", None, "notice", None, id="a broken agreement takes a day of notice"),
        pytest.param(SUSPENDED, "suspended", UNLOCK, "trust_unlock", "reactivate", id="unlocked"),
        pytest.param(UNLOCKED, "suspended", UNLOCK, "trust_unlock", None, id="still unlocked"),
        pytest.param(
            UNLOCKED, "suspended", DAY + timedelta(days=1), "trust_unlock", "unlock_expiring", id="ends tomorrow"
        ),
        pytest.param(UNLOCKED, "suspended", DAY, "trust_unlock", "unlock_expiring", id="ends today"),
        pytest.param(UNLOCKED, "suspended", None, "suspended", "suspend", id="the boleto never cleared"),
        pytest.param(UNLOCKED, "regular", UNLOCK, "regular", None, id="paid while unlocked: access was back already"),
        pytest.param(NOTICE, "suspended", UNLOCK, "trust_unlock", None, id="unlocked beforehand"),
    ],
)
def test_each_line_of_the_table(
    before: Entry | None, level: str, until: date | None, standing: str, change: str | None
) -> None:
    after = next_entry(before, found(level, until), DAY)
    assert (after.standing_code, after.change_code) == (standing, change)


def test_a_second_publication_of_a_day_goes_no_further_than_the_first() -> None:
    """The approval in the afternoon must not suspend who came into notice in the morning."""
    morning = next_entry(None, found("suspended"), DAY)
    assert morning.standing_code == "notice"
    afternoon = next_entry(morning, found("suspended"), DAY)
    assert (afternoon.standing_code, afternoon.change_code) == ("notice", None)
    assert next_entry(afternoon, found("suspended"), DAY + timedelta(days=1)).change_code is Change.SUSPEND


def test_access_given_back_during_the_day_is_not_given_back_a_second_time() -> None:
    back = next_entry(SUSPENDED, found("regular"), DAY)
    again = next_entry(back, found("regular"), DAY)
    assert (again.standing_code, again.change_code) == ("reactivated", None)
    assert kept_entry(back).change_code is None


def test_a_held_entry_stands_where_it_stood() -> None:
    proposed = next_entry(NOTICE, found("suspended"), DAY)
    held = held_entry(NOTICE, proposed, "awaits_approval")
    assert (held.standing_code, held.reached_code, held.change_code) == ("notice", "notice", None)
    assert held.debt == proposed.debt
    assert next_entry(held, found("suspended"), DAY + timedelta(days=1)).change_code is Change.SUSPEND


def test_an_unlock_that_ended_says_until_when_it_was_while_its_end_is_held() -> None:
    unlocked = replace(entry("trust_unlock", "suspended"), unlocked_until_date=DAY - timedelta(days=1))
    held = held_entry(unlocked, next_entry(unlocked, found("suspended"), DAY), "awaits_approval")
    assert (held.standing_code, held.unlocked_until_date) == ("trust_unlock", DAY - timedelta(days=1))


@pytest.mark.parametrize(
    ("standing", "reached", "banner", "hint"),
    [
        ("regular", "regular", None, "invoice"),
        ("notice", "notice", "notice", "invoice"),
        ("suspended", "suspended", "suspended", "stop_invoicing"),
        ("cancellation_proposed", "cancellation_proposed", "suspended", "stop_invoicing"),
        ("trust_unlock", "suspended", "trust_unlock", "invoice"),
        ("reactivated", "notice", "notice", "invoice"),
        ("reactivated", "regular", None, "invoice"),
    ],
)
def test_banner_and_billing_hint_follow_the_standing(
    standing: str, reached: str, banner: str | None, hint: str
) -> None:
    shown = entry(standing, reached)
    assert (shown.banner_code, shown.billing_hint_code) == (banner, hint)


# Days of a subscription: what its facts allow, whether an unlock holds, how often the day is published.
DAYS = st.lists(
    st.tuples(st.sampled_from(LEVELS), st.booleans(), st.integers(min_value=1, max_value=3)), min_size=1, max_size=60
)


def _published(days: list[tuple[str, bool, int]]) -> list[tuple[Entry | None, Entry]]:
    """Each publication with the one before it."""
    history: list[tuple[Entry | None, Entry]] = []
    before: Entry | None = None
    for number, (level, is_unlocked, times) in enumerate(days):
        day = DAY + timedelta(days=number)
        for _ in range(times):
            after = next_entry(before, found(level, day if is_unlocked else None), day)
            history.append((before, after))
            before = after
    return history


@given(DAYS)
def test_no_step_is_skipped_and_each_loss_of_access_is_given_back_once(days: list[tuple[str, bool, int]]) -> None:
    suspended = reactivated = 0
    for before, after in _published(days):
        had_access = before is None or before.has_access
        rank, rank_before = LEVELS.index(after.reached_code), LEVELS.index(after.reached_before_code)
        assert rank <= rank_before + 1
        if not after.has_access:
            assert rank >= LEVELS.index("suspended")
        if after.change_code is Change.SUSPEND:
            assert had_access
            assert not after.has_access
            suspended += 1
        elif after.change_code is Change.REACTIVATE:
            assert not had_access
            assert after.has_access
            reactivated += 1
        else:
            assert after.has_access == had_access
        assert 0 <= suspended - reactivated <= 1


@given(DAYS, st.integers(min_value=1, max_value=5))
def test_whoever_owes_nothing_has_access_at_once_and_is_reactivated_at_most_once(
    days: list[tuple[str, bool, int]], paid_days: int
) -> None:
    history = _published([*days, *([("regular", False, 2)] * paid_days)])
    after_payment = history[-2 * paid_days :]
    assert all(after.has_access for _, after in after_payment)
    assert sum(after.change_code is Change.REACTIVATE for _, after in after_payment) <= 1
    had_access = after_payment[0][0] is None or after_payment[0][0].has_access
    assert (after_payment[0][1].change_code is Change.REACTIVATE) == (not had_access)


@given(DAYS)
def test_publishing_a_day_again_changes_nothing(days: list[tuple[str, bool, int]]) -> None:
    once = [(level, unlocked, 1) for level, unlocked, _ in days]
    last_of_each = {after.as_of_date: after for _, after in _published(days)}
    for before, after in _published(once):
        again = last_of_each[after.as_of_date]
        assert (again.standing_code, again.reached_code, again.since_date) == (
            after.standing_code, after.reached_code, after.since_date,
        ), before  # fmt: skip


@given(DAYS)
def test_an_entry_survives_the_ledger(days: list[tuple[str, bool, int]]) -> None:
    for _, after in _published(days):
        whole = replace(after, unlocked_until_date=DAY, payment_url="https://pagar.example/1")
        assert Entry.from_json(whole.to_json()) == whole
