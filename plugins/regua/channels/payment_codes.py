"""Boleto and Pix codes: checked before a customer reads them, written for people, and built for made-up data.

Rules: FEBRABAN's layouts of bank slips and of collection slips (convênios), and the Banco Central's manual of the BR
Code (EMV QRCPS: lengths and CRC-16/CCITT-FALSE). Reasons never quote a code: whoever has it sees the debt.
"""

from __future__ import annotations

import binascii
import io
import re
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from regua.errors import InputError

# Factor 1000 of the two counts there have been; 9999 of the first is 2025-02-21.
_FACTOR_1000 = (date(2000, 7, 3), date(2025, 2, 22))
_PIX_GUI = "br.gov.bcb.pix"


class PaymentCodeError(InputError):
    """A code that would not pay what it should; the message says which rule it breaks."""


@dataclass(frozen=True, slots=True)
class BoletoLine:
    """A linha digitável that holds. `amount` is None when the payer enters it, `due_factor` when there is none."""

    digits: str
    amount: Decimal | None
    due_factor: int | None

    def due_date(self, near: date) -> date | None:
        """The factor begins again every 9,000 days, so alone it is ambiguous: the day closest to `near` is meant."""
        if self.due_factor is None:
            return None
        days = [first + timedelta(self.due_factor - 1000) for first in _FACTOR_1000]
        return min(days, key=lambda day: abs(day - near))

    @property
    def written(self) -> str:
        """As it is printed on a slip, so that a person can type it."""
        d = self.digits
        if len(d) == 48:
            return " ".join(f"{d[start : start + 11]}-{d[start + 11]}" for start in range(0, 48, 12))
        return f"{d[:5]}.{d[5:10]} {d[10:15]}.{d[15:21]} {d[21:26]}.{d[26:32]} {d[32]} {d[33:]}"


@dataclass(frozen=True, slots=True)
class PixCode:
    """A BR Code that holds. `amount` is None where the payer's bank asks the receiver's for it."""

    text: str
    amount: Decimal | None


def read_boleto_line(text: str) -> BoletoLine:
    """Raises PaymentCodeError unless every check digit is right."""
    digits = re.sub(r"[\s.\-]", "", text)
    if not re.fullmatch(r"[0-9]{47,48}", digits):
        raise PaymentCodeError("the linha digitável has neither 47 nor 48 digits")
    return _read_collection_line(digits) if len(digits) == 48 else _read_bank_line(digits)


def _read_bank_line(digits: str) -> BoletoLine:
    for number, (start, end) in enumerate(((0, 9), (10, 20), (21, 31)), start=1):
        if int(digits[end]) != _mod_10(digits[start:end]):
            raise PaymentCodeError(f"the check digit of field {number} of the linha digitável is wrong")
    if digits[3] != "9":
        raise PaymentCodeError("the linha digitável is not in reais")
    free_field = digits[4:9] + digits[10:20] + digits[21:31]
    if int(digits[32]) != _bank_check_digit(digits[:4] + digits[33:] + free_field):
        raise PaymentCodeError("the general check digit of the linha digitável is wrong")
    factor, cents = int(digits[33:37]), int(digits[37:])
    if 0 < factor < 1000:
        raise PaymentCodeError("the due date of the linha digitável is none")
    return BoletoLine(digits, _amount(cents), factor or None)


def _read_collection_line(digits: str) -> BoletoLine:
    if digits[0] != "8" or digits[2] not in "6789":
        raise PaymentCodeError("a linha digitável of 48 digits begins with 8 and has 6 to 9 in the third place")
    check = _mod_10 if digits[2] in "67" else _collection_mod_11
    blocks = [digits[start : start + 12] for start in range(0, 48, 12)]
    for number, block in enumerate(blocks, start=1):
        if int(block[11]) != check(block[:11]):
            raise PaymentCodeError(f"the check digit of field {number} of the linha digitável is wrong")
    barcode = "".join(block[:11] for block in blocks)
    if int(barcode[3]) != check(barcode[:3] + barcode[4:]):
        raise PaymentCodeError("the general check digit of the linha digitável is wrong")
    # 7 and 9 say that what stands in the amount's place is a quantity.
    return BoletoLine(digits, _amount(int(barcode[4:15])) if digits[2] in "68" else None, None)


def boleto_line(*, bank: str, amount: Decimal, due_date: date, free_field: str) -> str:
    """A valid linha digitável of 47 digits. `free_field` is what the bank puts in: 25 digits."""
    first = max(day for day in _FACTOR_1000 if day <= due_date)
    value = f"{(due_date - first).days + 1000:04}{int(amount * 100):010}"
    if not re.fullmatch(r"[0-9]{3} [0-9]{14} [0-9]{25}", f"{bank} {value} {free_field}"):
        raise PaymentCodeError("bank, amount, due date or free field do not fit into a linha digitável")
    general = _bank_check_digit(f"{bank}9{value}{free_field}")
    fields = (f"{bank}9{free_field[:5]}", free_field[5:15], free_field[15:])
    return "".join(f"{field}{_mod_10(field)}" for field in fields) + f"{general}{value}"


