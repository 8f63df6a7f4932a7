"""Payments that arrive in files between the night and the message, read beside the warehouse that knew none of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.integration.dispatch.made_plans import House
from tests.integration.quality.gate_warehouse import AS_OF, KNOWN_AT, build_healthy_home

from regua.dispatch.last_look import Knowledge, take_last_look
from regua.dispatch.payments import (
    Notice,
    note_new_payments,
    note_payment,
    note_payments,
    unknown_at,
    unseen_notices,
)
from regua.errors import InputError
from regua.ingest.landing import land
from regua.ingest.mapping import read_source
from regua.ledger.database import open_ledger
from regua.ledger.event_log import writing_messages
from regua.ledger.messages import PAYMENT_NOTICES, PLANS
from regua.warehouse.store import reading, warehouse_lock, writing

MORNING = KNOWN_AT + dt.timedelta(hours=6)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[House]:
    """The night that `gate_warehouse` describes, planned at six in the morning."""
    settings = build_healthy_home(tmp_path / "home")
    (settings.inbox / "s").mkdir(parents=True)
    with open_ledger(settings) as engine:
        house = House(engine, settings, tmp_path, now=MORNING)
        house.plan(day=AS_OF)
        with writing_messages(engine) as connection:
            connection.execute(sa.update(PLANS).values(known_at=KNOWN_AT))
        yield house


def arrives(house: House, name: str, *rows: str) -> None:
    header = "a,b,c,d" if name.startswith(("p", "k")) else "id"
    (house.settings.inbox / "s" / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def noted(house: House) -> set[str]:
    note_new_payments(house.settings, house.engine, KNOWN_AT, house.clock)
    return {notice.key for notice in unseen_notices(house.engine)}


def test_a_payment_in_a_file_of_the_day_is_noted_whether_or_not_its_invoice_has_a_step(office: House) -> None:
    arrives(office, "p1.csv", "new_1,inv_300,2026-03-10,100.10", "new_2,inv_301,2026-03-10,0.01")
    assert noted(office) == {"payments:new_1:inv_300", "payments:new_2:inv_301"}


def test_what_the_night_knew_is_not_noted_again(office: House) -> None:
    arrives(office, "p1.csv", "pay_1,inv_1,2026-02-20,40.05", "new_1,inv_300,2026-03-10,100.10")
    assert noted(office) == {"payments:new_1:inv_300"}


def test_a_payment_that_was_moved_to_another_invoice_is_new_for_that_one(office: House) -> None:
    arrives(office, "p1.csv", "pay_1,inv_300,2026-02-20,40.05")
    assert noted(office) == {"payments:pay_1:inv_300"}


def test_a_credit_without_invoice_is_its_customers(office: House) -> None:
    arrives(office, "p1.csv", "new_1,inv_300,2026-03-10,100.10")
    arrives(office, "k1.csv", "1001,cus_4,2026-03-10,10.00")
    assert noted(office) == {"payments:new_1:inv_300", "credits:1001:cus_4"}
    with office.engine.connect() as connection:
        look = take_last_look(connection, Knowledge(KNOWN_AT, {}), office.now)
    assert set(look.paid_customers) == {"cus_4"}


def test_a_payment_that_cannot_be_read_holds_its_invoice_back_as_well(office: House) -> None:
    good = [f"new_{n},inv_{n},2026-03-10,1.00" for n in range(201, 400)]
    arrives(office, "p1.csv", *good, "broken,inv_200,yesterday,100.10")
    note_new_payments(office.settings, office.engine, KNOWN_AT, office.clock)
    with office.engine.connect() as connection:
        assert "inv_200" in take_last_look(connection, Knowledge(KNOWN_AT, {}), office.now).paid_invoices


def test_a_file_that_cannot_be_read_at_all_stops_the_dispatch(office: House) -> None:
    (office.settings.inbox / "s" / "p1.csv").write_text("who,knows\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"p1\.csv"):
        note_new_payments(office.settings, office.engine, KNOWN_AT, office.clock)


def test_what_a_later_night_has_loaded_is_noted_whatever_its_gates_said(office: House) -> None:
    arrives(office, "p1.csv", "pay_1,inv_1,2026-02-20,40.05")
    with warehouse_lock(office.settings, "a night", office.clock), writing(office.settings) as warehouse:
        warehouse.execute(
            "insert into raw.payments by name select * replace ('by_table' as payment_id, 'inv_300' as invoice_id, "
            f"timestamp '{KNOWN_AT + dt.timedelta(hours=1)}' as _loaded_at) "
            "from raw.payments where payment_id = 'pay_3'"
        )
    assert noted(office) == {"payments:by_table:inv_300"}


def test_other_sets_that_a_red_night_has_landed_do_not_keep_payments_from_being_read(office: House) -> None:
    source = read_source(office.settings.sources_dir, "s")
    assert set(source.files) > {"payments", "credits"}, "the source must have other sets"
    (office.settings.inbox / "s" / "i1.csv").write_text("a,b,c,d,e\n", encoding="utf-8")
    arrives(office, "c1.csv", "cus_1")
    arrives(office, "p0.csv", "pay_1,inv_1,2026-02-20,40.05")
    land(office.settings.landing_dir, office.settings.inbox, [source], office.clock)
    arrives(office, "p1.csv", "new_1,inv_300,2026-03-10,100.10")
    assert noted(office) == {"payments:new_1:inv_300"}


def test_what_a_later_night_knows_is_still_news_to_an_earlier_one(office: House) -> None:
    assert note_payment(office.engine, "new_1", "inv_300", "webhook", office.clock)
    later = KNOWN_AT + dt.timedelta(hours=1)
    with writing_messages(office.engine) as connection:
        connection.execute(sa.update(PAYMENT_NOTICES).values(seen_at=later))
    with office.engine.connect() as connection:
        earlier = take_last_look(connection, Knowledge(KNOWN_AT, {}), office.now)
        of_itself = take_last_look(connection, Knowledge(later, {}), office.now)
    assert set(earlier.paid_invoices) == {"inv_300"}
    assert not of_itself.paid_invoices


def test_what_the_published_night_knew_is_news_to_an_older_list_and_not_to_that_night(office: House) -> None:
    """Between a plan and the list of its day an older list still stands: what that one is told stops no message."""
    older = KNOWN_AT - dt.timedelta(days=1)
    arrives(office, "p1.csv", "pay_1,inv_1,2026-02-20,40.05")
    with warehouse_lock(office.settings, "a night", office.clock), writing(office.settings) as warehouse:
        warehouse.execute(
            "insert into ops.stage_runs values (?, ?, 'r', 'serve', ?, 0, 'succeeded', '{}')",
            [AS_OF, KNOWN_AT, KNOWN_AT],
        )
    assert note_new_payments(office.settings, office.engine, older, office.clock)
    with office.engine.connect() as connection:
        of_older = take_last_look(connection, Knowledge(older, {}), office.now)
        of_night = take_last_look(connection, Knowledge(KNOWN_AT, {}), office.now)
    assert "inv_1" in of_older.paid_invoices
    assert not of_night.paid_invoices


def test_a_second_look_at_the_same_files_notes_nothing_more(office: House) -> None:
    arrives(office, "p1.csv", "new_1,inv_300,2026-03-10,100.10")
    assert noted(office) == noted(office) == {"payments:new_1:inv_300"}


def test_one_payment_of_two_invoices_stops_both_and_its_id_may_be_that_of_a_credit(house: House) -> None:
    assert note_payment(house.engine, "1001", "A", "webhook", house.clock)
    assert note_payment(house.engine, "1001", "B", "webhook", house.clock)
    assert not note_payment(house.engine, "1001", "B", "webhook", house.clock)
    assert note_payments(house.engine, [Notice("credits", "1001", "C")], "export", house.clock) == 1
    with house.engine.connect() as connection:
        assert set(take_last_look(connection, Knowledge(KNOWN_AT, {}), house.now).paid_invoices) == {"A", "B", "C"}


def test_what_was_loaded_after_the_night_was_not_decided_with(office: House) -> None:
    """Another night loaded it and stopped at a red gate: the decisions are still those of five o'clock."""
    told = [Notice("payments", "pay_1", "inv_1"), Notice("payments", "pay_9999", "inv_1")]
    with reading(office.settings) as warehouse:
        assert unknown_at(warehouse, told, KNOWN_AT) == told[1:]
        assert set(unknown_at(warehouse, told, KNOWN_AT - dt.timedelta(seconds=1))) == set(told)
