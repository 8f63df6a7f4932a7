"""What a text becomes under each way of writing it, as a decision table: what is not certain is never guessed."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pytest
from tests.unit.ingest.company import invoice_set, source_of

from regua.contract.entities import load_contract
from regua.errors import InputError
from regua.ingest.conversion import REASONS, create_typed, describe_fault
from regua.instants import read_instant

COLUMNS = {
    "invoices": {
        "invoice_id": "'I1'",
        "customer_id": "'C1'",
        "issue_date": "date '2026-06-01'",
        "due_date": "date '2026-06-10'",
        "amount": "1",
    },
    "subscriptions": {
        "subscription_id": "'S1'",
        "customer_id": "'C1'",
        "status_code": "'active'",
        "start_date": "date '2026-06-01'",
    },
    "customers": {"customer_id": "'C1'"},
}


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect(config={"threads": 1}) as opened:
        opened.execute("set TimeZone = 'UTC'")
        yield opened


def converted(connection, value, target: str, *, arrow_type=None, expression: str = "given", **fields):
    """(value, reason code) of one field `given` mapped to the contract column `entity.column`."""
    entity, column = target.split(".")
    rows = pa.table({"_line": pa.array([2], pa.int64()), "given": pa.array([value], arrow_type or pa.string())})
    connection.register("rows", rows)
    connection.execute("create or replace temp table records as select * from rows")
    connection.unregister("rows")
    feeds = {entity: {"columns": COLUMNS[entity] | {column: expression}}}
    source = source_of(files=invoice_set(feeds=feeds, **fields))
    create_typed(connection, source, source.files["files"], load_contract()[entity], file_name="f.csv")
    [(found, fault)] = connection.execute(f"select {column}, _fault from typed").fetchall()
    return found, fault.split(":")[0] if fault else None


DOT = {"decimal": ".", "thousands": ""}
DOT_COMMA = {"decimal": ".", "thousands": ","}
COMMA = {"decimal": ",", "thousands": ""}
COMMA_DOT = {"decimal": ",", "thousands": "."}
COMMA_SPACE = {"decimal": ",", "thousands": " "}


@pytest.mark.parametrize(
    ("text", "written", "becomes"),
    [
        ("10", DOT, "10.00"),
        ("10.5", DOT, "10.50"),
        ("10.50", DOT, "10.50"),
        ("10.5000", DOT, "10.50"),
        ("+10.50", DOT, "10.50"),
        (" 10.50 ", DOT, "10.50"),
        ("0", DOT, "0.00"),
        ("-0.00", DOT, "0.00"),
        ("007", DOT, "7.00"),
        ("9999999999999999.99", DOT, "9999999999999999.99"),
        ("1.234", DOT, "too_many_decimals"),
        ("10.505", DOT, "too_many_decimals"),
        ("10.0050", DOT, "too_many_decimals"),
        ("1,234", DOT, "unreadable_number"),
        ("1,234.56", DOT, "unreadable_number"),
        ("10,50", DOT, "unreadable_number"),
        ("1,234.56", DOT_COMMA, "1234.56"),
        ("1,234", DOT_COMMA, "1234.00"),
        ("1234.56", DOT_COMMA, "1234.56"),
        ("12,34.56", DOT_COMMA, "unreadable_number"),
        ("1,2345", DOT_COMMA, "unreadable_number"),
        (",123", DOT_COMMA, "unreadable_number"),
        ("1,,234", DOT_COMMA, "unreadable_number"),
        ("1234,567", DOT_COMMA, "unreadable_number"),
        ("10,50", COMMA, "10.50"),
        ("10.50", COMMA, "unreadable_number"),
        ("1.234", COMMA, "unreadable_number"),
        ("1.234,56", COMMA, "unreadable_number"),
        ("1,234", COMMA, "too_many_decimals"),
        ("1.234,56", COMMA_DOT, "1234.56"),
        ("1.234", COMMA_DOT, "1234.00"),
        ("1.234.567,8", COMMA_DOT, "1234567.80"),
        ("10.50", COMMA_DOT, "unreadable_number"),
        ("1,234.56", COMMA_DOT, "unreadable_number"),
        ("1.23", COMMA_DOT, "unreadable_number"),
        ("1 234,56", COMMA_SPACE, "1234.56"),
        ("1\u00a0234,56", COMMA_SPACE, "unreadable_number"),
        ("R$ 10", DOT, "unreadable_number"),
        ("10 BRL", DOT, "unreadable_number"),
        ("1e3", DOT, "unreadable_number"),
        ("--1", DOT, "unreadable_number"),
        ("+-1", DOT, "unreadable_number"),
        ("- 1", DOT, "unreadable_number"),
        ("(10.00)", DOT, "unreadable_number"),
        ("10.00-", DOT, "unreadable_number"),
        ("10.", DOT, "unreadable_number"),
        (".5", DOT, "unreadable_number"),
        (".", DOT, "unreadable_number"),
        ("1 000", DOT, "unreadable_number"),
        ("\uff11\uff10", DOT, "unreadable_number"),
        ("\u0661", DOT, "unreadable_number"),
        ("NaN", DOT, "unreadable_number"),
        ("inf", DOT, "unreadable_number"),
        ("0x10", DOT, "unreadable_number"),
        ("1_000", DOT, "unreadable_number"),
        ("12345678901234567", DOT, "unreadable_number"),
        ("9" * 400, DOT, "unreadable_number"),
        ("-10.00", DOT, "out_of_range"),
        ("-0.01", DOT, "out_of_range"),
        ("", DOT, "missing_value"),
        ("   ", DOT, "missing_value"),
        (None, DOT, "missing_value"),
    ],
)
def test_money(connection, text, written, becomes):
    value, reason = converted(connection, text, "invoices.amount", **written)
    assert (reason or str(value)) == becomes


@pytest.mark.parametrize(
    ("value", "arrow_type", "becomes"),
    [
        (10, pa.int64(), "10.00"),
        (Decimal("10.50"), pa.decimal128(9, 2), "10.50"),
        (Decimal("10.5000"), pa.decimal128(18, 4), "10.50"),
        (Decimal("10.5050"), pa.decimal128(18, 4), "too_many_decimals"),
        (10.1, pa.float64(), "10.10"),
        (1234567.89, pa.float64(), "1234567.89"),
        (10.105, pa.float64(), "too_many_decimals"),
        (float("nan"), pa.float64(), "unreadable_number"),
        (float("inf"), pa.float64(), "unreadable_number"),
        (1e300, pa.float64(), "unreadable_number"),
        (10**17, pa.int64(), "unreadable_number"),
        (None, pa.float64(), "missing_value"),
        (-1, pa.int32(), "out_of_range"),
    ],
)
def test_money_that_is_a_number_already(connection, value, arrow_type, becomes):
    found, reason = converted(connection, value, "invoices.amount", arrow_type=arrow_type)
    assert (reason or str(found)) == becomes


ISO = ["%Y-%m-%d"]
LOCAL = ["%d/%m/%Y"]
SHORT = ["%d/%m/%y"]
BOTH = ["%d/%m/%Y", "%m/%d/%Y"]
ZONED = ["%Y-%m-%dT%H:%M:%S%z"]


@pytest.mark.parametrize(
    ("text", "formats", "becomes"),
    [
        ("2026-06-10", ISO, "2026-06-10"),
        (" 2026-06-10 ", ISO, "2026-06-10"),
        ("2024-02-29", ISO, "2024-02-29"),
        ("2026-02-29", ISO, "unreadable_date"),
        ("2026-02-31", ISO, "unreadable_date"),
        ("31/02/2026", LOCAL, "unreadable_date"),
        ("31/04/2026", LOCAL, "unreadable_date"),
        ("10/06/2026", LOCAL, "2026-06-10"),
        ("2026-06-10", LOCAL, "unreadable_date"),
        ("10/06/2026 00:00", LOCAL, "unreadable_date"),
        ("10/06/2026x", LOCAL, "unreadable_date"),
        ("10/06/26", LOCAL, "out_of_range"),
        ("10/06/26", SHORT, "2026-06-10"),
        ("10/06/99", SHORT, "1999-06-10"),
        ("10/06/75", SHORT, "out_of_range"),
        ("03/04/2026", BOTH, "ambiguous_date"),
        ("04/04/2026", BOTH, "2026-04-04"),
        ("13/04/2026", BOTH, "2026-04-13"),
        ("04/13/2026", BOTH, "2026-04-13"),
        ("13/13/2026", BOTH, "unreadable_date"),
        ("1989-12-31", ISO, "out_of_range"),
        ("1990-01-01", ISO, "1990-01-01"),
        ("2060-12-31", ISO, "2060-12-31"),
        ("2061-01-01", ISO, "out_of_range"),
        ("0000-00-00", ISO, "unreadable_date"),
        ("20260610", ISO, "unreadable_date"),
        ("hoje", ISO, "unreadable_date"),
        ("\uff12026-06-10", ISO, "unreadable_date"),
        ("", ISO, "missing_value"),
        ("2026-03-10T00:30:00Z", ZONED, "2026-03-09"),
        ("2026-03-10T00:30:00+00:00", ZONED, "2026-03-09"),
        ("2026-03-10T00:30:00-0300", ZONED, "2026-03-10"),
        ("2026-03-10T02:59:59Z", ZONED, "2026-03-09"),
        ("2026-03-10T03:00:00Z", ZONED, "2026-03-10"),
        ("2026-03-10T00:30:00", ZONED, "unreadable_date"),
        ("2026-03-10 00:30:00", ["%Y-%m-%d %H:%M:%S"], "2026-03-10"),
    ],
)
def test_dates(connection, text, formats, becomes):
    value, reason = converted(connection, text, "invoices.due_date", date_formats=formats)
    assert (reason or value.isoformat()) == becomes


@pytest.mark.parametrize(
    ("value", "arrow_type", "becomes"),
    [
        (date(2026, 6, 10), pa.date32(), "2026-06-10"),
        (read_instant("2026-06-10 23:59:00"), pa.timestamp("us"), "2026-06-10"),
        (read_instant("2026-06-10 23:59:00"), pa.timestamp("ns"), "2026-06-10"),
        (datetime(2026, 3, 10, 0, 30, tzinfo=ZoneInfo("UTC")), pa.timestamp("us", "UTC"), "2026-03-09"),
        (datetime(2026, 3, 10, 3, 0, tzinfo=ZoneInfo("UTC")), pa.timestamp("us", "America/New_York"), "2026-03-10"),
        (date(1950, 1, 1), pa.date32(), "out_of_range"),
        (None, pa.date32(), "missing_value"),
    ],
)
def test_dates_that_are_dates_already(connection, value, arrow_type, becomes):
    found, reason = converted(connection, value, "invoices.due_date", arrow_type=arrow_type)
    assert (reason or found.isoformat()) == becomes


def test_a_number_is_no_date(connection):
    assert converted(connection, 20260610, "invoices.due_date", arrow_type=pa.int64()) == (None, "unreadable_date")


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        *((text, True) for text in ("true", "TRUE", "t", "1", "sim", "SIM", "s", "yes", "Y")),
        *((text, False) for text in ("false", "F", "0", "não", "NÃO", "nao", "n", "no")),
        ("", None),
        (None, None),
        *((text, "bad_flag") for text in ("2", "x", "verdadeiro", "-", "null", "si")),
    ],
)
def test_flags(connection, text, becomes):
    value, reason = converted(connection, text, "subscriptions.is_prepaid")
    assert (reason or value) == becomes


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("I-1", "I-1"),
        (" I-1 ", "I-1"),
        ("a" * 64, "a" * 64),
        ("Az09._:-", "Az09._:-"),
        ("a" * 65, "bad_id"),
        ("I 1", "bad_id"),
        ("I/1", "bad_id"),
        ("../I1", "bad_id"),
        ("é", "bad_id"),
        ("=1+1", "bad_id"),
        ("@x", "bad_id"),
        ("I1\n", "bad_id"),
        ("I\t1", "bad_id"),
        ("\uff11", "bad_id"),
        ("", "missing_value"),
        (None, "missing_value"),
    ],
)
def test_ids(connection, text, becomes):
    value, reason = converted(connection, text, "invoices.invoice_id")
    assert (reason or value) == becomes


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("boleto", "boleto"),
        (" pix ", "pix"),
        ("", None),
        ("BOLETO", "unknown_code"),
        ("cheque", "unknown_code"),
        ("boleto;", "unknown_code"),
    ],
)
def test_codes(connection, text, becomes):
    value, reason = converted(connection, text, "invoices.payment_method_code")
    assert (reason or value) == becomes


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("José da Silva & Cia.", "José da Silva & Cia."),
        ("x" * 500, "x" * 500),
        ("x" * 501, "bad_text"),
        ("a\x07b", "bad_text"),
        ("a\nb", "bad_text"),
        ("a\tb", "bad_text"),
        ("a\x7fb", "bad_text"),
        ("", None),
    ],
)
def test_texts(connection, text, becomes):
    value, reason = converted(connection, text, "customers.name")
    assert (reason or value) == becomes


def test_the_mappings_own_words_for_nothing_are_nothing(connection):
    nulls = {"null_values": ["NULL", "-", "0000-00-00"]}
    assert converted(connection, "NULL", "customers.name", **nulls) == (None, None)
    assert converted(connection, " - ", "invoices.amount", **nulls) == (None, "missing_value")
    assert converted(connection, "0000-00-00", "invoices.due_date", **nulls) == (None, "missing_value")
    assert converted(connection, "", "customers.name", **nulls) == (None, None)
    assert converted(connection, "null", "customers.name", **nulls) == ("null", None)


def test_a_column_nobody_feeds_takes_the_sources_own_value(connection):
    converted(connection, "1", "invoices.amount")
    found = connection.execute(
        "select currency_code, calendar_code, status_code, subscription_id from typed"
    ).fetchall()
    assert found == [("BRL", "br-bank", "open", None)]


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("cast(given as int)", r"^acme: invoices\.amount: fails on a row of f\.csv \(Conversion Error\)"),
        ("unknown_column", r"^acme: invoices\.amount: .*unknown_column"),
        ("sum(given::int)", r"^acme: invoices\.amount: "),
        ("no_such_function(given)", r"^acme: invoices\.amount: .*no_such_function"),
    ],
)
def test_an_expression_that_does_not_fit_the_file_is_named_without_its_values(connection, expression, says):
    with pytest.raises(InputError, match=says) as refused:
        converted(connection, "Maria das Dores", "invoices.amount", expression=expression)
    assert "Maria" not in str(refused.value)


def test_a_derived_column_may_not_hide_one_of_the_file(connection):
    """DuckDB takes the file's own column then, and the mapping's is never looked at."""
    with pytest.raises(InputError, match=r"acme: derived\.Given: f\.csv has a column of that name already"):
        converted(connection, "1", "invoices.amount", derived={"Given": "'2'"})


def test_every_reason_can_be_told_with_the_files_own_column():
    feed = source_of(invoices=invoice_set()).files["invoices"].feeds["invoices"]
    for reason in REASONS:
        assert describe_fault(f"{reason}:due_date", feed) == (
            reason,
            "due_date",
            f"column 'due' (due_date): {REASONS[reason]}",
        )
    assert describe_fault("missing_value:status_code", feed)[2].startswith("status_code: ")
