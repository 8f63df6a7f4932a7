"""Loading keeps every version, counts every row, and lets nothing that was right be undone by a file that is not."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.ingest.company import (
    DAY,
    INVOICES,
    Company,
    invoice_file,
    invoice_line,
    invoice_set,
    opened_company,
    source_of,
)

from regua.errors import InputError
from regua.ingest import loading
from regua.ingest.loading import load_pending

SNAPSHOT = {"mode": "snapshot"}
STRICT = {"missing_limit_pct": 5, "quarantine_limit_pct": 5}


def lines(*numbers: int, value: str = "10.00") -> str:
    return invoice_file(*[invoice_line(number, value) for number in numbers])


def ids(*numbers: int) -> list[str]:
    return sorted(f"I{number}" for number in numbers)


class TestVersions:
    def test_the_same_file_again_changes_nothing(self, open_company):
        company = open_company()
        company.receive("invoices_1.csv", lines(1, 2))
        before = company.everything()
        assert company.receive("invoices_1.csv", lines(1, 2)) == []
        assert company.load() == []
        assert company.everything() == before

    def test_the_same_rows_in_another_file_are_known_already(self, open_company):
        company = open_company()
        company.receive("invoices_1.csv", lines(1, 2))
        [batch] = company.receive("invoices_2.csv", lines(2, 3))
        assert (batch.accepted_count, batch.duplicate_count, batch.unchanged_count) == (1, 1, 1)
        assert company.known("invoice_id") == ids(1, 2, 3)

    def test_a_changed_row_replaces_its_version_and_the_old_one_stays_to_be_read(self, open_company):
        company = open_company()
        company.receive("invoices_1.csv", lines(1, 2))
        before = company.clock.now
        [batch] = company.receive("invoices_2.csv", lines(1, value="99.00"))
        assert (batch.accepted_count, batch.superseded_count, batch.removed_count) == (1, 1, 0)
        assert company.known("invoice_id, amount") == [("I1", Decimal("99.00")), ("I2", Decimal("10.00"))]
        assert company.known("invoice_id, amount", at=before) == [("I1", Decimal("10.00")), ("I2", Decimal("10.00"))]

    def test_a_correction_under_the_same_name_replaces_and_withdraws(self, open_company):
        company = open_company()
        company.receive("invoices_1.csv", lines(1, 2, 3))
        first = company.clock.now
        [batch] = company.receive("invoices_1.csv", lines(1) + invoice_line(2, "5.00") + "\n")
        assert (batch.unchanged_count, batch.accepted_count, batch.superseded_count) == (1, 1, 2)
        assert batch.removed_count == 1
        assert company.known("invoice_id, amount") == [("I1", Decimal("10.00")), ("I2", Decimal("5.00"))]
        assert company.known("invoice_id", at=first) == ids(1, 2, 3)

    def test_a_correction_withdraws_nothing_of_other_files(self, open_company):
        company = open_company()
        company.receive("invoices_1.csv", lines(1, 2))
        company.receive("invoices_2.csv", lines(3, 4))
        company.receive("invoices_2.csv", lines(4))
        assert company.known("invoice_id") == ids(1, 2, 4)

    def test_a_change_cannot_be_withdrawn_by_leaving_it_out(self, open_company):
        """The invoice vanished: its first content was replaced, and the replacement withdrawn."""
        company = open_company()
        company.receive("invoices_1.csv", lines(1, 2))
        company.receive("invoices_2.csv", lines(1, 3, value="99.00"))
        before = company.everything()
        company.send("invoices_2.csv", lines(3, value="99.00"))
        with pytest.raises(InputError, match=r"invoices_2\.csv: sent again without 1 invoices .*\(I1\)"):
            company.night()
        assert company.everything() == before
        company.receive("invoices_2.csv", lines(3, value="99.00") + invoice_line(1) + "\n")
        assert company.known("invoice_id, amount")[0] == ("I1", Decimal("10.00"))

    def test_a_content_replaced_before_any_night_loaded_it_is_passed_over(self, open_company):
        company = open_company()
        company.send("invoices_1.csv", lines(1, value="1.00"))
        company.land()
        [batch] = company.receive("invoices_1.csv", lines(1, value="2.00"))
        assert batch.superseded_count == 0
        assert company.known("amount") == [Decimal("2.00")]

    def test_a_replay_does_not_take_up_what_was_passed_over(self, open_company):
        """Loaded late, the first content would have replaced the second as of an instant before it came."""
        company = open_company()
        company.send("invoices_1.csv", lines(1, value="1.00"))
        passed_over_at = company.land().known_at
        company.receive("invoices_1.csv", lines(1, value="2.00"))
        before = company.everything()
        assert company.load(known_at=passed_over_at) == []
        assert company.everything() == before

    def test_nothing_newer_than_the_nights_knowledge_is_loaded(self, open_company):
        company = open_company()
        company.send("invoices_1.csv", lines(1))
        first = company.land().known_at
        company.send("invoices_2.csv", lines(2))
        company.land()
        assert [batch.file_name for batch in company.load(known_at=first)] == ["invoices_1.csv"]
        assert [batch.file_name for batch in company.load()] == ["invoices_2.csv"]

    def test_what_was_known_at_every_instant_can_be_read_again(self, open_company):
        company = open_company(**SNAPSHOT)
        histories = [(1, 2, 3), (1, 3), (1, 2, 3, 4), (4,), (1, 2, 3, 4)]
        instants = []
        for day, numbers in enumerate(histories):
            company.receive(f"invoices_{day}.csv", lines(*numbers, value=f"{day}.00"))
            instants.append(company.clock.now)
        for day, (numbers, instant) in enumerate(zip(histories, instants, strict=True)):
            assert company.known("invoice_id, amount", at=instant) == [(key, Decimal(day)) for key in ids(*numbers)]


class TestSnapshots:
    def test_a_key_no_longer_there_is_removed(self, open_company):
        company = open_company(**SNAPSHOT)
        company.receive("invoices_1.csv", lines(1, 2))
        [batch] = company.receive("invoices_2.csv", lines(2))
        assert (batch.removed_count, batch.unchanged_count) == (1, 1)
        assert company.known("invoice_id") == ids(2)

    def test_a_delta_removes_nothing(self, open_company):
        company = open_company()
        company.receive("invoices_1.csv", lines(1, 2))
        company.receive("invoices_2.csv", lines(3))
        assert company.known("invoice_id") == ids(1, 2, 3)

    @pytest.mark.parametrize(("kept", "is_refused"), [(95, False), (94, True), (0, True)])
    def test_too_many_missing_keys_look_like_a_cut_file(self, open_company, kept, is_refused):
        company = open_company(**SNAPSHOT, **STRICT)
        company.receive("invoices_1.csv", lines(*range(100)))
        company.send("invoices_2.csv", lines(*range(kept)))
        if not is_refused:
            assert company.night()[0].removed_count == 100 - kept
            return
        before = company.everything()
        with pytest.raises(
            InputError, match=rf"invoices_2\.csv: {100 - kept} of the 100 invoices known .* are missing"
        ):
            company.night()
        assert company.everything() == before

    def test_an_older_file_that_comes_late_undoes_nothing(self, open_company):
        company = open_company(**SNAPSHOT)
        company.receive("invoices_2026-06-02.csv", lines(1, 2, value="2.00"))
        [batch] = company.receive("invoices_2026-06-01.csv", lines(1, 3, value="1.00"))
        assert (batch.accepted_count, batch.duplicate_count, batch.removed_count) == (0, 2, 0)
        assert company.known("invoice_id, amount") == [("I1", Decimal("2.00")), ("I2", Decimal("2.00"))]

    def test_an_older_delta_that_comes_late_brings_only_what_no_newer_one_has_said(self, open_company):
        company = open_company()
        company.receive("invoices_2.csv", lines(1, value="2.00"))
        company.receive("invoices_1.csv", lines(1, 3, value="1.00"))
        assert company.known("invoice_id, amount") == [("I1", Decimal("2.00")), ("I3", Decimal("1.00"))]

    def test_names_do_not_matter_where_the_mapping_says_so(self, open_company):
        company = open_company(**SNAPSHOT, file_order="arrival")
        company.receive("invoices_2.csv", lines(1, 2))
        company.receive("invoices_1.csv", lines(1))
        assert company.known("invoice_id") == ids(1)

    @pytest.mark.parametrize(
        "line",
        [
            invoice_line(2, "x"),
            invoice_line(2, due="x"),
            "I2,,2026-06-01,2026-06-10,1.00",
            f"{invoice_line(2)}\n{invoice_line(2, '1.00')}",
        ],
        ids=["amount", "date", "customer", "conflict"],
    )
    def test_a_key_that_is_there_but_not_readable_is_not_removed(self, open_company, line):
        company = open_company(**SNAPSHOT)
        company.receive("invoices_1.csv", lines(1, 2))
        [batch] = company.receive("invoices_2.csv", invoice_file(invoice_line(1), line))
        assert batch.removed_count == 0
        assert batch.quarantined_count >= 1
        assert company.known("invoice_id") == ids(1, 2)

    @pytest.mark.parametrize(
        "line",
        [
            ",C1,2026-06-01,2026-06-10,1.00",
            "I2,C1",
            '"I2,C1,2026-06-01,2026-06-10,1.00',
            "I 2,C1,2026-06-01,2026-06-10,1.00",
        ],
        ids=["no key", "too few fields", "open quote", "bad key"],
    )
    def test_a_row_whose_key_cannot_be_read_may_be_any_of_the_missing(self, open_company, line):
        company = open_company(**SNAPSHOT)
        company.receive("invoices_1.csv", lines(1, 2))
        [batch] = company.receive("invoices_2.csv", invoice_file(invoice_line(1), line))
        assert (batch.removed_count, batch.quarantined_count) == (0, 1)
        assert company.known("invoice_id") == ids(1, 2)

    def test_a_file_with_nothing_but_a_header_removes_nothing_by_default(self, open_company):
        company = open_company(**SNAPSHOT, **STRICT)
        company.receive("invoices_1.csv", lines(1, 2))
        company.send("invoices_2.csv", invoice_file())
        with pytest.raises(InputError, match="2 of the 2 invoices"):
            company.night()


class TestKeys:
    def test_a_row_twice_alike_counts_once(self, open_company):
        company = open_company()
        [batch] = company.receive("invoices_1.csv", lines(1, 1, 2, 1))
        assert (batch.read_count, batch.accepted_count, batch.duplicate_count) == (4, 2, 2)
        assert company.known("invoice_id, _line") == [("I1", 2), ("I2", 4)]

    def test_a_key_twice_with_different_content_is_not_taken_at_all(self, open_company):
        company = open_company()
        company.receive("invoices_1.csv", lines(1, value="10.00"))
        [batch] = company.receive(
            "invoices_2.csv", lines(1, value="20.00") + invoice_line(1, "30.00") + "\n" + invoice_line(2) + "\n"
        )
        assert (batch.accepted_count, batch.quarantined_count) == (1, 2)
        assert company.quarantined() == [(2, "conflicting_key"), (3, "conflicting_key")]
        assert company.known("invoice_id, amount") == [("I1", Decimal("10.00")), ("I2", Decimal("10.00"))]

    def test_a_key_of_another_source_is_left_to_it(self, open_company):
        company = open_company()
        company.receive("invoices_1.csv", lines(1))
        other = Company(
            company.settings, company.source.model_copy(update={"name": "other"}), company.warehouse, company.clock
        )
        [batch] = other.receive("invoices_1.csv", lines(1, 2, value="99.00"))
        assert (batch.accepted_count, batch.quarantined_count) == (1, 1)
        assert other.quarantined() == [(2, "key_of_other_source")]
        assert company.known("invoice_id, amount, _source") == [
            ("I1", Decimal("10.00"), "acme"),
            ("I2", Decimal("99.00"), "other"),
        ]

    def test_the_contracts_own_names_can_be_the_files(self, open_company):
        """A file with the contract's column names, and one bad row in it, could not be loaded at all."""
        names = (
            "invoice_id",
            "customer_id",
            "issue_date",
            "due_date",
            "amount",
            "reason_code",
            "message",
            "_fault",
            "_fate",
        )
        feeds = {"invoices": {"columns": {name: name for name in names[:5]}}}
        company = open_company(feeds=feeds)
        rows = ["I1,C1,2026-06-01,2026-06-10,1.00,a,b,c,d", "I2,C1,2026-06-01,2026-06-10,x,a,b,c,d"]
        [batch] = company.receive("invoices_1.csv", "".join(f"{row}\n" for row in (",".join(names), *rows)))
        assert (batch.accepted_count, batch.quarantined_count) == (1, 1)
        assert company.quarantined("reason_code, column_name, key_text") == [("unreadable_number", "amount", "I2")]


