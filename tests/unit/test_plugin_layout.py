"""Airflow executes every module under plugins/ and registers it by its bare file name, replacing what had that name.

A `calendar.py` anywhere below would so replace the standard library's. `.airflowignore` keeps Airflow out, and no name
would do harm if it came in all the same.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

AIRFLOW_PACKAGE = Path("regua/orchestration")


@pytest.fixture(scope="module")
def modules(project_dir: Path) -> list[Path]:
    plugins = project_dir / "plugins"
    found = sorted(path.relative_to(plugins) for path in plugins.rglob("*.py"))
    assert len(found) > 10, "the scan found next to nothing; it would pass on anything"
    return found


def taken_names() -> frozenset[str]:
    """Every top-level module the environment has, except our own."""
    third_party = {name for name, owners in packages_distributions().items() if set(owners) != {"regua"}}
    return frozenset(sys.stdlib_module_names) | third_party


def imported_packages(source: str) -> set[str]:
    """Top-level names a module imports, at any depth, except for type checking alone."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting.extend(node.orelse)
        else:
            waiting.extend(ast.iter_child_nodes(node))
    return found


def test_no_module_has_a_name_that_something_else_has(modules: list[Path]) -> None:
    taken = taken_names()
    assert {"calendar", "email", "yaml", "airflow", "duckdb"} <= taken
    stems = {path.stem for path in modules} | {part for path in modules for part in path.parts[:-1]}
    assert {stem for stem in stems if stem != "__init__" and stem in taken} == set()


def test_airflowignore_names_the_package(project_dir: Path) -> None:
    lines = (project_dir / "plugins/.airflowignore").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == ["regua/"]


def test_only_orchestration_imports_airflow(project_dir: Path, modules: list[Path]) -> None:
    """Even inside a function: the rest of the package must work, and be tested, where no Airflow is installed."""
    plugins = project_dir / "plugins"
    importers = {path for path in modules if "airflow" in imported_packages((plugins / path).read_text("utf-8"))}
    assert importers, "no module imports Airflow: the scan looks in the wrong place"
    shown_by_airflow = {path for path in importers if len(path.parts) == 1}
    assert {path for path in importers - shown_by_airflow if not path.is_relative_to(AIRFLOW_PACKAGE)} == set()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import airflow.sdk", {"airflow"}),
        ("from airflow.sdk import dag", {"airflow"}),
        ("def f():\n    import airflow", {"airflow"}),
        ("try:\n    import a\nexcept ImportError:\n    import airflow", {"a", "airflow"}),
        ("if typing.TYPE_CHECKING:\n    import airflow\nelse:\n    import b", {"b"}),
        ("from . import airflow", set()),
    ],
)
def test_the_scan_sees_every_import(source: str, found: set[str]) -> None:
    assert imported_packages(source) == found


@pytest.mark.parametrize(
    ("entry", "forbidden"),
    [
        ("regua.cli", {"airflow", "dbt", "great_expectations"}),
        ("regua.nightly.stages", {"airflow", "dbt", "great_expectations"}),
        ("regua.orchestration.nightly_tasks", {"dbt", "great_expectations"}),
    ],
)
def test_loading_an_entry_point_loads_nothing_heavy(entry: str, forbidden: set[str]) -> None:
    """dbt, Great Expectations and Airflow take seconds to import: `regua --help` and DAG parsing must not pay."""
    script = f"import sys, {entry}; print(sorted({forbidden!r} & sys.modules.keys()))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"


def test_airflow_loads_no_module_of_the_package_as_a_plugin(project_dir: Path) -> None:
    """Asked of Airflow itself, in a process of its own, because a loaded module would stay loaded."""
    script = (
        "import sys\n"
        "from airflow.plugins_manager import get_import_errors, get_plugin_info\n"
        "get_plugin_info()\n"
        "from pathlib import Path\n"
        "plugins = Path(sys.argv[1])\n"
        "stems = {path.stem for path in plugins.rglob('regua/**/*.py')} - {'__init__'}\n"
        "from airflow.configuration import conf\n"
        "assert conf.get('core', 'plugins_folder') == str(plugins)\n"
        "assert stems, 'nothing to look for'\n"
        "print(sorted(stems & set(sys.modules)), dict(get_import_errors()))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script, str(project_dir / "plugins")], capture_output=True, text=True, check=True
    )
    assert answer.stdout.splitlines()[-1] == "[] {}"
