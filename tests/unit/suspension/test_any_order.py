"""Whatever happens, in whatever order it is told: who has paid has access, and comes back once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.suspension.small_portfolio import AS_OF, DUE, THRESHOLDS, facts_of, policies_of

from regua.dispatch.last_look import LastLook
from regua.policy.policies import Policies
from regua.suspension.deciding import entries_given_back, entries_of
from regua.suspension.found_night import FoundNight, InvoiceFate
from regua.suspension.raw_facts import RawFacts
from regua.suspension.relief import News
from regua.suspension.second_derivation import derive
from regua.suspension.standing import WITHOUT_ACCESS, Change, Debt, Entry, Found, Standing

FIRST = AS_OF - timedelta(days=12)
LENGTH = 26
DAYS = [FIRST + timedelta(days=number) for number in range(LENGTH)]
SUBSCRIPTIONS = ("s1", "s2", "s3")
# The second owes twice; the third is of another customer.
INVOICES = {"i1": ("s1", "c1"), "i2": ("s2", "c1"), "i3": ("s2", "c1"), "i4": ("s3", "c2")}
POLICIES = {"strict": policies_of(), "lenient": policies_of(thresholds=THRESHOLDS | {"suspend_after_days": 50})}
POLICY_CHANGES = st.sampled_from([(FIRST - timedelta(days=1), "strict"), (DAYS[14], "lenient"), (DAYS[8], "lenient")])


@dataclass(frozen=True)
class Event:
    """Something that happens on a day, and is told of on that day or later."""

    kind: str
    invoice_id: str
    day: date
    told_on: date
    length: int

    @property
    def until(self) -> date:
        return self.day + timedelta(days=self.length)

    def rows(self, number: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """By entity."""
        customer_id = INVOICES[self.invoice_id][1]
        about = {"invoice_id": self.invoice_id, "valid_from_date": self.day}
        if self.kind in ("pay", "pay_part", "reverse", "book_later"):
            yield (
                "payments",
                {
                    "invoice_id": self.invoice_id,
                    "payment_date": self.until if self.kind == "book_later" else self.day,
                    "amount": Decimal("0.01") if self.kind == "pay_part" else Decimal("100.00"),
                    "reversed_date": self.until + timedelta(days=1) if self.kind == "reverse" else None,
                    "_loaded_at": datetime.combine(self.told_on, time(12)),
                },
            )
        elif self.kind in ("agree", "break"):
            name = f"a{number}"
            broken = self.until if self.kind == "break" else None
            yield (
                "agreements",
                {"agreement_id": name, "customer_id": customer_id, "valid_from_date": self.day, "broken_date": broken},
            )
            yield "agreement_invoices", about | {"agreement_id": name}
        elif self.kind == "dispute":
            yield "disputes", about | {"valid_to_date": self.until}
        elif self.kind == "promise":
            yield "promises", about | {"promised_date": self.until}
        elif self.kind == "unlock":
            yield (
                "trust_unlocks",
                {"customer_id": customer_id, "valid_from_date": self.day, "valid_to_date": self.until},
            )


EVENTS = st.lists(
    st.builds(
        lambda kind, invoice_id, day, lag, length: Event(
            kind, invoice_id, DAYS[day], DAYS[min(day + lag, LENGTH - 1)], length
        ),
        st.sampled_from(
            ("pay", "pay", "pay_part", "reverse", "book_later", "agree", "break", "dispute", "promise", "unlock")
        ),
        st.sampled_from(sorted(INVOICES)),
        st.integers(0, LENGTH - 1),
        st.sampled_from((0, 0, 0, 1, 3)),
        st.integers(0, 8),
    ),
    max_size=9,
)


def known_on(events: Sequence[Event], day: date) -> RawFacts:
    """What was told of by a day, about a portfolio in which everything but payments would suspend everybody."""
    rows: dict[str, list[dict[str, Any]]] = {
        "customers": [{"customer_id": "c1"}, {"customer_id": "c2"}],
        "subscriptions": [
            {"subscription_id": name, "customer_id": "c2" if name == "s3" else "c1"} for name in SUBSCRIPTIONS
        ],
        "invoices": [
            {"invoice_id": id_, "subscription_id": subscription_id, "customer_id": customer_id}
            | {"due_date": DUE - timedelta(days=10 * number)}
            for number, (id_, (subscription_id, customer_id)) in enumerate(INVOICES.items())
        ],
        "touches": [{"invoice_id": id_} for id_ in INVOICES],
    }
    for number, event in enumerate(events):
        if event.told_on <= day:
            for entity, row in event.rows(number):
                rows.setdefault(entity, []).append(row)
    return facts_of(rows)


def is_paid(events: Sequence[Event], invoice_id: str, day: date) -> bool:
    """By the events alone: money for the whole of it that is known on a day and not undone by then."""
    return any(
        event.invoice_id == invoice_id
        and event.told_on <= day
        and (event.kind in ("pay", "book_later") or (event.kind == "reverse" and event.day <= day <= event.until))
        for event in events
    )


def founds_of(facts: RawFacts, policies: Policies, day: date) -> tuple[Found, ...]:
    derived = derive(facts, policies, day)
    return tuple(
        Found(
            level.subscription_id,
            level.customer_id,
            level.level_code,
            "over_threshold",
            Debt(invoice_count=1, suspending_invoice_ids=level.suspending_invoice_ids),
            level.unlocked_until_date,
        )
        for level in derived.levels.values()
    )


@dataclass
class House:
    """Publishes a list each day but those on which the feed is late, and gives back in the afternoon of every day."""

    events: Sequence[Event]
    late: frozenset[date]
    policy_change: tuple[date, str]

    def __post_init__(self) -> None:
        self.before: dict[str, Entry] = {}
        self.returns: list[tuple[date, str]] = []
        self.suspensions: list[tuple[date, str]] = []

    def live(self) -> Iterator[date]:
        for day in DAYS:
            if day not in self.late:
                self.publish(day)
            self.give_back(day)
            yield day

    def publish(self, day: date) -> None:
        # The night knows what was told of by the evening before; what is told of on the day is news.
        eve = day - timedelta(days=1)
        founds = founds_of(known_on(self.events, eve), self._policies(day), day)
        night = FoundNight(day, datetime.combine(day, time(5)), founds, (), 1000)
        fates = {
            id_: InvoiceFate("paid")
            for id_ in INVOICES
            if not any(id_ in found.debt.suspending_invoice_ids for found in founds)
        }
        self._apply(day, entries_of(night, self.before, fates, self._news(day, since=eve)))

    def give_back(self, day: date) -> None:
        newest = max((known for known in DAYS if known <= day and known not in self.late), default=FIRST)
        news = self._news(day, since=newest - timedelta(days=1))
        _, entries = entries_given_back(self.before, news, day, {})
        self._apply(day, entries)

    def _apply(self, day: date, entries: Sequence[Entry]) -> None:
        assert len({entry.subscription_id for entry in entries}) == len(entries)
        for entry in entries:
            last = self.before.get(entry.subscription_id)
            had_access = last is None or last.has_access
            if entry.has_access and not had_access:
                assert entry.change_code is Change.REACTIVATE
                self.returns.append((day, entry.subscription_id))
            elif had_access and not entry.has_access:
                assert entry.change_code is Change.SUSPEND
                assert last is not None
                assert last.standing_code is not Standing.REGULAR, "a step was skipped"
                self.suspensions.append((day, entry.subscription_id))
            else:
                assert entry.change_code not in (Change.REACTIVATE, Change.SUSPEND)
        self.before = {entry.subscription_id: entry for entry in entries if entry.standing_code is not Standing.REGULAR}

    def _policies(self, day: date) -> Policies:
        since, code = self.policy_change
        return POLICIES[code] if day >= since else POLICIES["strict"]

    def _news(self, day: date, since: date) -> News:
        told_at = datetime.combine(day, time(12))
        paid = {
            event.invoice_id: told_at
            for event in self.events
            if since < event.told_on <= day and event.kind in ("pay", "pay_part", "reverse", "book_later")
        }
        return News(LastLook(paid, {}, ()), (), {}, day)

    def without_access(self) -> set[str]:
        return {id_ for id_, entry in self.before.items() if entry.standing_code in WITHOUT_ACCESS}


HOUSES = st.builds(House, EVENTS, st.frozensets(st.sampled_from(DAYS), max_size=4), POLICY_CHANGES)


@given(house=HOUSES)
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_nobody_is_without_access_whose_debts_are_paid(house: House) -> None:
    for day in house.live():
        for subscription_id in house.without_access():
            owed = [id_ for id_, (owner, _) in INVOICES.items() if owner == subscription_id]
            assert not all(is_paid(house.events, id_, day) for id_ in owed), (day, subscription_id)


@given(house=HOUSES)
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_between_two_suspensions_lies_one_return_and_never_two(house: House) -> None:
    list(house.live())
    for subscription_id in SUBSCRIPTIONS:
        told = sorted(
            [(day, 0, "back") for day, name in house.returns if name == subscription_id]
            + [(day, 1, "off") for day, name in house.suspensions if name == subscription_id],
        )
        # On a day on which both happen the list came first and the afternoon gave back.
        balance = 0
        for _, _, what in sorted(told, key=lambda one: (one[0], one[2] == "back")):
            balance += 1 if what == "off" else -1
            assert balance in (0, 1)


@given(house=HOUSES, data=st.data())
@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_the_state_depends_on_the_facts_and_not_on_their_order(house: House, data: st.DataObject) -> None:
    shuffled = replace(house, events=data.draw(st.permutations(house.events)))
    for _ in zip(house.live(), shuffled.live(), strict=True):
        assert _standings(house.before) == _standings(shuffled.before)


def _standings(entries: Mapping[str, Entry]) -> dict[str, tuple[str, bool]]:
    return {id_: (entry.standing_code, entry.has_access) for id_, entry in entries.items()}


@pytest.mark.parametrize("kind", ["pay", "dispute", "agree", "unlock", "book_later"])
def test_whoever_is_suspended_comes_back_the_day_after_a_fact_at_the_latest_and_once(kind: str) -> None:
    """That the days above suspend and give back at all."""
    event = Event(kind, "i1", DAYS[10], DAYS[10], 8)
    house = House([event], frozenset(), (FIRST, "strict"))
    for day in house.live():
        if day == DAYS[9]:
            assert house.without_access() == set(SUBSCRIPTIONS)
        if day == DAYS[11]:
            assert house.without_access() == {"s3"} | ({"s2"} if kind != "unlock" else set())
    assert [day for day, name in house.returns if name == "s1"] in ([DAYS[10]], [DAYS[11]])
