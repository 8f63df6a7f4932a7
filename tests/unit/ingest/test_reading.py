"""Every record is known by the line on which it begins, whichever way the file had to be read."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from regua.errors import InputError
from regua.ingest import reading
from regua.ingest.mapping import FileSet
from regua.ingest.reading import LandedFile, read_records

HEADER = ("a", "b", "c")
FEED = {"customers": {"columns": {"customer_id": "a"}}}


def file_set(**changed) -> FileSet:
    return FileSet.model_validate({"glob": "*", "mode": "delta", "feeds": FEED} | changed)


@cache
def shared_connection() -> duckdb.DuckDBPyConnection:
    """One for all examples of a property: opening one takes longer than an example."""
    return duckdb.connect(config={"threads": 1})


def read(folder: Path, content: str | bytes, *, header: tuple[str, ...] = HEADER, connection=None, **changed):
    path = folder / "content"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    text = path.read_bytes().decode(changed.get("encoding", "utf-8")) if changed.get("format") != "parquet" else ""
    file = LandedFile(path, "f.csv", file_set(**changed), header, text.count("\n"))
    connection = connection or duckdb.connect()
    read_records(connection, file, folder / "work")
    return (
        connection.execute("select * from records order by _line").fetchall(),
        connection.execute("select _line, reason_code from unreadable order by _line").fetchall(),
    )


@pytest.mark.parametrize(
    ("body", "records", "unreadable"),
    [
        ("1,2,3\n4,5,6\n", [(2, "1", "2", "3"), (3, "4", "5", "6")], []),
        ("1,2,3\r\n4,5,6\r\n", [(2, "1", "2", "3"), (3, "4", "5", "6")], []),
        ("1,,\n", [(2, "1", None, None)], []),
        ('1,"",x\n', [(2, "1", None, "x")], []),
        ('"1,2","3""4",5\n', [(2, "1,2", '3"4', "5")], []),
        ('1,"x\ny",3\n4,5,6\n', [(2, "1", "x\ny", "3"), (4, "4", "5", "6")], []),
        ('1,"x\n\n\ny",3\n\n4,5,6\n', [(2, "1", "x\n\n\ny", "3"), (7, "4", "5", "6")], []),
        ('1,"x\r\ny",3\r\n4,5,6\r\n', [(2, "1", "x\r\ny", "3"), (4, "4", "5", "6")], []),
        ('1,"x\r\ny",3\n4,5,6\n', [(2, "1", "x\r\ny", "3"), (4, "4", "5", "6")], []),
        ("\n1,2,3\n\n\n4,5,6\n\n", [(3, "1", "2", "3"), (6, "4", "5", "6")], []),
        ("1,2\n4,5,6\n", [(3, "4", "5", "6")], [(2, "wrong_field_count")]),
        ("1,2,3,4\n4,5,6\n", [(3, "4", "5", "6")], [(2, "wrong_field_count")]),
        ("1,2\n\n4,5,6\n7\n", [(4, "4", "5", "6")], [(2, "wrong_field_count"), (5, "wrong_field_count")]),
        ("1,2,3,,\n4,5,6\n", [(2, "1", "2", "3"), (3, "4", "5", "6")], []),
        ('1,"x"y,3\n4,5,6\n', [(3, "4", "5", "6")], [(2, "broken_quotes")]),
        ('1,x"y,3\n', [(2, "1", 'x"y', "3")], []),
        ('1, "x" ,3\n', [(2, "1", "x", "3")], []),
        ('1,"x" "y",3\n4,5,6\n', [(3, "4", "5", "6")], [(2, "broken_quotes")]),
        ("1,x\ry,3\n4,5,6\n", [(3, "4", "5", "6")], [(2, "broken_line")]),
        ("1,2,3\r\n4,5,6\n7,8,9\r\n", [(2, "1", "2", "3"), (3, "4", "5", "6"), (4, "7", "8", "9")], []),
        ("#1,2,3\n\\N,NULL,null\n", [(2, "#1", "2", "3"), (3, "\\N", "NULL", "null")], []),
    ],
)
def test_records_and_lines_of_a_csv_file(tmp_path, body, records, unreadable):
    assert read(tmp_path, "a,b,c\n" + body) == (records, unreadable)


def test_each_line_swallowed_by_an_open_quote_counts_as_lost(tmp_path):
    """One stray quote once made 250 rows one bad row, which no limit noticed."""
    lines = [f"{number},x,y\n" for number in range(300)]
    lines[50] = '50,"x,y\n'
    records, unreadable = read(tmp_path, "a,b,c\n" + "".join(lines))
    assert [line for line, *_ in records] == list(range(2, 52))
    assert unreadable == [(line, "broken_quotes") for line in range(52, 302)]


def test_nothing_is_made_of_what_stands_behind_a_broken_quote(tmp_path):
    """DuckDB reads on in the middle of the line; with a blank line elsewhere even the number of lines was right."""
    records, unreadable = read(tmp_path, 'a,b,c\n,"x" x1 1,"" x1,"q",3\n\n1,2,3\n')
    assert (records, unreadable) == ([(4, "1", "2", "3")], [(2, "broken_quotes")])


def test_a_line_beyond_all_measure_is_no_record(tmp_path):
    long = "x" * (1 << 21)
    records, unreadable = read(tmp_path, f"a,b,c\n1,2,3\n1,{long},3\n4,5,6\n")
    assert [line for line, *_ in records] == [2, 4]
    assert unreadable == [(3, "record_too_long")]


def test_lines_are_right_in_a_file_that_is_read_by_several_threads(tmp_path):
    count = 400_000
    bad = {7, 60_000, 200_001, 399_999}
    body = "".join(f"{n},2\n" if n in bad else f"{n},{'y' * 40},3\n" for n in range(count))
    connection = duckdb.connect(config={"threads": 2})
    read(tmp_path, "a,b,c\n" + body, connection=connection)
    assert connection.execute("select count(*), count(*) filter (_line <> a::bigint + 2) from records").fetchone() == (
        count - len(bad),
        0,
    )
    assert connection.execute("select list(_line order by _line) from unreadable").fetchone() == (
        [n + 2 for n in sorted(bad)],
    )


TOKENS = st.sampled_from(
    ["1", "x", '"', ",", "\n", " ", "1,2,3\n", '"x"', "é", '""', '1,"q",3\n', ",,\n", '"a\nb"', "x,"]
)


@settings(max_examples=150)
@given(st.lists(TOKENS, max_size=14), st.sampled_from(["\n", "\r\n"]))
@example([',"x" x1 1,"" x1,"q",3\n', "\n"], "\n")
@example(["1", ',"x" "y",', "z"], "\n")
@example(["1", ',  "x",', "z"], "\n")
def test_the_fast_and_the_slow_way_read_the_same(tmp_path_factory, tokens, line_break):
    """DuckDB's parser where lines and records run together, ours elsewhere: no row may depend on which it was."""
    body = "a,b,c\n" + "".join(tokens) + "\n"
    folder = tmp_path_factory.getbasetemp()
    path = folder / "property.csv"
    path.write_text(body.replace("\n", line_break), encoding="utf-8", newline="")
    file = LandedFile(path, "f.csv", file_set(), HEADER, body.count("\n"))
    connection = shared_connection()
    read_records(connection, file, folder)
    as_read = [
        connection.execute(f"select * from {table} order by all").fetchall() for table in ("records", "unreadable")
    ]
    connection.execute("drop table records; delete from unreadable")
    reading._read_csv_slowly(connection, path, file)
    slow = [connection.execute(f"select * from {table} order by all").fetchall() for table in ("records", "unreadable")]
    assert as_read[0] == slow[0]
    assert [line for line, *_ in as_read[1]] == [line for line, *_ in slow[1]]
    read_lines = {line for line, *_ in as_read[0]} | {line for line, *_ in as_read[1]}
    assert all(2 <= line <= body.count("\n") for line in read_lines)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            *[st.text(st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=("Cs",)), max_size=6)]
            * 3
        ),
        max_size=6,
    )
)
def test_what_a_correct_writer_writes_is_read_back_with_its_lines(tmp_path_factory, rows):
    quoted = [",".join('"' + value.replace('"', '""') + '"' for value in row) + "\n" for row in rows]
    lines = [2 + "".join(quoted[:place]).count("\n") for place in range(len(rows))]
    records, unreadable = read(
        tmp_path_factory.getbasetemp(), "a,b,c\n" + "".join(quoted), connection=shared_connection()
    )
    assert unreadable == []
    assert records == [(line, *(value or None for value in row)) for line, row in zip(lines, rows, strict=True)]


