"""What every message must have before it leaves: who it is from, the right sum, codes that pay, no threat."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from stdnum.br import cnpj as cnpj_number

from regua.channels.contents import Line, MessageContent
from regua.channels.dispatch_file import DispatchFile
from regua.channels.payment_codes import PaymentCodeError, read_boleto_line, read_pix_code
from regua.channels.rendering import (
    CONTROL_CHARACTERS,
    SMS_SEPTETS,
    TEMPLATES_DIR,
    money,
    septets,
    shown,
    transliterated,
)
from regua.channels.sending import Rendered

# Mail programs show no more, and an invoice number must not fill the line.
_SUBJECT_CHARACTERS = 100
# 160 characters hold no address beside a linha digitável: there the trade name says who writes, and a page of the
# supplier's or the phone leads to the whole identity that CDC art. 42-A asks for.
_SHORT_CHANNELS = ("sms", "whatsapp")
_MARKS = re.compile("[\u0300-\u036f]+")
_UNRESOLVED = re.compile(r"\{\{|\}\}|\{%|%\}|\{#|\bNone\b|\bundefined\b|\bUndefined\b|\bnan\b|\bNaN\b")
_ADDRESS_IN_HTML = re.compile(r"""\b(?:href|src|action|background)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))""", re.I)
_ADDRESS_IN_STYLE = re.compile(r"url\(\s*['\"]?([^'\")]*)", re.I)
_ADDRESS_IN_TEXT = re.compile(r"(?:[a-z][a-z0-9+.-]*://|\bwww\.)[^\s<>\"']+", re.I)
_TAG = re.compile(r"<[a-z][^>]*>", re.I)
_TAGS = re.compile(r"<(?:style|head)\b.*?</(?:style|head)>|<[^>]*>", re.I | re.S)


def faults_of(content: MessageContent, rendered: Rendered, dispatch_file: DispatchFile) -> list[str]:
    """Empty when the message may leave. Each fault begins with its code; none holds a personal value."""
    texts = [" ".join(rendered.text.split())]
    if rendered.html is not None:
        texts.append(" ".join(html.unescape(_TAGS.sub(" ", rendered.html)).split()))
    return [
        *_faults_of_sums(content),
        *(fault for text in texts for fault in _faults_of_text(content, text, dispatch_file)),
        *_faults_of_codes(content, texts),
        *_faults_of_links(rendered, texts, dispatch_file),
        *_faults_of_form(content, rendered),
    ]


def _faults_of_sums(content: MessageContent) -> Iterator[str]:
    if not content.lines:
        yield "no_lines"
    if len({line.invoice_id for line in content.lines}) != len(content.lines):
        yield "invoice_twice"
    if sum((line.payable_amount for line in content.lines), Decimal(0)) != content.payable_amount:
        yield "wrong_total: the lines do not add up to what is to be paid"
    if content.payable_amount <= 0:
        yield "nothing_to_pay"


def _faults_of_text(content: MessageContent, text: str, dispatch_file: DispatchFile) -> Iterator[str]:
    supplier = dispatch_file.supplier
    if content.channel_code in _SHORT_CHANNELS:
        if transliterated(supplier.trade_name) not in transliterated(text):
            yield "identity_missing: trade_name"
        if not any(way in text for way in (*dispatch_file.link_hosts, supplier.phone)):
            yield "identity_missing: a page of the supplier's or its phone"
    else:
        identity = {
            "legal_name": supplier.legal_name,
            "cnpj": cnpj_number.format(supplier.cnpj),
            "address": supplier.address,
        }
        for name, value in identity.items():
            if " ".join(value.split()) not in text:
                yield f"identity_missing: {name}"
    if money(content.payable_amount, content.currency_code) not in text:
        yield "wrong_total: what is to be paid is not written"
    wording = _without_data(content, text)
    if _UNRESOLVED.search(wording):
        yield "unresolved_variable"
    lines, threats = _threats()
    for threat in sorted(set(threats.findall(_plain(wording)))):
        yield f"threat: line {lines[threat]} of threat_words.txt"


def _faults_of_codes(content: MessageContent, texts: list[str]) -> Iterator[str]:
    digits = [re.sub(r"(?<=\d)[ .\-]+(?=\d)", "", text) for text in texts]
    for line in content.lines:
        amounts = (line.payable_amount,) if line.credit_amount else (line.payable_amount, line.open_amount)
        if line.boleto_line:
            try:
                boleto = read_boleto_line(line.boleto_line)
            except PaymentCodeError as error:
                yield f"boleto_invalid: invoice {line.invoice_id}: {error}"
            else:
                if any(boleto.digits in text for text in digits):
                    yield from _faults_of_code("boleto", content, line, boleto.amount, amounts)
        if line.pix_code:
            try:
                pix = read_pix_code(line.pix_code)
            except PaymentCodeError as error:
                yield f"pix_invalid: invoice {line.invoice_id}: {error}"
            else:
                if any(" ".join(pix.text.split()) in text for text in texts):
                    yield from _faults_of_code("pix", content, line, pix.amount, amounts)


def _faults_of_code(
    kind: str, content: MessageContent, line: Line, amount: Decimal | None, amounts: tuple[Decimal, ...]
) -> Iterator[str]:
    if content.currency_code != "BRL":
        yield f"{kind}_currency: invoice {line.invoice_id}"
    if amount is not None and amount not in amounts:
        yield f"{kind}_amount: invoice {line.invoice_id}"


def _faults_of_links(rendered: Rendered, texts: list[str], dispatch_file: DispatchFile) -> Iterator[str]:
    written = [address for text in (*texts, *rendered.parameters) for address in _in_text(text)]
    written += [value for _, header in rendered.headers for value in re.findall(r"<([^>]*)>", header)]
    if rendered.html is not None:
        tags = "".join(_TAG.findall(rendered.html))
        written += [html.unescape("".join(groups)) for groups in _ADDRESS_IN_HTML.findall(tags)]
        if "url" in rendered.html.casefold():
            written += _ADDRESS_IN_STYLE.findall(rendered.html)
    images = {f"cid:{image.content_id}" for image in rendered.images}
    mail = f"mailto:{dispatch_file.supplier.email}"
    for address in dict.fromkeys(written):
        if address in images or address.startswith("data:image/png;base64,") or address.partition("?")[0] == mail:
            continue
        try:
            parts = urlsplit(address if "://" in address else f"https://{address}")
        except ValueError:
            # Its message quotes the address, and a customer may be called anything.
            yield "link_host: a link that cannot be read"
            return
        if parts.scheme != "https" or parts.hostname not in dispatch_file.link_hosts or set(address) & set("\\@"):
            # The host may be of the customer's own making, so it is not told.
            yield "link_host: a link leads elsewhere than to link_hosts"
            return


def _in_text(text: str) -> list[str]:
    # Only words with a mark of an address: over a whole text the expression takes ten times as long.
    words = [word for word in text.split() if ":" in word or "." in word]
    return [address.rstrip(".,;:!?)]") for word in words for address in _ADDRESS_IN_TEXT.findall(word)]


def _faults_of_form(content: MessageContent, rendered: Rendered) -> Iterator[str]:
    one_line = (rendered.subject or "", *rendered.parameters, *(part for header in rendered.headers for part in header))
    texts = (rendered.text.replace("\n", " "), (rendered.html or "").replace("\n", " "))
    if any(CONTROL_CHARACTERS.search(text) for text in (*one_line, *texts)):
        yield "control_character"
    if content.channel_code == "email":
        if not rendered.subject or rendered.html is None:
            yield "incomplete: an e-mail needs subject, HTML and text"
        elif len(rendered.subject) > _SUBJECT_CHARACTERS:
            yield f"subject_length: more than {_SUBJECT_CHARACTERS} characters"
    if content.channel_code == "letter" and rendered.html is None:
        yield "incomplete: a letter needs HTML"
    if content.channel_code == "whatsapp" and not all(rendered.parameters or ("",)):
        yield "incomplete: a parameter is missing"
    if content.channel_code == "sms":
        count = septets(rendered.text)
        if count is None:
            yield "sms_alphabet: a character is not in GSM-7"
        elif count > SMS_SEPTETS:
            yield f"sms_length: {count} of {SMS_SEPTETS}"


def _without_data(content: MessageContent, text: str) -> str:
    """The wording alone: a customer may be called anything."""
    values = [content.name, *content.address.splitlines(), *(line.invoice_number or "" for line in content.lines)]
    for value in sorted({" ".join(shown(value).split()) for value in values}, key=len, reverse=True):
        if value:
            text = text.replace(value, " ")
    return text


def _plain(text: str) -> str:
    return _MARKS.sub("", unicodedata.normalize("NFD", text.casefold()))


@lru_cache(maxsize=4)
def _threats(path: Path = TEMPLATES_DIR / "threat_words.txt") -> tuple[dict[str, int], re.Pattern[str]]:
    """The line of each expression, and one pattern for all."""
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    numbers = {_plain(line.strip()): number for number, line in lines if line.strip() and not line.startswith("#")}
    longest_first = sorted(map(re.escape, numbers), key=len, reverse=True)
    return numbers, re.compile(rf"\b(?:{'|'.join(longest_first)})\b")
