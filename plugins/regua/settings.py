"""One typed object for everything the environment decides. Read once by an entry point, then passed along."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from regua.errors import InputError

ENVIRONMENTS = ("local", "test", "production")


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things lie and how much of the machine may be used."""

    environment: str
    project_dir: Path
    home: Path
    inbox: Path
    sources_dir: Path
    source_names: tuple[str, ...]
    policies_dir: Path
    dispatch_path: Path
    suspension_path: Path
    warehouse_memory: str
    warehouse_threads: int
    kept_generations: int
    alert_url: str | None
    # Holds a password, which no log should show.
    ledger_url: str | None = field(repr=False)

    @property
    def landing_dir(self) -> Path:
        return self.home / "landing"

    @property
    def warehouse_path(self) -> Path:
        return self.home / "warehouse" / "warehouse.duckdb"

    @property
    def lock_path(self) -> Path:
        return self.home / "warehouse" / "warehouse.lock"

    @property
    def quality_dir(self) -> Path:
        return self.home / "quality"

    @property
    def serving_dir(self) -> Path:
        return self.home / "serving"

    @property
    def work_dir(self) -> Path:
        return self.home / "work"

    @property
    def dbt_project_dir(self) -> Path:
        return self.project_dir / "dbt_project"

    @property
    def templates_dir(self) -> Path:
        return self.project_dir / "include" / "templates"

    @property
    def suspensions_dir(self) -> Path:
        """Every list that was published, from the first on."""
        return self.home / "suspensions"

    @property
    def stop_path(self) -> Path:
        """While it exists nothing is sent."""
        return self.home / "STOP"

    @property
    def contacts_people(self) -> bool:
        """Whether messages may reach anybody: locally they become files."""
        return self.environment != "local"

    @property
    def expectations_dir(self) -> Path:
        return self.project_dir / "include" / "expectations"


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the REGUA_* variables (docs/reference/settings.md).

    Raises InputError for an environment nobody listed and for numbers that are none.
    """
    variables = os.environ if environ is None else environ
    environment = variables.get("REGUA_ENV", "local")
    if environment not in ENVIRONMENTS:
        raise InputError(f"REGUA_ENV is {environment!r}; it must be one of {', '.join(ENVIRONMENTS)}.")
    project_dir = Path(variables.get("REGUA_PROJECT_DIR", Path(__file__).resolve().parents[2]))
    home = Path(variables.get("REGUA_HOME", project_dir / ".regua")).absolute()
    return Settings(
        environment=environment,
        project_dir=project_dir,
        home=home,
        inbox=Path(variables.get("REGUA_INBOX", home / "inbox")).absolute(),
        sources_dir=Path(variables.get("REGUA_SOURCES_DIR", project_dir / "include" / "sources")).absolute(),
        source_names=_names(variables.get("REGUA_SOURCES", "sample")),
        policies_dir=Path(variables.get("REGUA_POLICIES_DIR", project_dir / "include" / "policies")).absolute(),
        dispatch_path=Path(variables.get("REGUA_DISPATCH_FILE", project_dir / "include" / "dispatch.yml")).absolute(),
        suspension_path=Path(
            variables.get("REGUA_SUSPENSION_FILE", project_dir / "include" / "suspension.yml")
        ).absolute(),
        warehouse_memory=variables.get("REGUA_WAREHOUSE_MEMORY", "6GB"),
        warehouse_threads=_positive("REGUA_WAREHOUSE_THREADS", variables, default=os.cpu_count() or 2),
        kept_generations=_positive("REGUA_KEPT_GENERATIONS", variables, default=7),
        alert_url=variables.get("REGUA_ALERT_URL") or None,
        ledger_url=variables.get("REGUA_LEDGER_URL") or None,
    )


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise InputError("REGUA_SOURCES names no source; write at least one file stem of include/sources.")
    return names


def _positive(variable: str, variables: Mapping[str, str], *, default: int) -> int:
    text = variables.get(variable, str(default))
    if not text.isdecimal() or int(text) == 0:
        raise InputError(f"{variable} is {text!r}; it must be a whole number above zero.")
    return int(text)
