"""The files of a publication: what stands in them, what may not, and that none is ever replaced."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from tests.unit.suspension.publications import BUREAU, CANDIDATE, DAY, DEBT, ENTRIES, PUBLICATION, entry, placed

from regua.errors import InputError
from regua.suspension.artefacts import (
    BANNER_COLUMNS,
    CHANGES_COLUMNS,
    LIST_COLUMNS,
    banner_rows,
    changes_rows,
    list_rows,
    newest_numbers,
    place,
    stage,
    verify,
)
from regua.suspension.bureau_lists import ADDED_COLUMNS, REMOVALS_COLUMNS, BureauLists
from regua.suspension.machine_csv import cell
from regua.suspension.standing import Debt

OLDER = replace(DEBT, oldest_due_date=DAY.replace(month=1))
STEM = "suspensions_2026-06-30"
NAMES = [
    f"{STEM}{ending}"
    for ending in (
        ".csv", "_changes.csv", "_banner.csv", "_bureau.csv", "_bureau_removals.csv", "_banner.json", "_manifest.json"
    )
]  # fmt: skip


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_row_of_the_list_is_somebody_without_access_and_all_of_them_are_there(tmp_path):
    placed(tmp_path)
    rows = rows_of(tmp_path / f"{STEM}.csv")
    assert [row["subscription_id"] for row in rows] == ["s1", "s2", "s6"]
    assert rows[1] == {
        "subscription_id": "s2",
        "customer_id": "c1",
        "standing_code": "suspended",
        "since_date": "2026-06-20",
        "reason_code": "over_threshold",
        "oldest_invoice_id": "inv-1",
        "oldest_due_date": "2026-05-30",
        "days_past_due": "31",
        "invoice_count": "2",
        "balance_amount": "1234.50",
        "currency_code": "BRL",
        "notice_id": "touch:1",
        "notice_delivered_date": "2026-06-15",
        "billing_hint_code": "stop_invoicing",
    }


def test_the_changes_tell_of_those_who_came_back_too(tmp_path):
    placed(tmp_path)
    rows = {row["subscription_id"]: row for row in rows_of(tmp_path / f"{STEM}_changes.csv")}
    assert {
        name: (row["change_code"], row["has_access"], row["unlocked_until_date"]) for name, row in rows.items()
    } == {
        "s1": ("propose_cancellation", "false", ""),
        "s2": ("keep", "false", ""),
        "s4": ("unlock_expiring", "true", "2026-07-01"),
        "s5": ("reactivate", "true", ""),
        "s6": ("suspend", "false", ""),
    }
    assert (rows["s5"]["oldest_invoice_id"], rows["s5"]["balance_amount"]) == ("", "0.00")
    assert CHANGES_COLUMNS[:3] == ("subscription_id", "customer_id", "change_code")


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param([entry("s1", "regular", reached_code="regular")], [], id="nobody without a banner"),
        pytest.param([entry("s1", "notice")], [("c1", "notice", "https://pay.example/i/1", "")], id="notice"),
        pytest.param(
            [entry("s1", "notice", payment_url="https://a"), entry("s2", "suspended", payment_url="https://b")],
            [("c1", "suspended", "https://b", "")],
            id="the gravest of several",
        ),
        pytest.param(
            [
                entry("s1", "trust_unlock", unlocked_until_date=DAY, payment_url="https://a"),
                entry("s2", "notice", unlocked_until_date=DAY, payment_url="https://b"),
            ],
            [("c1", "trust_unlock", "https://a", "2026-06-30")],
            id="an unlock is graver than a notice",
        ),
        pytest.param(
            [
                entry("s1", "suspended", payment_url="https://new"),
                entry("s2", "suspended", payment_url="https://old", debt=OLDER),
            ],
            [("c1", "suspended", "https://old", "")],
            id="the link of the oldest debt",
        ),
        pytest.param([entry("s1", "notice", payment_url=None)], [("c1", "notice", "", "")], id="no link"),
        pytest.param(
            [entry("s1", "notice", customer_id="z"), entry("s2", "notice", customer_id="a")],
            [("a", "notice", "https://pay.example/i/1", ""), ("z", "notice", "https://pay.example/i/1", "")],
            id="by customer",
        ),
    ],
)  # fmt: skip
def test_a_customer_has_one_banner(entries, expected):
    assert [(customer, level, url, until) for customer, level, _, url, until in banner_rows(entries)] == expected
    assert all(row[2] == f"banner.{row[1]}" for row in banner_rows(entries))


def test_the_banners_are_the_same_in_both_files(tmp_path):
    placed(tmp_path)
    written = json.loads((tmp_path / f"{STEM}_banner.json").read_text("utf-8"))
    assert written["valid_until"] == "2026-07-01T15:00:00.000000Z"
    rows = rows_of(tmp_path / f"{STEM}_banner.csv")
    assert len(rows) == 5
    assert {row.pop("customer_id"): {name: value or None for name, value in row.items()} for row in rows} == (
        written["banners"]
    )


def test_the_bureau_lists_say_which_debt_until_when_and_why(tmp_path):
    placed(tmp_path)
    [added] = rows_of(tmp_path / f"{STEM}_bureau.csv")
    [removal] = rows_of(tmp_path / f"{STEM}_bureau_removals.csv")
    assert tuple(added) == ADDED_COLUMNS
    assert (added["invoice_id"], added["balance_amount"], added["notice_id"]) == ("inv-9", "77.00", "touch:9")
    assert tuple(removal.items()) == (
        ("invoice_id", "inv-8"),
        ("customer_id", "c9"),
        ("listed_date", "2026-05-01"),
        ("removal_reason_code", "paid"),
        ("removal_from_date", "2026-06-29"),
        ("remove_by_date", "2026-07-06"),
    )


def test_the_manifest_states_every_file_and_nobody_s_words(tmp_path):
    manifest = placed(tmp_path)
    written = json.loads((tmp_path / f"{STEM}_manifest.json").read_text("utf-8"))
    files = written.pop("files")
    assert written == {
        "format_version": 1,
        "sequence": 41,
        "as_of": "2026-06-30",
        "edition": 1,
        "kind_code": "daily",
        "known_at": "2026-06-30T05:00:00.123456Z",
        "valid_until": "2026-07-01T15:00:00.000000Z",
        "counts": {
            "standing": {"cancellation_proposed": 1, "notice": 1, "reactivated": 1, "suspended": 2, "trust_unlock": 1},
            "change": {"keep": 1, "propose_cancellation": 1, "reactivate": 1, "suspend": 1, "unlock_expiring": 1},
        },
    }
    assert [(file["name"], file["rows"], file["totals"]) for file in files] == [
        (f"{STEM}.csv", 3, {"BRL": "2469.00", "USD": "1234.50"}),
        (f"{STEM}_changes.csv", 5, {"BRL": "3703.50", "USD": "1234.50"}),
        (f"{STEM}_banner.csv", 5, {}),
        (f"{STEM}_bureau.csv", 1, {"BRL": "77.00"}),
        (f"{STEM}_bureau_removals.csv", 1, {}),
        (f"{STEM}_banner.json", 5, {}),
    ]
    for file in files:
        content = (tmp_path / file["name"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])
    assert list(manifest.names) == NAMES
    assert manifest.sha256 == hashlib.sha256((tmp_path / NAMES[-1]).read_bytes()).hexdigest()


def test_the_same_input_gives_the_same_bytes_in_any_order_and_zone(tmp_path):
    first = stage(tmp_path / "a", PUBLICATION, ENTRIES, BUREAU)
    shuffled = [*ENTRIES[3:], *reversed(ENTRIES[:3])]
    zoned = replace(PUBLICATION, valid_until=datetime(2026, 7, 1, 15, tzinfo=UTC))
    second = stage(tmp_path / "b", zoned, shuffled, BUREAU)
    assert files_in(tmp_path / "a") == files_in(tmp_path / "b")
    assert (first.sha256, sorted(files_in(tmp_path / "a"))) == (second.sha256, sorted(NAMES))


def test_a_later_edition_of_a_day_has_names_of_its_own(tmp_path):
    placed(tmp_path)
    before = files_in(tmp_path)
    placed(tmp_path, replace(PUBLICATION, sequence=42, edition=2, kind_code="correction"))
    after = files_in(tmp_path)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {name.replace(STEM, f"{STEM}_e2") for name in NAMES}
    assert verify(tmp_path, f"{STEM}_e2_manifest.json").publication.edition == 2


def test_the_files_know_which_numbers_were_given_when_a_ledger_has_forgotten(tmp_path):
    assert newest_numbers(tmp_path, DAY) == (0, 0)
    placed(tmp_path, replace(PUBLICATION, as_of=DAY - timedelta(days=1), sequence=40, edition=3))
    placed(tmp_path)
    assert newest_numbers(tmp_path, DAY) == (41, 1)
    assert newest_numbers(tmp_path, DAY - timedelta(days=1)) == (41, 3)
    assert newest_numbers(tmp_path, DAY + timedelta(days=1)) == (41, 0)
    placed(tmp_path, replace(PUBLICATION, sequence=42, edition=2, kind_code="correction"))
    (tmp_path / f"{STEM}_e3_manifest.json").write_text("{", encoding="utf-8")
    assert newest_numbers(tmp_path, DAY) == (42, 2)


def test_a_list_of_nobody_is_whole_files_with_headers(tmp_path):
    manifest = stage(tmp_path / "s", PUBLICATION, [])
    assert (tmp_path / "s" / f"{STEM}.csv").read_text("utf-8") == ",".join(LIST_COLUMNS) + "\n"
    assert (tmp_path / "s" / f"{STEM}_banner.csv").read_text("utf-8") == ",".join(BANNER_COLUMNS) + "\n"
    assert (tmp_path / "s" / f"{STEM}_bureau_removals.csv").read_text("utf-8") == ",".join(REMOVALS_COLUMNS) + "\n"
    assert verify(tmp_path / "s", manifest.name) == manifest


def test_lines_end_in_lf_and_the_mark_is_there_when_wanted(tmp_path):
    plain, marked = tmp_path / "plain", tmp_path / "marked"
    placed(plain)
    manifest = placed(marked, has_bom=True)
    for name, content in files_in(plain).items():
        assert b"\r" not in content
        mark = b"\xef\xbb\xbf" if name.endswith(".csv") else b""
        if not name.endswith("_manifest.json"):
            assert files_in(marked)[name] == mark + content
    assert verify(marked, manifest.name) == manifest


UNSAFE = ["=1+1", "+x", "@x", "＝x", "－1", "a\tb", "\rx", "a\n", "a b", "", "x" * 65, "é", "a,b", '"', "\ufeffa"]


@pytest.mark.parametrize("column", ["subscription_id", "customer_id"])
@pytest.mark.parametrize("value", UNSAFE, ids=ascii)
def test_what_is_no_id_is_refused_by_row_and_column_and_is_not_repeated(tmp_path, column, value):
    bad = replace(entry("s1", "suspended", "keep"), **{column: value})
    with pytest.raises(InputError, match=rf"{STEM}.csv: row \d, column {column}: this is not an id") as refused:
        stage(tmp_path / "s", PUBLICATION, [entry("s0", "suspended"), bad])
    assert not value or value not in str(refused.value).replace("s1", "")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param({"subscription_id": "-2+3"}, "subscription_id: this is not an id", id="a formula"),
        pytest.param({"subscription_id": "-123"}, "subscription_id: this is not an id", id="begins with a minus"),
        pytest.param({"customer_id": "-"}, "customer_id: this is not an id", id="a minus"),
        pytest.param(
            {"debt": replace(DEBT, oldest_invoice_id="-1")}, "oldest_invoice_id: this is not an id", id="invoice"
        ),
        pytest.param({"debt": replace(DEBT, notice_id="a b")}, "notice_id: this is not an id", id="notice"),
        pytest.param({"reason_code": "Não pagou"}, "reason_code: this is not a code", id="words for a code"),
        pytest.param({"reason_code": "=cmd"}, "reason_code: this is not a code", id="formula for a code"),
        pytest.param({"debt": replace(DEBT, currency_code="R$")}, "currency_code", id="currency"),
        pytest.param({"debt": replace(DEBT, balance_amount=Decimal("1.005"))}, "balance_amount", id="half a cent"),
        pytest.param({"debt": replace(DEBT, balance_amount=Decimal("NaN"))}, "balance_amount", id="no number"),
        pytest.param({"debt": replace(DEBT, currency_code=None)}, "an amount has no currency", id="no currency"),
        pytest.param({"debt": replace(DEBT, invoice_count=-1)}, "invoice_count", id="count"),
        *(
            pytest.param({"payment_url": url}, "payment_url: this is not an https address", id=name)
            for name, url in {
                "http": "http://pay.example/1",
                "javascript": "javascript:alert(1)",
                "formula": '=HYPERLINK("https://x")',
                "space": "https://pay.example/a b",
                "line": "https://pay.example/a\nb",
                "control": "https://pay.example/\x00",
                "direction": "https://pay.example/\u202egnp",
                "user": "https://bank.example@evil.example/",
                "no host": "https:///x",
                "long": "https://pay.example/" + "x" * 2048,
            }.items()
        ),
    ],
)
def test_what_may_not_stand_in_a_file_is_not_published(tmp_path, change, told):
    with pytest.raises(InputError, match=re.escape(told)):
        stage(tmp_path / "s", PUBLICATION, [replace(entry("s1", "suspended", "keep"), **change)])
    assert not (tmp_path / "s").exists()


def test_no_cell_of_any_file_begins_as_a_formula_does(tmp_path):
    placed(tmp_path)
    cells = [
        value for name in NAMES if name.endswith(".csv") for row in rows_of(tmp_path / name) for value in row.values()
    ]
    assert len(cells) > 100
    assert [value for value in cells if value.startswith(("=", "+", "-", "@", "\t", "\r"))] == []


def test_a_subscription_is_there_once(tmp_path):
    with pytest.raises(InputError, match="subscription_id is there twice"):
        stage(tmp_path / "s", PUBLICATION, [entry("s1", "suspended"), entry("s1", "suspended")])
    with pytest.raises(InputError, match=r"_bureau.csv: row 2: invoice_id is there twice"):
        stage(tmp_path / "s", PUBLICATION, [], BureauLists([CANDIDATE, CANDIDATE]))


def test_a_publication_of_words_is_refused(tmp_path):
    with pytest.raises(InputError, match="a code, not words"):
        stage(tmp_path / "s", replace(PUBLICATION, kind_code="João errou"), ENTRIES)


def test_a_folder_is_staged_into_once(tmp_path):
    stage(tmp_path / "s", PUBLICATION, ENTRIES)
    with pytest.raises(InputError, match="is there already"):
        stage(tmp_path / "s", PUBLICATION, ENTRIES)


def test_cells_are_as_programs_read_them():
    values = (None, True, False, 3, Decimal("1E+2"), Decimal("0"), DAY, "x")
    assert [cell(value) for value in values] == ["", "true", "false", "3", "100.00", "0.00", "2026-06-30", "x"]


def test_rows_can_be_asked_for_before_anything_is_checked():
    """The gate looks at them first, and tells of a bad id by name of its expectation."""
    bad = [entry("-1", "suspended", "keep", debt=Debt(balance_amount=Decimal("NaN")))]
    assert (list_rows(bad)[0][0], changes_rows(bad)[0][0]) == ("-1", "-1")


def _changed(content: bytes) -> bytes:
    return content.replace(b"1234.50", b"1234.05") if b"1234.50" in content else content[:-2] + b"X" + content[-1:]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", ["gone", "cut", "changed", "longer", "empty"])
def test_damage_is_found_in_every_file(tmp_path, name, damage):
    placed(tmp_path)
    assert verify(tmp_path, NAMES[-1]).sequence == 41
    path = tmp_path / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        damaged = {"cut": content[:-1], "changed": _changed(content), "longer": content + b"\n", "empty": b""}[damage]
        assert damaged != content
        path.write_bytes(damaged)
    with pytest.raises(InputError, match=re.escape(name)):
        verify(tmp_path, NAMES[-1])


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"rows": 3', '"rows": 4', "has 3 rows"),
        ('"BRL": "2469.00"', '"BRL": "2469.01"', "sums up to other balances"),
        ('"suspend": 1', '"suspend": 2', "counts other changes"),
        ('"suspended": 2', '"suspended": 1', "counts other changes and standings"),
        ('"format_version": 1', '"format_version": 2', "not a manifest of format 1"),
        (f'"{STEM}.csv"', '"../../etc/passwd"', "not a manifest of format 1"),
        ('"as_of": "2026-06-30"', '"as_of": "2026-06-29"', "was changed|not there|not a manifest"),
        ('"edition": 1', '"edition":  1', "was changed"),
        ("{", "[", "not a manifest"),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(tmp_path, old, new, told):
    placed(tmp_path)
    path = tmp_path / NAMES[-1]
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    with pytest.raises(InputError, match=told):
        verify(tmp_path, NAMES[-1])


def test_what_is_placed_already_counts_as_placed(tmp_path):
    staged = tmp_path / ".staged"
    manifest = stage(staged, PUBLICATION, ENTRIES)
    shutil.copytree(staged, tmp_path / "again")
    for _ in range(2):
        assert place(staged, tmp_path, manifest.names) == manifest
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in manifest.names}
    assert place(tmp_path / "again", tmp_path, manifest.names) == manifest
    assert place(tmp_path / "nothing", tmp_path, manifest.names) == manifest
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in manifest.names} == before
    assert list((tmp_path / "again").iterdir()) == list(staged.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_there_with_another_content_stays_and_nothing_is_placed(tmp_path, name):
    staged = tmp_path / ".staged"
    manifest = stage(staged, PUBLICATION, ENTRIES)
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match="another content"):
        place(staged, tmp_path, manifest.names)
    assert files_in(tmp_path) == {name: b"mine"}
    assert set(files_in(staged)) == set(manifest.names)


def test_nothing_is_placed_of_a_publication_that_is_not_whole(tmp_path):
    staged = tmp_path / ".staged"
    manifest = stage(staged, PUBLICATION, ENTRIES)
    (staged / f"{STEM}_banner.csv").write_text("cut")
    with pytest.raises(InputError, match=r"_banner.csv has 3 bytes"):
        place(staged, tmp_path, manifest.names)
    (staged / f"{STEM}_banner.csv").unlink()
    with pytest.raises(InputError, match="lies neither in"):
        place(staged, tmp_path, manifest.names)
    assert files_in(tmp_path) == {}


def test_the_names_must_be_those_of_the_manifest(tmp_path):
    staged = tmp_path / ".staged"
    manifest = stage(staged, PUBLICATION, ENTRIES)
    with pytest.raises(InputError, match="names other files"):
        place(staged, tmp_path, manifest.names[1:])
    with pytest.raises(InputError, match="here are 0"):
        place(staged, tmp_path, manifest.names[:-1])
    assert not (tmp_path / manifest.name).exists()
