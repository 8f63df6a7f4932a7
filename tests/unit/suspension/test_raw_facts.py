"""What the second derivation reads of the warehouse: current rows, quarantine that stands, a customer in one share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.dbt.warehouse_fixture import RawWarehouse, warehouse_settings
from tests.oracle.scenario import batch_row, insert

from regua.settings import Settings
from regua.suspension.raw_facts import RawFacts, Rejections, families_of, read_holidays, read_raw_facts

FIRST, SECOND, THIRD = "2026-06-01 05:00:00", "2026-06-02 05:00:00", "2026-06-03 05:00:00"
SNAPSHOT = {"mode": "snapshot"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return warehouse_settings(tmp_path)


@pytest.fixture
def raw(settings: Settings) -> RawWarehouse:
    return RawWarehouse(settings.warehouse_path)


def read(settings: Settings, known_at: str = THIRD, invoices_a_share: int = 1000) -> list[RawFacts]:
    with duckdb.connect(str(settings.warehouse_path), read_only=True) as warehouse:
        known = datetime.fromisoformat(known_at)
        return [*read_raw_facts(warehouse, settings, known, invoices_a_share=invoices_a_share)]


def ids_of(facts: RawFacts, entity: str, key: str) -> list[str]:
    return sorted(row[key] for row in facts.of(entity))


# Rows -----------------------------------------------------------------------------------------------------------------


def test_a_row_is_current_from_its_loading_until_it_was_superseded(settings: Settings, raw: RawWarehouse) -> None:
    [line] = raw.add("invoices", FIRST, [{"invoice_id": "i", "amount": "100.00"}])
    raw.add("invoices", SECOND, [{"invoice_id": "i", "amount": "90.00"}])
    raw.supersede("invoices", line, SECOND)
    amounts = {
        known_at: [str(row["amount"]) for row in read(settings, known_at)[0].of("invoices")]
        for known_at in ("2026-06-01 04:59:59", FIRST, SECOND)
    }
    assert amounts == {"2026-06-01 04:59:59": [], FIRST: ["100.00"], SECOND: ["90.00"]}


def test_what_was_superseded_in_another_table_is_still_current(settings: Settings, raw: RawWarehouse) -> None:
    """Line numbers are those of a file, and one file may feed several tables."""
    [line] = raw.add("disputes", FIRST, [{"dispute_id": "d", "invoice_id": "i", "valid_from_date": "2026-05-01"}])
    raw.add("invoices", FIRST, [{"invoice_id": "i"}])
    raw.execute(f"insert into raw.superseded values ('promises', '{FIRST}', {line}, timestamp '{SECOND}', 'replaced')")
    assert len(read(settings)[0].of("disputes")) == 1


class TestShares:
    """Each row is in one share, with everything else that decides about the same customer."""

    CUSTOMERS = range(40)

    @pytest.fixture
    def shares(self, settings: Settings, raw: RawWarehouse) -> list[RawFacts]:
        names = [f"c{number}" for number in self.CUSTOMERS]
        # Every fourth was merged into the one before it; the chain of the last few goes through two links.
        merged = {f"c{number}": f"c{number - 1}" for number in self.CUSTOMERS if number % 4 in (2, 3)}
        raw.add("customers", FIRST, [{"customer_id": n, "merged_into_customer_id": merged.get(n)} for n in names])
        raw.add("subscriptions", FIRST, [{"subscription_id": f"s{n}", "customer_id": n} for n in names])
        raw.add("invoices", FIRST, [{"invoice_id": f"i{n}", "customer_id": n} for n in names])
        raw.add(
            "payments",
            FIRST,
            [{"payment_id": n, "invoice_id": f"i{n}", "payment_date": "2026-05-01"} for n in names],
        )
        # Credits and exemptions are of an invoice or of a customer. What names both goes with the invoice.
        raw.add(
            "credits",
            FIRST,
            [{"credit_id": n, "customer_id": n, "applied_date": "2026-05-01"} for n in names[::2]]
            + [
                {"credit_id": n, "customer_id": "c0", "invoice_id": f"i{n}", "applied_date": "2026-05-01"}
                for n in names[1::2]
            ],
        )
        for entity, key in (("disputes", "dispute_id"), ("exemptions", "exemption_id")):
            rows = [{key: n, "invoice_id": f"i{n}", "valid_from_date": "2026-05-01"} for n in names]
            raw.add(entity, FIRST, rows)
        raw.add("agreements", FIRST, [{"agreement_id": "a", "customer_id": "c0", "valid_from_date": "2026-05-01"}])
        return read(settings, invoices_a_share=4)

    def test_no_row_is_missing_and_none_is_twice(self, shares: Sequence[RawFacts]) -> None:
        assert len(shares) == 11
        keys = {
            "customers": "customer_id",
            "subscriptions": "subscription_id",
            "invoices": "invoice_id",
            "payments": "invoice_id",
            "disputes": "invoice_id",
            "exemptions": "invoice_id",
        }
        for entity, key in keys.items():
            found = Counter(row[key] for facts in shares for row in facts.of(entity))
            assert len(found) == len(self.CUSTOMERS)
            assert set(found.values()) == {1}, entity
        assert sum(len(facts.of("credits")) for facts in shares) == len(self.CUSTOMERS)

    def test_everybody_merged_is_in_one_share(self, shares: Sequence[RawFacts]) -> None:
        place = {row["customer_id"]: number for number, facts in enumerate(shares) for row in facts.of("customers")}
        assert len(set(place.values())) > 3
        for number in self.CUSTOMERS:
            if number % 4 in (2, 3):
                assert place[f"c{number}"] == place[f"c{number - 1}"]

    def test_what_is_about_an_invoice_is_where_the_invoice_is(self, shares: Sequence[RawFacts]) -> None:
        for facts in shares:
            customer_ids = {row["customer_id"] for row in facts.of("customers")}
            invoice_ids = {row["invoice_id"] for row in facts.of("invoices")}
            assert invoice_ids == {f"i{customer_id}" for customer_id in customer_ids}
            for entity in ("payments", "disputes", "exemptions"):
                assert {row["invoice_id"] for row in facts.of(entity)} == invoice_ids
            for credit in facts.of("credits"):
                is_here = credit["customer_id"] in customer_ids if credit["invoice_id"] is None else True
                assert is_here
                assert credit["invoice_id"] is None or credit["invoice_id"] in invoice_ids

    def test_agreements_are_in_all_of_them(self, shares: Sequence[RawFacts]) -> None:
        """One may be with another customer than the one whose invoice it covers."""
        assert all(ids_of(facts, "agreements", "agreement_id") == ["a"] for facts in shares)


def test_an_invoice_of_a_customer_that_nobody_knows_is_read(settings: Settings, raw: RawWarehouse) -> None:
    raw.add("invoices", FIRST, [{"invoice_id": "i", "customer_id": "nobody"}])
    [facts] = read(settings)
    assert ids_of(facts, "invoices", "invoice_id") == ["i"]


@pytest.mark.parametrize(
    ("links", "families"),
    [
        pytest.param([], [], id="nobody was merged"),
        pytest.param([("a", "b"), ("c", "d")], ["ab", "cd"], id="two pairs"),
        pytest.param([("a", "b"), ("c", "b")], ["abc"], id="two into one"),
        pytest.param([("c", "d"), ("a", "b"), ("b", "c")], ["abcd"], id="a chain, in any order"),
        pytest.param([("a", "b"), ("b", "a"), ("c", "c")], ["ab", "c"], id="circles"),
    ],
)
def test_all_whom_merges_connect_have_one_name(links: list[tuple[str, str]], families: list[str]) -> None:
    members: dict[str, set[str]] = {}
    for customer_id, name in families_of(links).items():
        members.setdefault(name, set()).add(customer_id)
    assert sorted("".join(sorted(family)) for family in members.values()) == families


def test_the_holidays_are_those_of_the_models(settings: Settings) -> None:
    holidays = read_holidays(settings)
    assert date(2026, 12, 25) in holidays
    assert date(2026, 2, 16) in holidays, "Carnival Monday"
    assert date(2026, 12, 24) not in holidays


# Quarantine -----------------------------------------------------------------------------------------------------------


def reject(settings: Settings, at: str, entity: str, key: str | None, **more: Any) -> None:
    """One row of a batch of its own, of the file `batch_file` (else one of its own name), that cannot be used."""
    file = more.pop("batch_file", f"{entity}-{at}")
    loaded_at = datetime.fromisoformat(at)
    batch = batch_row(file + at, entity, loaded_at, file=file, **more.pop("batch", {})) | {"file_set": entity}
    row = {"_source": "test", "_file": file, "_line": 1, "_batch_id": file + at, "_loaded_at": loaded_at}
    row |= {"entity": entity, "reason_code": "missing_value", "message": "m", "key_text": key, **more}
    with duckdb.connect(str(settings.warehouse_path)) as connection:
        insert(connection, "ops.batches", batch, [batch])
        insert(connection, "quarantine.rejected_rows", row, [row])


def arrive(settings: Settings, at: str, entity: str, file: str, **more: Any) -> None:
    """A batch in which every row could be used."""
    batch = batch_row(file + at, entity, datetime.fromisoformat(at), file=file, **more) | {"file_set": entity}
    with duckdb.connect(str(settings.warehouse_path)) as connection:
        insert(connection, "ops.batches", batch, [batch])


def rejections(settings: Settings, known_at: str = THIRD) -> Rejections:
    return read(settings, known_at)[0].rejections


@pytest.mark.usefixtures("raw")
class TestQuarantine:
    @pytest.mark.parametrize(
        ("entity", "invoice_key", "customer_ids", "invoice_ids"),
        [
            ("customers", None, {"x"}, set()),
            ("invoices", None, set(), {"x"}),
            ("payments", "i", set(), {"i"}),
            ("credits", "i", set(), {"i"}),
            ("credits", None, set(), set()),
            ("disputes", "i", set(), set()),
        ],
    )
    def test_a_rejected_row_is_about_a_customer_or_an_invoice(
        self, settings: Settings, entity: str, invoice_key: str | None, customer_ids: set[str], invoice_ids: set[str]
    ) -> None:
        reject(settings, FIRST, entity, "x", invoice_key_text=invoice_key)
        assert rejections(settings) == Rejections(frozenset(customer_ids), frozenset(invoice_ids))

    def test_what_was_rejected_later_is_not_known_yet(self, settings: Settings) -> None:
        reject(settings, SECOND, "invoices", "i")
        assert rejections(settings, FIRST).invoice_ids == set()
        assert rejections(settings, SECOND).invoice_ids == {"i"}

    def test_a_whole_set_that_comes_again_replaces_it(self, settings: Settings) -> None:
        reject(settings, FIRST, "invoices", "i", batch=SNAPSHOT)
        arrive(settings, SECOND, "invoices", "another.csv", **SNAPSHOT)
        assert rejections(settings, FIRST).invoice_ids == {"i"}
        assert rejections(settings, SECOND).invoice_ids == set()

    def test_of_a_delta_only_the_same_file_does(self, settings: Settings) -> None:
        reject(settings, FIRST, "invoices", "i", batch_file="a.csv")
        arrive(settings, SECOND, "invoices", "b.csv")
        assert rejections(settings, SECOND).invoice_ids == {"i"}
        arrive(settings, THIRD, "invoices", "a.csv")
        assert rejections(settings, THIRD).invoice_ids == set()

    def test_a_set_that_has_the_row_again_still_rejects_it(self, settings: Settings) -> None:
        reject(settings, FIRST, "invoices", "i", batch=SNAPSHOT)
        reject(settings, SECOND, "invoices", "i", batch=SNAPSHOT)
        assert rejections(settings).invoice_ids == {"i"}

    @pytest.mark.parametrize(
        ("accepted_at", "still_stands"),
        [
            pytest.param("2026-05-31 05:00:00", True, id="before"),
            pytest.param(FIRST, True, id="in the same load, they contradict each other"),
            pytest.param(SECOND, False, id="later"),
        ],
    )
    def test_a_row_accepted_later_under_its_key_replaces_it(
        self, settings: Settings, raw: RawWarehouse, accepted_at: str, still_stands: bool
    ) -> None:
        reject(settings, FIRST, "payments", "p", invoice_key_text="i")
        raw.add("payments", accepted_at, [{"payment_id": "p", "invoice_id": "i", "payment_date": "2026-05-01"}])
        assert bool(rejections(settings).invoice_ids) == still_stands
