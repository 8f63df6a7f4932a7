"""The policies that come with régua: valid, to the letter of the default ladder, and examples of the whole language."""

from __future__ import annotations

import json
import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
import yaml
from click.testing import CliRunner
from tests.unit.policy.small_policy import write_policy

from regua.cli import cli
from regua.errors import InputError
from regua.policy.compilation import TABLES
from regua.policy.json_schema import render_schema
from regua.policy.policies import Policies, combine, load_policies, read_policy
from regua.policy.policy_file import AppliesTo, Channel, Conditions, Notice, Phase, PolicyFile, Version
from regua.policy.policy_page import render_fields

NAMES = ("default", "gentle_consumer", "value_and_risk")


@pytest.fixture(scope="module")
def folder(project_dir: Path) -> Path:
    return project_dir / "include" / "policies"


@pytest.fixture(scope="module")
def shipped(folder: Path) -> Policies:
    return load_policies(folder)


def _as_an_editor_sees_it(path: Path) -> Any:
    """Editors follow YAML 1.2 and JSON: a day is text."""
    return json.loads(json.dumps(yaml.safe_load(path.read_text(encoding="utf-8")), default=date.isoformat))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_valid_by_itself(folder: Path, name: str) -> None:
    assert read_policy(folder / f"{name}.yml").code == name


@pytest.mark.parametrize("name", NAMES)
def test_its_editor_finds_the_schema_and_no_fault(folder: Path, name: str) -> None:
    path = folder / f"{name}.yml"
    assert path.read_text().splitlines()[0] == "# yaml-language-server: $schema=policy.schema.json"
    jsonschema.validate(_as_an_editor_sees_it(path), json.loads((folder / "policy.schema.json").read_text()))


def test_together_they_are_all_that_is_shipped_and_agree(shipped: Policies, folder: Path) -> None:
    assert [policy.code for policy in shipped] == list(NAMES)
    assert shipped.default.code == "default"
    assert {path.name for path in folder.iterdir()} == {*(f"{name}.yml" for name in NAMES), "policy.schema.json"}


def test_the_default_ladder_is_the_one_promised(shipped: Policies) -> None:
    [version] = shipped.default.versions
    ladder = [(step.offset_days, step.channel, step.phase) for step in version.content.steps]
    assert ladder == [
        (-5, "email", "preventive"),
        (-3, "call", "preventive"),
        (-1, "sms", "preventive"),
        (0, "email", "preventive"),
        (6, "email", "friendly"),
        (6, "sms", "friendly"),
        (12, "email", "intensified"),
        (15, "email", "intensified"),
        (15, "sms", "intensified"),
        (15, "letter", "intensified"),
        (25, "email", "renegotiation"),
        (25, "call", "renegotiation"),
        (40, "email", "severe"),
        (40, "letter", "severe"),
    ]
    notices = {(step.offset_days, step.notice) for step in version.content.steps if step.notice}
    assert notices == {(15, "suspension"), (40, "credit_bureau")}
    conditional = {step.offset_days: step for step in version.content.steps if not step.conditions.is_empty}
    assert list(conditional) == [-3]
    assert conditional[-3].conditions.minimum_amount == Decimal("2000.00")
    assert conditional[-3].conditions.minimum_late_count == 1
    [letter] = [step for step in version.content.steps if step.fallback_for]
    assert (letter.offset_days, letter.channel, letter.fallback_for) == (15, "letter", "email")


def test_the_default_numbers_are_the_ones_promised(shipped: Policies) -> None:
    content = shipped.default.versions[0].content
    assert content.thresholds.model_dump() == {
        "banner_after_days": 5,
        "suspend_after_days": 20,
        "suspension_grace_business_days": 1,
        "suspension_notice_age_days": 5,
        "cancel_after_days": 60,
        "bureau_after_days": 60,
        "notice_age_days": 10,
    }
    assert content.late_charges.model_dump() == {
        "fine_pct": 2,
        "monthly_interest_pct": 1,
        "consumer_fine_cap_pct": 2,
    }
    assert content.limits.model_dump() == {
        "messages_per_channel_and_day": 1,
        "contacts_per_week": 3,
        "days_between_contacts": 2,
    }
    assert content.clearing.model_dump() == {"boleto_business_days": 1, "pix_automatico_days": 7}
    assert content.prescription_years == 5


