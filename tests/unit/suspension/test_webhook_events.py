"""Which event tells a change of access, and what a receiver knows after all of them, in whatever order."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from examples.webhook_receiver.received_states import ReceivedStates
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from regua.suspension.standing import LEVELS, Debt, Entry, Found, Standing, held_entry, next_entry
from regua.suspension.webhooks import WebhookEvent, event_from_json, event_of

DAY = date(2026, 6, 30)
AT = datetime.fromisoformat("2026-06-30 05:00")
DEBT = Debt(
    invoice_count=1,
    balance_amount=Decimal("150.00"),
    currency_code="BRL",
    oldest_invoice_id="I1",
    oldest_due_date=date(2026, 5, 30),
    days_past_due=31,
    suspending_invoice_ids=("I1",),
)
# Every event is a commit that a disk would have to sync.
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
UNTIL, LATER = date(2026, 7, 3), date(2026, 7, 10)


def entry(standing: str, reached: str | None = None, until: date | None = None) -> Entry:
    return Entry(
        subscription_id="S1",
        customer_id="C1",
        as_of_date=DAY,
        standing_code=Standing(standing),
        reached_code=reached or (standing if standing in LEVELS else "suspended"),
        reached_before_code="regular",
        since_date=DAY,
        reason_code="over_threshold",
        change_code=None,
        debt=DEBT,
        unlocked_until_date=until,
        payment_url="https://pay.example/S1",
    )


REGULAR, NOTICE = entry("regular"), entry("notice")
SUSPENDED, PROPOSED = entry("suspended"), entry("cancellation_proposed")
UNLOCKED = entry("trust_unlock", until=UNTIL)
BACK, BACK_OWING = entry("reactivated", "regular"), entry("reactivated", "notice")


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (None, REGULAR, None),
        (None, NOTICE, "notice"),
        (REGULAR, NOTICE, "notice"),
        (NOTICE, NOTICE, None),
        (NOTICE, REGULAR, "regular"),
        (NOTICE, SUSPENDED, "suspended"),
        (UNLOCKED, SUSPENDED, "suspended"),
        (UNLOCKED, PROPOSED, "suspended"),
        (SUSPENDED, SUSPENDED, None),
        (SUSPENDED, PROPOSED, "cancellation_proposed"),
        (PROPOSED, PROPOSED, None),
        (PROPOSED, SUSPENDED, "suspended"),
        (SUSPENDED, BACK, "reactivated"),
        (SUSPENDED, BACK_OWING, "reactivated"),
        (PROPOSED, BACK, "reactivated"),
        (SUSPENDED, UNLOCKED, "reactivated"),
        (BACK, REGULAR, None),
        (BACK, NOTICE, "notice"),
        (BACK_OWING, NOTICE, None),
        (BACK_OWING, REGULAR, "regular"),
        (UNLOCKED, REGULAR, "regular"),
        (UNLOCKED, NOTICE, "notice"),
        (UNLOCKED, UNLOCKED, None),
        (UNLOCKED, replace(UNLOCKED, unlocked_until_date=LATER), "notice"),
        (NOTICE, UNLOCKED, "notice"),
        (NOTICE, replace(NOTICE, unlocked_until_date=UNTIL), None),
        (NOTICE, replace(NOTICE, debt=replace(DEBT, days_past_due=32)), None),
    ],
)
def test_which_event_tells_a_change(before: Entry | None, now: Entry, expected: str | None) -> None:
    told = event_of(now, before, 7, DAY, AT)
    assert (told.type_code if told else None) == (f"customer.{expected}" if expected else None)


def test_the_body_has_ids_codes_dates_and_amounts_and_nothing_else() -> None:
    told = event_of(UNLOCKED, SUSPENDED, 7, DAY, AT)
    assert told is not None
    assert json.loads(told.body) == {
        "type": "customer.reactivated",
        "timestamp": "2026-06-30T05:00:00.000000Z",
        "data": {
            "sequence": 7,
            "as_of": "2026-06-30",
            "customer_id": "C1",
            "subscription_id": "S1",
            "standing_code": "trust_unlock",
            "has_access": True,
            "banner_code": "trust_unlock",
            "billing_hint_code": "invoice",
            "reason_code": "over_threshold",
            "oldest_invoice_id": "I1",
            "days_past_due": 31,
            "balance_amount": "150.00",
            "currency_code": "BRL",
            "unlocked_until_date": "2026-07-03",
        },
    }


def test_the_page_shows_a_body_as_it_is_sent(project_dir: Path) -> None:
    page = (project_dir / "docs/how-to/webhooks.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    debt = replace(DEBT, balance_amount=Decimal("450.00"), oldest_invoice_id="I88210")
    entry = replace(SUSPENDED, subscription_id="S1954", customer_id="C1954", debt=debt)
    told = event_of(entry, NOTICE, 181, DAY, datetime.fromisoformat("2026-06-30 05:12:09.120"))
    assert told is not None
    assert list(json.loads(shown)["data"].items()) == list(json.loads(told.body)["data"].items())
    assert json.loads(shown) == json.loads(told.body)


def test_the_same_publication_gives_the_same_id_and_bytes_and_another_one_another_id() -> None:
    first, again = event_of(NOTICE, None, 7, DAY, AT), event_of(NOTICE, None, 7, DAY, AT)
    assert first is not None
    assert first == again == event_from_json(json.loads(json.dumps(first.to_json())))
    assert re.fullmatch(r"evt_[0-9a-f]{32}", first.event_id)
    others = [event_of(NOTICE, None, 8, DAY, AT), event_of(replace(NOTICE, subscription_id="S2"), None, 7, DAY, AT)]
    assert len({first.event_id, *(other.event_id for other in others if other)}) == 3


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[str, Entry], list[WebhookEvent]]:
    """What is published of some subscriptions on the days of a month: the last entries, and all events."""
    last: dict[str, Entry] = {}
    events = []
    for day_number in range(draw(st.integers(1, 12))):
        as_of = DAY + timedelta(days=day_number)
        for subscription_id in ("S1", "S2"):
            until = draw(st.sampled_from([None, None, as_of + timedelta(days=1), as_of + timedelta(days=4)]))
            level = draw(st.sampled_from(LEVELS))
            found = Found(subscription_id, "C1", level, "over_threshold", DEBT, unlocked_until_date=until)
            before = last.get(subscription_id)
            now = next_entry(before, found, as_of)
            if before is not None and before.has_access and not now.has_access and draw(st.booleans()):
                now = held_entry(before, now, "awaits_approval")
            told = event_of(now, before, day_number + 1, as_of, AT)
            events += [told] if told else []
            last[subscription_id] = now
    return last, events


@given(histories(), st.data())
@settings(max_examples=100)
def test_after_all_events_in_any_order_a_receiver_knows_what_was_published_last(
    history: tuple[dict[str, Entry], list[WebhookEvent]], data: st.DataObject
) -> None:
    last, events = history
    repeated = data.draw(st.lists(st.sampled_from(events), max_size=8)) if events else []
    arriving = data.draw(st.permutations([*events, *repeated]))
    note(f"several events: {len(events) > 2}, in another order: {arriving != events}")
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as folder:
        states = ReceivedStates(Path(folder) / "states.sqlite")
        for event in arriving:
            states.apply(event.event_id, json.loads(event.body)["data"])
        known = {row["subscription_id"]: row for row in states.all()}
    for subscription_id, published in last.items():
        row = known.get(subscription_id, {"has_access": True, "banner_code": None, "standing_code": "regular"})
        assert (row["has_access"], row["banner_code"]) == (published.has_access, published.banner_code)
        proposed = Standing.CANCELLATION_PROPOSED
        assert (row["standing_code"] == proposed) is (published.standing_code is proposed)
        if published.banner_code == "trust_unlock":
            expected = published.unlocked_until_date
            assert row["unlocked_until_date"] == (expected.isoformat() if expected else None)
