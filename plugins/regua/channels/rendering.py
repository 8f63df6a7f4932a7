"""Messages from the templates in include/templates. docs/how-to/templates.md has the variables.

A template holds words alone, in blocks; layouts give e-mails and letters their form: HTML and text say the same.
"""

from __future__ import annotations

import base64
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from jinja2.runtime import Context
from stdnum.br import cnpj as cnpj_number

from regua.channels.contents import Line, MessageContent
from regua.channels.dispatch_file import DispatchFile
from regua.channels.payment_codes import PaymentCodeError, qr_png, read_boleto_line, read_pix_code
from regua.channels.sending import InlineImage, Rendered
from regua.errors import InputError

TEMPLATES_DIR = Path(__file__).resolve().parents[3] / "include" / "templates"
SMS_SEPTETS = 160
CONTROL_CHARACTERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")

# Above these a message is a list, and one link pays it all: thirty codes help nobody, and Gmail cuts at 102 kB.
_MOST_LINES_WITH_CODES = 5
_MOST_LINES_WITH_QR = 2
# Points, characters a line and lines that the window of an envelope shows: 78 mm × 27 mm of DejaVu Sans.
_ADDRESS_SIZES = ((10, 34, 6), (8, 42, 7))
_ADDRESS_LINE_CHARACTERS = 34
# A longer number is no number a person would look for.
_NUMBER_CHARACTERS = 40
_SYMBOLS = {"BRL": "R$", "USD": "US$", "EUR": "€"}
_GSM_7 = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_7_EXTENSION = frozenset("\f^{}\\[~]|€")
_TYPOGRAPHY = str.maketrans(
    {"–": "-", "—": "-", "−": "-", "’": "'", "‘": "'", "“": '"', "”": '"', "…": "...", "\u00a0": " "}
)
# They would let a name turn the text around it.
_DIRECTION_MARKS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class UnsendableError(InputError):
    """This message cannot be written; others can. The reason holds no personal value."""


@dataclass(frozen=True, slots=True)
class ShownLine:
    """An invoice as a template sees it. Codes are there only where they pay what the line asks for."""

    number: str | None
    label: str
    due_date: date
    days_past_due: int | None
    state: str
    open_amount: Decimal
    credit_amount: Decimal
    fine_amount: Decimal
    interest_amount: Decimal
    payable_amount: Decimal
    payment_url: str | None
    boleto: str | None
    boleto_digits: str | None
    pix: str | None
    qr: str | None


