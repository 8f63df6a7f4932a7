"""What a policy may say, and the words in which it is told what it may not: file, line, field and what to do."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from tests.unit.policy.small_policy import REMOVED, STEPS, VERSION, Place, changed, step, write_policy

from regua.contract.entities import load_contract
from regua.errors import InputError
from regua.policy.policies import read_policy
from regua.policy.policy_file import Channel, PolicyFile, Step, Week, minutes_of


def _step(index: int, field: str) -> Place:
    return (*STEPS, index, field)


def _of_version(*place: str | int) -> Place:
    return (*VERSION, *place)


_BUREAU = {_of_version("thresholds", "bureau_after_days"): 60, _of_version("thresholds", "notice_age_days"): 10}
_SECOND_VERSION = changed({})["versions"][0]

# id, changes of the valid policy, field that is named, what is said of it.
_REFUSED: list[tuple[str, dict[Place, Any], str, str]] = [
    ("field nobody knows", {_of_version("tolerence_amount"): 1}, "versions.0.tolerence_amount", "not permitted"),
    ("unknown channel", {_step(0, "channel"): "fax"}, "versions.0.steps.0.channel", "'email', 'sms', 'whatsapp'"),
    ("unknown phase", {_step(0, "phase"): "kind"}, "versions.0.steps.0.phase", "'preventive', 'friendly'"),
    ("unknown notice", {_step(1, "notice"): "protest"}, "versions.0.steps.1.notice", "'suspension' or 'credit_bureau'"),
    ("template with a path", {_step(0, "template"): "../x"}, "versions.0.steps.0.template", "pattern"),
    ("step code with a dash", {_step(0, "code"): "be-fore"}, "versions.0.steps.0.code", "pattern"),
    ("offset as text", {_step(0, "offset_days"): "-5"}, "versions.0.steps.0.offset_days", "valid integer"),
    ("no steps", {STEPS: []}, "versions.0.steps", "at least 1 item"),
    ("two steps of one code", {_step(2, "code"): "before"}, "versions.0.steps.2.code", "code of another step"),
    (
        "steps out of order",
        {
            _step(0, "offset_days"): -2,
            _step(1, "offset_days"): 30,
            _of_version("thresholds"): {},
            _step(1, "notice"): REMOVED,
        },
        "versions.0.steps.2.offset_days",
        r"offer \(\+25\) comes after notice \(\+30\)",
    ),
    ("phase that falls back", {_step(2, "phase"): "friendly"}, "versions.0.steps.2.phase", "intensified already"),
    ("preventive after the due date", {_step(0, "offset_days"): 1}, "versions.0.steps.0.phase", "1 days after the due"),
    (
        "friendly on the due date",
        {_step(0, "offset_days"): 0, _step(0, "phase"): "friendly"},
        "versions.0.steps.0.phase",
        "before anything is overdue",
    ),
    (
        "variants of more than everybody",
        {
            _step(0, "variants"): [
                {"code": "a", "share_pct": 60, "template": "a"},
                {"code": "b", "share_pct": 40.01, "template": "b"},
            ]
        },
        "versions.0.steps.0.variants",
        r"100\.01 %",
    ),
    (
        "two variants of one code",
        {
            _step(0, "variants"): [
                {"code": "a", "share_pct": 1, "template": "a"},
                {"code": "a", "share_pct": 1, "template": "b"},
            ]
        },
        "versions.0.steps.0.variants",
        "two variants",
    ),
    (
        "variant for nobody",
        {_step(0, "variants"): [{"code": "a", "share_pct": 0, "template": "a"}]},
        "versions.0.steps.0.variants.0.share_pct",
        "greater than 0",
    ),
    ("everybody held out", {_step(0, "holdout_pct"): 100}, "versions.0.steps.0.holdout_pct", "less than 100"),
    ("legal notice held out", {_step(1, "holdout_pct"): 5}, "versions.0.steps.1.holdout_pct", "legal notice"),
    ("legal notice by call", {_step(1, "channel"): "call"}, "versions.0.steps.1.notice", "leaves no proof"),
    ("stand-in for itself", {_step(0, "fallback_for"): "email"}, "versions.0.steps.0.fallback_for", "its own channel"),
    (
        "stand-in for nothing",
        {_step(2, "fallback_for"): "email"},
        "versions.0.steps.2.fallback_for",
        r"no step on day \+25",
    ),
    (
        "stand-in for a notice gives none",
        {(*STEPS, 2): step("letter", 10, "letter", fallback_for="email")},
        "versions.0.steps.2.notice",
        "must give the same notice",
    ),
    (
        "window closing before it opens",
        {_of_version("contact_windows", "SP"): {"saturday": "14-8"}},
        "versions.0.contact_windows.SP.saturday",
        "closes before it opens",
    ),
    (
        "window of no length",
        {_of_version("contact_windows", "SP"): {"sunday": "8-8:00"}},
        "versions.0.contact_windows.SP.sunday",
        "closes before it opens",
    ),
    (
        "window after midnight",
        {_of_version("email_window"): {"holiday": "8-24:30"}},
        "versions.0.email_window.holiday",
        "no time of a day",
    ),
    (
        "minute 60",
        {_of_version("email_window"): {"holiday": "8:60-10"}},
        "versions.0.email_window.holiday",
        "no time of a day",
    ),
    (
        "window in other words",
        {_of_version("email_window"): {"holiday": "8h to 20h"}},
        "versions.0.email_window.holiday",
        "8-20 or 8:30-18:00",
    ),
    ("state nobody knows", {_of_version("contact_windows", "XX"): {}}, "versions.0.contact_windows", "XX: no state"),
    (
        "no window for unknown states",
        {_of_version("contact_windows", "other"): REMOVED},
        "versions.0.contact_windows",
        "needs other",
    ),
    (
        "fine of individuals above the cap",
        {
            ("default",): False,
            _of_version("applies_to"): {"person_types": ["individual"]},
            _of_version("late_charges", "fine_pct"): 2.01,
        },
        "versions.0.late_charges.fine_pct",
        r"above what individuals may be charged, 2\.00 %",
    ),
    (
        "percentage above 100",
        {_of_version("late_charges", "fine_pct"): 100.01},
        "versions.0.late_charges.fine_pct",
        "100",
    ),
    ("three decimals", {_of_version("tolerance_amount"): 0.005}, "versions.0.tolerance_amount", "2 decimal places"),
    (
        "money as a truth value",
        {_of_version("tolerance_amount"): True},
        "versions.0.tolerance_amount",
        "write a number",
    ),
    ("decimal comma", {_of_version("tolerance_amount"): "1,50"}, "versions.0.tolerance_amount", "with a point"),
    ("no number", {_of_version("tolerance_amount"): float("nan")}, "versions.0.tolerance_amount", "finite"),
    ("negative tolerance", {_of_version("tolerance_amount"): -0.01}, "versions.0.tolerance_amount", "equal to 0"),
    (
        "more money than stays exact",
        {_of_version("tolerance_amount"): 100000000000.01},
        "versions.0.tolerance_amount",
        "13 digits",
    ),
    (
        "suspended before the banner",
        {_of_version("thresholds", "banner_after_days"): 21},
        "versions.0.thresholds.suspend_after_days",
        r"20 is before banner_after_days \(21\)",
    ),
    (
        "cancelled before suspended",
        {_of_version("thresholds", "cancel_after_days"): 19},
        "versions.0.thresholds.cancel_after_days",
        r"before suspend_after_days \(20\)",
    ),
    (
        "credit bureau before suspended",
        {_of_version("thresholds", "bureau_after_days"): 19, _of_version("thresholds", "notice_age_days"): 0},
        "versions.0.thresholds.bureau_after_days",
        r"before suspend_after_days \(20\)",
    ),
    (
        "credit bureau without the notice's age",
        {_of_version("thresholds", "bureau_after_days"): 60},
        "versions.0.thresholds.notice_age_days",
        "the age its prior notice must have",
    ),
    (
        "credit bureau without a notice",
        _BUREAU,
        "versions.0.thresholds.bureau_after_days",
        r"latest day for it is \+50",
    ),
    (
        "credit bureau with too late a notice",
        _BUREAU | {(*STEPS, 3): step("bureau", 51, phase="severe", notice="credit_bureau")},
        "versions.0.thresholds.bureau_after_days",
        r"latest day for it is \+50",
    ),
    (
        "suspended without a notice",
        {_step(1, "notice"): REMOVED},
        "versions.0.thresholds.suspend_after_days",
        r"before day \+20",
    ),
    (
        "suspended on the day of the notice",
        {_of_version("thresholds", "suspend_after_days"): 10},
        "versions.0.thresholds.suspend_after_days",
        r"before day \+10",
    ),
    (
        "notice of what never happens",
        {_of_version("thresholds", "suspend_after_days"): REMOVED},
        "versions.0.steps.1.notice",
        "no suspend_after_days",
    ),
    (
        "severe before the suspension notice",
        {
            (*STEPS, 1): step("harsh", 10, phase="severe"),
            (*STEPS, 2): step("notice", 12, phase="severe", notice="suspension"),
        },
        "versions.0.steps.1.phase",
        r"goes out only on day \+12",
    ),
    (
        "grace that ends before clearing",
        {_of_version("thresholds", "suspension_grace_business_days"): 0},
        "versions.0.thresholds.suspension_grace_business_days",
        "boleto paid on the last day",
    ),
    ("renegotiation with nothing to offer", {_of_version("offers"): []}, "versions.0.steps.2.phase", "no offers"),
    (
        "two offers for a segment",
        {
            _of_version("offers"): [
                {"segments": ["a"], "instalments": 1, "discount_pct": 0},
                {"segments": ["b", "a"], "instalments": 2, "discount_pct": 0},
            ]
        },
        "versions.0.offers.1",
        r"offers\.0 is already made to segment a",
    ),
    (
        "two offers for the rest",
        {_of_version("offers"): [{"instalments": 1, "discount_pct": 0}, {"instalments": 2, "discount_pct": 0}]},
        "versions.0.offers.1",
        "everybody else",
    ),
    (
        "WhatsApp after the due date",
        {_step(2, "channel"): "whatsapp"},
        "versions.0.steps.2.channel",
        "whatsapp_after_due",
    ),
    (
        "amounts that nothing has",
        {_step(0, "conditions"): {"minimum_amount": 10, "maximum_amount": 9.99}},
        "versions.0.steps.0.conditions.maximum_amount",
        "nothing would ever fit",
    ),
    (
        "scores that nobody has",
        {_step(0, "conditions"): {"minimum_score": 50, "maximum_score": 49}},
        "versions.0.steps.0.conditions.maximum_score",
        "nothing would ever fit",
    ),
    (
        "segment written twice",
        {_step(0, "conditions"): {"segments": ["a", "a"]}},
        "versions.0.steps.0.conditions.segments",
        "a: written twice",
    ),
    (
        "segment that YAML reads as a number",
        {_step(0, "conditions"): {"segments": [1]}},
        "versions.0.steps.0.conditions.segments.0",
        "valid string",
    ),
    (
        "unknown kind of person",
        {_step(0, "conditions"): {"person_types": ["PJ"]}},
        "versions.0.steps.0.conditions.person_types.0",
        "'PJ' is none of individual, company",
    ),
    (
        "unknown payment method",
        {_step(0, "conditions"): {"payment_methods": ["cash"]}},
        "versions.0.steps.0.conditions.payment_methods.0",
        "none of boleto, pix",
    ),
    (
        "step its own limits always hold back",
        {(*STEPS, 3): step("offer_again", 26, phase="renegotiation")},
        "versions.0.steps.3.offset_days",
        r"never goes out: day \+25 is 1 before",
    ),
    (
        "more contacts than a week may have",
        {_of_version("limits"): {"contacts_per_week": 1}, (*STEPS, 3): step("offer_again", 31, phase="renegotiation")},
        "versions.0.steps.3.offset_days",
        "contact 2 in a week",
    ),
    (
        "contacts below one",
        {_of_version("limits"): {"contacts_per_week": 0}},
        "versions.0.limits.contacts_per_week",
        "equal to 1",
    ),
    (
        "nothing never prescribes",
        {_of_version("prescription_years"): REMOVED},
        "versions.0.prescription_years",
        "required",
    ),
    (
        "policy for nobody",
        {("default",): False, _of_version("applies_to"): {}},
        "versions.0.applies_to",
        "name segments",
    ),
    (
        "default that is for some",
        {_of_version("applies_to"): {"segments": ["a"]}},
        "versions.0.applies_to",
        "for all whom no other one names",
    ),
    (
        "default that begins some day",
        {_of_version("effective_from"): "2026-01-01"},
        "versions.0.effective_from",
        "has always held",
    ),
    ("no versions", {("versions",): []}, "versions", "at least 1 item"),
    ("second version without a day", {("versions", 1): _SECOND_VERSION}, "versions.1", "only the first"),
    (
        "versions that do not follow",
        {
            ("versions", 1): _SECOND_VERSION | {"effective_from": "2026-01-01"},
            ("versions", 2): _SECOND_VERSION | {"effective_from": "2026-01-01"},
        },
        "versions.2.effective_from",
        "2026-01-01 is not after 2026-01-01",
    ),
    (
        "day as a number",
        {("versions", 1): _SECOND_VERSION | {"effective_from": 0}},
        "versions.1.effective_from",
        "YYYY-MM-DD",
    ),
    (
        "day beyond the bank calendar",
        {("versions", 1): _SECOND_VERSION | {"effective_from": "2061-01-01"}},
        "versions.1.effective_from",
        "the bank calendar knows",
    ),
]


def _line_of(path: Path, field: str) -> int:
    """Where a field stands, or what it is missing in."""
    node = yaml.compose(path.read_text(encoding="utf-8"))
    line = 1
    for part in field.split("."):
        if isinstance(node, yaml.SequenceNode):
            node = node.value[int(part)]
            line = node.start_mark.line + 1
        else:
            found = [(key, value) for key, value in node.value if key.value == part]
            if not found:
                return line
            line, node = found[0][0].start_mark.line + 1, found[0][1]
    return line


@pytest.mark.parametrize(("changes", "field", "message"), [pytest.param(*row, id=name) for name, *row in _REFUSED])
def test_what_cannot_be_meant_is_refused_by_file_line_and_field(
    tmp_path: Path, changes: dict[Place, Any], field: str, message: str
) -> None:
    path = write_policy(tmp_path / "small.yml", changes)
    with pytest.raises(InputError, match=message) as refused:
        read_policy(path)
    said = str(refused.value).splitlines()
    found = [re.fullmatch(rf"{re.escape(str(path))}:(\d+): {re.escape(field)}: .*\.", line) for line in said]
    assert [match for match in found if match], said
    assert len(said) == 1, "the change has one fault, and one only should be told"
    assert [int(match[1]) for match in found if match] == [_line_of(path, field)]


def test_every_fault_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    path = write_policy(
        tmp_path / "small.yml",
        {_step(1, "holdout_pct"): 5, _step(0, "offset_days"): 3, _of_version("prescription_years"): 0},
    )
    with pytest.raises(InputError) as refused:
        read_policy(path)
    assert [line.split(": ")[1] for line in str(refused.value).splitlines()] == [
        "versions.0.prescription_years",
        "versions.0.steps.0.phase",
        "versions.0.steps.1.holdout_pct",
    ]


# id, changes that stay within what is allowed: the other side of the boundaries above.
_ALLOWED: list[tuple[str, dict[Place, Any]]] = [
    ("as it is", {}),
    ("preventive on the due date", {_step(0, "offset_days"): 0}),
    ("friendly on the first day", {_step(0, "offset_days"): 1, _step(0, "phase"): "friendly"}),
    (
        "variants for everybody",
        {
            _step(0, "variants"): [
                {"code": "a", "share_pct": 60, "template": "a"},
                {"code": "b", "share_pct": 40, "template": "b"},
            ]
        },
    ),
    (
        "fine of individuals at the cap",
        {("default",): False, _of_version("applies_to"): {"person_types": ["individual"]}},
    ),
    (
        "higher fine where only companies are",
        {
            ("default",): False,
            _of_version("applies_to"): {"person_types": ["company"]},
            _of_version("late_charges", "fine_pct"): 10,
        },
    ),
    ("higher fine of the default, capped for individuals", {_of_version("late_charges", "fine_pct"): 10}),
    ("never suspended", {_of_version("thresholds"): {}, _step(1, "notice"): REMOVED}),
    (
        "all on one day",
        {_of_version("thresholds", "banner_after_days"): 20, _of_version("thresholds", "cancel_after_days"): 20},
    ),
    (
        "notice on the last possible day",
        _BUREAU | {(*STEPS, 3): step("bureau", 50, phase="severe", notice="credit_bureau")},
    ),
    (
        "stand-in with the same notice",
        {(*STEPS, 2): step("letter", 10, "letter", notice="suspension", fallback_for="email")},
    ),
    ("WhatsApp before the due date", {_step(0, "channel"): "whatsapp"}),
    ("WhatsApp after it, when allowed", {_step(2, "channel"): "whatsapp", _of_version("whatsapp_after_due"): True}),
    (
        "close steps with limits of their own",
        {(*STEPS, 3): step("again", 26, phase="renegotiation", limits={"days_between_contacts": 1})},
    ),
    (
        "close steps for different customers",
        {(*STEPS, 3): step("again", 26, phase="renegotiation", conditions={"segments": ["a"]})},
    ),
    (
        "two channels on one day are one contact",
        {_of_version("limits"): {"contacts_per_week": 1}, (*STEPS, 3): step("also", 25, phase="renegotiation")},
    ),
    ("two days apart", {(*STEPS, 3): step("again", 27, phase="renegotiation")}),
    ("a range of one value", {_step(0, "conditions"): {"minimum_score": 50, "maximum_score": 50}}),
    ("a policy only for those that name it", {("default",): False}),
    ("open all day", {_of_version("email_window"): {"sunday": "0-24"}}),
    ("first version that begins some day", {("default",): False, _of_version("effective_from"): "2026-01-01"}),
]


@pytest.mark.parametrize("changes", [pytest.param(changes, id=name) for name, changes in _ALLOWED])
def test_what_can_be_meant_is_accepted(tmp_path: Path, changes: dict[Place, Any]) -> None:
    assert read_policy(write_policy(tmp_path / "small.yml", changes)).code == "small"


def test_a_field_written_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "small.yml"
    path.write_text(yaml.safe_dump(changed({}), sort_keys=False) + "default: false\n")
    with pytest.raises(InputError, match=r"default: written twice"):
        read_policy(path)


@pytest.mark.parametrize("name", ["Small.yml", "1.yml", "small-one.yml", "small.yaml"])
def test_a_name_that_is_no_policy_code_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="its name is the policy's"):
        read_policy(write_policy(tmp_path / name))


@pytest.mark.parametrize(
    ("written", "minutes"),
    [("8-20", (480, 1200)), ("08:00-20:00", (480, 1200)), (" 8:30-18 ", (510, 1080)), ("0-24", (0, 1440))],
)
def test_hours_are_written_as_people_do(written: str, minutes: tuple[int, int]) -> None:
    assert minutes_of(str(Week(saturday=written).saturday)) == minutes


@pytest.mark.parametrize("written", ["0.10", "0.1", "0.10000"[:4]])
def test_money_stays_what_was_written(tmp_path: Path, written: str) -> None:
    """0.1 is no binary number: taken as one it would be 0.1000000000000000055."""
    path = tmp_path / "small.yml"
    text = yaml.safe_dump(changed({_of_version("tolerance_amount"): "AMOUNT"}), sort_keys=False)
    path.write_text(text.replace("AMOUNT", written))
    tolerance = read_policy(path).versions[0].content.tolerance_amount
    assert (type(tolerance), str(tolerance)) == (Decimal, "0.10")


def test_no_field_is_a_float() -> None:
    """The schema for editors says number; the models must not."""

    def kinds(value: object) -> set[type]:
        if isinstance(value, dict):
            return set().union(*map(kinds, value.values()))
        if isinstance(value, list):
            return set().union(*map(kinds, value))
        return {type(value)}

    found = kinds(PolicyFile.model_validate(changed({_of_version("tolerance_amount"): 1.5})).model_dump())
    assert Decimal in found
    assert float not in found


def test_channels_are_those_consents_speak_of() -> None:
    assert get_args(Channel) == load_contract()["consents"].column("channel_code").values


@pytest.mark.parametrize(
    ("channel", "state", "saturday"),
    [
        ("call", "SP", "08:00-14:00"),
        ("sms", "other", None),
        ("whatsapp", "BA", None),
        ("email", "BA", "08:00-14:00"),
        ("letter", "BA", "00:00-24:00"),
    ],
)
def test_only_calls_sms_and_whatsapp_follow_the_table_of_states(channel: str, state: str, saturday: str | None) -> None:
    version = PolicyFile.model_validate(changed({})).versions[0]
    assert version.week_of(channel, state).saturday == saturday


def test_the_widest_window_takes_each_end_from_another_state() -> None:
    windows = {"SP": {"business_day": "8-18"}, "other": {"business_day": "9-19", "holiday": "10-11"}}
    version = PolicyFile.model_validate(changed({_of_version("contact_windows"): windows})).versions[0]
    assert version.week_of("email", "SP") == Week(business_day="8-19", holiday="10-11")


def test_limits_of_a_step_replace_only_what_they_name() -> None:
    version = PolicyFile.model_validate(changed({_step(0, "limits"): {"days_between_contacts": 0}})).versions[0]
    first: Step = version.steps[0]
    assert version.limits_of(first).model_dump() == {
        "messages_per_channel_and_day": 1,
        "contacts_per_week": 3,
        "days_between_contacts": 0,
    }