def test_whatsapp_is_off_by_default(shipped: Policies) -> None:
    assert [step for step in shipped.default.versions[0].content.steps if step.channel == "whatsapp"] == []


@pytest.mark.parametrize("name", NAMES)
def test_no_individual_is_charged_more_than_the_law_allows(shipped: Policies, name: str) -> None:
    for version in shipped.named(name).versions:
        assert version.content.late_charges.consumer_fine_cap_pct == 2


def test_the_examples_use_every_word_of_the_language(shipped: Policies) -> None:
    contents = [version.content for policy in shipped for version in policy.versions]
    steps = [step for content in contents for step in content.steps]
    conditions = {name for step in steps for name in step.conditions.model_dump(exclude_defaults=True)}
    assert conditions == set(Conditions.model_fields)
    assert {step.channel for step in steps} == set(get_args(Channel))
    assert {step.phase for step in steps} == set(get_args(Phase))
    assert {step.notice for step in steps} == {None, *get_args(Notice)}
    assert any(step.holdout_pct for step in steps)
    assert any(step.variants for step in steps)
    assert any(step.fallback_for for step in steps)
    written = {name for content in contents for name in content.model_dump(exclude_defaults=True)}
    assert set(Version.model_fields) - written == {"clearing", "feed_max_age_days"}, (
        "these are written with their defaults"
    )
    assert {name for c in contents if c.applies_to for name in c.applies_to.model_dump(exclude_defaults=True)} == set(
        AppliesTo.model_fields
    )


def test_good_payers_get_fewer_messages_and_bad_payers_a_tighter_ladder(shipped: Policies) -> None:
    steps = shipped.named("value_and_risk").versions[-1].content.steps

    def days(score: int, late_count: int) -> list[int]:
        """Days of the e-mails for a boleto of R$ 1,000.00, until the suspension notice."""
        return [
            step.offset_days
            for step in steps
            if step.channel == "email"
            and step.notice is None
            and step.phase not in ("renegotiation", "severe")
            and (step.conditions.maximum_score is None or score <= step.conditions.maximum_score)
            and (step.conditions.minimum_late_count is None or late_count >= step.conditions.minimum_late_count)
        ]

    assert days(score=95, late_count=0) == [3, 10]
    assert days(score=60, late_count=2) == [-5, 0, 3, 10]
    assert days(score=20, late_count=9) == [-5, 0, 1, 3, 7, 10]


def test_the_schema_for_editors_is_the_models(folder: Path) -> None:
    assert (folder / "policy.schema.json").read_text(encoding="utf-8") == render_schema(), "run `make docs`"


def test_the_fields_page_is_the_models(project_dir: Path) -> None:
    assert (project_dir / "docs/reference/policy.md").read_text(encoding="utf-8") == render_fields(), "run `make docs`"


def test_every_field_has_a_meaning_and_stands_on_the_page() -> None:
    page = render_fields()
    definitions = PolicyFile.model_json_schema()["$defs"] | {"PolicyFile": PolicyFile.model_json_schema()}
    assert len(definitions) >= 12
    for name, definition in definitions.items():
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        for field, described in definition["properties"].items():
            assert described["description"].endswith("."), f"{name}.{field}"
            assert f"| `{field}` | " in section, f"{name}.{field}"


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        pytest.param({}, True, id="as it is"),
        pytest.param({"default": "yes"}, False, id="flag as text"),
        pytest.param({"descripton": "x"}, False, id="unknown field"),
        pytest.param({"versions": []}, False, id="no version"),
    ],
)
def test_the_schema_refuses_what_it_can_see(folder: Path, change: dict[str, Any], accepted: bool) -> None:
    schema = json.loads((folder / "policy.schema.json").read_text())
    data = _as_an_editor_sees_it(folder / "default.yml") | change
    assert jsonschema.Draft202012Validator(schema).is_valid(data) == accepted