class Renderer:
    """Writes messages. May be used from several threads; templates are compiled once."""

    def __init__(self, templates_dir: Path, dispatch_file: DispatchFile) -> None:
        self._supplier = dispatch_file.supplier
        self._cnpj = cnpj_number.format(dispatch_file.supplier.cnpj)
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(templates_dir),
            autoescape=jinja2.select_autoescape(["html"], default=False),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            cache_size=-1,
        )
        self._environment.filters |= {"money": _money, "day": _day, "percent": _percent}
        self._environment.globals |= {"plural": _plural}

    def render(self, content: MessageContent) -> Rendered:
        """Raises UnsendableError for a value that no message may hold, InputError for a template that is wrong."""
        _refuse_line_breaks(content)
        try:
            return getattr(self, f"_{content.channel_code}")(content)  # type: ignore[no-any-return]
        except jinja2.TemplateNotFound as error:
            raise InputError(f"There is no template {error.name} below include/templates.") from error
        except jinja2.TemplateError as error:
            where = f"{content.template_code}, {content.channel_code}"
            raise InputError(f"The template of {where} is wrong: {error.message}") from error

    def approval_text(self, template_code: str, content: MessageContent) -> str:
        """The words to submit to WhatsApp for approval: those of the template with {{1}}, {{2}} … for what changes."""
        return self._whatsapp_words(template_code, content, with_places=True)[0]

    def _email(self, content: MessageContent) -> Rendered:
        images = _Images("email")
        variables = self._variables(content, images)
        words = self._words(f"{content.template_code}/email.txt", variables)
        variables["words"] = words
        opt_out, mail = variables["opt_out_url"], self._supplier.email
        return Rendered(
            text=_tidy(self._written("email/layout.txt", variables)),
            subject=" ".join(words["subject"]),
            html=self._written("email/layout.html", variables),
            images=tuple(images.found),
            headers=(
                ("List-Unsubscribe", f"<{opt_out}>, <mailto:{mail}?subject=descadastrar%20{content.message_id}>"),
                ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
            ),
        )

    def _letter(self, content: MessageContent) -> Rendered:
        images = _Images("letter")
        variables = self._variables(content, images)
        variables["words"] = words = self._words(f"{content.template_code}/letter.txt", variables)
        variables["address_lines"] = address_lines = window_lines(content.name, content.address)
        variables["address_points"] = _address_points(address_lines)
        return Rendered(
            text=_tidy(self._written("letter/layout.txt", variables)),
            subject=" ".join(words["subject"]),
            html=self._written("letter/layout.html", variables),
        )

    def _sms(self, content: MessageContent) -> Rendered:
        variables = self._variables(content, _Images("sms"))
        written = self._written(f"{content.template_code}/sms.txt", variables)
        wordings = [transliterated(" ".join(part.split())) for part in re.split(r"^---$", written, flags=re.MULTILINE)]
        wordings = [wording for wording in wordings if wording]
        if not wordings:
            raise UnsendableError(f"The SMS of {content.template_code} has no wording for this message.")
        fitting = (text for text in wordings if (count := septets(text)) is not None and count <= SMS_SEPTETS)
        # When none fits, the check before sending says by how much the shortest does not.
        return Rendered(text=next(fitting, wordings[-1]))

    def _whatsapp(self, content: MessageContent) -> Rendered:
        text, parameters = self._whatsapp_words(content.template_code, content, with_places=False)
        return Rendered(text=text, parameters=parameters)

    def _whatsapp_words(
        self, template_code: str, content: MessageContent, *, with_places: bool
    ) -> tuple[str, tuple[str, ...]]:
        parameters: list[str] = []

        def parameter(value: Any) -> str:
            # WhatsApp refuses line breaks, tabs and rows of spaces in a parameter.
            parameters.append(" ".join(str(value).split()))
            return f"{{{{{len(parameters)}}}}}" if with_places else parameters[-1]

        variables = self._variables(content, _Images("whatsapp")) | {"parameter": parameter}
        return _tidy(self._written(f"{template_code}/whatsapp.txt", variables)), tuple(parameters)

    def _call(self, content: MessageContent) -> Rendered:
        variables = self._variables(content, _Images("call"))
        return Rendered(text=_tidy(self._written(f"{content.template_code}/call.txt", variables)))

    def _written(self, template_name: str, variables: Mapping[str, Any]) -> str:
        return self._environment.get_template(template_name).render(variables)

    def _words(self, template_name: str, variables: dict[str, Any]) -> dict[str, list[str]]:
        """The paragraphs of each block."""
        template = self._environment.get_template(template_name)
        context = template.new_context(variables)
        return {name: _paragraphs("".join(block(context))) for name, block in template.blocks.items()}

    def _variables(self, content: MessageContent, images: _Images) -> dict[str, Any]:
        lines = tuple(_shown_line(content, line, images) for line in content.lines)
        own_url = lines[0].payment_url if len(lines) == 1 and content.offer_amount is None else None
        return {
            "supplier": self._supplier,
            "cnpj": self._cnpj,
            "site": self._supplier.website.removeprefix("https://"),
            "name": shown(content.name),
            "message_id": content.message_id,
            "currency_code": content.currency_code,
            "phase_code": content.phase_code,
            "as_of_date": content.as_of_date,
            "action_date": content.action_date,
            "lines": lines,
            "first": lines[0],
            "invoices": lines[0].label if len(lines) == 1 else f"{len(lines)} faturas",
            "due": _due(lines, content.as_of_date),
            "days_past_due": max(line.days_past_due or 0 for line in lines),
            "oldest_due_date": min(line.due_date for line in lines),
            "total": content.payable_amount,
            "open_amount": content.open_amount,
            "credit_amount": content.credit_amount,
            "fine_amount": content.fine_amount,
            "interest_amount": content.interest_amount,
            "has_offer": content.offer_amount is not None or content.offer_instalment_count is not None,
            "offer_instalment_count": content.offer_instalment_count,
            "offer_discount_pct": content.offer_discount_pct,
            "offer_amount": content.offer_amount,
            "ways_to_pay": _ways_to_pay(lines),
            "payment_url": own_url or self._supplier.payment_portal_url,
            "opt_out_url": _with_id(self._supplier.opt_out_url, content.message_id),
        }


