"""Faulty records planted in known quantity, so that every way of refusing a record is seen in a demonstration.

Each is an additional record with an id of its own, copied from a good one: no other record depends on it, and what the
portfolio owes does not change. FAULTS says what each must become: a reason code of the quarantine, `duplicate`, or
`accepted` with what is then to be seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

Record = dict[str, str]

# Of every 1,000 records at most 5 faults are planted (6 records: a conflict takes two), well below the 1 % at which
# a night stops; and never more than 25 of a kind, which is enough to look at.
_FAULTS_PER_THOUSAND = 5
_MOST_OF_A_KIND = 25
_AMOUNT = re.compile(r"-?[0-9]+(\.[0-9]{1,2})?")


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault: makes its faulty records of a good one that already has an id of its own."""

    kind: str
    becomes: str
    records: Callable[[Record], list[Record]]


@dataclass(frozen=True, slots=True)
class Planted:
    """How many records of one kind a file holds, and what the night must make of them."""

    file_set: str
    kind: str
    becomes: str
    row_count: int


def _with(**changed: str) -> Callable[[Record], list[Record]]:
    return lambda record: [record | changed]


def _spaced(key: str) -> Callable[[Record], list[Record]]:
    return lambda record: [record | {key: record[key].replace("-", " ")}]


def _conflicting(**changed: str) -> Callable[[Record], list[Record]]:
    return lambda record: [record, record | changed]


def _one_field_more(record: Record) -> list[Record]:
    return [record | {"": "conferir"}]


EXACT_DUPLICATE = "exact_duplicate"
_DUPLICATE = Fault(EXACT_DUPLICATE, "duplicate", lambda record: [record])

KEYS = {
    "customers": "CODIGO",
    "subscriptions": "CONTRATO",
    "invoices": "titulo",
    "payments": "recebimento",
    "credits": "id",
}
MONEY = {"invoices": "valor", "payments": "valor_recebido", "credits": "valor"}

FAULTS: dict[str, tuple[Fault, ...]] = {
    "customers": (
        Fault("invalid_email", "accepted: staging has no e-mail", _with(EMAIL="nao tem")),
        Fault(
            "invalid_document",
            "accepted: is_document_valid is false",
            _with(TIPO_PESSOA="F", CNPJ_CPF="123.456.789-00"),
        ),
        Fault("unknown_state", "unknown_code", _with(UF="XX")),
        Fault("unreadable_date", "unreadable_date", _with(DATA_CADASTRO="31/02/2026")),
        Fault("control_character", "bad_text", _with(NOME_RAZAO_SOCIAL="Padaria\x07 Aurora LTDA")),
        _DUPLICATE,
    ),
    "subscriptions": (
        Fault("unknown_status", "unknown_code", _with(SITUACAO="EM ANALISE")),
        Fault("amount_with_letters", "unreadable_number", _with(VALOR_MENSAL="a combinar")),
        Fault("missing_start", "missing_value", _with(INICIO_VIGENCIA="")),
        _DUPLICATE,
    ),
    "invoices": (
        Fault("missing_amount", "missing_value", _with(valor="")),
        Fault("amount_with_letters", "unreadable_number", _with(valor="1O9.90")),
        Fault("unreadable_date", "unreadable_date", _with(data_vencimento="2026-02-31")),
        Fault("missing_due_date", "missing_value", _with(data_vencimento="")),
        Fault("id_with_space", "bad_id", _spaced("titulo")),
        Fault("unknown_status", "unknown_code", _with(situacao="Z")),
        _DUPLICATE,
        Fault("one_field_too_many", "wrong_field_count", _one_field_more),
        Fault("three_decimals", "too_many_decimals", _with(valor="109.905")),
        Fault("negative_amount", "out_of_range", _with(valor="-109.90")),
        Fault("same_id_other_amount", "conflicting_key", _conflicting(valor="0.01")),
    ),
    "payments": (
        Fault("unknown_invoice", "accepted: pays no invoice", _with(titulo="T0-0")),
        Fault("missing_amount", "missing_value", _with(valor_recebido="")),
        Fault("amount_with_letters", "unreadable_number", _with(valor_recebido="R$ dez")),
        Fault("unreadable_date", "unreadable_date", _with(data_pagamento="2026-02-31")),
        Fault("id_with_space", "bad_id", _spaced("recebimento")),
        _DUPLICATE,
    ),
    "credits": (
        Fault("missing_customer", "missing_value", _with(cliente="")),
        Fault("amount_with_letters", "unreadable_number", _with(valor="dez reais")),
        _DUPLICATE,
    ),
}


def wanted_originals(file_set: str, row_count: int) -> int:
    """How many good records of a file of `row_count` the faults are made of."""
    return sum(_repetitions(file_set, row_count))


def faulty_records(file_set: str, row_count: int, originals: list[Record]) -> tuple[list[Record], list[Planted]]:
    """What to add to a file of `row_count` good records, with their count by kind; a kind without one is left out."""
    key = KEYS[file_set]
    remaining = iter(enumerate(originals, start=1))
    records: list[Record] = []
    planted: list[Planted] = []
    for fault, repetitions in zip(FAULTS[file_set], _repetitions(file_set, row_count), strict=True):
        made: list[Record] = []
        for _ in range(repetitions):
            number, original = next(remaining)
            own_id = original[key] if fault.kind == EXACT_DUPLICATE else f"{original[key]}-X{number}"
            made += fault.records(original | {key: own_id})
        if made:
            records += made
            planted.append(Planted(file_set, fault.kind, fault.becomes, len(made)))
    return records, planted


def readable_amount(file_set: str, record: Record) -> Decimal:
    """What a record adds to its file's control total: nothing when its fields or its amount cannot be read for sure."""
    amount = record[MONEY[file_set]]
    return Decimal(amount) if "" not in record and _AMOUNT.fullmatch(amount) else Decimal(0)


def _repetitions(file_set: str, row_count: int) -> list[int]:
    kinds = len(FAULTS[file_set])
    budget = min(row_count * _FAULTS_PER_THOUSAND // 1000, kinds * _MOST_OF_A_KIND)
    return [budget // kinds + (position < budget % kinds) for position in range(kinds)]
