"""What arrives is kept as it came, once; what is not whole leaves no trace; what the file is called never matters."""

from __future__ import annotations

import hashlib
import os
import re
from datetime import timedelta

import pytest
from tests.unit.ingest.company import FIRST_INSTANT, INVOICE_HEADER, invoice_file, invoice_line, invoice_set

from regua.errors import InputError
from regua.ingest import landing

ONE = invoice_file(invoice_line(1))
TWO = invoice_file(invoice_line(1, "20.00"))


def contents(company) -> set[str]:
    return {path.name for path in (company.settings.landing_dir / "contents").rglob("*") if path.is_file()}


def test_a_file_is_kept_read_only_under_its_hash(open_company):
    company = open_company()
    company.send("invoices_1.csv", ONE)
    found = company.land()
    [arrival] = found.landed
    assert (found.known_at, arrival.landed_at, arrival.line_count) == (FIRST_INSTANT, FIRST_INSTANT, 2)
    kept = company.store.content_path(hashlib.sha256(ONE.encode()).hexdigest())
    assert kept.read_text() == ONE
    assert kept.stat().st_mode & 0o222 == 0
    assert contents(company) == {kept.name}
    assert company.store.arrivals() == [arrival]


def test_the_same_content_again_is_nothing_new(open_company):
    company = open_company()
    company.send("invoices_1.csv", ONE)
    first = company.land()
    company.send("invoices_1.csv", ONE)
    again = company.land()
    assert (again.known_at, again.landed, again.unchanged_count) == (first.known_at, (), 1)


def test_new_content_under_a_known_name_corrects_it(open_company):
    company = open_company()
    company.send("invoices_1.csv", ONE)
    [first] = company.land().landed
    company.send("invoices_1.csv", TWO)
    [second] = company.land().landed
    assert second.corrects == first.batch_id
    assert second.landed_at > first.landed_at


def test_a_correction_can_be_taken_back(open_company):
    """The first content counted as known for ever, and sending it again after a wrong correction did nothing."""
    company = open_company()
    for content in (ONE, TWO, ONE, TWO, ONE):
        company.receive("invoices_1.csv", content)
        assert company.known("amount") == [10 if content == ONE else 20]
        assert company.land().landed == ()
    arrivals = company.store.arrivals()
    assert len({arrival.batch_id for arrival in arrivals}) == 5
    assert [arrival.corrects for arrival in arrivals] == [None, *(arrival.batch_id for arrival in arrivals[:-1])]


def test_one_content_under_two_names_is_two_arrivals_and_one_copy(open_company):
    company = open_company()
    company.send("invoices_1.csv", ONE)
    company.send("invoices_2.csv", ONE)
    assert [arrival.file_name for arrival in company.land().landed] == ["invoices_1.csv", "invoices_2.csv"]
    assert len(contents(company)) == 1
    assert [batch.unchanged_count for batch in company.load()] == [0, 1]


def test_instants_only_grow_whatever_the_clock_does(open_company):
    company = open_company()
    company.send("invoices_1.csv", ONE)
    company.send("invoices_2.csv", TWO)
    company.clock = lambda: FIRST_INSTANT
    first, second = company.land().landed
    assert second.landed_at - first.landed_at == timedelta(microseconds=1)
    company.clock = lambda: FIRST_INSTANT - timedelta(days=400)
    company.send("invoices_3.csv", ONE)
    assert company.land().known_at == second.landed_at + timedelta(microseconds=1)


@pytest.mark.parametrize(
    "middle",
    [
        "with space",
        "it's",
        'a "quoted" one',
        "*",
        "[1-9]",
        "{a,b}",
        "?",
        "%s %d",
        "$1",
        "'; drop table raw.invoices; --",
        "' || (select 1) || '",
        "read_csv('x')",
        "..",
        "...csv",
        "-rf ~",
        "ação_日本",
        "e\u0301",
        "x" * 200,
        "\\",
        "&|;<>",
        "=1+1",
        "NUL",
        ".manifest",
    ],
)
def test_a_hostile_name_is_only_a_name(open_company, middle):
    company = open_company()
    name = f"invoices_{middle}.csv"
    [batch] = company.receive(name, ONE)
    assert (batch.file_name, batch.accepted_count) == (name, 1)
    assert company.known("_file") == [name]
    assert company.receive(name, invoice_file(invoice_line(1, "x"), invoice_line(2)))[0].quarantined_count == 1
    assert company.quarantined("_file") == [(name,)]


