"""Letters as PDF: the same letter gives the same bytes, and nothing is fetched to make one."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from regua.channels.sending import Rendered
from regua.errors import InputError

# Pango's font maps are not made for several threads.
_one_at_a_time = threading.Lock()


def require_weasyprint() -> None:
    """Raises InputError where letters cannot be made."""
    try:
        import weasyprint  # type: ignore[import-untyped]  # noqa: F401
    except OSError as error:
        raise InputError(
            "Letters need Pango, and it is not installed. Debian, Ubuntu: apt install libpango-1.0-0 libpangoft2-1.0-0 "
            "libharfbuzz-subset0 fonts-dejavu-core"
        ) from error


def letter_pdf(rendered: Rendered) -> bytes:
    """A letter of A4 pages. Raises InputError where letters cannot be made, and for what is no letter."""
    return letters_pdf([rendered])


def letters_pdf(letters: Sequence[Rendered]) -> bytes:
    """One file for the printer: the letters in their order, each with its own page numbers."""
    require_weasyprint()
    if not letters:
        raise InputError("There is no letter to write.")
    from weasyprint.urls import FatalURLFetchingError  # type: ignore[import-untyped]

    with _one_at_a_time:
        try:
            documents = [_document(letter) for letter in letters]
        except FatalURLFetchingError as error:
            raise InputError("A letter asks for a file or a page outside itself, which no letter may.") from error
        whole = documents[0].copy([page for document in documents for page in document.pages])
        written: bytes = whole.write_pdf()
    return written


def _document(rendered: Rendered) -> Any:
    from weasyprint import HTML

    if rendered.html is None:
        raise InputError("A message without HTML is no letter.")
    return HTML(string=rendered.html, url_fetcher=_fetcher()).render()


def _fetcher() -> Any:
    from weasyprint.urls import URLFetcher

    # QR codes come inside the page. Whatever else a page asked for would tell somebody that a letter was written.
    return URLFetcher(allowed_protocols=["data"], allow_redirects=False, fail_on_errors=True)
