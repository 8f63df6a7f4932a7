"""A folder in which MetricFlow answers: the project's metrics over the serving file, which it only reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from regua.durable_file import write_whole
from regua.publish.serving import current_generation
from regua.settings import Settings
from regua.transform.dbt_run import parse_metrics

_NAME = "regua_metrics"


def write_metrics_project(settings: Settings) -> Path:
    """Write `metrics/` in REGUA_HOME for the night that is served now; answers where. Raises InputError without one.

    MetricFlow wants a dbt project around its manifest. This one has no models: the tables are there already.
    """
    folder = settings.home / "metrics"
    current_generation(settings)
    # By the link, so that tomorrow's night is answered from as well.
    serving = settings.serving_dir.absolute() / "current" / "serving.duckdb"
    manifest = parse_metrics(settings)
    for place in (*manifest["semantic_models"], *manifest["project_configuration"]["time_spines"]):
        _place(place["node_relation"], serving.stem)
    output = {
        "type": "duckdb",
        "path": str(serving),
        "schema": "main",
        "threads": 1,
        "config_options": {"access_mode": "read_only"},
    }
    project = {"name": _NAME, "version": "1.0.0", "config-version": 2, "profile": _NAME}
    profiles = {_NAME: {"target": "serving", "outputs": {"serving": output}}}
    write_whole(folder / "target" / "semantic_manifest.json", json.dumps(manifest, sort_keys=True))
    write_whole(folder / "dbt_project.yml", yaml.safe_dump(project, sort_keys=False))
    write_whole(folder / "profiles.yml", yaml.safe_dump(profiles, sort_keys=False))
    return folder


def _place(relation: dict[str, Any], database: str) -> None:
    """In the serving file, where all tables lie in one schema."""
    name = relation["alias"]
    relation |= {"database": database, "schema_name": "main", "relation_name": f'"{database}"."main"."{name}"'}