@pytest.mark.parametrize(("delimiter", "quote"), [(";", '"'), ("\t", '"'), ("|", "'"), (",", "'"), (" ", '"')])
def test_other_marks_are_read_alike_in_both_ways(tmp_path, delimiter, quote):
    row = delimiter.join(["1", f"{quote}x{delimiter}{quote}{quote}y{quote}", "3"])
    text = f"{delimiter.join(HEADER)}\n{row}\n"
    marks = {"delimiter": delimiter, "quote": quote}
    fast, _ = read(tmp_path, text, **marks)
    slow, _ = read(tmp_path, text + "\n", **marks)
    assert fast == slow == [(2, "1", f"x{delimiter}{quote}y", "3")]


def test_another_encoding_is_read_with_the_same_lines(tmp_path):
    records, _ = read(tmp_path, "a,b,c\nJosé,2,3\n".encode("cp1252"), encoding="cp1252")
    assert records == [(2, "José", "2", "3")]
    assert list((tmp_path / "work").iterdir()) == []


JSON = {"format": "jsonl"}


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('{"a": "x"}', "x"),
        ('{"a": null}', None),
        ("{}", None),
        ('{"a": 10.50}', "10.5"),
        ('{"a": 9999999999999.99}', "9999999999999.99"),
        ('{"a": 9007199254740993}', "9007199254740993"),
        ('{"a": true}', "true"),
        ('{"a": {"b": [1, "é"]}}', '{"b":[1,"é"]}'),
        ('{"a": "line\\nbreak, and \\"quotes\\""}', 'line\nbreak, and "quotes"'),
    ],
)
def test_values_of_json_lines(tmp_path, line, value):
    records, unreadable = read(tmp_path, f'{{"a": "first"}}\n{line}\n', header=(), **JSON)
    assert unreadable == []
    assert records == [(1, "first"), (2, value)]