def test_check_says_what_is_in_force(folder: Path) -> None:
    answer = CliRunner().invoke(cli, ["policy", "check"], catch_exceptions=False)
    assert [line.split(": ")[0] for line in answer.output.splitlines()] == [
        str(folder / f"{name}.yml") for name in NAMES
    ]
    assert "14 steps" in answer.output


def test_check_of_one_file_needs_no_default_beside_it(tmp_path: Path) -> None:
    path = write_policy(tmp_path / "candidate.yml", {("default",): False})
    answer = CliRunner().invoke(cli, ["policy", "check", str(path)], catch_exceptions=False)
    assert (answer.exit_code, answer.output.count("\n")) == (0, 1)


def test_check_tells_the_faults(tmp_path: Path) -> None:
    path = write_policy(tmp_path / "candidate.yml", {("versions", 0, "steps", 0, "channel"): "fax"})
    with pytest.raises(InputError, match=r"candidate\.yml:\d+: versions\.0\.steps\.0\.channel"):
        CliRunner().invoke(cli, ["policy", "check", str(path)], catch_exceptions=False)


@pytest.mark.parametrize("name", NAMES)
def test_show_names_every_step_and_its_conditions(shipped: Policies, name: str) -> None:
    answer = CliRunner().invoke(cli, ["policy", "show", name, "--as-of", "2026-06-30"], catch_exceptions=False)
    version = shipped.named(name).version_on(date(2026, 6, 30))
    assert version is not None
    assert version.version_hash in answer.output
    for step in version.content.steps:
        assert step.code in answer.output
        for condition in step.conditions.model_dump(exclude_defaults=True):
            assert condition in answer.output
    assert f"tolerance_amount {version.content.tolerance_amount}" in answer.output


def test_show_before_a_policy_begins_says_when_it_does() -> None:
    with pytest.raises(InputError, match="does not hold on 2024-12-31; its first version begins 2025-01-01"):
        CliRunner().invoke(cli, ["policy", "show", "value_and_risk", "--as-of", "2024-12-31"], catch_exceptions=False)


def _page(project_dir: Path) -> str:
    return (project_dir / "docs/how-to/policies.md").read_text(encoding="utf-8")


def test_the_policy_on_the_page_can_be_used_beside_the_shipped_ones(
    project_dir: Path, folder: Path, tmp_path: Path
) -> None:
    [block] = re.findall(r"^```yaml\n(# yaml-language-server.*?)^```", _page(project_dir), re.MULTILINE | re.DOTALL)
    path = tmp_path / "schools.yml"
    path.write_text(block)
    policy = read_policy(path)
    assert len(policy.versions[0].content.steps) == 5
    combine([*load_policies(folder), policy])
    faults = block.replace("offset_days: -5", "offset_days: 5").replace(
        "offset_days: 3, channel: email", "offset_days: 3, channel: overdue_mail"
    )
    path.write_text(faults)
    with pytest.raises(InputError) as refused:
        read_policy(path)
    for line in str(refused.value).splitlines():
        assert line.replace(str(tmp_path), "include/policies") in _page(project_dir)


def test_each_condition_on_the_page_is_one(project_dir: Path) -> None:
    section = _page(project_dir).split("\n## Conditions\n")[1].split("\n## ")[0]
    written = re.findall(r"^\| .+ \| `(\{.+\})` \|$", section, re.MULTILINE)
    assert len(written) >= 7
    for text in written:
        assert not Conditions.model_validate(yaml.safe_load(text)).is_empty


def test_every_table_is_named_on_the_page(project_dir: Path) -> None:
    section = _page(project_dir).split("\n## Tables\n")[1]
    assert {*re.findall(r"`([a-z_]+)`", section)} >= TABLES.keys()
