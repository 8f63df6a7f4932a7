"""What the ledger tells the night of its messages, and that the night acts on it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlalchemy as sa
from tests.integration.dispatch.made_plans import DAY, TEN, House, RememberingChannel, made_message

from regua.channels.sending import Answer, Outcome
from regua.dispatch.evidence import EventCode, Evidence, record_evidence
from regua.dispatch.payments import note_payment
from regua.dispatch.planning import read_night, write_plan
from regua.dispatch.recalling import look_before_release
from regua.dispatch.sent_touches import write_sent_touches
from regua.errors import InputError
from regua.ingest.arrival import Arrival, LandingStore
from regua.ingest.landing import land
from regua.ledger.database import open_ledger
from regua.ledger.event_log import writing_messages
from regua.ledger.fact_commands import add_fact
from regua.ledger.fact_entry import operators_source
from regua.ledger.messages import PLANS
from regua.nightly.stages import Night, run_stage
from regua.sample.portfolio import generate, generate_next_day
from regua.settings import Settings, load_settings
from regua.warehouse.store import writing


@dataclass
class Landed:
    """The touches of a house, landed night by night."""

    house: House

    def night(self) -> dict[str, tuple[str, str | None]]:
        """(fate, day of delivery) by invoice, of what this night landed."""
        folder = self.house.folder / "touches"
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        if not write_sent_touches(self.house.settings, folder):
            assert not list(folder.iterdir())
            return {}
        settings = self.house.settings
        landing = land(settings.landing_dir, settings.inbox, [operators_source(str(folder))], self.house.clock)
        [arrival] = landing.landed
        content = LandingStore(settings.landing_dir, "operators").content_path(arrival.sha256).read_text()
        rows = [json.loads(line) for line in content.splitlines()]
        return {row["invoice_id"]: (row["fate_code"], row["delivered_date"]) for row in rows}

    def arrivals(self) -> list[Arrival]:
        return LandingStore(self.house.settings.landing_dir, "operators").arrivals()


@pytest.fixture
def landed(house: House) -> Landed:
    return Landed(house)


def said(house: House, event: str, customer: str, at: datetime = TEN) -> None:
    message_id = house.message_of(customer).message_id
    record_evidence(house.engine, [Evidence("remembering", EventCode(event), at, message_id)], house.clock)


def test_a_message_gives_a_touch_of_each_invoice_once_it_left_the_plan(landed: Landed) -> None:
    house = landed.house
    assert landed.night() == {}
    house.plan(made_message(1, invoices=("A", "B")), *(made_message(number) for number in range(2, 7)))
    assert landed.night() == {}, "what is planned gives none: it counts as sent"
    answers = {"C2": [Outcome(Answer.UNKNOWN, "timeout")], "C3": [Outcome(Answer.REJECTED, "400")]}
    house.send(RememberingChannel(answers), messages=6)
    said(house, "bounced", "C4")
    said(house, "dropped", "C5")
    said(house, "delivered", "C6", datetime.fromisoformat("2026-07-01 01:00"))
    sent, bounced = ("sent", None), ("bounced", None)
    assert landed.night() == {
        "A": sent,
        "B": sent,
        "I2": ("unknown", None),
        "I3": ("not_sent", None),
        "I4": bounced,
        "I5": bounced,
        "I6": ("delivered", "2026-06-30"),
    }


def test_a_night_lands_what_changed_since_the_one_before(landed: Landed) -> None:
    house = landed.house
    house.plan(made_message(1), made_message(2))
    house.send(RememberingChannel())
    assert set(landed.night()) == {"I1", "I2"}
    assert landed.night() == {}
    said(house, "delivered", "C1")
    assert landed.night() == {"I1": ("delivered", "2026-06-30")}
    assert landed.night() == {}
    assert [arrival.manifest_rows for arrival in landed.arrivals()] == [2, 1]


def test_a_step_that_goes_out_after_all_is_told_anew(landed: Landed) -> None:
    house = landed.house
    house.plan(made_message(1))
    house.send(RememberingChannel({"C1": [Outcome(Answer.REJECTED, "400")]}))
    assert landed.night() == {"I1": ("not_sent", None)}
    house.wait(86_400)
    tomorrow = DAY + timedelta(days=1)
    house.plan(made_message(1, day=tomorrow), day=tomorrow)
    assert landed.night() == {}
    house.send(RememberingChannel(), day=tomorrow)
    assert landed.night() == {"I1": ("sent", None)}
    first, second = landed.arrivals()
    store = LandingStore(house.settings.landing_dir, "operators")
    keys = [json.loads(store.content_path(a.sha256).read_text())["touch_id"] for a in (first, second)]
    assert keys[0] == keys[1]


def test_the_same_ledger_gives_the_same_bytes(landed: Landed, tmp_path: Path) -> None:
    house = landed.house
    house.plan(*(made_message(number) for number in range(20)))
    house.send(RememberingChannel())
    contents = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        write_sent_touches(house.settings, folder)
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert contents[0] == contents[1]
    assert len(contents[0]) == 2


def test_another_ledger_stops_the_night(landed: Landed, tmp_path: Path) -> None:
    """Its nights would decide again what this one sent."""
    house = landed.house
    house.plan(made_message(1))
    house.send(RememberingChannel())
    landed.night()
    other = replace(house.settings, ledger_url=None, home=tmp_path / "other")
    folder = tmp_path / "inbox"
    folder.mkdir()
    with open_ledger(other) as engine:
        twin = House(engine, other, tmp_path)
        for number in range(2, 5):
            twin.plan(made_message(number))
            twin.send(RememberingChannel())
    # Its own landing area says nothing of it; the first ledger's does.
    (other.home / "landing").symlink_to(house.settings.landing_dir)
    with pytest.raises(InputError, match="another one, or an older copy") as refusal:
        write_sent_touches(other, folder)
    batch_id = str(refusal.value).split("discard operators ")[1].split()[0]
    LandingStore(other.landing_dir, "operators").discard(batch_id, "the disk burnt")
    assert write_sent_touches(other, folder) == 3


FIRST, SECOND = date(2026, 6, 26), date(2026, 6, 30)
PORTFOLIO: dict[str, Any] = {"customers": 400, "months": 5, "as_of": FIRST, "seed": 11, "memory": "1GB"}
STAGES = ("land", "load", "staging", "intermediate", "marts", "dunning")
FATES = ("accepted", "rejected", "cancelled_paid", "bounced", "notice_bounced")


def night_of(settings: Settings, day: date) -> None:
    """From landing to the decisions; gates and serving have tests of their own, so it is said that they passed."""
    night = Night(day, None, f"night {day}")
    at = datetime(day.year, day.month, day.day, 5)  # noqa: DTZ001 - instants here are UTC without a zone
    for stage in STAGES:
        night = run_stage(settings, night, stage, lambda: at)
    with writing(settings) as warehouse:
        warehouse.execute(
            "insert into ops.stage_runs values (?, ?, 'r', 'serve', ?, 0, 'succeeded', '{}')",
            [day, night.known_at, at + timedelta(hours=1)],
        )


@dataclass(frozen=True)
class TwoNights:
    """A night, its dispatch, and the night after; one message for each fate."""

    settings: Settings
    customers: dict[str, str]
    steps: dict[str, set[tuple[str, str]]]

    def decided(self, fate: str, day: date) -> dict[tuple[str, str], str]:
        """Outcome by invoice and step."""
        with duckdb.connect(str(self.settings.warehouse_path), read_only=True) as warehouse:
            rows = warehouse.execute(
                "select invoice_id, step_code, outcome_code from marts.fct_dunning_decisions "
                "where as_of_date = ? and contact_customer_id = ?",
                [day, self.customers[fate]],
            ).fetchall()
        return {(invoice, step): outcome for invoice, step, outcome in rows}


@pytest.fixture(scope="module")
def two_nights(tmp_path_factory: pytest.TempPathFactory) -> TwoNights:
    home = tmp_path_factory.mktemp("dispatched")
    settings = replace(
        load_settings({"REGUA_HOME": str(home), "REGUA_ENV": "production"}),
        warehouse_memory="1GB",
        warehouse_threads=2,
    )
    inbox = settings.inbox / "sample"
    generate(inbox, **PORTFOLIO)
    night_of(settings, FIRST)
    with open_ledger(settings) as engine:
        # Fifteen o'clock in São Paulo: within the hours of all.
        house = House(engine, settings, home, datetime.fromisoformat(f"{FIRST} 18:00"))
        night = read_night(settings, FIRST, [])
        write_plan(engine, night, house.clock)
        with writing_messages(engine) as connection:
            connection.execute(sa.update(PLANS).values(gate_code="green"))
        emails = [message for message in night.messages if message.content.channel_code == "email"]
        of_notice = next(m for m in emails if m.content.step_code == "suspension_notice_email")
        others = [m for m in emails if m.content.step_code == "overdue_email"][: len(FATES) - 1]
        chosen = dict(zip(FATES, [*others, of_notice], strict=True))
        customers = {fate: message.content.customer_id for fate, message in chosen.items()}
        provider = RememberingChannel({customers["rejected"]: [Outcome(Answer.REJECTED, "400")]}, holds=True)
        house.send(provider, day=FIRST, batch_size=1, hold_for=timedelta(minutes=45))
        # The payment is told, stops the message, and is reversed before any night has seen it.
        paid = chosen["cancelled_paid"].steps[0].invoice_id
        note_payment(engine, "PAY-1", paid, "test", house.clock)
        assert look_before_release(engine, lambda _: provider, house.clock).recalled == 1
        house.wait(7200)
        for fate in ("bounced", "notice_bounced"):
            item = Evidence(
                "remembering", EventCode.BOUNCED, house.now, chosen[fate].content.message_id, reason="5.1.1"
            )
            assert record_evidence(engine, [item], house.clock).facts == 1
    add_fact(
        settings,
        lambda: datetime.fromisoformat(f"{SECOND} 04:00"),
        "contact_point",
        {
            "customer_id": customers["notice_bounced"],
            "contact_type_code": "postal_address",
            "address": "Rua do Canário, 1, 01310-100 São Paulo - SP",
            "valid_from_date": str(SECOND),
        },
        author="ana",
        reason="told by phone",
        allow_unknown=True,
    )
    generate_next_day(inbox, **PORTFOLIO, day=SECOND, changed_pct=None)
    night_of(settings, SECOND)
    steps = {fate: {(step.invoice_id, step.step_code) for step in m.steps} for fate, m in chosen.items()}
    return TwoNights(settings, customers, steps)


@pytest.mark.timeout(600)
class TestTheNightAfter:
    def test_it_knows_the_fate_of_every_message(self, two_nights: TwoNights) -> None:
        with duckdb.connect(str(two_nights.settings.warehouse_path), read_only=True) as warehouse:
            found = dict(
                warehouse.execute(
                    "select customer_id, max(fate_code) from raw.touches "
                    "where channel_code = 'email' and planned_date = ? group by customer_id",
                    [FIRST],
                ).fetchall()
            )
        fates = {fate: found[customer] for fate, customer in two_nights.customers.items()}
        assert fates == {
            "accepted": "sent",
            "rejected": "not_sent",
            "cancelled_paid": "not_sent",
            "bounced": "bounced",
            "notice_bounced": "bounced",
        }

    def test_what_went_out_is_not_decided_again(self, two_nights: TwoNights) -> None:
        decided = two_nights.decided("accepted", SECOND)
        for key in two_nights.steps["accepted"]:
            assert decided.get(key) != "eligible"

    @pytest.mark.parametrize("fate", ["rejected", "cancelled_paid"])
    def test_what_did_not_is_due_again(self, two_nights: TwoNights, fate: str) -> None:
        decided = two_nights.decided(fate, SECOND)
        assert [decided.get(key) for key in two_nights.steps[fate]] == ["eligible"] * len(two_nights.steps[fate])

    def test_a_notice_that_bounced_goes_by_letter(self, two_nights: TwoNights) -> None:
        decided = two_nights.decided("notice_bounced", SECOND)
        [(invoice_id, _), *_] = sorted(two_nights.steps["notice_bounced"])
        assert decided[invoice_id, "suspension_notice_letter"] == "eligible"

    def test_nobody_is_written_to_at_an_address_that_bounced(self, two_nights: TwoNights) -> None:
        with duckdb.connect(str(two_nights.settings.warehouse_path), read_only=True) as warehouse:
            found = warehouse.execute(
                "select distinct channel_code from marts.fct_dunning_messages "
                "where as_of_date = ? and contact_customer_id = ?",
                [SECOND, two_nights.customers["bounced"]],
            ).fetchall()
        assert "email" not in {channel for (channel,) in found}