class _Images:
    """QR codes on their way into a message: attached to an e-mail, inside the page of a letter."""

    def __init__(self, channel_code: str) -> None:
        self._channel_code = channel_code
        self.found: list[InlineImage] = []

    def source_of(self, code: str) -> str | None:
        if self._channel_code == "letter":
            return f"data:image/png;base64,{base64.b64encode(qr_png(code)).decode()}"
        if self._channel_code != "email":
            return None
        self.found.append(InlineImage(f"pix-{len(self.found) + 1}", qr_png(code)))
        return f"cid:{self.found[-1].content_id}"


def _shown_line(content: MessageContent, line: Line, images: _Images) -> ShownLine:
    boleto = pix = None
    # An offer is paid by its own link: the codes would collect the whole debt.
    if content.currency_code == "BRL" and not content.offer_amount and len(content.lines) <= _MOST_LINES_WITH_CODES:
        boleto, pix = _fitting_boleto(line), _fitting_pix(line)
    number = shown(line.invoice_number or "").strip() or None
    if number and len(number) > _NUMBER_CHARACTERS:
        number = None
    return ShownLine(
        number=number,
        label=f"fatura {number}" if number else "fatura",
        due_date=line.due_date,
        days_past_due=line.days_past_due,
        state=_state(line, content.as_of_date),
        open_amount=line.open_amount,
        credit_amount=line.credit_amount,
        fine_amount=line.fine_amount,
        interest_amount=line.interest_amount,
        payable_amount=line.payable_amount,
        payment_url=line.payment_url,
        boleto=boleto and boleto[0],
        boleto_digits=boleto and boleto[1],
        pix=pix,
        qr=images.source_of(pix) if pix and len(content.lines) <= _MOST_LINES_WITH_QR else None,
    )


def _fitting_boleto(line: Line) -> tuple[str, str] | None:
    if not line.boleto_line:
        return None
    try:
        found = read_boleto_line(line.boleto_line)
    except PaymentCodeError:
        return None
    return (found.written, found.digits) if _collects(line, found.amount) else None


def _fitting_pix(line: Line) -> str | None:
    if not line.pix_code:
        return None
    try:
        found = read_pix_code(line.pix_code)
    except PaymentCodeError:
        return None
    return found.text if _collects(line, found.amount) else None


def _collects(line: Line, amount: Decimal | None) -> bool:
    """The bank adds fine and interest to the face value, but knows nothing of a part paid or of a credit."""
    if amount is None or amount == line.payable_amount:
        return True
    return amount == line.open_amount and not line.credit_amount


def _state(line: Line, as_of: date) -> str:
    if line.days_past_due:
        return f"vencida há {line.days_past_due} dia{'s' if line.days_past_due > 1 else ''}"
    if line.due_date == as_of:
        return "vence hoje"
    return "a vencer" if line.due_date > as_of else "ainda sem encargos"


def _due(lines: tuple[ShownLine, ...], as_of: date) -> str:
    """ "vence hoje", "vencem até 10/06/2026", "está vencida desde …": what follows the invoices in a sentence."""
    first, last = min(line.due_date for line in lines), max(line.due_date for line in lines)
    is_one = len(lines) == 1
    if any(line.days_past_due for line in lines):
        return f"está vencida desde {_day(first)}" if is_one else f"estão em aberto, a mais antiga desde {_day(first)}"
    if last < as_of:
        # The bank was closed on the due date.
        return "ainda pode ser paga sem encargos" if is_one else "ainda podem ser pagas sem encargos"
    verb = "vence" if is_one else "vencem"
    if first != last:
        return f"{verb} até {_day(last)}"
    if last == as_of:
        return f"{verb} hoje, {_day(last)}"
    return f"{verb} amanhã, {_day(last)}" if (last - as_of).days == 1 else f"{verb} em {_day(last)}"