@pytest.mark.parametrize("middle", ["a\nb", "a\tb", "\x1b[31m", "\u202egpj", "\u200b", "\x7f", "\udce9", "a\rb"])
def test_a_name_that_cannot_be_shown_is_refused(open_company, middle):
    company = open_company()
    company.send(os.fsdecode(f"invoices_{middle}.csv".encode("utf-8", "surrogateescape")), ONE)
    with pytest.raises(InputError, match="the file name holds control characters") as refused:
        company.land()
    assert str(refused.value).replace("\n", "").isprintable()
    assert contents(company) == set()


def test_a_path_in_the_inbox_that_leads_elsewhere_is_not_followed(open_company, tmp_path):
    company = open_company()
    secret = tmp_path / "secret.csv"
    secret.write_text(ONE)
    company.inbox.mkdir(parents=True)
    (company.inbox / "invoices_link.csv").symlink_to(secret)
    (company.inbox / "invoices_dangling.csv").symlink_to(tmp_path / "nothing")
    (company.inbox / "invoices_folder.csv").mkdir()
    os.mkfifo(company.inbox / "invoices_pipe.csv")
    with pytest.raises(InputError) as refused:
        company.land()
    for name in ("link", "dangling", "folder", "pipe"):
        assert f"'invoices_{name}.csv': not a plain file" in str(refused.value)
    assert contents(company) == set()


def test_hidden_and_half_sent_files_and_other_names_are_left_alone(open_company):
    company = open_company()
    for name in (".invoices_1.csv", ".invoices_2.csv.part", "invoices_3.csv.tmp", "other_4.csv", "invoices_5.CSV"):
        company.send(name, "rubbish")
    company.send("invoices_6.csv", ONE)
    assert [arrival.file_name for arrival in company.land().landed] == ["invoices_6.csv"]


def test_a_refused_file_leaves_no_trace_and_the_good_ones_are_kept(open_company):
    company = open_company()
    company.send("invoices_1.csv", ONE)
    company.send("invoices_2.csv", ONE[:-1])
    company.send("invoices_3.csv", b"")
    company.send("invoices_4.csv", TWO)
    with pytest.raises(InputError) as refused:
        company.land()
    assert re.findall(r"^(invoices_\d\.csv): ", str(refused.value), re.MULTILINE) == [
        "invoices_2.csv",
        "invoices_3.csv",
    ]
    assert [arrival.file_name for arrival in company.store.arrivals()] == ["invoices_1.csv", "invoices_4.csv"]
    assert len(contents(company)) == 2
    company.send("invoices_2.csv", ONE)
    company.send("invoices_3.csv", TWO)
    assert len(company.land().landed) == 2


def test_a_set_that_never_came_is_missed_and_a_refused_one_is_not_called_missing(open_company):
    company = open_company({"invoices": invoice_set(), "late": invoice_set(glob="late_*", optional=True)})
    with pytest.raises(InputError, match=r"no file like 'invoices_\*\.csv' has ever arrived in .*acme"):
        company.land()
    company.send("invoices_1.csv", "")
    with pytest.raises(InputError) as refused:
        company.land()
    assert "has ever arrived" not in str(refused.value)


