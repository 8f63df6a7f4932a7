"""YAML that people write, read so that every complaint can name the file, the line and the field."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from regua.errors import InputError

Model = TypeVar("Model", bound=BaseModel)
_Place = tuple[str | int, ...]


def read_yaml_model(path: Path, model: type[Model]) -> Model:
    """Read `path` and validate it as `model`.

    Raises InputError that lists every fault as `file:line: field: what is wrong`; a key written twice is a fault,
    because YAML would silently keep the second.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {error}") from error
    lines: dict[_Place, int] = {}
    faults: list[tuple[int, str]] = []
    if root is not None:
        _walk(root, (), lines, faults)
    if not faults:
        try:
            return model.model_validate(data)
        except ValidationError as error:
            faults = [_fault(detail, lines) for detail in error.errors(include_url=False)]
    raise InputError("\n".join(f"{path}:{line}: {message}" for line, message in sorted(faults)))


def _walk(node: yaml.Node, place: _Place, lines: dict[_Place, int], faults: list[tuple[int, str]]) -> None:
    lines[place] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                faults.append((key.start_mark.line + 1, f"{key.value}: written twice in the same place."))
            seen.add(key.value)
            _walk(value, (*place, key.value), lines, faults)
            lines[(*place, key.value)] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(item, (*place, index), lines, faults)


def _fault(detail: Any, lines: dict[_Place, int]) -> tuple[int, str]:
    place: _Place = tuple(detail["loc"])
    known = place
    while known not in lines and known:
        known = known[:-1]
    field = ".".join(str(part) for part in place) or "the file"
    return lines.get(known, 1), f"{field}: {detail['msg'].removeprefix('Value error, ')}."
