"""The `tables` part of a mapping: what is refused, and with which words."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from regua.errors import InputError
from regua.ingest.expressions import needed_columns
from regua.ingest.key_snapshot import key_part
from regua.ingest.mapping import Source, TableSet, read_source

_FEEDS = """
    feeds:
      payments:
        where: settled and kind = 'P'
        columns: {payment_id: charge, invoice_id: invoice, payment_date: paid_at, amount: amount}
"""


def _read(folder: Path, table_set: str, source: str = "connection: BILLING_URI") -> Source:
    (folder / "billing.yml").write_text(f"description: d\n{source}\ntables:\n  payments:\n{table_set}{_FEEDS}")
    return read_source(folder, "billing")


def test_a_delta_table_is_read_with_its_defaults(tmp_path: Path):
    source = _read(tmp_path, "    table: billing.payments\n    mode: delta\n    cursor: updated_at")
    table_set = source.tables["payments"]
    assert (table_set.overlap, table_set.deletes, table_set.lists_keys) == (timedelta(hours=1), "snapshot", True)
    assert source.statement_timeout == timedelta(minutes=30)
    assert source.feeding_set("payments") is table_set
    assert table_set.as_files().format == "parquet"


@pytest.mark.parametrize(
    ("written", "span"),
    [
        ("90s", timedelta(seconds=90)),
        ("30min", timedelta(minutes=30)),
        ("1h", timedelta(hours=1)),
        ("2 d", timedelta(days=2)),
    ],
)
def test_spans_are_written_as_people_say_them(tmp_path: Path, written: str, span: timedelta):
    table_set = f"    table: p\n    mode: delta\n    cursor: c\n    overlap: {written}"
    assert _read(tmp_path, table_set).tables["payments"].overlap == span


@pytest.mark.parametrize(
    ("table_set", "message"),
    [
        pytest.param("mode: snapshot", "either `table` or `query`", id="neither table nor query"),
        pytest.param("table: a\n    query: select 1\n    mode: snapshot", "either `table` or `query`", id="both"),
        pytest.param("table: a\n    mode: delta", "needs `cursor`", id="delta without cursor"),
        pytest.param("table: a\n    mode: snapshot\n    cursor: c", "no use for cursor", id="snapshot with cursor"),
        pytest.param("table: a; drop table b\n    mode: snapshot", "schema.name", id="table with SQL in it"),
        pytest.param("table: 'billing.\"a\"'\n    mode: snapshot", "without quotes", id="quoted table"),
        pytest.param("query: delete from a\n    mode: snapshot", "one SELECT", id="no select"),
        pytest.param("query: select 1; select 2\n    mode: snapshot", "without semicolons", id="two statements"),
        pytest.param("table: a\n    mode: snapshot\n    thousands: ' '", "are for files", id="thousands mark"),
        pytest.param("table: a\n    mode: delta\n    cursor: c\n    overlap: 1 week", "s, min, h or d", id="span"),
        pytest.param(
            "table: a\n    mode: delta\n    cursor: c\n    overlap: -1h", "s, min, h or d", id="negative span"
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_by_file_and_line(tmp_path: Path, table_set: str, message: str):
    with pytest.raises(InputError, match=rf"billing\.yml:\d+: tables\.payments.*{message}"):
        _read(tmp_path, f"    {table_set}")


def test_a_secret_written_into_the_mapping_is_refused_and_not_repeated(tmp_path: Path):
    with pytest.raises(InputError, match="never the URI") as refused:
        _read(tmp_path, "    table: a\n    mode: snapshot", "connection: postgresql://u:s3cret@host/db")
    assert "s3cret" not in str(refused.value)


def test_tables_need_a_connection(tmp_path: Path):
    with pytest.raises(InputError, match="tables need `connection`"):
        _read(tmp_path, "    table: a\n    mode: snapshot", "calendar: plain")


def test_the_key_list_holds_what_keys_and_where_are_made_of_and_nothing_else():
    """Two derived columns stand one on the other; a third that no key needs is left out with its columns."""
    table_set = TableSet.model_validate(
        {
            "table": "payments",
            "mode": "delta",
            "cursor": "updated_at",
            "derived": {"base": "a || b", "charge": "base || '-1'", "other": "c"},
            "feeds": {
                "payments": {
                    "where": "settled",
                    "columns": {
                        "payment_id": "charge",
                        "invoice_id": "other",
                        "payment_date": "paid_at",
                        "amount": "amount",
                    },
                }
            },
        }
    )
    assert set(needed_columns(key_part(table_set))) == {"a", "b", "settled"}
    assert set(needed_columns(key_part(table_set, with_where=False))) == {"a", "b"}


def test_the_shipped_example_is_valid(project_dir: Path):
    source = read_source(project_dir / "include" / "sources", "billing_database")
    assert {name: table_set.mode for name, table_set in source.tables.items()} == {
        "customers": "snapshot",
        "charges": "delta",
        "credits": "delta",
    }
