"""A file that is not whole, or not what its mapping says, is refused from its bytes, with file, line and column."""

from __future__ import annotations

import gzip
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.unit.ingest.company import invoice_file, invoice_line, invoice_set, source_of

from regua.errors import InputError
from regua.ingest.inspection import check_column_order, check_header, decoded_chunks, inspect_file, read_manifest


def file_set(**changed):
    return source_of(invoices=invoice_set(**changed)).files["invoices"]


def inspect(tmp_path, content: bytes | str, **changed):
    path = tmp_path / "content"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return inspect_file(path, "invoices_1.csv", file_set(**changed))


def refusal(tmp_path, content: bytes | str, **changed) -> str:
    with pytest.raises(InputError) as refused:
        inspect(tmp_path, content, **changed)
    assert str(refused.value).startswith("invoices_1.csv: ")
    return str(refused.value)


GOOD = invoice_file(invoice_line(1), invoice_line(2))


def test_a_good_file_is_counted_with_its_header(tmp_path):
    found = inspect(tmp_path, GOOD)
    assert (found.line_count, found.size_bytes) == (3, len(GOOD))
    assert found.header == ("id", "customer", "issued", "due", "value")


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    for encoding in ("utf-8", "utf-8-sig"):
        assert inspect(tmp_path, b"\xef\xbb\xbf" + GOOD.encode(), encoding=encoding).header[0] == "id"


@pytest.mark.parametrize(
    "content", [b"", gzip.compress(b""), b"\xef\xbb\xbf"], ids=["no byte", "gzip of nothing", "only a mark"]
)
def test_an_empty_file_is_refused(tmp_path, content):
    assert "empty" in refusal(tmp_path, content)


def test_a_missing_last_line_break_looks_like_a_cut_file(tmp_path):
    assert "line 3 does not end in a line break" in refusal(tmp_path, GOOD[:-1])
    assert inspect(tmp_path, GOOD[:-1], final_newline="optional").line_count == 3


@pytest.mark.parametrize("line", [1, 2, 3])
def test_a_nul_is_refused_with_its_line(tmp_path, line):
    lines = GOOD.splitlines(keepends=True)
    lines[line - 1] = "\0" + lines[line - 1]
    assert f"line {line}: NUL" in refusal(tmp_path, "".join(lines))


def test_a_nul_is_found_beyond_the_first_megabyte(tmp_path):
    many = invoice_file(*[invoice_line(number) for number in range(40_000)])
    assert len(many) > 1 << 20
    assert "line 40002: NUL" in refusal(tmp_path, many + "a\0b\n")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16_is_refused_where_the_mapping_does_not_say_so(tmp_path, encoding):
    message = refusal(tmp_path, GOOD.encode(encoding))
    assert "NUL" in message or "is not utf-8" in message
    assert "line 1" in message
    assert "NUL" in refusal(tmp_path, GOOD.encode(encoding), encoding="cp1252")


def test_utf16_is_read_where_the_mapping_says_so(tmp_path):
    assert inspect(tmp_path, GOOD.encode("utf-16"), encoding="utf-16").header[0] == "id"
    assert inspect(tmp_path, GOOD.encode("utf-16"), encoding="utf-16").line_count == 3


def test_cp1252_where_utf8_is_expected_is_refused_with_its_line(tmp_path):
    content = GOOD.encode() + "I3,José,2026-06-01,2026-06-10,1.00\n".encode("cp1252")
    message = refusal(tmp_path, content)
    assert "line 4: byte 0xe9 is not utf-8" in message
    assert "cp1252" in message


@pytest.mark.parametrize("encoding", ["cp1252", "iso8859-1", "latin-1", "cp850"])
def test_utf8_where_one_byte_a_letter_is_expected_is_refused(tmp_path, encoding):
    assert "the file is UTF-8" in refusal(tmp_path, GOOD + "I3,José,2026-06-01,2026-06-10,1.00\n", encoding=encoding)


@pytest.mark.parametrize("filler", range(4))
def test_utf8_is_recognised_even_where_a_megabyte_ends_inside_a_letter(tmp_path, filler):
    """Pieces of a file are looked at apart; a letter cut in two made one look as if it were no UTF-8 at all."""
    head = invoice_file() + "x" * filler
    content = head + "é" * (1 << 20) + "\n"
    assert "the file is UTF-8" in refusal(tmp_path, content, encoding="cp1252")


def test_utf8_with_a_byte_that_cp1252_lacks_is_refused_with_its_line(tmp_path):
    assert "line 4: byte 0x81 is not cp1252" in refusal(tmp_path, GOOD + "I3,Águia,x,x,1\n", encoding="cp1252")


def test_text_in_its_own_encoding_is_let_through(tmp_path):
    for text in ("ç\n", "ã o\n", "\u201caspas\u201d\n", "n\xba 1\n"):
        assert inspect(tmp_path, (GOOD + text).encode("cp1252"), encoding="cp1252").line_count == 4


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("id,customer,issued,due,value,value", "columns 5 and 6: both are called 'value'"),
        ("id,customer,issued,due,value,VALUE", "columns 5 and 6: both are called 'VALUE'"),
        ("id,customer,issued,due,value, value ", "columns 5 and 6"),
        ("id,customer,issued,due,value,", "column 6: the column has no name"),
        ("id,,issued,due,value", "column 2: the column has no name"),
        ("id,customer,issued,due,value,_line", "column 6: '_line' means the row's own"),
        ("id,customer,issued,due,value,_FILE", "column 6: '_FILE' means the row's own"),
        ('id,customer,issued,due,"value', "line 1: the column names cannot be read"),
        ("", "line 1 is blank"),
    ],
)
def test_a_header_that_names_nothing_or_twice_is_refused(tmp_path, header, says):
    assert says in refusal(tmp_path, f"{header}\n1,2,3,4,5\n")