def _amount(cents: int) -> Decimal | None:
    return Decimal(cents).scaleb(-2) if cents else None


def _mod_10(digits: str) -> int:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        product = int(digit) * (2 - place % 2)
        total += product // 10 + product % 10
    return -total % 10


def _weighted_sum(digits: str) -> int:
    return sum(int(digit) * (2 + place % 8) for place, digit in enumerate(reversed(digits)))


def _bank_check_digit(digits: str) -> int:
    found = 11 - _weighted_sum(digits) % 11
    return 1 if found > 9 else found


def _collection_mod_11(digits: str) -> int:
    rest = _weighted_sum(digits) % 11
    return 0 if rest < 2 else 11 - rest


def read_pix_code(text: str) -> PixCode:
    """Raises PaymentCodeError unless lengths, checksum and what the Banco Central requires are right."""
    code = text.strip()
    fields = _fields(code)
    if not re.search(r"6304[0-9A-Fa-f]{4}$", code) or list(fields)[-1] != "63":
        raise PaymentCodeError("the Pix code does not end in its checksum")
    if int(code[-4:], 16) != _checksum(code[:-4]):
        raise PaymentCodeError("the checksum of the Pix code is wrong")
    if next(iter(fields)) != "00" or fields["00"] != "01":
        raise PaymentCodeError("the Pix code does not begin as a BR Code")
    accounts = [_fields(value) for name, value in fields.items() if "26" <= name <= "51"]
    if not any(account.get("00", "").lower() == _PIX_GUI for account in accounts):
        raise PaymentCodeError("the Pix code names no Pix account")
    for name in fields:
        if name == "62" or "80" <= name <= "99":
            _fields(fields[name])
    if fields.get("53") != "986" or fields.get("58") != "BR":
        raise PaymentCodeError("the Pix code is not in reais or not of Brazil")
    if not all(fields.get(name) for name in ("52", "59", "60")):
        raise PaymentCodeError("the Pix code lacks category, name or city of the receiver")
    amount = fields.get("54")
    if amount is not None and not re.fullmatch(r"[0-9]{1,10}(\.[0-9]{1,2})?", amount):
        raise PaymentCodeError("the amount of the Pix code is none")
    return PixCode(code, (Decimal(amount).quantize(Decimal("0.01")) or None) if amount else None)


def _fields(text: str) -> dict[str, str]:
    """What stands behind each two-digit name; every length must lead to the next field's begin."""
    found: dict[str, str] = {}
    place = 0
    while place < len(text):
        head = text[place : place + 4]
        if not re.fullmatch(r"[0-9]{4}", head):
            raise PaymentCodeError("a length in the Pix code is wrong")
        name, end = head[:2], place + 4 + int(head[2:])
        if end > len(text) or end == place + 4:
            raise PaymentCodeError("a length in the Pix code is wrong")
        if name in found:
            raise PaymentCodeError("a field of the Pix code stands twice")
        found[name] = text[place + 4 : end]
        place = end
    if not found:
        raise PaymentCodeError("the Pix code is empty")
    return found


def pix_code(*, key: str, receiver: str, city: str, amount: Decimal, transaction_id: str) -> str:
    """A valid static BR Code. Receiver and city in capitals without accents, at most 25 and 15 characters."""
    if not re.fullmatch(r"[A-Z0-9 ]{1,25}", receiver) or not re.fullmatch(r"[A-Z ]{1,15}", city):
        raise PaymentCodeError("receiver or city do not fit into a Pix code")
    if not re.fullmatch(r"[A-Za-z0-9]{1,25}", transaction_id):
        raise PaymentCodeError("the transaction id does not fit into a Pix code")
    account = _field("00", _PIX_GUI) + _field("01", key)
    written = "".join(
        _field(name, value)
        for name, value in (
            ("00", "01"),
            ("26", account),
            ("52", "0000"),
            ("53", "986"),
            ("54", f"{amount:.2f}"),
            ("58", "BR"),
            ("59", receiver),
            ("60", city),
            ("62", _field("05", transaction_id)),
        )
    )
    return f"{written}6304{_checksum(written + '6304'):04X}"


def _field(name: str, value: str) -> str:
    return f"{name}{len(value):02}{value}"


def _checksum(text: str) -> int:
    return binascii.crc_hqx(text.encode(), 0xFFFF)


def qr_png(code: str) -> bytes:
    """A QR code with its quiet zone, 4 pixels a module, about 0.7 kB for a Pix code."""
    import zxingcpp
    from PIL import Image

    barcode = zxingcpp.create_barcode(code, zxingcpp.BarcodeFormat.QRCode, ec_level="M")
    image = Image.fromarray(zxingcpp.write_barcode_to_image(barcode, scale=4))
    png = io.BytesIO()
    image.convert("1").save(png, "PNG")
    return png.getvalue()