def _ways_to_pay(lines: tuple[ShownLine, ...]) -> str:
    ways = ["por boleto"] * any(line.boleto for line in lines) + ["por Pix"] * any(line.pix for line in lines)
    return f"{', '.join(ways)} ou pela nossa página de pagamento" if ways else "pela nossa página de pagamento"


def money(amount: Decimal, currency_code: str) -> str:
    """R$ 1.234,56: as people in Brazil write it."""
    digits = f"{abs(amount):,.2f}".translate(str.maketrans(",.", ".,"))
    return f"{'-' if amount < 0 else ''}{_SYMBOLS.get(currency_code, currency_code)} {digits}"


def shown(text: str) -> str:
    """A value of somebody's as it may stand in a text."""
    return _DIRECTION_MARKS.sub("", text)


def transliterated(text: str) -> str:
    """Without the accents and signs that would make three SMS of one; what has no plain letter stays."""
    return "".join(map(_gsm_character, text.translate(_TYPOGRAPHY)))


def _gsm_character(character: str) -> str:
    if character in _GSM_7 or character in _GSM_7_EXTENSION:
        return character
    plain = "".join(each for each in unicodedata.normalize("NFKD", character) if not unicodedata.combining(each))
    return plain if plain and set(plain) <= _GSM_7 else character


def septets(text: str) -> int | None:
    """Length of an SMS in GSM-7, those of the extension table twice; None when a character is in neither table."""
    if not set(text) <= _GSM_7 | _GSM_7_EXTENSION:
        return None
    return len(text) + sum(character in _GSM_7_EXTENSION for character in text)


@jinja2.pass_context
def _money(context: Context, amount: Decimal | None) -> str:
    if amount is None:
        raise UnsendableError("The template writes an amount that this message does not have.")
    return money(amount, context["currency_code"])


def _day(day: date | None) -> str:
    if day is None:
        raise UnsendableError("The template writes a day that this message does not have.")
    return f"{day:%d/%m/%Y}"


def _percent(value: Decimal | None) -> str:
    if value is None:
        raise UnsendableError("The template writes a percentage that this message does not have.")
    return f"{value.normalize():f}%".replace(".", ",")


@jinja2.pass_context
def _plural(context: Context, one: str, many: str) -> str:
    return one if len(context["lines"]) == 1 else many


def _paragraphs(text: str) -> list[str]:
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text.strip()) if part.strip()]


def window_lines(name: str, address: str) -> list[str]:
    """What stands in the window of a letter: the name, then the address, which an export may bring on one line."""
    lines = [shown(line).strip() for line in address.splitlines() if line.strip()]
    if len(lines) == 1:
        lines = _wrapped(lines[0])
    return lines if lines[:1] == [shown(name).strip()] else [shown(name), *lines]


def _address_points(lines: list[str]) -> int:
    """The largest type in which the address fits into the window: the printer cuts off nothing, so neither do we."""
    for points, characters, line_count in _ADDRESS_SIZES:
        if sum(math.ceil(len(line) / characters) for line in lines) <= line_count:
            return points
    raise UnsendableError("Name and address do not fit into the window of a letter.")


def _wrapped(address: str) -> list[str]:
    lines = [""]
    for part in re.split(r"(?<=,) ", address):
        if lines[-1] and len(lines[-1]) + len(part) >= _ADDRESS_LINE_CHARACTERS:
            lines.append("")
        lines[-1] = f"{lines[-1]} {part}".strip()
    return lines


def _tidy(text: str) -> str:
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", text)).strip() + "\n"


def _with_id(url: str, message_id: str) -> str:
    return f"{url}{'' if url.endswith('=') else '/'}{quote(message_id, safe='')}"


def _refuse_line_breaks(content: MessageContent) -> None:
    """CR, LF and NUL in what becomes a header or a line would begin another."""
    values = {"message_id": content.message_id, "name": content.name}
    if content.channel_code == "letter":
        values |= {"address": content.address.replace("\n", " ")}
    else:
        values |= {"address": content.address}
    values |= {f"invoice_number of {line.invoice_id}": line.invoice_number or "" for line in content.lines}
    for name, value in values.items():
        if CONTROL_CHARACTERS.search(value):
            raise UnsendableError(f"{name} holds a line break or another control character.")
    if not content.lines:
        raise UnsendableError("The message has no invoice.")
