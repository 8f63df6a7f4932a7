"""What is said to be planted is there, and the loader makes of it what the sample says."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime

import pytest

from regua.ingest.expressions import needed_columns
from regua.ingest.inspection import check_header
from regua.ingest.landing import land
from regua.ingest.loading import load_pending
from regua.ingest.mapping import read_source
from regua.sample.dirt import FAULTS, wanted_originals
from regua.sample.portfolio import SamplePortfolio, write_sample
from regua.settings import Settings, load_settings
from regua.warehouse.store import writing

pytestmark = pytest.mark.timeout(120)

AS_OF = date(2026, 11, 20)
Row = dict[str, str]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return load_settings({"REGUA_HOME": str(tmp_path_factory.mktemp("home")), "REGUA_WAREHOUSE_MEMORY": "2GB"})


@pytest.fixture(scope="module")
def portfolio(settings: Settings) -> SamplePortfolio:
    return write_sample(settings, customers=3000, months=24, as_of=AS_OF, seed=11)


def _rows(portfolio: SamplePortfolio, file_set: str) -> list[Row]:
    if file_set == "credits":
        packed = (portfolio.folder / f"credits_{AS_OF}.jsonl.gz").read_bytes()
        return [json.loads(line) for line in gzip.decompress(packed).splitlines()]
    office = file_set in ("customers", "subscriptions")
    path = portfolio.folder / f"{file_set}_{AS_OF}.csv"
    with path.open(encoding="cp1252" if office else "utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=";" if office else ",", restkey=""))


COUNTED: dict[tuple[str, str], Callable[[Row], bool]] = {
    ("customers", "invalid_email"): lambda row: bool(row["EMAIL"]) and "@" not in row["EMAIL"],
    ("customers", "invalid_document"): lambda row: row["CNPJ_CPF"] == "123.456.789-00",
    ("customers", "unknown_state"): lambda row: row["UF"] == "XX",
    ("customers", "unreadable_date"): lambda row: row["DATA_CADASTRO"].startswith("31/02"),
    ("customers", "control_character"): lambda row: not row["NOME_RAZAO_SOCIAL"].isprintable(),
    ("subscriptions", "unknown_status"): lambda row: row["SITUACAO"] not in ("ATIVO", "TESTE", "SUSPENSO", "CANCELADO"),
    ("subscriptions", "amount_with_letters"): lambda row: any(map(str.isalpha, row["VALOR_MENSAL"])),
    ("subscriptions", "missing_start"): lambda row: not row["INICIO_VIGENCIA"],
    ("invoices", "missing_amount"): lambda row: not row["valor"],
    ("invoices", "amount_with_letters"): lambda row: any(map(str.isalpha, row["valor"])),
    ("invoices", "unreadable_date"): lambda row: row["data_vencimento"].endswith("-02-31"),
    ("invoices", "missing_due_date"): lambda row: not row["data_vencimento"],
    ("invoices", "id_with_space"): lambda row: " " in row["titulo"],
    ("invoices", "unknown_status"): lambda row: row["situacao"] not in "ARCB",
    ("invoices", "one_field_too_many"): lambda row: "" in row,
    ("invoices", "three_decimals"): lambda row: len(row["valor"].partition(".")[2]) == 3,
    ("invoices", "negative_amount"): lambda row: row["valor"].startswith("-"),
    ("payments", "missing_amount"): lambda row: not row["valor_recebido"],
    ("payments", "amount_with_letters"): lambda row: any(map(str.isalpha, row["valor_recebido"])),
    ("payments", "unreadable_date"): lambda row: row["data_pagamento"].endswith("-02-31"),
    ("payments", "id_with_space"): lambda row: " " in row["recebimento"],
    ("credits", "missing_customer"): lambda row: not row["cliente"],
    ("credits", "amount_with_letters"): lambda row: any(map(str.isalpha, row["valor"])),
}
# These are told by comparing rows with one another or with another file.
COMPARED = {"exact_duplicate", "same_id_other_amount", "unknown_invoice"}


@pytest.mark.parametrize(("file_set", "kind"), COUNTED, ids=lambda value: value)
def test_each_fault_stands_in_its_file_as_often_as_said(portfolio: SamplePortfolio, file_set: str, kind: str) -> None:
    said = {one.kind: one.row_count for one in portfolio.planted if one.file_set == file_set}
    found = sum(COUNTED[file_set, kind](row) for row in _rows(portfolio, file_set))
    assert found == said.get(kind, 0)
    assert found > 0 or file_set == "credits"


@pytest.mark.parametrize("file_set", FAULTS)
def test_duplicates_and_conflicts_are_as_many_as_said(portfolio: SamplePortfolio, file_set: str) -> None:
    said = {one.kind: one.row_count for one in portfolio.planted if one.file_set == file_set}
    rows = _rows(portfolio, file_set)
    key = next(iter(rows[0]))
    contents = Counter(tuple(map(str, row.values())) for row in rows)
    contents_of_key = Counter(content[0] for content in contents)
    assert sum(count - 1 for count in contents.values()) == said.get("exact_duplicate", 0)
    conflicting = {one for one, count in contents_of_key.items() if count > 1}
    assert sum(row[key] in conflicting for row in rows) == said.get("same_id_other_amount", 0)


def test_payments_without_an_invoice_are_as_many_as_said(portfolio: SamplePortfolio) -> None:
    invoices = {row["titulo"] for row in _rows(portfolio, "invoices")}
    orphans = [row for row in _rows(portfolio, "payments") if row["titulo"] not in invoices]
    assert len(orphans) == sum(one.row_count for one in portfolio.planted if one.kind == "unknown_invoice") > 0


def test_every_kind_of_fault_is_counted_by_a_test_above() -> None:
    kinds = {(file_set, fault.kind) for file_set, faults in FAULTS.items() for fault in faults}
    assert {one for one in kinds if one[1] not in COMPARED} == COUNTED.keys()


@pytest.mark.parametrize("row_count", [0, 100, 199, 1000, 20_000, 10_000_000])
@pytest.mark.parametrize("file_set", FAULTS)
def test_faults_stay_below_one_in_a_hundred_rows(file_set: str, row_count: int) -> None:
    """A night stops at 1 % of bad rows; twice the originals is the most that conflicts could make of them."""
    assert 2 * wanted_originals(file_set, row_count) <= 0.01 * row_count


def test_planted_json_says_what_was_returned(portfolio: SamplePortfolio) -> None:
    written = json.loads((portfolio.folder / f"planted_{AS_OF}.json").read_text())
    assert [(one["file_set"], one["kind"], one["row_count"]) for one in written] == [
        (one.file_set, one.kind, one.row_count) for one in portfolio.planted
    ]
    assert len(written) > 20


def test_the_mapping_names_the_columns_and_files_there_are(settings: Settings, portfolio: SamplePortfolio) -> None:
    source = read_source(settings.sources_dir, "sample")
    assert source.files.keys() == portfolio.row_counts.keys()
    for name, file_set in source.files.items():
        [path] = [path for path in portfolio.folder.glob(file_set.glob) if not path.name.endswith(".manifest.json")]
        check_header(tuple(_rows(portfolio, name)[0]), needed_columns(file_set), path.name)


def test_the_loader_makes_of_each_fault_what_the_sample_says(settings: Settings, portfolio: SamplePortfolio) -> None:
    source = read_source(settings.sources_dir, "sample")
    landing = land(settings.landing_dir, settings.inbox, [source], lambda: datetime.fromisoformat("2026-11-21T05:00"))
    with writing(settings, readable_dirs=[settings.landing_dir]) as warehouse:
        batches = load_pending(
            warehouse, settings.landing_dir, settings.work_dir, [source], as_of=AS_OF, known_at=landing.known_at
        )
        rejected = warehouse.execute("select entity, reason_code from quarantine.rejected_rows").fetchall()
    said: Counter[tuple[str, str]] = Counter()
    for one in portfolio.planted:
        if not one.becomes.startswith("accepted"):
            said[one.file_set, one.becomes] += one.row_count
    became = Counter(rejected) + Counter({(batch.entity, "duplicate"): batch.duplicate_count for batch in batches})
    assert became == said
    assert {batch.file_set: batch.read_count for batch in batches} == portfolio.row_counts