class TestLimits:
    @pytest.mark.parametrize(("bad", "is_refused"), [(5, False), (6, True)])
    def test_the_night_stops_above_the_share_of_bad_rows(self, open_company, bad, is_refused):
        company = open_company(**STRICT)
        company.send("invoices_1.csv", invoice_file(*[invoice_line(n, "x" if n < bad else "1.00") for n in range(100)]))
        if not is_refused:
            assert company.night()[0].quarantined_count == 5
            return
        before = company.everything()
        with pytest.raises(InputError) as refused:
            company.night()
        message = str(refused.value)
        assert "invoices_1.csv: 6 of 100 invoices rows cannot be used (6.0 %, limit 5 %)" in message
        assert "line 2: unreadable_number: column 'value' (amount): it is not a number" in message
        [arrival] = company.store.arrivals()
        assert f"regua source discard acme {arrival.batch_id}" in message
        assert company.everything() == before

    def test_a_refused_file_holds_up_those_after_it_and_not_those_before(self, open_company):
        company = open_company(**STRICT)
        company.send("invoices_1.csv", lines(1))
        company.send("invoices_2.csv", invoice_file(invoice_line(2, "x")))
        company.send("invoices_3.csv", lines(3))
        with pytest.raises(InputError, match=r"invoices_2\.csv"):
            company.night()
        assert company.known("invoice_id") == ids(1)
        company.receive("invoices_2.csv", lines(2))
        assert company.known("invoice_id") == ids(1, 2, 3)

    def test_a_set_taken_out_of_the_mapping_is_named_with_what_to_do(self, open_company):
        company = open_company()
        company.send("invoices_1.csv", lines(1))
        company.land()
        company.source = source_of(bills=INVOICES).model_copy(update={"name": "acme"})
        with pytest.raises(InputError, match=r"invoices_1\.csv landed as 'invoices', .*regua source discard acme"):
            company.load()


