"""Reports as the trade expects them, from the served night of a day; their sums are those of the panel."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from regua.durable_file import write_whole
from regua.errors import InputError
from regua.instants import read_instant
from regua.publish.serving import read_serving_manifest
from regua.settings import Settings

# As far as Excel's sheets go, less the row of headers.
_ROW_LIMIT = 1_048_576 - 1
# The newest column that a report reads.
_NEEDED = "select 1 from duckdb_columns() where table_name = 'fct_invoice_charges' and column_name = 'seller_code'"
_OVERDUE = """
    count(*) as invoice_count,
    count(distinct contact_customer_id) as customer_count,
    max(days_past_due) as max_days_past_due,
    sum(open_amount) as open_amount,
    sum(credit_amount) as credit_amount,
    sum(fine_amount) as fine_amount,
    sum(interest_amount) as interest_amount,
    sum(payable_amount) as payable_amount
from fct_invoice_charges
where is_overdue
"""


@dataclass(frozen=True, slots=True)
class Report:
    """What it is called by people, and the query that makes it of a serving file."""

    title: str
    query: str


REPORTS: Mapping[str, Report] = {
    "summary": Report(
        "Receivables by age: open invoices and what they cost, by currency and bucket",
        """
        select currency_code, aging_bucket_code,
            count(*) as invoice_count,
            count(distinct contact_customer_id) as customer_count,
            sum(open_amount) as open_amount,
            sum(case when is_overdue and days_past_due <= 4 then open_amount else 0 end) as small_delay_amount,
            sum(fine_amount + interest_amount) as charges_amount,
            sum(payable_amount) as payable_amount
        from fct_invoice_charges
        group by currency_code, aging_bucket_code
        order by currency_code, min(days_past_due), aging_bucket_code
        """,
    ),
    "delinquency": Report(
        "Overdue invoices one by one, each with its composition; the oldest first",
        """
        select contact_customer_id, invoice_id, subscription_id, segment_code, seller_code, policy_code,
            currency_code, due_date, days_past_due, aging_bucket_code, amount, paid_amount, credited_amount,
            open_amount, credit_amount, fine_amount, interest_amount, payable_amount, hold_code
        from fct_invoice_charges
        where is_overdue
        order by due_date, invoice_id
        """,
    ),
    "customers": Report(
        "Customers with overdue invoices; those whose debt is oldest first",
        f"""
        select contact_customer_id, currency_code, min(due_date) as oldest_due_date, {_OVERDUE}
        group by contact_customer_id, currency_code
        order by oldest_due_date, contact_customer_id, currency_code
        """,
    ),
    "segments": Report(
        "Overdue by segment and policy; what is owed most first",
        f"""
        select segment_code, policy_code, currency_code, {_OVERDUE}
        group by segment_code, policy_code, currency_code
        order by sum(open_amount) desc, segment_code, policy_code, currency_code
        """,
    ),
    "sellers": Report(
        "Overdue by seller of the contract; what is owed most first",
        f"""
        select seller_code, currency_code, {_OVERDUE}
        group by seller_code, currency_code
        order by sum(open_amount) desc, seller_code, currency_code
        """,
    ),
}


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A report of a day. `known_at` is what its night knew."""

    name: str
    as_of: date
    known_at: datetime
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def read_report(settings: Settings, name: str, as_of: date) -> ReportTable:
    """Raises InputError when no generation of the day is kept; its balances may still be had by `regua aging`."""
    generation = _generation_of(settings, as_of)
    with duckdb.connect(str(generation / "serving.duckdb"), read_only=True) as serving:
        if not serving.execute(_NEEDED).fetchone():
            raise InputError(f"The night of {as_of} was published before reports had what they need: run it again.")
        found = serving.execute(REPORTS[name].query)
        columns = tuple(column[0] for column in found.description or ())
        rows = tuple(found.fetchall())
    return ReportTable(name, as_of, read_instant(read_serving_manifest(generation)["known_at"]), columns, rows)


def write_report(table: ReportTable, path: Path) -> None:
    """As .csv, .xlsx or .parquet, by the ending; the same report gives the same bytes. Raises InputError otherwise."""
    writers = {".csv": as_csv, ".xlsx": _xlsx, ".parquet": _parquet}
    writer = writers.get(path.suffix.lower())
    if writer is None:
        raise InputError(f"{path.name}: a report is written as {', '.join(writers)}.")
    write_whole(path, writer(table))


def _generation_of(settings: Settings, as_of: date) -> Path:
    """Of several the one that knew most."""
    found = {
        read_serving_manifest(path.parent)["known_at"]: path.parent
        for path in (settings.serving_dir / "generations").glob(f"{as_of}_*/manifest.json")
    }
    if not found:
        raise InputError(
            f"No published night of {as_of} is kept. REGUA_KEPT_GENERATIONS says how many are; `regua aging --as-of "
            f"{as_of}` tells the balances of any day, and `regua run --as-of {as_of}` publishes it again."
        )
    return found[max(found)]


def as_csv(table: ReportTable) -> bytes:
    """UTF-8, comma, decimal point, LF."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([["" if cell is None else cell for cell in row] for row in table.rows])
    return text.getvalue().encode()


def _xlsx(table: ReportTable) -> bytes:
    import xlsxwriter

    if len(table.rows) > _ROW_LIMIT:
        raise InputError(f"{len(table.rows)} rows are more than a sheet holds: write .csv or .parquet.")
    content = io.BytesIO()
    # No cell of a source can run, or be taken for a number or a link.
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(content, options) as workbook:
        title = f"{REPORTS[table.name].title}, {table.as_of}"
        workbook.set_properties({"title": title, "author": "régua", "created": table.known_at})
        formats = {
            "text": workbook.add_format({"quote_prefix": True}),
            "money": workbook.add_format({"num_format": "#,##0.00"}),
            "day": workbook.add_format({"num_format": "dd/mm/yyyy"}),
        }
        sheet = workbook.add_worksheet(table.name)
        sheet.set_column(0, len(table.columns) - 1, 16)
        for place, column in enumerate(table.columns):
            sheet.write_string(0, place, column, workbook.add_format({"bold": True, "bottom": 1}))
        for number, row in enumerate(table.rows, start=1):
            _write_row(sheet, number, row, formats)
        sheet.freeze_panes(1, 1)
        sheet.autofilter(0, 0, max(len(table.rows), 1), len(table.columns) - 1)
    return content.getvalue()


def _write_row(sheet: Any, number: int, row: Sequence[Any], formats: Mapping[str, Any]) -> None:
    for place, cell in enumerate(row):
        if isinstance(cell, Decimal):
            sheet.write_number(number, place, float(cell), formats["money"])
        elif isinstance(cell, int):
            sheet.write_number(number, place, cell)
        elif isinstance(cell, date):
            sheet.write_datetime(number, place, cell, formats["day"])
        elif cell is not None:
            sheet.write_string(number, place, str(cell), formats["text"])


def _parquet(table: ReportTable) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = [pa.array(values) for values in zip(*table.rows, strict=True)] if table.rows else []
    columns = table.columns if table.rows else ()
    content = io.BytesIO()
    pq.write_table(pa.table(dict(zip(columns, arrays, strict=True))), content, compression="zstd")
    return content.getvalue()
