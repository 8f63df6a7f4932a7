"""A company is opened in a test's own folder and closed with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.unit.ingest.company import Company, invoice_set, opened_company, source_of

OpenCompany = Callable[..., Company]


@pytest.fixture
def open_company(tmp_path: Path) -> Iterator[OpenCompany]:
    """Opens a company with the file sets given, or with `invoices` changed by keywords of `invoice_set`."""
    with ExitStack() as stack:

        def opened(sets: dict[str, Any] | None = None, **changed: Any) -> Company:
            source = source_of(**(sets or {"invoices": invoice_set(**changed)}))
            return stack.enter_context(opened_company(tmp_path / "home", source))

        yield opened
