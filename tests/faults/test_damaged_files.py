"""A file cut or damaged anywhere is refused, or leaves only rows that are whole; what it does not hold stays as it was.

With a manifest every damage is refused. Without one a file cut at the end of a line is a shorter file, and a changed
digit another digit: there we promise that no row is half read, that nothing else changes, and that every complaint
names the file.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.unit.ingest.company import INVOICES, Company, invoice_set, opened_company, source_of

from regua.errors import InputError

pytestmark = pytest.mark.timeout(120)

CUT_POINTS = 200
FLIPPED_BITS = 30
NAMES = ("id", "customer", "issued", "due", "value", "name")
CANARY = "Zuleica Canarinho"
ROWS = [
    (
        f"I{n}",
        f"C{n % 7}",
        "2026-06-01",
        f"2026-06-{10 + n % 20}",
        f"{1000 + n * 37 // 10}.{n % 100:02}",
        f"{CANARY} {n}",
    )
    for n in range(80)
]


def csv_file() -> bytes:
    return "".join(",".join(row) + "\n" for row in (NAMES, *ROWS)).encode()


def json_file() -> bytes:
    return "".join(json.dumps(dict(zip(NAMES, row, strict=True))) + "\n" for row in ROWS).encode()


def parquet_file() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(
        pa.table({name: [row[n] for row in ROWS] for n, name in enumerate(NAMES)}), buffer, row_group_size=32
    )
    return buffer.getvalue()


@dataclass(frozen=True)
class Format:
    """A file format with a good file of it; `text` undoes the packing where a message may say in which line."""

    ending: str
    format: str
    content: bytes


FORMATS = [
    Format("csv", "csv", csv_file()),
    Format("csv.gz", "csv", gzip.compress(csv_file(), mtime=0)),
    Format("jsonl", "jsonl", json_file()),
    Format("jsonl.gz", "jsonl", gzip.compress(json_file(), mtime=0)),
    Format("parquet", "parquet", parquet_file()),
]


def open_with_yesterday(folder, of: Format) -> Company:
    feeds = {
        "invoices": INVOICES["feeds"]["invoices"],
        "customers": {"columns": {"customer_id": "id", "name": "name"}},
    }
    sets = {
        "yesterday": invoice_set(glob="yesterday_*.csv", mode="snapshot"),
        "tonight": invoice_set(glob=f"tonight_*.{of.ending}", format=of.format, feeds=feeds, optional=True),
    }
    return opened_company(folder, source_of(**sets))


@pytest.fixture(scope="module", params=FORMATS, ids=lambda of: of.ending)
def damaged(request, tmp_path_factory) -> Iterator[tuple[Company, Format]]:
    of = request.param
    with open_with_yesterday(tmp_path_factory.mktemp("damaged"), of) as company:
        company.receive(
            "yesterday_1.csv",
            "id,customer,issued,due,value\n" + "Y1,C1,2026-06-01,2026-06-10,1.00\nI3,C1,2026-06-01,2026-06-10,2.00\n",
        )
        yield company, of


@contextmanager
def taken_back(company: Company) -> Iterator[None]:
    """Whatever a night lands and loads is gone afterwards, which is quicker than a warehouse for each damage."""
    known = {arrival.batch_id for arrival in company.store.arrivals()}
    tables = ("raw.invoices", "raw.customers", "quarantine.rejected_rows", "ops.batches")
    superseded = company.warehouse.execute("select count(*) from raw.superseded").fetchall()
    try:
        yield
    finally:
        for path in company.inbox.glob("tonight_*"):
            path.unlink()
        for arrival in company.store.arrivals():
            if arrival.batch_id not in known:
                (company.settings.landing_dir / "arrivals" / "acme" / f"{arrival.batch_id}.json").unlink()
                company.store.content_path(arrival.sha256).unlink()
                for table in tables:
                    company.warehouse.execute(f"delete from {table} where _batch_id = ?", [arrival.batch_id])
                company.warehouse.execute("delete from raw.superseded where _superseded_at = ?", [arrival.landed_at])
        assert company.warehouse.execute("select count(*) from raw.superseded").fetchall() == superseded


def fingerprint(company: Company) -> list[tuple]:
    """Of every row that loading writes; comparing the rows themselves a thousand times takes minutes."""
    tables = ("raw.invoices", "raw.customers", "raw.superseded", "quarantine.rejected_rows", "ops.batches")
    counted = [f"select '{table}', count(*), bit_xor(hash(t)) from {table} as t" for table in tables]
    return company.warehouse.execute(" union all ".join(counted)).fetchall()


def refusal_of(company: Company, name: str, content: bytes, *, manifest: bytes | None = None) -> str | None:
    """What the night says to a file, None when it takes it. Every message names the file and quotes nobody."""
    before = fingerprint(company)
    try:
        if manifest is None:
            company.send(name, content)
        else:
            company.send(name, manifest, manifest=True)
            company.send(name, content)
        company.night()
    except InputError as error:
        message = str(error)
    else:
        return None
    assert name in message
    assert CANARY.split()[0] not in message
    assert fingerprint(company) == before
    return message


WHOLE = {(row[0], Decimal(row[4]), row[3]) for row in ROWS}


def assert_only_whole_rows_came(company: Company) -> None:
    found = company.known("invoice_id, amount, due_date::varchar")
    assert ("Y1", Decimal("1.00"), "2026-06-10") in found
    of_tonight = {row for row in found if row[0] not in ("Y1", "I3")}
    assert of_tonight <= WHOLE
    for counts in company.warehouse.execute(
        "select read_count - accepted_count - quarantined_count - duplicate_count, "
        "read_amount - accepted_amount - quarantined_amount - duplicate_amount from ops.batches"
    ).fetchall():
        assert counts == (0, Decimal(0))


def cut_points(content: bytes) -> list[int]:
    """Spread over the file, with every place near its beginning and its end."""
    last = len(content) - 1
    near = {*range(12), *range(last - 12, last + 1)}
    step = max(1, last // (CUT_POINTS - len(near)) - 1)
    return sorted(near | set(range(12, last, step)))[: 2 * CUT_POINTS]


def test_the_good_file_is_taken(damaged):
    company, of = damaged
    with taken_back(company):
        assert refusal_of(company, f"tonight_1.{of.ending}", of.content, manifest=of.content) is None
        assert len(company.known("invoice_id")) == len(ROWS) + 1
        assert_only_whole_rows_came(company)


def test_a_file_cut_anywhere_is_refused_when_it_has_a_manifest(damaged):
    company, of = damaged
    points = cut_points(of.content)
    assert len(points) >= CUT_POINTS
    with taken_back(company):
        for point in points:
            assert refusal_of(company, f"tonight_1.{of.ending}", of.content[:point], manifest=of.content) is not None, (
                point
            )


def test_a_file_cut_anywhere_leaves_only_whole_rows_without_one(damaged):
    company, of = damaged
    taken = 0
    for point in cut_points(of.content):
        with taken_back(company):
            if refusal_of(company, f"tonight_1.{of.ending}", of.content[:point]) is None:
                taken += 1
                assert of.format != "parquet"
                assert of.content[:point].endswith(b"\n"), point
                assert_only_whole_rows_came(company)
    assert taken < CUT_POINTS // 10


def flipped(content: bytes) -> Iterator[tuple[int, bytes]]:
    generator = random.Random(20260630)  # noqa: S311 - the same bits in every run
    for place in generator.sample(range(len(content) * 8), FLIPPED_BITS):
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        yield place, bytes(changed)


def test_a_flipped_bit_is_refused_when_there_is_a_manifest(damaged):
    company, of = damaged
    with taken_back(company):
        for place, content in flipped(of.content):
            assert refusal_of(company, f"tonight_1.{of.ending}", content, manifest=of.content) is not None, place


def test_a_flipped_bit_touches_nothing_else_without_one(damaged):
    """A changed digit cannot be seen; but it stays in its file, and only a refusal or a sound load comes of it."""
    company, of = damaged
    refused = 0
    for _, content in flipped(of.content):
        with taken_back(company):
            if refusal_of(company, f"tonight_1.{of.ending}", content) is None:
                assert ("Y1", Decimal("1.00")) in company.known("invoice_id, amount")
                keys = company.known("invoice_id")
                assert len(keys) == len(set(keys))
                if of.ending.endswith(".gz"):
                    # gzip's checksum lets only its own header's notes be changed.
                    assert_only_whole_rows_came(company)
                    assert len(keys) == len(ROWS) + 1
            else:
                refused += 1
    assert refused > 0


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "swapped header": lambda content: content.replace(b"id,customer,issued,due", b"id,customer,due,issued", 1),
    "renamed column": lambda content: content.replace(b"value,name", b"valor,name", 1),
    "repeated column": lambda content: content.replace(b"value,name", b"value,value", 1),
    "header gone": lambda content: content.split(b"\n", 1)[1],
    "utf-16": lambda content: content.decode().encode("utf-16"),
    "NUL": lambda content: content.replace(b"I40", b"I\x0040"),
    "one line fewer than told": lambda content: content.replace(",".join(ROWS[40]).encode() + b"\n", b""),
    "other separator": lambda content: content.replace(b",", b";"),
    "all amounts with a comma": lambda content: re.sub(rb"([0-9]{4})\.([0-9]{2})", rb'"\1,\2"', content),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_an_export_often_suffers_is_refused_by_file_line_and_column(tmp_path, damage):
    of = FORMATS[0]
    with open_with_yesterday(tmp_path, of) as company:
        limited = company.source.files["tonight"].model_copy(update={"quarantine_limit_pct": 1.0})
        company.source = company.source.model_copy(update={"files": {**company.source.files, "tonight": limited}})
        company.receive("yesterday_1.csv", "id,customer,issued,due,value\nY1,C1,2026-06-01,2026-06-10,1.00\n")
        company.receive("tonight_1.csv", of.content)
        damaged_content = DAMAGES[damage](of.content)
        assert damaged_content != of.content
        manifest = of.content if damage == "one line fewer than told" else None
        message = refusal_of(company, "tonight_2.csv", damaged_content, manifest=manifest)
        assert message is not None
        assert damage == "one line fewer than told" or re.search(r"line \d+|column", message)
