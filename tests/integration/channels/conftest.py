from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.provider_process import ProviderProcess, running_provider


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderProcess]:
    """Answers after at most the client's deadline of a second, or never."""
    log: Path = tmp_path_factory.mktemp("provider") / "accepted.jsonl"
    with running_provider(log, "--slow-ms", "300", "--delayed-ms", "1200") as running:
        yield running
