"""The workbook is for people: names, Portuguese, numbers as numbers; and whatever a name says, it is a text."""

from __future__ import annotations

import stat
import zipfile
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
from openpyxl import load_workbook
from tests.unit.suspension.publications import DAY, DEBT, ENTRIES, entry

from regua.errors import BusyError
from regua.instants import read_instant
from regua.suspension.workbook import write_workbook

CREATED = read_instant("2026-06-30 09:00:00")
NAMES = {"c1": "Padaria Estrela Ltda", "c2": '=HYPERLINK("https://evil.example","ver")', "c3": "https://evil.example"}


def written(path: Path, entries=ENTRIES, names=NAMES) -> Path:
    write_workbook(path, DAY, 41, CREATED, entries, names)
    return path


def cells_of(path: Path, sheet: str) -> list[dict[str, object]]:
    rows = list(load_workbook(path)[sheet].iter_rows(min_row=2, values_only=True))
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def test_its_sheets_are_those_without_access_the_changes_and_the_banners(tmp_path):
    path = written(tmp_path / "list.xlsx")
    assert load_workbook(path).sheetnames == ["Suspensos", "Mudanças", "Avisos"]
    assert [(row["Assinatura"], row["Nome"], row["Situação"]) for row in cells_of(path, "Suspensos")] == [
        ("s1", NAMES["c2"], "cancelamento proposto"),
        ("s2", NAMES["c1"], "suspensa"),
        ("s6", None, "suspensa"),
    ]
    assert [(row["Assinatura"], row["Mudança"], row["Acesso"]) for row in cells_of(path, "Mudanças")] == [
        ("s1", "propor cancelamento", "não"),
        ("s2", "manter suspensa", "não"),
        ("s4", "desbloqueio vencendo", "sim"),
        ("s5", "reativar", "sim"),
        ("s6", "suspender", "não"),
    ]
    assert [(row["Assinatura"], row["Aviso"]) for row in cells_of(path, "Avisos")] == [
        ("s1", "suspensa"),
        ("s2", "suspensa"),
        ("s3", "aviso"),
        ("s4", "desbloqueio de confiança"),
        ("s6", "suspensa"),
    ]


def test_it_says_of_which_day_it_is_and_can_be_filtered_below_a_header_that_stays(tmp_path):
    for sheet in load_workbook(written(tmp_path / "list.xlsx")):
        assert sheet["A1"].value == "Suspensões de 30/06/2026, sequência 41"
        assert sheet.freeze_panes == "B3"
        assert sheet.auto_filter.ref.startswith("A2:")


def test_money_and_days_are_numbers_and_days_as_brazilians_write_them(tmp_path):
    sheet = load_workbook(written(tmp_path / "list.xlsx"))["Suspensos"]
    header = [cell.value for cell in sheet[2]]
    brl, usd = (sheet.cell(row, header.index("Saldo") + 1) for row in (4, 5))
    assert (brl.value, brl.number_format) == (1234.5, '"R$" #,##0.00')
    assert (usd.value, usd.number_format) == (1234.5, '"USD" #,##0.00')
    due = sheet.cell(4, header.index("Vencimento") + 1)
    assert (due.value, due.number_format) == (datetime.fromisoformat("2026-05-30"), "dd/mm/yyyy")
    assert sheet.cell(4, header.index("Dias de atraso") + 1).value == 31


HOSTILE = [
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1+1", "{=1+1}", "1234", "30/06/2026", "https://evil.example",
    "internal:Avisos!A1", "x\x00y", "<script>", "\u202eabc",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_no_name_becomes_a_formula_a_number_or_a_link(tmp_path, name):
    path = written(tmp_path / "list.xlsx", names={"c1": name, "c2": name})
    book = load_workbook(path)
    named = [row[2] for sheet in book for row in sheet.iter_rows(min_row=3) if row[1].value in ("c1", "c2")]
    assert len(named) >= 4
    for cell in named:
        assert (cell.data_type, cell.hyperlink, cell.quotePrefix) == ("s", None, True)
    with zipfile.ZipFile(path) as parts:
        everything = "".join(parts.read(part).decode() for part in parts.namelist())
    assert "<f>" not in everything
    assert "<hyperlink" not in everything


def test_the_same_publication_gives_the_same_bytes(tmp_path):
    first = written(tmp_path / "a.xlsx").read_bytes()
    assert written(tmp_path / "b.xlsx", entries=ENTRIES[::-1]).read_bytes() == first
    assert load_workbook(tmp_path / "a.xlsx").properties.created == CREATED


def test_only_its_owner_can_read_it_and_it_is_replaced_whole(tmp_path):
    path = written(tmp_path / "list.xlsx")
    written(path, entries=())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert cells_of(path, "Suspensos") == []
    assert [found.name for found in tmp_path.iterdir()] == ["list.xlsx"]


def test_a_code_that_has_no_word_yet_and_a_debt_without_currency_are_shown(tmp_path):
    odd = entry(
        "s1", "suspended", reason_code="new_reason", debt=replace(DEBT, currency_code=None, balance_amount=Decimal(0))
    )
    [row] = cells_of(written(tmp_path / "list.xlsx", entries=[odd]), "Suspensos")
    assert (row["Motivo"], row["Saldo"]) == ("new_reason", 0)


def test_a_disk_that_refuses_is_told_of(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BusyError, match="cannot be written"):
        written(tmp_path / "file" / "list.xlsx")
