"""Settings come from the environment alone, and the reference page says what the code does."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from regua.errors import InputError
from regua.settings import ENVIRONMENTS, Settings, load_settings


class _RecordingEnvironment(Mapping[str, str]):
    """An empty environment that remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _documented(project_dir: Path) -> dict[str, str]:
    page = (project_dir / "docs/reference/settings.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `(REGUA_\w+)` \| (.+?) \|", page, flags=re.MULTILINE))


def test_the_reference_page_lists_exactly_the_variables_that_are_read(project_dir: Path) -> None:
    environment = _RecordingEnvironment()
    load_settings(environment)
    assert environment.asked
    assert set(_documented(project_dir)) == environment.asked


def test_the_reference_page_states_the_defaults(project_dir: Path) -> None:
    defaults = load_settings({})
    in_project = "in the project"
    assert _documented(project_dir) == {
        "REGUA_ENV": f"`{defaults.environment}`",
        "REGUA_PROJECT_DIR": "the checkout the package lies in",
        "REGUA_HOME": f"`{defaults.home.relative_to(project_dir)}` {in_project}",
        "REGUA_INBOX": f"`{defaults.inbox.relative_to(defaults.home)}` in `REGUA_HOME`",
        "REGUA_SOURCES_DIR": f"`{defaults.sources_dir.relative_to(project_dir)}` {in_project}",
        "REGUA_SOURCES": f"`{','.join(defaults.source_names)}`",
        "REGUA_POLICIES_DIR": f"`{defaults.policies_dir.relative_to(project_dir)}` {in_project}",
        "REGUA_DISPATCH_FILE": f"`{defaults.dispatch_path.relative_to(project_dir)}` {in_project}",
        "REGUA_SUSPENSION_FILE": f"`{defaults.suspension_path.relative_to(project_dir)}` {in_project}",
        "REGUA_WAREHOUSE_MEMORY": f"`{defaults.warehouse_memory}`",
        "REGUA_WAREHOUSE_THREADS": "the machine's cores",
        "REGUA_KEPT_GENERATIONS": f"`{defaults.kept_generations}`",
        "REGUA_ALERT_URL": "none",
        "REGUA_LEDGER_URL": "none",
    }
    assert defaults.project_dir == project_dir
    assert defaults.warehouse_threads == os.cpu_count()
    assert defaults.alert_url is None
    assert defaults.ledger_url is None


def test_every_variable_is_used() -> None:
    settings = load_settings(
        {
            "REGUA_ENV": "production",
            "REGUA_PROJECT_DIR": "/project",
            "REGUA_HOME": "/home",
            "REGUA_INBOX": "/inbox",
            "REGUA_SOURCES_DIR": "/sources",
            "REGUA_SOURCES": " erp, ,bank",
            "REGUA_POLICIES_DIR": "/policies",
            "REGUA_WAREHOUSE_MEMORY": "2GB",
            "REGUA_WAREHOUSE_THREADS": "3",
            "REGUA_DISPATCH_FILE": "/dispatch.yml",
            "REGUA_SUSPENSION_FILE": "/suspension.yml",
            "REGUA_KEPT_GENERATIONS": "1",
            "REGUA_ALERT_URL": "https://chat.example.com/hook",
            "REGUA_LEDGER_URL": "postgresql://ledger:secret@db/ledger",
        }
    )
    assert settings == Settings(
        environment="production",
        project_dir=Path("/project"),
        home=Path("/home"),
        inbox=Path("/inbox"),
        sources_dir=Path("/sources"),
        source_names=("erp", "bank"),
        policies_dir=Path("/policies"),
        dispatch_path=Path("/dispatch.yml"),
        suspension_path=Path("/suspension.yml"),
        warehouse_memory="2GB",
        warehouse_threads=3,
        kept_generations=1,
        alert_url="https://chat.example.com/hook",
        ledger_url="postgresql://ledger:secret@db/ledger",
    )
    assert "secret" not in repr(settings)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_listed_environment_is_accepted(environment: str) -> None:
    assert load_settings({"REGUA_ENV": environment}).environment == environment


@pytest.mark.parametrize("environment", ["", "prod", "Production", "staging", "local "])
def test_an_environment_nobody_listed_is_refused(environment: str) -> None:
    with pytest.raises(InputError, match="REGUA_ENV") as refusal:
        load_settings({"REGUA_ENV": environment})
    assert all(known in str(refusal.value) for known in ENVIRONMENTS)


@pytest.mark.parametrize("variable", ["REGUA_WAREHOUSE_THREADS", "REGUA_KEPT_GENERATIONS"])
@pytest.mark.parametrize("text", ["", "0", "00", "-1", "1.5", "two", "²"])
def test_a_number_that_is_none_is_refused_by_name(variable: str, text: str) -> None:
    """`²` is a digit to str.isdigit() and no number to int()."""
    with pytest.raises(InputError, match=variable):
        load_settings({variable: text})


@pytest.mark.parametrize("text", ["", " ", ",", " , "])
def test_a_night_without_any_source_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="REGUA_SOURCES"):
        load_settings({"REGUA_SOURCES": text})


def test_the_home_does_not_move_with_the_working_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings({"REGUA_HOME": "data"})
    monkeypatch.chdir("/")
    assert settings.home == tmp_path / "data"
    assert settings.warehouse_path == tmp_path / "data" / "warehouse" / "warehouse.duckdb"
