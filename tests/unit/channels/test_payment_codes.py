"""Boleto and Pix codes: a wrong one on a message sends a customer's money nowhere, or somewhere else."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
import zxingcpp
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from regua.channels.payment_codes import (
    PaymentCodeError,
    boleto_line,
    pix_code,
    qr_png,
    read_boleto_line,
    read_pix_code,
)

VECTORS = Path(__file__).resolve().parents[4] / "shared" / "data" / "vectors"
LINE = boleto_line(
    bank="237", amount=Decimal("1234.50"), due_date=date(2026, 11, 22), free_field="1234567890" * 2 + "12345"
)
COLLECTION_LINE = "838600000050096000190009000801782309000343062712"
PIX = pix_code(
    key="financeiro@nuvemfacil.example",
    receiver="NUVEM FACIL",
    city="SAO PAULO",
    amount=Decimal("99.90"),
    transaction_id="T1",
)

public_vectors = pytest.mark.skipif(not VECTORS.is_dir(), reason=f"the public vectors are not in {VECTORS}")
amounts = st.decimals(Decimal("0.01"), Decimal("99999999.99"), places=2)


@public_vectors
def test_public_lines_are_read_as_their_authors_say() -> None:
    vectors = json.loads((VECTORS / "boleto_linha_digitavel.json").read_text(encoding="utf-8"))["vetores"]
    valid = [v for v in vectors if v.get("tipoCodigoInput") == "LINHA_DIGITAVEL" and v["sucesso"]]
    assert len(valid) >= 3
    for vector in valid:
        line = read_boleto_line(vector["entrada"])
        assert line.amount == (Decimal(str(vector["valor"])).quantize(Decimal("0.01")) or None)
        if "vencimento" in vector:
            assert line.due_date(date(2022, 5, 1)) == date.fromisoformat(vector["vencimento"])
            assert line.due_date(date(2046, 12, 1)) == date.fromisoformat(vector["vencimentoComNovoFator2025"])
    for vector in vectors:
        if "esperado" in vector:
            line = vector["esperado"] if len(vector["esperado"]) > 44 else vector["entrada"]
            assert read_boleto_line(line).digits == line
        elif not vector["sucesso"]:
            with pytest.raises(PaymentCodeError):
                read_boleto_line(vector["entrada"])


@public_vectors
def test_public_pix_codes_are_read_as_their_authors_say() -> None:
    vectors = json.loads((VECTORS / "pix_brcode.json").read_text(encoding="utf-8"))
    assert len(vectors["vetores"]) > 10
    for vector in vectors["vetores"]:
        try:
            found = read_pix_code(vector["brcode"])
        except PaymentCodeError as error:
            pytest.fail(f"{vector['nome']}: {error}")
        assert found.amount == (Decimal(vector["valor"]) if vector["valor"] else None), vector["nome"]
    for vector in vectors["invalido"]:
        with pytest.raises(PaymentCodeError):
            read_pix_code(vector["brcode"])


@given(
    amount=amounts,
    due_date=st.dates(date(2000, 7, 3), date(2049, 10, 12)),
    bank=st.from_regex(r"[0-9]{3}", fullmatch=True),
    free=st.from_regex(r"[0-9]{25}", fullmatch=True),
)
def test_a_built_line_is_read_back(amount: Decimal, due_date: date, bank: str, free: str) -> None:
    built = boleto_line(bank=bank, amount=amount, due_date=due_date, free_field=free)
    line = read_boleto_line(built)
    assert (line.amount, line.due_date(due_date)) == (amount, due_date)
    assert read_boleto_line(line.written) == line


@pytest.mark.parametrize("line", [LINE, COLLECTION_LINE], ids=["bank", "collection"])
def test_one_wrong_digit_is_refused(line: str) -> None:
    """Where a bank slip's general digit is not 1: three remainders give 1, so there some changes pass."""
    assert line[32] != "1" or len(line) == 48
    for place, digit in enumerate(line):
        for wrong in "0123456789".replace(digit, ""):
            with pytest.raises(PaymentCodeError):
                read_boleto_line(line[:place] + wrong + line[place + 1 :])


