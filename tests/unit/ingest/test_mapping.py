"""A mapping that cannot work is refused when it is read, with the file, the line and the field."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.conftest import PROJECT_DIR

from regua.errors import InputError
from regua.ingest.mapping import read_source, source_names

GOOD = """\
description: A test.
files:
  invoices:
    glob: "invoices_*.csv"
    mode: delta
    feeds:
      invoices:
        columns:
          invoice_id: id
          customer_id: customer
          issue_date: issued
          due_date: due
          amount: value
"""


def read_mapping(folder: Path, text: str):
    (folder / "acme.yml").write_text(text, encoding="utf-8")
    return read_source(folder, "acme")


def test_a_good_mapping_takes_the_defaults_of_the_trade(tmp_path):
    source = read_mapping(tmp_path, GOOD)
    file_set = source.files["invoices"]
    assert (source.name, source.calendar, source.currency, source.timezone) == (
        "acme",
        "br-bank",
        "BRL",
        "America/Sao_Paulo",
    )
    assert (file_set.format, file_set.encoding, file_set.final_newline, file_set.column_order) == (
        "csv",
        "utf-8",
        "required",
        "fixed",
    )
    assert (file_set.quarantine_limit_pct, file_set.missing_limit_pct) == (1.0, 5.0)


@pytest.mark.parametrize(
    ("line", "instead", "place", "says"),
    [
        ("    mode: delta", "    mode: deltas", "5: files.invoices.mode", "'snapshot' or 'delta'"),
        ("    mode: delta", "    colour: red\n    mode: delta", "5: files.invoices.colour", "not permitted"),
        ("    mode: delta", "    mode: delta\n    mode: delta", "6: mode", "written twice"),
        ("    mode: delta", "    mode: delta\n    delimiter: ';;'", "6: files.invoices.delimiter", "at most 1"),
        ("    mode: delta", "    mode: delta\n    encoding: klingon", "6: files.invoices.encoding", "'klingon'"),
        ("    mode: delta", "    mode: delta\n    encoding: base64", "6: files.invoices.encoding", "'base64'"),
        ("    mode: delta", "    mode: delta\n    decimal: ';'", "6: files.invoices.decimal", "'.' or ','"),
        ("    mode: delta", "    mode: delta\n    thousands: '.'", "3: files.invoices", "the same mark"),
        (
            "    mode: delta",
            "    mode: delta\n    quarantine_limit_pct: 101",
            "6: files.invoices.quarantine_limit_pct",
            "100",
        ),
        ("    mode: delta", "    mode: delta\n    missing_limit_pct: -1", "6: files.invoices.missing_limit_pct", "0"),
        ("    mode: delta", "    mode: delta\n    date_formats: []", "6: files.invoices.date_formats", "at least 1"),
        (
            "    mode: delta",
            "    mode: delta\n    date_formats: [DD/MM/YYYY]",
            "6: files.invoices.date_formats",
            "%d/%m/%Y",
        ),
        (
            "    mode: delta",
            "    mode: delta\n    date_formats: ['%d/%m']",
            "6: files.invoices.date_formats",
            "does not give a day",
        ),
        (
            "    mode: delta",
            "    mode: delta\n    date_formats: ['%Y-%m-%d %Q']",
            "6: files.invoices.date_formats",
            "%Q",
        ),
        (
            "    mode: delta",
            "    mode: delta\n    date_formats: ['%Y-%m-%dT%H:%M:%SZ']",
            "6: files.invoices.date_formats",
            "write %z",
        ),
        ('    glob: "invoices_*.csv"', '    glob: "../*.csv"', "4: files.invoices.glob", "without a path"),
        ('    glob: "invoices_*.csv"', '    glob: "/etc/passwd"', "4: files.invoices.glob", "without a path"),
        ('    glob: "invoices_*.csv"', "", "3: files.invoices.glob", "required"),
        ("      invoices:", "      bills:", "6: files.invoices.feeds", "'bills' is no entity"),
        ("          due_date: due", "          due_day: due", "6: files.invoices.feeds", "no column due_day"),
        ("          due_date: due", "", "6: files.invoices.feeds", "invoices needs due_date"),
        ("  invoices:", "  In voices:", "2: files", "lower-case"),
        ("description: A test.", "description: A test.\ntimezone: Mars/Olympus", "2: timezone", "no IANA time zone"),
        ("description: A test.", "description: A test.\ncurrency: XXX", "2: currency", "'BRL', 'USD' or 'EUR'"),
        ("description: A test.", "description: A test.\ncalendar: us", "2: calendar", "'br-bank' or 'plain'"),
        ("description: A test.", "", "2: description", "required"),
    ],
)
def test_a_wrong_field_is_named_with_its_file_and_line(tmp_path, line, instead, place, says):
    assert GOOD.count(line) >= 1
    with pytest.raises(InputError) as refused:
        read_mapping(tmp_path, GOOD.replace(line, instead, 1))
    assert f"{tmp_path / 'acme.yml'}:{place}: " in str(refused.value)
    assert says in str(refused.value)


def test_all_faults_are_told_at_once(tmp_path):
    text = GOOD.replace("mode: delta", "mode: never").replace("description: A test.", "currency: XXX")
    with pytest.raises(InputError) as refused:
        read_mapping(tmp_path, text)
    fields = re.findall(r"acme\.yml:\d+: ([a-z._]+): ", str(refused.value))
    assert fields == ["currency", "description", "files.invoices.mode"]


@pytest.mark.parametrize(
    "text", ["", "[]", "just text", "a: [1", "a: &x [*x]", "description: !!python/object:os.system {}"]
)
def test_what_is_no_mapping_is_refused_by_its_file(tmp_path, text):
    with pytest.raises(InputError, match=r"acme\.yml"):
        read_mapping(tmp_path, text)


def test_a_file_that_is_no_text_is_refused_by_its_name(tmp_path):
    (tmp_path / "acme.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"acme\.yml cannot be read"):
        read_source(tmp_path, "acme")


@pytest.mark.parametrize("name", ["other", "../acme", "acme.yml", "", "ACME", "a" * 99])
def test_an_unknown_source_is_answered_with_those_there_are(tmp_path, name):
    read_mapping(tmp_path, GOOD)
    with pytest.raises(InputError, match=r"There is no source .*holds acme\."):
        read_source(tmp_path, name)


def test_values_that_yaml_reads_as_numbers_and_truths_mean_what_they_mean_in_sql(tmp_path):
    text = GOOD.replace("amount: value", "amount: 0").replace("issue_date: issued", "issue_date: null")
    columns = read_mapping(tmp_path, text.replace("customer_id: customer", "customer_id: true")).files["invoices"].feeds
    assert columns["invoices"].columns["amount"] == "0"
    assert columns["invoices"].columns["customer_id"] == "true"


def test_every_shipped_mapping_can_be_read():
    folder = PROJECT_DIR / "include" / "sources"
    names = source_names(folder)
    assert {"sample", "datarisk"} <= set(names)
    for name in names:
        read_source(folder, name)
