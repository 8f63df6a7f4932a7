"""What holds for every test: nothing reads the caller's settings, nothing writes outside a temporary folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import hypothesis
import pytest

PROJECT_DIR = Path(__file__).resolve().parents[1]

# The same examples in every run: a failure in CI is the failure at home. No deadline, because CI's cores are shared.
hypothesis.settings.register_profile("regua", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("regua")

_airflow_home = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Airflow reads its configuration when it is first imported, so this cannot wait for a fixture."""
    for variable in [name for name in os.environ if name.startswith(("REGUA_", "AIRFLOW_"))]:
        del os.environ[variable]
    home = tempfile.mkdtemp(prefix="regua-tests-airflow-")
    config.stash[_airflow_home] = home
    os.environ |= {
        "REGUA_ENV": "test",
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT_DIR / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT_DIR / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "False",
        "GX_ANALYTICS_ENABLED": "False",
    }


def pytest_unconfigure(config: pytest.Config) -> None:
    if _airflow_home in config.stash:
        shutil.rmtree(config.stash[_airflow_home], ignore_errors=True)


@pytest.fixture(scope="session")
def project_dir() -> Path:
    return PROJECT_DIR
