"""Policies of one folder: one default, no customer claimed twice, and one version in force each day."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.policy.small_policy import STEPS, VERSION, Place, changed, write_policy

from regua.errors import InputError
from regua.policy.policies import Policies, Policy, load_policies, read_policy, version_hash
from regua.policy.policy_file import PolicyFile, Version

_DAYS = st.dates(date(1990, 1, 1), date(2060, 12, 31))


def _policy(changes: dict[Place, Any], code: str = "small") -> Policy:
    return Policy(code, Path(f"{code}.yml"), PolicyFile.model_validate(changed(changes)))


def _version_from(day: date | str | None, **more: Any) -> dict[str, Any]:
    return changed({})["versions"][0] | ({} if day is None else {"effective_from": day}) | more


@given(st.lists(_DAYS, unique=True, max_size=6), st.booleans(), st.lists(_DAYS, max_size=5))
def test_each_day_from_the_first_on_has_exactly_one_version(
    starts: list[date], is_open: bool, others: list[date]
) -> None:
    days = [None, *sorted(starts)] if is_open or not starts else sorted(starts)
    policy = _policy({("default",): False, ("versions",): [_version_from(day) for day in days]})
    first = days[0] or date.min
    boundaries = [day + timedelta(days=shift) for day in starts for shift in (-1, 0, 1)]
    for day in [*boundaries, *others, date.min, date.max]:
        in_force = [v for v in policy.versions if v.effective_from <= day <= v.effective_to]
        assert len(in_force) == (1 if day >= first else 0)
        assert policy.version_on(day) == (in_force[0] if in_force else None)
        if in_force:
            assert in_force[0].effective_from == max(start or date.min for start in days if (start or date.min) <= day)


# id, one way to write a version, another way to write the same one.
_SAME = [
    ("number of decimals", {"tolerance_amount": 2}, {"tolerance_amount": "2.00"}),
    ("default left out", {}, {"feed_max_age_days": 1, "limits": {"contacts_per_week": 3}, "whatsapp_after_due": False}),
    ("hours", {"email_window": {"saturday": "8-20"}}, {"email_window": {"saturday": "08:00-20:00"}}),
    (
        "order of a set",
        {"offers": [{"segments": ["a", "b"], "instalments": 1, "discount_pct": 0}]},
        {"offers": [{"discount_pct": 0.0, "instalments": 1, "segments": ["b", "a"]}]},
    ),
    ("order of states", {"contact_windows": {"SP": {}, "other": {}}}, {"contact_windows": {"other": {}, "SP": {}}}),
    ("day as text", {"effective_from": "2026-01-01"}, {"effective_from": date(2026, 1, 1)}),
]
# id, a change of meaning, however small.
_DIFFERENT = [
    ("a cent", {"tolerance_amount": 0.01}),
    ("a day", {"effective_from": "2026-01-01"}),
    ("a window", {"contact_windows": {"other": {"business_day": "9-19"}}}),
    ("whom it is for", {"applies_to": {"segments": ["a"]}}),
    (
        "an empty list of offers' segments is all",
        {"offers": [{"segments": ["a"], "instalments": 3, "discount_pct": 5}]},
    ),
]


def _hash(version: dict[str, Any], code: str = "small") -> str:
    return version_hash(code, Version.model_validate(version))


@pytest.mark.parametrize(("one", "other"), [pytest.param(*row, id=name) for name, *row in _SAME])
def test_the_hash_is_of_the_meaning(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert _hash(_version_from(None, **one)) == _hash(_version_from(None, **other))


@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in _DIFFERENT])
def test_another_meaning_has_another_hash(change: dict[str, Any]) -> None:
    assert _hash(_version_from(None, **change)) != _hash(_version_from(None))


def test_the_hash_depends_neither_on_layout_nor_on_comments_nor_on_the_order_of_keys(tmp_path: Path) -> None:
    block = write_policy(tmp_path / "small.yml")
    data = yaml.safe_load(block.read_text())
    (tmp_path / "other").mkdir()
    flow = tmp_path / "other" / "small.yml"
    reordered = {key: data[key] for key in reversed(data)}
    reordered["versions"] = [{key: version[key] for key in reversed(version)} for version in data["versions"]]
    flow.write_text("# a comment\n" + json.dumps(reordered))
    assert [v.version_hash for v in read_policy(block).versions] == [v.version_hash for v in read_policy(flow).versions]


def test_the_same_words_in_another_policy_are_another_version() -> None:
    """Tables are keyed by the hash: two policies that begin as copies of each other must not share rows."""
    assert _hash(_version_from(None), "one") != _hash(_version_from(None), "two")


def test_the_hash_has_not_changed_since_it_was_first_stored() -> None:
    """Outcomes of past nights carry it. When this fails, the next night calls unchanged policies changed: say so in
    CHANGELOG.md before the expected value is put right."""
    assert _hash(_version_from(None)) == "716ee9718fbb8648"


_OTHER: dict[Place, Any] = {("default",): False}


def _claim(**applies_to: list[str]) -> dict[Place, Any]:
    return _OTHER | {(*VERSION, "applies_to"): applies_to}


def _folder(tmp_path: Path, policies: dict[str, dict[Place, Any]]) -> Policies:
    for code, changes in policies.items():
        write_policy(tmp_path / f"{code}.yml", changes)
    return load_policies(tmp_path)


# id, two policies beside the default, customers both claim or nothing.
_CLAIMS = [
    ("one segment", _claim(segments=["a"]), _claim(segments=["a", "b"]), r"\(a\)"),
    ("different segments", _claim(segments=["a"]), _claim(segments=["b"]), None),
    ("one kind of person", _claim(person_types=["company"]), _claim(person_types=["company"]), r"\(company\)"),
    ("different kinds", _claim(person_types=["company"]), _claim(person_types=["individual"]), None),
    (
        "a segment and a kind of person",
        _claim(segments=["a"]),
        _claim(person_types=["individual"]),
        r"\(a, individual\)",
    ),
    (
        "one segment of different kinds",
        _claim(segments=["a"], person_types=["company"]),
        _claim(segments=["a"], person_types=["individual"]),
        None,
    ),
    ("only by name", _OTHER, _claim(segments=["a"]), None),
    (
        "handed over on a day",
        _OTHER | {("versions",): [_version_from(None, applies_to={"segments": ["a"]}), _version_from("2026-07-01")]},
        _claim(segments=["a"]) | {(*VERSION, "effective_from"): "2026-07-01"},
        None,
    ),
    (
        "handed over a day too early",
        _OTHER | {("versions",): [_version_from(None, applies_to={"segments": ["a"]}), _version_from("2026-07-02")]},
        _claim(segments=["a"]) | {(*VERSION, "effective_from"): "2026-07-01"},
        r"\(a\) from 2026-07-01 on",
    ),
]


@pytest.mark.parametrize(("one", "other", "refusal"), [pytest.param(*row, id=name) for name, *row in _CLAIMS])
def test_a_customer_has_one_policy_on_each_day(
    tmp_path: Path, one: dict[Place, Any], other: dict[Place, Any], refusal: str | None
) -> None:
    policies = {"default": {}, "one": one, "other": other}
    if refusal is None:
        assert [policy.code for policy in _folder(tmp_path, policies)] == ["default", "one", "other"]
        return
    with pytest.raises(InputError, match=rf"other\.yml:\d+: versions\.0\.applies_to: one\.yml .*{refusal}") as refused:
        _folder(tmp_path, policies)
    line = int(str(refused.value).split(":")[1])
    assert (tmp_path / "other.yml").read_text().splitlines()[line - 1].strip() == "applies_to:"


def test_two_defaults_are_refused_at_the_line_of_the_second(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"second\.yml:2: default: first\.yml is the default already"):
        _folder(tmp_path, {"first": {}, "second": {}})


def test_no_default_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="None of one, other says `default: true`"):
        _folder(tmp_path, {"one": _OTHER, "other": _OTHER})


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no policy"):
        load_policies(tmp_path)


def test_a_policy_nobody_would_read_is_refused(tmp_path: Path) -> None:
    write_policy(tmp_path / "default.yml")
    write_policy(tmp_path / "forgotten.yaml", _OTHER)
    with pytest.raises(InputError, match=r"forgotten\.yaml"):
        load_policies(tmp_path)


def test_the_faults_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    fault: dict[Place, Any] = {(*STEPS, 0, "channel"): "fax"}
    with pytest.raises(InputError, match=r"(?s)one\.yml:.*two\.yml:"):
        _folder(tmp_path, {"one": fault, "two": fault})


def test_policies_are_found_by_name(tmp_path: Path) -> None:
    policies = _folder(tmp_path, {"usual": {}, "other": _OTHER})
    assert policies.default.code == "usual"
    assert policies.named("other").code == "other"
    with pytest.raises(InputError, match="There is no policy 'third'; there are other, usual"):
        policies.named("third")


def test_a_later_version_can_be_written_as_what_changes(tmp_path: Path) -> None:
    """YAML's merge key. A fault in what was merged is told at the version, because nobody wrote it there."""
    path = write_policy(tmp_path / "small.yml")
    first = path.read_text().replace("versions:\n- ", "versions:\n- &first\n  ")
    path.write_text(first + "- <<: *first\n  effective_from: 2026-07-01\n  tolerance_amount: 5\n")
    older, newer = read_policy(path).versions
    assert (older.content.tolerance_amount, newer.content.tolerance_amount) == (0, 5)
    assert (older.effective_to, newer.effective_from) == (date(2026, 6, 30), date(2026, 7, 1))
    assert older.content.steps == newer.content.steps
    path.write_text(path.read_text() + "  thresholds: {suspend_after_days: 5}\n")
    with pytest.raises(InputError, match=r"small\.yml:\d+: versions\.1\.thresholds\.suspend_after_days: no step"):
        read_policy(path)
