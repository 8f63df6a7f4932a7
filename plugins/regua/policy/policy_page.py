"""docs/reference/policy.md, made from the models: `make docs` writes what this module prints."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from regua.policy.policy_file import CODE_PATTERN, PolicyFile

_INTRODUCTION = f"""# Fields of a policy

<!-- Made from plugins/regua/policy/policy_file.py by `make docs`; edit that file, not this one. -->

What may stand in `include/policies/NAME.yml`. [How to write a policy](../how-to/policies.md) explains what it does. A
field nobody knows, or one written twice, is refused. Amounts and percentages have at most two decimals and are exact. A
name of your own (step, template, variant, the file) is lower-case: `{CODE_PATTERN}`.
"""


def render_fields() -> str:
    """The whole page as Markdown."""
    schema = PolicyFile.model_json_schema()
    definitions: dict[str, Any] = {"PolicyFile": schema, **schema["$defs"]}
    # In the order in which a reader meets them.
    names = ["PolicyFile"]
    for name in names:
        referred = (_referred(part) for field in definitions[name]["properties"].values() for part in _parts(field))
        names += [other for other in dict.fromkeys(filter(None, referred)) if other not in names]
    return "\n".join([_INTRODUCTION, *("\n".join(_section(name, definitions[name])) for name in names)])


def _section(name: str, definition: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {name}\n\n{definition['description']}\n\n| Field | Default | Meaning |\n|---|---|---|"
    required = definition.get("required", ())
    for field, described in definition["properties"].items():
        yield f"| `{field}` | {_default(described, field in required)} | {' '.join(_meaning(described))} |"
    yield ""


def _default(described: Mapping[str, Any], is_required: bool) -> str:
    if is_required:
        return "required"
    default = described.get("default")
    if isinstance(default, dict):
        return "each field's own"
    if default in (None, []):
        return "none"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _meaning(described: Mapping[str, Any]) -> Iterator[str]:
    yield described["description"]
    for part in _parts(described):
        if "enum" in part:
            yield "One of " + ", ".join(f"`{value}`" for value in part["enum"]) + "."
        if name := _referred(part):
            yield f"See [{name}](#{name.lower()})."


def _referred(part: Mapping[str, Any]) -> str:
    return str(part.get("$ref", "")).rpartition("/")[2]


def _parts(described: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A field's own schema, and those of the alternatives, items or values it is made of."""
    yield described
    below = [*described.get("anyOf", ()), described.get("items"), described.get("additionalProperties")]
    for part in below:
        if isinstance(part, dict):
            yield from _parts(part)


if __name__ == "__main__":
    sys.stdout.write(render_fields())
