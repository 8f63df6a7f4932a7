"""What a person types as a fact is taken exactly when the night would take it, and otherwise refused in their words."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from regua.contract.entities import load_contract
from regua.errors import InputError
from regua.ledger.fact_commands import described_entities, parsed_assignments
from regua.ledger.fact_entry import dated_entities, dated_entity, enterable_columns, operators_source, read_values
from regua.ledger.facts import Fact, FactEvent, facts_of

NOON = datetime.fromisoformat("2026-06-30 12:00")
SINCE = {"valid_from_date": "2026-06-30"}


def values_of(entity: str, author: str = "ana", reason: str = "pagará dia 3", **given: str) -> dict[str, str | None]:
    return read_values(dated_entity(entity), SINCE | given, author=author, reason=reason)


@pytest.mark.parametrize("name", ["promise", "promises", "Promise", "trust-unlock", "trust_unlocks"])
def test_a_fact_is_named_as_people_say_it(name: str) -> None:
    assert dated_entity(name).name in ("promises", "trust_unlocks")


@pytest.mark.parametrize("name", ["invoice", "customers", "opt-out", "", "s"])
def test_what_is_no_dated_fact_cannot_be_recorded(name: str) -> None:
    with pytest.raises(InputError, match="contact_point, consent, agreement"):
        dated_entity(name)


@pytest.mark.parametrize(
    ("entity", "given", "taken"),
    [
        ("promise", {"customer_id": "C1", "promised_date": "2026-07-03"}, {"currency_code": "BRL", "amount": None}),
        ("promise", {"invoice_id": "I1", "promised_date": "2026-07-03", "amount": "10"}, {"amount": "10.00"}),
        ("promise", {"invoice_id": "I1", "promised_date": " 2026-07-03 "}, {"promised_date": "2026-07-03"}),
        ("promise", {"invoice_id": "I1", "promised_date": "2026-07-03", "amount": ""}, {"amount": None}),
        ("consent", {"customer_id": "C1", "channel_code": "sms", "is_opted_in": "não"}, {"is_opted_in": "false"}),
        ("pause", {"customer_id": "C1", "valid_to_date": "2026-06-30"}, {"valid_to_date": "2026-06-30"}),
        ("waiver", {"invoice_id": "I1"}, {"waived_pct": "100.00"}),
        ("waiver", {"invoice_id": "I1", "waived_pct": "0"}, {"waived_pct": "0.00"}),
        ("waiver", {"customer_id": "C1", "invoice_id": "I1", "waived_pct": "33.33"}, {"waived_pct": "33.33"}),
        (
            "contact_point",
            {"customer_id": "C1", "contact_type_code": "postal_address", "address": "Rua d'Ouro, 1 — São Paulo"},
            {"address": "Rua d'Ouro, 1 — São Paulo"},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values_are_kept_as_the_contract_writes_them(entity: str, given: dict, taken: dict) -> None:
    values = values_of(entity, **given)
    assert {name: values[name] for name in taken} == taken
    assert list(values) == [column.name for column in enterable_columns(dated_entity(entity))]


@pytest.mark.parametrize(
    ("entity", "given", "complaint"),
    [
        ("promise", {"customer_id": "C1"}, r"promise needs promised_date \(a day as YYYY-MM-DD"),
        ("promise", {"promised_date": "2026-07-03"}, "promise needs customer_id or invoice_id"),
        ("promise", {"customer_id": " ", "promised_date": "2026-07-03"}, "promise needs customer_id or invoice_id"),
        ("promise", {"customer_id": "C1", "promised_date": "03/07/2026"}, "promised_date cannot be '03/07/2026'"),
        ("promise", {"customer_id": "C1", "promised_date": "2026-02-30"}, "promised_date cannot be"),
        ("promise", {"customer_id": "C1", "promised_date": "2062-01-01"}, "to 2060-12-31"),
        ("promise", {"customer_id": "C1", "promised_date": "2026-07-03", "amount": "1.234,56"}, "like 1234.56"),
        ("promise", {"customer_id": "C1", "promised_date": "2026-07-03", "amount": "-1"}, "amount cannot be '-1'"),
        ("promise", {"customer_id": "C1", "promised_date": "2026-07-03", "amount": "1.005"}, "amount cannot be"),
        ("promise", {"customer_id": "C 1", "promised_date": "2026-07-03"}, "customer_id cannot be 'C 1'"),
        ("promise", {"customer_id": "C1", "promissed_date": "2026-07-03"}, "Did you mean promised_date"),
        ("promise", {"promise_id": "P1", "customer_id": "C1", "promised_date": "2026-07-03"}, "has no promise_id"),
        (
            "promise",
            {"customer_id": "C1", "promised_date": "2026-07-03", "valid_from_date": ""},
            "needs valid_from_date",
        ),
        (
            "consent",
            {"customer_id": "C1", "channel_code": "fax", "is_opted_in": "no"},
            "write email or sms or whatsapp",
        ),
        ("consent", {"customer_id": "C1", "channel_code": "sms", "is_opted_in": "maybe"}, "write yes or no"),
        ("pause", {"customer_id": "C1"}, "pause needs valid_to_date"),
        ("pause", {"customer_id": "C1", "valid_to_date": "2026-06-29"}, "it would never hold"),
        ("waiver", {"invoice_id": "I1", "waived_pct": "100.01"}, "from 0 to 100"),
        ("waiver", {"invoice_id": "I1", "waived_pct": "-0.01"}, "from 0 to 100"),
        ("dispute", {"invoice_id": "I1", "author_id": "x"}, "has no author_id"),
        ("dispute", {"invoice_id": "I\udcff1"}, "no UTF-8"),
    ],
)
def test_what_the_night_would_refuse_is_refused_at_once(entity: str, given: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        values_of(entity, **given)


@pytest.mark.parametrize(
    ("author", "reason", "complaint"),
    [
        ("", "x", "who says it"),
        ("Ana Souza", "x", "author_id cannot be 'Ana Souza'"),
        ("ana", "", "say who says it and why"),
        ("ana", "  ", "say who says it and why"),
        ("ana", "two\nlines", "reason cannot be"),
        ("ana", "x" * 501, "at most 500"),
    ],
)
def test_a_fact_without_who_and_why_is_refused(author: str, reason: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        values_of("dispute", author, reason, invoice_id="I1")


@pytest.mark.parametrize("words", [["promised_date"], ["=x"], ["a=1", "a=2"]])
def test_a_word_that_assigns_nothing_is_refused(words: list[str]) -> None:
    with pytest.raises(InputError):
        parsed_assignments(words)
    assert parsed_assignments(["a=b=c", "d="]) == {"a": "b=c", "d": ""}


def test_every_dated_entity_can_be_recorded_and_lands_from_the_built_in_source() -> None:
    dated = [entity.name for entity in load_contract().values() if entity.is_dated]
    assert [entity.name for entity in dated_entities().values()] == dated
    source = operators_source()
    assert list(source.files) == [*dated, "touches", "standing_changes"]
    for name, file_set in source.files.items():
        assert set(file_set.feeds[name].columns) == set(load_contract()[name].column_names)
    text = "\n".join(described_entities())
    assert "promised_date*: a day as YYYY-MM-DD" in text
    assert "  invoice_id: an id" in text


def event(number: int, kind: str, fact: int | None, **values: str | None) -> FactEvent:
    return FactEvent(number, kind, fact, "pauses", values, f"author{number}", f"reason{number}", NOON)


def test_events_add_up_to_the_last_said_and_keep_who_said_it_first() -> None:
    first = event(1, "recorded", None, customer_id="C1", valid_from_date="2026-06-30", valid_to_date="2026-07-10")
    later = [
        event(2, "recorded", None, customer_id="C2", valid_from_date="2026-06-30", valid_to_date=None),
        event(3, "changed", 1, valid_to_date="2026-07-01"),
        event(4, "changed", 1, valid_to_date=None),
        event(5, "withdrawn", 2),
    ]
    kept, withdrawn = facts_of([first, *later])
    assert kept == Fact(1, "pauses", {**first.column_values, "valid_to_date": None}, "author1", "reason1", NOON)
    assert kept.fact_id == "op-1"
    assert (withdrawn.number, withdrawn.is_withdrawn) == (2, True)


@pytest.mark.parametrize(
    ("day", "holds"), [("2026-06-29", False), ("2026-06-30", True), ("2026-07-10", True), ("2026-07-11", False)]
)
def test_a_fact_holds_on_its_first_and_on_its_last_day(day: str, holds: bool) -> None:
    values = {"valid_from_date": "2026-06-30", "valid_to_date": "2026-07-10"}
    assert Fact(1, "pauses", values, "ana", "x", NOON).holds_on(date.fromisoformat(day)) is holds
