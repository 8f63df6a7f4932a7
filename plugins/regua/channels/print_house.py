"""Letters for a print house: a PDF each, and batches of them with the list of addresses."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from regua.channels.letter_pdf import letter_pdf, letters_pdf, require_weasyprint
from regua.channels.operator_csv import write_operator_csv
from regua.channels.rendering import window_lines
from regua.channels.sending import Answer, Outcome, Outgoing, Rendered
from regua.durable_file import sync_directory, write_whole
from regua.errors import BusyError, InputError

# A hundred letters take 300 MB of memory and seven seconds to put together.
_LETTERS_PER_BATCH = 100
_WINDOW_LINES = 6
_POSTAL_CODE = re.compile(r"\b(\d{5})-?(\d{3})\b")
_PAGES = re.compile(rb"/Type /Pages\b[^>]*?/Count (\d+)")
_HEADER = (
    "ordem",
    "id",
    *(f"linha_{line}" for line in range(1, _WINDOW_LINES + 1)),
    "cep",
    "paginas",
    "pagina_inicial",
)
_PDF, _CSV, _MANIFEST = "cartas.pdf", "enderecos.csv", "manifest.json"


class PrintHouse:
    """`folder`/<day>/<message_id>.pdf is a letter; `folder`/<day>/lote-01, lote-02, … are what the print house fetches.

    A batch never changes once it is there, and a letter is in one alone. Letters hold names and debts: only those who
    run the machine can read the folder.
    """

    sender_code = "print_house"

    def __init__(self, folder: Path) -> None:
        """Raises InputError where letters cannot be made."""
        require_weasyprint()
        self._folder = folder

    def open_batch(self) -> str | None:
        return None

    def send(self, outgoing: Outgoing) -> Outcome:
        content = outgoing.content
        # As they stand in the letter itself: an export may bring the address on one line.
        lines = window_lines(content.name, content.address)
        postal_code = _POSTAL_CODE.search(content.address)
        has_street = any(character.isalpha() for character in content.address)
        if postal_code is None or not has_street or len(lines) > _WINDOW_LINES:
            return Outcome(Answer.REJECTED, "address_does_not_fit", is_address_fault=True)
        day = self._folder / content.as_of_date.isoformat()
        try:
            written = letter_pdf(outgoing.rendered)
            address = {"lines": lines, "postal_code": "-".join(postal_code.groups())}
            letter = {"html": outgoing.rendered.html, "pages": page_count(written)} | address
            day.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(day / f"{content.message_id}.json", json.dumps(letter, ensure_ascii=False))
            write_whole(day / f"{content.message_id}.pdf", written)
        except InputError:
            return Outcome(Answer.REJECTED, "no_letter")
        except OSError as error:
            # Nothing of it, or all: the same letter written again is in no batch twice.
            return Outcome(Answer.NOT_REACHED, type(error).__name__)
        return Outcome(Answer.ACCEPTED, "written", provider_message_id=content.message_id)

    def recall(self, batch_id: str) -> bool:
        return False

    def finish(self) -> None:
        """Put the letters that are in no batch yet into new ones. Raises BusyError when somebody else is at it."""
        for day in sorted(self._folder.glob("????-??-??")):
            batches = sorted(day.glob("lote-*"))
            done = {letter["id"] for batch in batches for letter in _manifest(batch)["letters"]}
            waiting = sorted({path.stem for path in day.glob("*.pdf")} - done)
            for number, message_ids in enumerate(_in_batches(waiting), start=len(batches) + 1):
                self._write_batch(day, f"lote-{number:02}", message_ids)

    def _write_batch(self, day: Path, name: str, message_ids: list[str]) -> None:
        letters = [json.loads((day / f"{message_id}.json").read_text(encoding="utf-8")) for message_id in message_ids]
        pdf = letters_pdf([Rendered(text="", html=letter["html"]) for letter in letters])
        pages = [letter["pages"] for letter in letters]
        if page_count(pdf) != sum(pages):
            raise InputError(f"{day.name}/{name}: the batch has {page_count(pdf)} pages, its letters {sum(pages)}.")
        first_pages = [1 + sum(pages[:place]) for place in range(len(pages))]
        addresses = write_operator_csv(
            _HEADER,
            [
                [
                    place,
                    message_id,
                    *(letter["lines"] + [""] * _WINDOW_LINES)[:_WINDOW_LINES],
                    letter["postal_code"],
                    letter["pages"],
                    first_page,
                ]
                for place, (message_id, letter, first_page) in enumerate(
                    zip(message_ids, letters, first_pages, strict=True), start=1
                )
            ],
        )
        manifest = {
            "day": day.name,
            "batch": name,
            "letters": [{"id": each, "pages": count} for each, count in zip(message_ids, pages, strict=True)],
            "pages": sum(pages),
            "sha256": {_PDF: hashlib.sha256(pdf).hexdigest(), _CSV: hashlib.sha256(addresses).hexdigest()},
        }
        beside = day / f".{name}.{os.getpid()}.part"
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(mode=0o700)
        write_whole(beside / _PDF, pdf)
        write_whole(beside / _CSV, addresses)
        write_whole(beside / _MANIFEST, json.dumps(manifest, indent=1))
        try:
            beside.rename(day / name)
        except OSError as error:
            raise BusyError(f"{day.name}/{name} is there already: another run is making batches.") from error
        sync_directory(day)


def page_count(pdf: bytes) -> int:
    """Pages of a file by WeasyPrint, whose page tree lies in a compressed stream."""
    counts = [int(count) for text in (pdf, *_streams(pdf)) for count in _PAGES.findall(text)]
    if len(counts) != 1:
        raise InputError("A letter's PDF does not say how many pages it has.")
    return counts[0]


def _streams(pdf: bytes) -> Iterator[bytes]:
    for found in re.finditer(rb"/Type /ObjStm.*?stream\r?\n", pdf, re.DOTALL):
        yield zlib.decompressobj().decompress(pdf[found.end() :])


def _manifest(batch: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((batch / _MANIFEST).read_text(encoding="utf-8"))
    return manifest


def _in_batches(message_ids: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(message_ids), _LETTERS_PER_BATCH):
        yield message_ids[start : start + _LETTERS_PER_BATCH]