def test_a_renamed_column_is_named_with_its_likely_new_name():
    with pytest.raises(InputError) as refused:
        check_header(
            ("id", "data_vencto", "valor"), {"id": "x.z", "data_vencimento": "invoices.due_date", "cpf": "x.y"}, "f.csv"
        )
    message = str(refused.value)
    assert "f.csv: column 'data_vencimento', needed for invoices.due_date, is not in line 1" in message
    assert "was it renamed to 'data_vencto'?" in message
    assert "f.csv: column 'cpf', needed for x.y, is not in line 1" in message
    assert "line 1 has the columns id, data_vencto, valor" in message


def test_a_row_in_the_headers_place_is_not_quoted(tmp_path):
    """A file without its header once put its first customer into the log."""
    with pytest.raises(
        InputError, match=r"f\.csv: line 1 names none of the columns that the mapping needs \(name, due\)"
    ) as refused:
        check_header(("C1", "Maria das Dores", "2026-06-01"), {"name": "a.b", "due": "a.c"}, "f.csv")
    assert "Maria" not in str(refused.value)
    assert "columns 1 and 3: both have the same name" in refusal(tmp_path, "Maria,x,Maria\n")


def test_swapped_columns_are_named_and_new_ones_do_not_matter():
    earlier = ("id", "due", "value")
    for header in (earlier, ("new", "id", "due", "value"), ("id", "due", "more", "value"), ("id", "value")):
        check_column_order(header, earlier, "f_1.csv", "f_2.csv")
    with pytest.raises(InputError, match=r"f_2\.csv: line 1, column 2: 'value' stands where f_1\.csv had 'due'"):
        check_column_order(("id", "value", "due"), earlier, "f_1.csv", "f_2.csv")


@pytest.mark.parametrize("cut", [1, 9, 40, -1, -8])
def test_a_gzip_file_cut_short_is_refused(tmp_path, cut):
    packed = gzip.compress(GOOD.encode() * 9)
    message = refusal(tmp_path, packed[:cut])
    assert "damaged or cut short" in message or "is not utf-8" in message or "line break" in message


def test_a_gzip_file_with_anything_behind_it_is_refused(tmp_path):
    assert "damaged or cut short" in refusal(tmp_path, gzip.compress(GOOD.encode()) + b"more")


@pytest.mark.parametrize(
    "line", ["\n", invoice_line(1) + "\n", "a"], ids=["blank lines", "one line again and again", "one line"]
)
def test_a_gzip_bomb_is_refused_before_it_is_unpacked(tmp_path, line):
    """deflate reaches 1,032 to 1 at most: a limit above that refused nothing."""
    bomb = gzip.compress((GOOD + line * (40_000_000 // len(line))).encode())
    assert len(bomb) < 120_000
    assert "gzip bomb" in refusal(tmp_path, bomb)


def test_a_gzip_file_is_read_as_what_is_in_it(tmp_path):
    assert inspect(tmp_path, gzip.compress(GOOD.encode())).line_count == 3


def parquet_bytes() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"id": ["I1"]}), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:-1],
        lambda b: b[1:],
        lambda b: b[:6],
        lambda b: b"PAR1",
        lambda b: gzip.compress(b),
        lambda b: b + b"\n",
    ],
    ids=["end cut", "beginning cut", "six bytes", "four bytes", "packed", "more behind"],
)
def test_a_parquet_file_without_its_frame_is_refused(tmp_path, damage):
    assert inspect(tmp_path, parquet_bytes(), format="parquet").line_count == 0
    assert "not a whole Parquet file" in refusal(tmp_path, damage(parquet_bytes()), format="parquet")


@pytest.mark.parametrize(
    "written",
    [
        "",
        "{",
        "[]",
        "null",
        '{"rows": 3}',
        '{"sha256": "x", "row": 3}',
        '{"sha256": "x", "rows": "many"}',
        '{"sha256": "x", "control_totals": {"value": 10.5}}',
        '{"sha256": "x", "control_totals": {"value": "ten"}}',
        '{"sha256": "x", "control_totals": {"value": "NaN"}}',
        '{"sha256": "x", "control_totals": {"value": "sNaN"}}',
        '{"sha256": "x", "control_totals": {"value": "Infinity"}}',
        "[" * 100_000,
        "\xff",
    ],
)
def test_a_manifest_that_cannot_be_understood_is_refused_by_its_name(tmp_path, written):
    (tmp_path / "f.csv.manifest.json").write_bytes(written.encode("latin-1"))
    with pytest.raises(InputError, match=r"^f\.csv\.manifest\.json: "):
        read_manifest(tmp_path / "f.csv")


def test_a_folder_in_the_manifests_place_is_refused(tmp_path):
    (tmp_path / "f.csv.manifest.json").mkdir()
    with pytest.raises(InputError, match=r"^f\.csv\.manifest\.json: "):
        read_manifest(tmp_path / "f.csv")
    assert read_manifest(tmp_path / "other.csv") is None


def test_letters_split_between_chunks_come_out_whole(tmp_path):
    text = "a" * ((1 << 20) - 1) + "é" * 10 + "\n"
    path = tmp_path / "content"
    path.write_text(text, encoding="utf-8")
    assert "".join(decoded_chunks(path, "f.csv", file_set())) == text
