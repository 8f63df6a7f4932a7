"""Suites as written in include/expectations/GATE.yml (docs/how-to say how to add to them), as frozen objects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import yaml

from regua.contract.entities import load_contract
from regua.errors import InputError

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_ROWS = re.compile(r"\b(current|tonight)_([a-z_]+)\b")
_WRITTEN_KEYS = {"target", "description", "when_red", "query"}


@dataclass(frozen=True, slots=True)
class Threshold:
    """A limit and why it is not another one."""

    value: int | float
    reason: str


@dataclass(frozen=True, slots=True)
class Expectation:
    """A query whose every row is a finding: red, unless the row says `is_accepted`.

    `when_red` tells the person on duty what to do; `{threshold}` and the night's parameters stand in the query.
    """

    name: str
    target: str
    description: str
    when_red: str
    query: str
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)

    def statement(self, night: Mapping[str, Any]) -> str:
        """The SQL to run: every placeholder a typed literal, and the rows it speaks of defined before it."""
        values = {**night, **{name: threshold.value for name, threshold in self.thresholds.items()}}
        return _fill(f"{_rows_named_in(self.query)}select * from (\n{self.query}\n) as findings", values, self.name)

    @property
    def sentence(self) -> str:
        """The description with its thresholds filled in."""
        return _PLACEHOLDER.sub(
            lambda match: str(self.thresholds[match.group(1)].value) if match.group(1) in self.thresholds else match[0],
            self.description,
        )


@dataclass(frozen=True, slots=True)
class Suite:
    """What one file says: thresholds for the expectations made from the contract, and expectations of its own."""

    contract_thresholds: Mapping[str, Threshold]
    expectations: tuple[Expectation, ...]


def load_suite(path: Path) -> Suite:
    """Raises InputError naming file and expectation when something is missing, unknown or lacks its reason."""
    if not path.is_file():
        raise InputError(f"{path} does not exist; a gate without its suite cannot pass. Restore the file.")
    try:
        written = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not readable YAML: {error}") from error
    if not isinstance(written, dict) or set(written) - {"contract", "expectations"}:
        raise InputError(f"{path}: the top level holds `expectations` and, in raw.yml, `contract`; nothing else.")
    expectations = tuple(_expectation(path, name, body) for name, body in (written.get("expectations") or {}).items())
    if not expectations:
        raise InputError(f"{path} holds no expectation; a gate that checks nothing cannot pass.")
    contract = written.get("contract") or {}
    return Suite(_thresholds(f"{path}: contract", contract.get("thresholds") or {}), expectations)


def _expectation(path: Path, name: str, body: Any) -> Expectation:
    where = f"{path}: {name}"
    if not isinstance(body, dict):
        raise InputError(f"{where} must be a mapping with {', '.join(sorted(_WRITTEN_KEYS))}.")
    wrong = (_WRITTEN_KEYS - set(body)) | (set(body) - _WRITTEN_KEYS - {"thresholds"})
    if wrong:
        raise InputError(f"{where}: missing or unknown: {', '.join(sorted(map(str, wrong)))}.")
    thresholds = _thresholds(where, body.get("thresholds") or {})
    texts = {key: " ".join(str(body[key]).split()) for key in _WRITTEN_KEYS - {"query"}}
    return Expectation(name=name, query=str(body["query"]).strip().rstrip(";"), thresholds=thresholds, **texts)


def _thresholds(where: str, written: Mapping[str, Any]) -> dict[str, Threshold]:
    thresholds = {}
    for name, body in written.items():
        value = body.get("value") if isinstance(body, dict) else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not body.get("reason"):
            raise InputError(f"{where}: threshold {name} needs `value` (a number) and `reason`.")
        thresholds[name] = Threshold(value, " ".join(str(body["reason"]).split()))
    return thresholds


def _rows_named_in(query: str) -> str:
    """`current_ENTITY`: the versions known at {known_at}. `tonight_ENTITY`: those of them that {as_of} loaded."""
    contract = load_contract()
    named = {match.groups() for match in _ROWS.finditer(query) if match.group(2) in contract}
    tables = []
    for entity in sorted({entity for _, entity in named}):
        # Not materialized: DuckDB would otherwise copy every column of the whole table for each query. No `anti join`:
        # where it can tell that nothing was superseded, DuckDB 2.0 takes the rows for none at all, and a comparison
        # with a sum over them is silently never true.
        tables.append(
            f"""current_{entity} as not materialized (
    select versions.* from raw.{entity} as versions
    left join (
        select _batch_id, _line from raw.superseded
        where entity = '{entity}' and _superseded_at <= {{known_at}}
    ) as superseded
        on superseded._batch_id = versions._batch_id and superseded._line = versions._line
    where versions._loaded_at <= {{known_at}} and superseded._line is null
)"""
        )
        if ("tonight", entity) in named:
            tables.append(
                f"""tonight_{entity} as not materialized (
    select * from current_{entity} where _batch_id in (
        select _batch_id from ops.batches
        where entity = '{entity}' and as_of = {{as_of}} and _loaded_at <= {{known_at}}
    )
)"""
            )
    return f"with {', '.join(tables)}\n" if tables else ""


def _fill(query: str, values: Mapping[str, Any], name: str) -> str:
    unknown = {placeholder for placeholder in _PLACEHOLDER.findall(query) if placeholder not in values}
    if unknown:
        raise InputError(
            f"Expectation {name}: its query names {{{'}, {'.join(sorted(unknown))}}}; known are {', '.join(values)}."
        )
    return _PLACEHOLDER.sub(lambda match: _literal(values[match.group(1)]), query)


def _literal(value: Any) -> str:
    """SQL text of a value, by its type: nothing that was not a date, a number or a quoted string gets through."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, datetime):
        return f"timestamp '{value.isoformat(sep=' ')}'"
    if isinstance(value, date):
        return f"date '{value.isoformat()}'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_literal, value))}]::varchar[]"
    raise TypeError(f"no SQL literal for {type(value).__name__}")
