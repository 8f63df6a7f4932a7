"""The policies of an installation: read together, each version with its hash and the days on which it holds."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import combinations, pairwise
from pathlib import Path

from regua.errors import InputError
from regua.policy.policy_file import CODE_PATTERN, PolicyFile, Version
from regua.yaml_file import line_of, read_yaml_model

_HASH_LENGTH = 16


@dataclass(frozen=True, slots=True)
class EffectiveVersion:
    """One version and the days on which it holds, both included; `date.min` and `date.max` mean no end."""

    policy_code: str
    version_hash: str
    effective_from: date
    effective_to: date
    content: Version


@dataclass(frozen=True, slots=True)
class Policy:
    """One file. Its versions follow each other without a gap."""

    code: str
    path: Path
    content: PolicyFile

    @property
    def versions(self) -> tuple[EffectiveVersion, ...]:
        starts = [version.effective_from or date.min for version in self.content.versions]
        ends = [later - timedelta(days=1) for _, later in pairwise(starts)] + [date.max]
        return tuple(
            EffectiveVersion(self.code, version_hash(self.code, version), start, end, version)
            for version, start, end in zip(self.content.versions, starts, ends, strict=True)
        )

    def version_on(self, day: date) -> EffectiveVersion | None:
        """The version in force; None before the first one's day."""
        return next((v for v in self.versions if v.effective_from <= day <= v.effective_to), None)


@dataclass(frozen=True, slots=True)
class Policies:
    """All policies by code; `combine` has checked that they agree with each other."""

    by_code: dict[str, Policy]

    @property
    def default(self) -> Policy:
        return next(policy for policy in self if policy.content.default)

    def named(self, code: str) -> Policy:
        if code not in self.by_code:
            raise InputError(f"There is no policy {code!r}; there are {', '.join(self.by_code)}.")
        return self.by_code[code]

    def __iter__(self) -> Iterator[Policy]:
        return iter(self.by_code.values())


def version_hash(policy_code: str, version: Version) -> str:
    """What a version says, in 16 hexadecimal digits; order of keys, layout and written defaults make no difference."""
    canonical = json.dumps(
        {"policy": policy_code, "version": version.model_dump(mode="json")},
        ensure_ascii=False,
        sort_keys=True,
        separators=(",", ":"),
    )
    return hashlib.sha256(canonical.encode()).hexdigest()[:_HASH_LENGTH]


def read_policy(path: Path) -> Policy:
    """Read one file. Raises InputError that names file, line and field of every fault."""
    if not re.fullmatch(CODE_PATTERN, path.stem) or path.suffix != ".yml":
        raise InputError(
            f"{path}: name it with lower-case letters, digits and _, ending in .yml: its name is the policy's."
        )
    return Policy(path.stem, path, read_yaml_model(path, PolicyFile))


def load_policies(policies_dir: Path) -> Policies:
    """Read every policy of a folder and hold them against each other.

    Raises InputError with the faults of all files, or with what only shows between them.
    """
    # A policy nobody reads because its name ends in .yaml would be missed only by the customers it forgets.
    paths = sorted([*policies_dir.glob("*.yml"), *policies_dir.glob("*.yaml")])
    if not paths:
        raise InputError(f"{policies_dir} holds no policy (NAME.yml); one with `default: true` is needed.")
    policies, faults = [], []
    for path in paths:
        try:
            policies.append(read_policy(path))
        except InputError as error:
            faults.append(str(error))
    if faults:
        raise InputError("\n".join(faults))
    return combine(policies)


def combine(policies: Iterable[Policy]) -> Policies:
    """Policies as one installation has them: one default, and no customer that two of them claim on the same day."""
    by_code = {policy.code: policy for policy in policies}
    defaults = [policy for policy in by_code.values() if policy.content.default]
    if not defaults:
        raise InputError(f"None of {', '.join(by_code)} says `default: true`; customers whom no policy names need one.")
    faults = [
        f"{_place(policy, 'default')}: {defaults[0].path.name} is the default already." for policy in defaults[1:]
    ]
    for one, other in combinations(by_code.values(), 2):
        faults += _double_claims(one, other)
    if faults:
        raise InputError("\n".join(faults))
    return Policies(by_code)


def _double_claims(one: Policy, other: Policy) -> Iterator[str]:
    for older in one.versions:
        for index, newer in enumerate(other.versions):
            first_day = max(older.effective_from, newer.effective_from)
            if first_day > min(older.effective_to, newer.effective_to):
                continue
            ours, theirs = older.content.applies_to, newer.content.applies_to
            if ours is None or theirs is None or not ours.overlaps(theirs):
                continue
            whom = _shared(ours.segments, theirs.segments) | _shared(ours.person_types, theirs.person_types)
            since = "" if first_day == date.min else f" from {first_day} on"
            yield (
                f"{_place(other, 'versions', index, 'applies_to')}: {one.path.name} is meant for the same customers "
                f"({', '.join(sorted(whom))}){since}; a customer can have one policy."
            )


def _shared(ours: Iterable[str], theirs: Iterable[str]) -> set[str]:
    """What two lists have in common, where an empty one stands for anything."""
    return {*ours} & {*theirs} if ours and theirs else {*ours, *theirs}


def _place(policy: Policy, *place: str | int) -> str:
    return f"{policy.path}:{line_of(policy.path, place)}: {'.'.join(str(part) for part in place)}"