class TestManifest:
    def test_a_true_one_is_kept_with_the_arrival(self, open_company):
        company = open_company(manifest="required")
        company.send("invoices_1.csv", ONE, manifest={"rows": 1, "control_totals": {"value": "10.00"}})
        [arrival] = company.land().landed
        assert (arrival.manifest_rows, arrival.control_totals) == (1, (("value", "10.00"),))
        assert company.load()[0].accepted_count == 1

    def test_a_required_one_is_missed_by_its_name(self, open_company):
        company = open_company(manifest="required")
        company.send("invoices_1.csv", ONE)
        with pytest.raises(InputError, match=r"invoices_1\.csv: invoices_1\.csv\.manifest\.json is missing"):
            company.land()

    def test_a_wrong_digest_is_refused(self, open_company):
        company = open_company()
        company.send("invoices_1.csv", ONE, manifest={"sha256": "0" * 64})
        with pytest.raises(InputError, match=r"invoices_1\.csv: its sha256 is .*the manifest says 000000000000"):
            company.land()
        assert contents(company) == set()

    @pytest.mark.parametrize("mode", ["none", "optional"])
    def test_an_unreadable_one_counts_where_one_may_come(self, open_company, mode):
        company = open_company(manifest=mode)
        company.send("invoices_1.csv", ONE).with_name("invoices_1.csv.manifest.json").write_text("{")
        if mode == "none":
            assert len(company.land().landed) == 1
        else:
            with pytest.raises(InputError, match=r"invoices_1\.csv\.manifest\.json: "):
                company.land()

    @pytest.mark.parametrize(
        ("manifest", "says"),
        [
            ({"rows": 2}, "the manifest says 2 rows, the file holds 1"),
            ({"rows": 0}, "the manifest says 0 rows, the file holds 1"),
            (
                {"control_totals": {"value": "10.01"}},
                "the manifest says the total of value is 10.01, the file's is 10.00",
            ),
        ],
    )
    def test_counts_and_totals_that_are_not_the_files_stop_the_load(self, open_company, manifest, says):
        company = open_company()
        company.send("invoices_1.csv", ONE, manifest=manifest)
        before = company.everything()
        with pytest.raises(InputError, match=re.escape(says)):
            company.night()
        assert company.everything() == before

    def test_a_total_is_held_against_a_file_that_sums_to_nothing(self, open_company):
        """A total of zero used to look like a file without money, and anything was let through."""
        company = open_company()
        company.send(
            "invoices_1.csv", invoice_file(invoice_line(1, "0.00")), manifest={"control_totals": {"value": "99.00"}}
        )
        with pytest.raises(InputError, match=r"the total of value is 99\.00, the file's is 0\.00"):
            company.night()


def test_what_is_judged_is_what_is_kept_while_the_sender_still_writes(open_company, monkeypatch):
    company = open_company()
    path = company.send("invoices_1.csv", ONE)
    copied = landing._copied

    def written_meanwhile(*arguments):
        copy = copied(*arguments)
        path.write_text(f"{INVOICE_HEADER}\nI1,C1,2026")
        return copy

    monkeypatch.setattr(landing, "_copied", written_meanwhile)
    [arrival] = company.land().landed
    assert company.store.content_path(arrival.sha256).read_text() == ONE
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"invoices_1\.csv: line 2 does not end in a line break"):
        company.land()


def test_a_file_that_grew_before_it_was_copied_is_kept_as_it_was_copied(open_company, monkeypatch):
    company = open_company()
    path = company.send("invoices_1.csv", ONE)
    copied = landing._copied

    def grown(*arguments):
        path.write_text(TWO)
        return copied(*arguments)

    monkeypatch.setattr(landing, "_copied", grown)
    [arrival] = company.land().landed
    assert arrival.sha256 == hashlib.sha256(TWO.encode()).hexdigest()
    assert company.land().landed == ()


def test_a_file_that_is_taken_away_meanwhile_is_told_by_its_name(open_company, monkeypatch):
    company = open_company()
    path = company.send("invoices_1.csv", ONE)
    copied = landing._copied

    def taken_away(*arguments):
        path.unlink()
        return copied(*arguments)

    monkeypatch.setattr(landing, "_copied", taken_away)
    with pytest.raises(InputError, match=r"invoices_1\.csv: "):
        company.land()


def test_swapped_columns_are_refused_against_the_last_file(open_company):
    company = open_company()
    company.receive("invoices_1.csv", ONE)
    swapped = "id,customer,due,issued,value\nI2,C1,2026-06-01,2026-06-10,10.00\n"
    company.send("invoices_2.csv", swapped)
    with pytest.raises(
        InputError, match=r"invoices_2\.csv: line 1, column 3: 'due' stands where invoices_1\.csv had 'issued'"
    ):
        company.land()


def test_leftovers_of_a_killed_night_are_cleared_away(open_company):
    company = open_company()
    leftover = company.settings.landing_dir / "contents" / "in" / ".4194305.part"
    leftover.parent.mkdir(parents=True)
    leftover.write_text("half a file")
    company.send("invoices_1.csv", ONE)
    company.land()
    assert not leftover.exists()


def test_a_discarded_arrival_is_never_loaded_and_not_asked_for_again(open_company):
    company = open_company()
    company.send("invoices_1.csv", ONE)
    [arrival] = company.land().landed
    company.store.discard(arrival.batch_id, "sent by mistake")
    assert company.load() == []
    assert company.land().unchanged_count == 1
    with pytest.raises(InputError, match="has no arrival 'none'"):
        company.store.discard("none", "x")
