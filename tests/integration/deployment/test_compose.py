"""docker-compose.yml starts a production Airflow and cannot start one with a password that somebody could guess."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

VARIABLE = re.compile(r"\$\{(\w+)(:[?-][^}]*)?\}")
SECRET = re.compile(r"PASSWORD|SECRET|FERNET|_KEY|CONN$|BROKER_URL|RESULT_BACKEND")
EXPECTED_SERVICES = {
    "postgres",
    "redis",
    "airflow-init",
    "airflow-api-server",
    "airflow-scheduler",
    "airflow-dag-processor",
    "airflow-triggerer",
    "airflow-worker",
    "receiver",
}
# Left empty they switch something off: nothing is sent, and no webhook is believed.
HARMLESS_WHEN_EMPTY = {
    "REGUA_ALERT_URL",
    "SENDGRID_API_KEY",
    "TWILIO_ACCOUNT_SID",
    "TWILIO_AUTH_TOKEN",
    "SMTP_USER",
    "SMTP_PASSWORD",
    "REGUA_WEBHOOK_SECRET",
    "REGUA_PAYMENTS_SECRET",
    "REGUA_SFTP_PASSWORD",
    "REGUA_SFTP_KNOWN_HOSTS",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
}
INIT = "airflow-init"


@pytest.fixture(scope="module")
def compose_text(project_dir: Path) -> str:
    return (project_dir / "docker-compose.yml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def services(compose_text: str) -> dict[str, dict[str, Any]]:
    services = yaml.safe_load(compose_text)["services"]
    assert set(services) == EXPECTED_SERVICES
    return services


@pytest.fixture(scope="module")
def airflow_services(services: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: service for name, service in services.items() if name.startswith("airflow-")}


def check_schema(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_file_follows_the_compose_schema(project_dir: Path) -> None:
    answer = check_schema(project_dir / "docker-compose.yml")
    assert answer.returncode == 0, answer.stdout


def test_the_schema_check_refuses_what_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text("services: {postgres: {imagine: postgres}}", encoding="utf-8")
    assert check_schema(wrong).returncode != 0


def test_every_service_says_whether_it_is_healthy(services: dict[str, dict[str, Any]]) -> None:
    """airflow-init runs to its end: its exit code is waited for instead."""
    for name, service in services.items():
        if name != INIT:
            assert service["healthcheck"]["test"], name


def test_every_service_has_limits_restarts_and_rotated_logs(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}, name
        assert service["restart"] == ("on-failure:3" if name == INIT else "unless-stopped"), name
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}, name


def test_nothing_starts_before_the_database_is_migrated(airflow_services: dict[str, dict[str, Any]]) -> None:
    assert airflow_services[INIT]["depends_on"]["postgres"] == {"condition": "service_healthy"}
    for name, service in airflow_services.items():
        if name != INIT:
            assert service["depends_on"][INIT] == {"condition": "service_completed_successfully"}, name


def test_no_secret_is_written_in_the_file(services: dict[str, dict[str, Any]]) -> None:
    """A secret is a variable and nothing else; in an address, its password is."""
    secrets = 0
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if not SECRET.search(variable):
                continue
            secrets += 1
            password = re.search(r"//\w*:(.+?)@", value)
            secret = password.group(1) if password else value
            is_optional = variable in HARMLESS_WHEN_EMPTY and secret == f"${{{variable}:-}}"
            assert is_optional or re.fullmatch(r"\$\{\w+:\?[^}]+\}", secret), f"{name}: {variable}"
    assert secrets > 20


def test_a_variable_is_required_or_harmlessly_empty(compose_text: str) -> None:
    """`${X}` alone would start with an empty password; a default other than empty would be one everybody knows."""
    forms = {(name, form[:2], form[2:]) for name, form in VARIABLE.findall(compose_text)}
    assert len(forms) > 8
    for name, kind, text in forms:
        assert kind == ":?" or (kind == ":-" and text == "" and name in HARMLESS_WHEN_EMPTY), name


def test_the_example_lists_exactly_the_variables_of_the_file_and_gives_none_a_value(
    project_dir: Path, compose_text: str
) -> None:
    lines = (project_dir / ".env.example").read_text(encoding="utf-8").splitlines()
    example = [line.partition("=") for line in lines if line and not line.startswith("#")]
    assert {name for name, _, _ in example} == {name for name, _ in VARIABLE.findall(compose_text)}
    assert {name: value for name, _, value in example if value} == {}


def test_only_the_worker_sees_data(services: dict[str, dict[str, Any]]) -> None:
    mounts = [(name, volume) for name, service in services.items() for volume in service.get("volumes", [])]
    readers = {name for name, volume in mounts if volume.startswith(("home:", "${INBOX_PATH"))}
    assert readers == {"airflow-worker"}
    assert "volumes" not in services["receiver"]


def test_the_panel_reads_what_is_published_and_nothing_else(services: dict[str, dict[str, Any]]) -> None:
    """Where the API server could open the warehouse, a look at the panel could keep the night's writer out."""
    mounts = {volume for volume in services["airflow-api-server"]["volumes"] if not volume.startswith("logs:")}
    assert mounts == {"serving:/var/lib/regua/serving:ro"}
    assert "serving:/var/lib/regua/serving" in services["airflow-worker"]["volumes"]
    assert "REGUA_LEDGER_URL" in services["airflow-api-server"]["environment"]


