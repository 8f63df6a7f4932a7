"""One empty warehouse and one compilation of the models for all tests of this folder."""

from __future__ import annotations

import pytest
from tests.oracle.scenario import Workshop, open_workshop


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return open_workshop(tmp_path_factory.mktemp("oracle"))
