"""include/policies/policy.schema.json, for editors: `make docs` writes what this module prints."""

from __future__ import annotations

import json
import sys

from regua.policy.policy_file import PolicyFile


def render_schema() -> str:
    """The JSON Schema of a policy file: each field by itself. What fits together only `regua policy check` knows."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **PolicyFile.model_json_schema()}
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render_schema())