def test_what_is_reached_from_outside_holds_no_key_that_it_does_not_need(services: dict[str, dict[str, Any]]) -> None:
    receiver = services["receiver"]
    assert set(receiver["environment"]) == {"REGUA_LEDGER_URL", "TWILIO_AUTH_TOKEN", "REGUA_PAYMENTS_SECRET"}
    assert receiver["read_only"] is True
    assert [port.startswith("127.0.0.1:") for port in receiver["ports"]] == [True]


def test_only_this_host_reaches_a_port(services: dict[str, dict[str, Any]]) -> None:
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports == {"airflow-api-server": ["127.0.0.1:8080:8080"], "receiver": ["127.0.0.1:8090:8090"]}


def test_every_component_has_the_same_keys(airflow_services: dict[str, dict[str, Any]]) -> None:
    """A worker with another token secret has all its tasks refused; with another Fernet key it reads no connection."""
    for variable in (
        "AIRFLOW__CORE__FERNET_KEY",
        "AIRFLOW__API_AUTH__JWT_SECRET",
        "AIRFLOW__API__SECRET_KEY",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL",
    ):
        assert len({service["environment"][variable] for service in airflow_services.values()}) == 1, variable


@pytest.mark.parametrize(
    "module",
    [
        "airflow.providers.celery.executors.celery_executor",
        "airflow.providers.fab.auth_manager.fab_auth_manager",
        "psycopg2",
        "redis",
    ],
)
def test_what_production_adds_can_be_loaded(module: str) -> None:
    """Celery 5.7 took away a name that Airflow's provider imports: scheduler and worker died at start."""
    importlib.import_module(module)


def test_the_image_copies_what_exists_and_all_that_is_needed(project_dir: Path) -> None:
    dockerfile = (project_dir / "Dockerfile").read_text(encoding="utf-8")
    copies = re.findall(r"^COPY --chown=regua:regua (.+) (\S+)$", dockerfile, flags=re.MULTILINE)
    sources = [source for names, _ in copies for source in names.split()]
    assert {"pyproject.toml", "uv.lock", "plugins", "dags", "dbt_project", "include"} <= set(sources)
    assert [source for source in sources if not (project_dir / source).exists()] == []
    ignore = (project_dir / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignore[1] == "*"
    assert [source for source in sources if f"!{source.partition('/')[0]}" not in ignore] == []


def test_the_image_runs_as_nobody_special_and_installs_only_what_is_locked(project_dir: Path) -> None:
    dockerfile = (project_dir / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^USER (\S+)$", dockerfile, flags=re.MULTILINE) == ["regua"]
    installs = re.findall(r"uv sync .+", dockerfile)
    assert len(installs) == 2
    assert all("--frozen --no-dev --extra production" in install for install in installs)
    assert "UV_NO_BUILD=1" in dockerfile


def test_the_image_and_make_use_one_uv(project_dir: Path) -> None:
    in_image = re.findall(r"uv==([\d.]+)", (project_dir / "Dockerfile").read_text(encoding="utf-8"))
    in_make = re.findall(r"UV_VERSION := ([\d.]+)", (project_dir / "Makefile").read_text(encoding="utf-8"))
    assert len(in_image) == 1
    assert in_image == in_make


def test_the_files_the_services_name_are_in_the_project(project_dir: Path, services: dict[str, dict[str, Any]]) -> None:
    mounts = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])}
    checks = {word for service in services.values() for word in service.get("healthcheck", {}).get("test", [])}
    named = {word for word in mounts | checks if word.startswith(("./", "scripts/"))}
    assert named == {"./scripts/create-databases", "scripts/airflow-health"}
    for name in named:
        assert (project_dir / name).stat().st_mode & 0o111, f"{name} is not executable"