class TestTwoEntities:
    FEEDS: ClassVar[dict[str, Any]] = {
        "invoices": INVOICES["feeds"]["invoices"],
        "payments": {
            "where": "paid is not null",
            "columns": {"payment_id": "id", "invoice_id": "id", "payment_date": "paid", "amount": "value"},
        },
    }
    HEADER = "id,customer,issued,due,value,paid"

    def file(self, *rows: str) -> str:
        return "".join(f"{row}\n" for row in (self.HEADER, *rows))

    def test_one_file_feeds_both_and_its_where_counts(self, open_company):
        company = open_company(feeds=self.FEEDS)
        invoices, payments = company.receive(
            "invoices_1.csv", self.file(invoice_line(1) + ",2026-06-11", invoice_line(2) + ",")
        )
        assert (invoices.read_count, payments.read_count) == (2, 1)
        assert company.known("payment_id", "payments") == ["I1"]

    def test_a_fault_in_one_entity_takes_the_other_back(self, open_company):
        company = open_company(feeds=self.FEEDS, **STRICT)
        company.send("invoices_1.csv", self.file(invoice_line(1) + ",yesterday"))
        before = company.everything()
        with pytest.raises(InputError, match=r"invoices_1\.csv: 1 of 1 payments rows cannot be used"):
            company.night()
        assert company.everything() == before


