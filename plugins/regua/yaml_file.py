"""YAML that people write, read so that every complaint can name the file, the line and the field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from regua.errors import InputError

Model = TypeVar("Model", bound=BaseModel)
_Place = tuple[str | int, ...]


class PlacedError(ValueError):
    """Raised by a model's validator for faults of parts below it, each with its place as seen from the model."""

    def __init__(self, faults: Sequence[tuple[_Place, str]]) -> None:
        super().__init__("; ".join(f"{_field(place)}: {message}" for place, message in faults))
        self.faults = tuple(faults)


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
        _walk(root, (), lines, faults, set())
    if not faults:
        try:
            return model.model_validate(data)
        except ValidationError as error:
            details = error.errors(include_url=False)
            faults = [
                (_line(place, lines), f"{_field(place)}: {message}.")
                for detail in details
                for place, message in _placed(detail)
            ]
    raise InputError("\n".join(f"{path}:{line}: {message}" for line, message in sorted(faults)))


def line_of(path: Path, place: _Place) -> int:
    """The line of a file that was read before, for faults that only show beside other files."""
    lines: dict[_Place, int] = {}
    root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    if root is not None:
        _walk(root, (), lines, [], set())
    return _line(place, lines)


def _walk(
    node: yaml.Node, place: _Place, lines: dict[_Place, int], faults: list[tuple[int, str]], walked: set[int]
) -> None:
    lines[place] = node.start_mark.line + 1
    if id(node) in walked:
        # An alias (*name): what it stands for has been seen, and may even be around this place.
        return
    walked.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                faults.append((key.start_mark.line + 1, f"{key.value}: written twice in the same place."))
            seen.add(key.value)
            _walk(value, (*place, key.value), lines, faults, walked)
            lines[(*place, key.value)] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(item, (*place, index), lines, faults, walked)


def _placed(detail: Any) -> Iterator[tuple[_Place, str]]:
    place: _Place = tuple(detail["loc"])
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, PlacedError):
        for below, message in cause.faults:
            yield (*place, *below), message
    else:
        yield place, detail["msg"].removeprefix("Value error, ")


def _line(place: _Place, lines: dict[_Place, int]) -> int:
    """The line of `place`, or of what it would stand in when nobody wrote it."""
    while place not in lines and place:
        place = place[:-1]
    return lines.get(place, 1)


def _field(place: _Place) -> str:
    return ".".join(str(part) for part in place) or "the file"