@pytest.mark.parametrize(
    "line", ["{", '{"a": 1', "[1]", '"a"', "null", "1", '{"a": 1} {"a": 2}', "x", "{'a': 1}", "", '{"a": "\x1f"}']
)
def test_a_line_that_is_no_object_is_quarantined_by_its_number(tmp_path, line):
    records, unreadable = read(tmp_path, f'{{"a": 1}}\n{line}\n{{"a": 3}}\n', header=(), **JSON)
    assert records == [(1, "1"), (3, "3")]
    assert unreadable == [(2, "not_json")]


@pytest.mark.parametrize(
    "line", ['{"a": "Maria\r"}', '{"a": "Maria' + "x" * (1 << 21) + '"}'], ids=["carriage return", "long"]
)
def test_lines_that_cannot_be_counted_are_refused_without_being_quoted(tmp_path, line):
    with pytest.raises(InputError, match=r"^f\.csv: ") as refused:
        read(tmp_path, f'{{"a": 1}}\n{line}\n{{"a": 3}}\n', header=(), **JSON)
    assert "Maria" not in str(refused.value)


def test_a_key_that_no_line_has_is_a_missing_column(tmp_path):
    with pytest.raises(InputError, match=r"f\.csv: column 'a', needed for customers\.customer_id.*renamed to 'aa'"):
        read(tmp_path, '{"aa": 1}\n', header=(), **JSON)


def test_keys_are_told_by_their_letters_as_columns_are(tmp_path):
    """A header is compared without regard to case; a JSON key that differs in it was a column that nobody found."""
    records, _ = read(tmp_path, '{"A": "x"}\n', header=(), **JSON)
    assert records == [(1, "x")]
    with pytest.raises(InputError, match="A, a differ in capital letters only"):
        read(tmp_path, '{"A": "x"}\n{"a": "y"}\n', header=(), **JSON)


def test_a_parquet_file_keeps_its_types_and_counts_rows_from_one(tmp_path):
    path = tmp_path / "table"
    pq.write_table(pa.table({"a": ["x", "y"], "b": [1, 2]}), path)
    records, unreadable = read(tmp_path, path.read_bytes(), header=(), format="parquet")
    assert (records, unreadable) == ([(1, "x", 1), (2, "y", 2)], [])


@pytest.mark.parametrize("name", ["_line", "file_row_number"])
def test_a_parquet_column_of_our_own_names_is_refused_or_kept_apart(tmp_path, name):
    path = tmp_path / "table"
    pq.write_table(pa.table({"a": ["x"], name: [77]}), path)
    with pytest.raises(InputError, match=name):
        read(tmp_path, path.read_bytes(), header=(), format="parquet")


def test_json_is_read_as_python_reads_it(tmp_path):
    rows = [{"a": f"á{n}", "b": n} for n in range(50)]
    records, _ = read(
        tmp_path,
        "".join(json.dumps(row, ensure_ascii=n % 2 == 0) + "\n" for n, row in enumerate(rows)),
        header=(),
        **JSON,
    )
    assert records == [(n + 1, f"á{n}") for n in range(50)]