def test_rows_that_do_not_add_up_are_refused(open_company, monkeypatch):
    company = open_company()
    company.send("invoices_1.csv", lines(1, 2))
    before = company.everything()
    append = loading._FeedLoad._append

    def loses_one(self) -> None:
        self._connection.execute("delete from typed where _line = 3")
        append(self)

    monkeypatch.setattr(loading._FeedLoad, "_append", loses_one)
    with pytest.raises(
        InputError, match=r"invoices_1\.csv: invoices: read 2 rows and 20\.00, .* make 1 rows and 10\.00"
    ):
        company.night()
    assert company.everything() == before


def test_quarantine_keeps_the_row_its_place_and_its_money(open_company):
    company = open_company()
    company.receive("invoices_1.csv", invoice_file(invoice_line(1), invoice_line(2, "7.50", due="x"), "I3,C1"))
    rows = company.quarantined("_file, _line, entity, reason_code, column_name, key_text, money_amount, record")
    assert [row[:7] for row in rows] == [
        ("invoices_1.csv", 3, "invoices", "unreadable_date", "due_date", "I2", Decimal("7.50")),
        ("invoices_1.csv", 4, "invoices", "wrong_field_count", None, None, None),
    ]
    assert '"due":"x"' in rows[0][7]
    assert "I3,C1" in rows[1][7]