@pytest.mark.parametrize("text", ["", "1" * 46, "1" * 49, "a" * 47, "٣" * 47, "8" * 48], ids=range(6))
def test_what_is_no_line_is_refused(text: str) -> None:
    with pytest.raises(PaymentCodeError):
        read_boleto_line(text)


@pytest.mark.parametrize(
    ("factor_day", "near", "expected"),
    [
        (date(2025, 2, 21), date(2025, 1, 10), date(2025, 2, 21)),
        (date(2025, 2, 22), date(2025, 1, 23), date(2025, 2, 22)),
        (date(2025, 2, 22), date(2000, 6, 1), date(2000, 7, 3)),
        (date(2026, 11, 22), date(2026, 11, 1), date(2026, 11, 22)),
    ],
    ids=["9999", "1000", "1000 of the first count", "1638"],
)
def test_the_factor_means_the_day_nearest_to_the_issue(factor_day: date, near: date, expected: date) -> None:
    line = boleto_line(bank="001", amount=Decimal(1), due_date=factor_day, free_field="0" * 25)
    assert read_boleto_line(line).due_date(near) == expected


def test_the_factors_are_those_of_febraban() -> None:
    assert {
        day: boleto_line(bank="001", amount=Decimal(1), due_date=day, free_field="0" * 25)[33:37]
        for day in (date(2025, 2, 21), date(2025, 2, 22), date(2026, 11, 22))
    } == {date(2025, 2, 21): "9999", date(2025, 2, 22): "1000", date(2026, 11, 22): "1638"}


def test_lines_are_written_as_on_a_slip() -> None:
    assert read_boleto_line(LINE).written.replace(" ", "").replace(".", "") == LINE
    assert [len(part) for part in read_boleto_line(LINE).written.split(" ")] == [11, 12, 12, 1, 14]
    assert read_boleto_line(COLLECTION_LINE).written == "83860000005-0 09600019000-9 00080178230-9 00034306271-2"


@given(amount=amounts, transaction_id=st.from_regex(r"[A-Za-z0-9]{1,25}", fullmatch=True))
def test_a_built_pix_code_is_read_back(amount: Decimal, transaction_id: str) -> None:
    code = pix_code(key="k@x.example", receiver="A", city="B", amount=amount, transaction_id=transaction_id)
    assert read_pix_code(code).amount == amount


@given(place=st.integers(0, len(PIX) - 1), wrong=st.characters(min_codepoint=32, max_codepoint=126))
def test_one_wrong_character_of_a_pix_code_is_refused(place: int, wrong: str) -> None:
    changed = PIX[:place] + wrong + PIX[place + 1 :]
    if changed.lower() != PIX.lower() or changed[:-4] != PIX[:-4]:
        with pytest.raises(PaymentCodeError):
            read_pix_code(changed)


def _sealed(body: str) -> str:
    import binascii

    return f"{body}6304{binascii.crc_hqx((body + '6304').encode(), 0xFFFF):04X}"


@pytest.mark.parametrize(
    "body",
    [
        PIX[:-8].replace("5911NUVEM", "5912NUVEM"),
        PIX[:-8].replace("0129financeiro", "0128financeiro"),
        PIX[:-8].replace("5802BR", "5802US"),
        PIX[:-8].replace("540599.90", "540599,90"),
        PIX[:-8].replace("br.gov.bcb.pix", "br.gov.bcb.pax"),
        PIX[:-8] + "5802BR",
    ],
    ids=["length", "inner length", "country", "amount", "account", "field twice"],
)
def test_a_good_checksum_does_not_excuse_what_is_wrong(body: str) -> None:
    assert _sealed(PIX[:-8]) == PIX
    with pytest.raises(PaymentCodeError):
        read_pix_code(_sealed(body))


def test_the_qr_code_holds_the_pix_code() -> None:
    import io

    [found] = zxingcpp.read_barcodes(Image.open(io.BytesIO(qr_png(PIX))).convert("L"))
    assert found.text == PIX
    assert qr_png(PIX) == qr_png(PIX)
