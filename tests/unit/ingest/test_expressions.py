"""A mapping's SQL is one expression over one file's columns: nothing in it reaches another table, file or moment."""

from __future__ import annotations

import duckdb
import pytest
from tests.unit.ingest.company import INVOICES, invoice_file, invoice_line, invoice_set, source_of

from regua.errors import InputError
from regua.ingest.expressions import bare_column, literal, needed_columns, quoted, referenced_columns


@pytest.mark.parametrize(
    ("expression", "columns"),
    [
        ("value", ["value"]),
        ('"Valor (R$)"', ["Valor (R$)"]),
        ("vencimento_à_vista", ["vencimento_à_vista"]),
        ("null", []),
        ("'text'", []),
        ("a || '-' || b || a", ["a", "b"]),
        ("case when a = 'x' then b end", ["a", "b"]),
        ("row_number() over (partition by a order by _line)", ["a", "_line"]),
        ("address.city", ["address"]),
        ("cliente ->> '$.id'", ["cliente"]),
        ("try_cast(a as decimal(18, 2)) / 100", ["a"]),
    ],
)
def test_the_columns_an_expression_reads_are_known(expression, columns):
    assert referenced_columns(expression, "invoices.amount") == columns


@pytest.mark.parametrize(
    "expression",
    [
        "(select 1)",
        "value || (select max(amount) from raw.invoices)",
        "exists (select 1 from raw.customers)",
        "value in (select 1)",
        "(with x as (select 1) select * from x)",
        "(from raw.customers)",
        "1) from raw.customers where (true",
        "1) from read_csv('/etc/passwd') --",
        "1) from read_text('/etc/passwd') where (true",
        "1) union select (name) from raw.customers --",
        "1; drop table raw.invoices",
        "1); drop table raw.invoices; select (1",
        "1); attach '/tmp/x.duckdb' as x; select (1",
        "1) , (2",
        "1) as x, (2",
        "1) where (true",
        "1) limit (1",
        "1) order by (1",
        "1) group by (1",
        "1) qualify (true",
        "1) using sample (10",
        "1) --",
        "1 -- x",
        "1) /*",
        "*",
        "columns('.*')",
        "records.*",
        "",
        " ",
        ")",
        "a b c",
        "a;",
    ],
)
def test_what_is_more_than_one_expression_is_refused_by_its_place(expression):
    with pytest.raises(InputError, match=r"^invoices\.amount: .*(is not SQL|must be one expression)"):
        referenced_columns(expression, "invoices.amount")


@pytest.mark.parametrize(
    "call", ["now()", "today()", "random()", "uuid()", "nextval('x')", "NOW()", "current_setting('x')"]
)
def test_an_expression_cannot_ask_the_clock_or_the_dice(call):
    """One file would otherwise be loaded in two ways, and no night could be run again."""
    with pytest.raises(InputError, match="not give the same for the same file"):
        referenced_columns(f"coalesce(value, {call}::varchar)", "invoices.amount")


@pytest.mark.parametrize("call", ["read_csv('/etc/passwd')", "read_text('/etc/passwd')", "glob('*')", "getenv('HOME')"])
def test_a_table_function_does_not_work_as_a_value(open_company, call):
    company = open_company(feeds={"invoices": {"columns": INVOICES["feeds"]["invoices"]["columns"] | {"amount": call}}})
    company.send("invoices_1.csv", invoice_file(invoice_line(1)))
    before = company.everything()
    with pytest.raises(InputError, match=r"invoices\.amount"):
        company.night()
    assert company.everything() == before


def test_where_and_derived_are_held_to_the_same(open_company):
    feeds = {"invoices": {**INVOICES["feeds"]["invoices"], "where": "1 = 1) or exists (select 1 from raw.customers"}}
    company = open_company(feeds=feeds, derived={"x": "(select 1)"})
    company.send("invoices_1.csv", invoice_file(invoice_line(1)))
    with pytest.raises(InputError, match=r"derived\.x"):
        company.land()
    with pytest.raises(InputError, match=r"invoices\.where"):
        needed_columns(source_of(invoices=invoice_set(feeds=feeds)).files["invoices"])


@pytest.mark.parametrize("text", ["", "it's", "''", "\\", "a\nb", "$1", "%s", "{x}", "é'; drop table x; --"])
def test_literals_and_names_come_out_of_sql_as_they_went_in(text):
    assert duckdb.sql(f"select {literal(text)}").fetchall() == [(text,)]
    if text:
        assert duckdb.sql(f"select 1 as {quoted(text.replace(chr(39), chr(34)))}").columns == [text.replace("'", '"')]


@pytest.mark.parametrize(
    ("expression", "column"),
    [
        ("a", "a"),
        (" a ", "a"),
        ('"a b"', "a b"),
        ("NULL", None),
        ("a b", None),
        ("'a'", None),
        ('"a""b"', None),
        ("1a", None),
    ],
)
def test_a_bare_column_is_told_from_an_expression(expression, column):
    assert bare_column(expression) == column


@pytest.mark.parametrize("expression", ["unnest([1, 2])", "unlist([1, 2])", "generate_subscripts([1, 2], 1)"])
def test_an_expression_may_not_make_several_rows_of_one(expression):
    """Two rows of one line were one version: the second night took both away."""
    with pytest.raises(InputError, match="several rows of one"):
        referenced_columns(expression, "invoices.invoice_id")