def test_text_left_behind_by_a_killed_load_is_cleared_away(open_company):
    company = open_company()
    leftover = company.settings.work_dir / "abc.txt"
    leftover.write_text("Maria das Dores")
    assert company.load() == []
    assert not leftover.exists()


VALUES = st.sampled_from(["10.00", "0.01", "9999999999.99", "x", "", "1.005", "-1.00", "7"])
ROWS = st.tuples(st.integers(0, 6), VALUES, st.sampled_from(["2026-06-10", "2026-06-11", "x", ""]))
LINES = st.one_of(
    ROWS.map(lambda row: invoice_line(row[0], row[1], due=row[2])),
    st.sampled_from(
        ["I1,C1", "I1,C1,2026-06-01,2026-06-10,1.00,more", "", 'I9,"C1,2026-06-01', "I 1,C1,2026-06-01,2026-06-10,3.00"]
    ),
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(1, 3), st.lists(LINES, max_size=8)), min_size=1, max_size=4), st.booleans())
def test_accounting_holds_and_keys_are_unique_after_any_files(tmp_path_factory, files, is_snapshot):
    """I5: accepted + quarantined + duplicate = read, in rows and in money; and one version of each key is current."""
    source = source_of(invoices=invoice_set(mode="snapshot" if is_snapshot else "delta"))
    with opened_company(tmp_path_factory.mktemp("accounts"), source) as company:
        for number, rows in files:
            company.send(f"invoices_{number}.csv", invoice_file(*rows))
            refused = None
            before = company.everything()
            try:
                company.night()
            except InputError as error:
                refused = str(error)
            if refused is not None:
                assert re.search(r"sent again without", refused), refused
                assert company.everything() == before
                company.store.discard(company.store.arrivals()[-1].batch_id, "refused")
            current = company.known("invoice_id")
            assert len(current) == len(set(current))
        for counts in company.warehouse.execute(
            "select read_count - accepted_count - quarantined_count - duplicate_count, "
            "read_amount - accepted_amount - quarantined_amount - duplicate_amount from ops.batches"
        ).fetchall():
            assert counts == (0, Decimal(0))
        stored, rejected = company.warehouse.execute(
            "select (select count(*) from raw.invoices), (select count(*) from quarantine.rejected_rows)"
        ).fetchone()
        [totals] = company.warehouse.execute(
            "select sum(accepted_count), sum(quarantined_count) from ops.batches"
        ).fetchall()
        assert (stored, rejected) == tuple(int(total or 0) for total in totals)


def test_loading_takes_no_source_that_it_was_not_given(open_company):
    company = open_company()
    company.send("invoices_1.csv", lines(1))
    company.land()
    arguments = (company.warehouse, company.settings.landing_dir, company.settings.work_dir, [])
    assert load_pending(*arguments, as_of=DAY, known_at=company.clock.now) == []
