"""Exports of a made-up Brazilian SaaS company, as its systems would have written them on a day.

The portfolio is a function of (customers, months, as_of, seed): facts.sql gives every invoice its whole life as dated
facts, and the exports of a day hold what is known on it. So the exports of `as_of`, followed by the deltas of the days
after it, say the same as the exports of a later day. docs/reference/sample.md describes payers, figures and faults.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path

import duckdb
import holidays

from regua.channels.payment_codes import boleto_line, pix_code
from regua.durable_file import write_whole
from regua.errors import InputError
from regua.sample.dirt import FAULTS, MONEY, Planted, Record, faulty_records, readable_amount, wanted_originals
from regua.settings import Settings

_SQL_DIR = Path(__file__).parent
_BEGINNING_OF_TIME = date(1900, 1, 1)
_FILE_NAMES = {
    "customers": "customers_{day}.csv",
    "subscriptions": "subscriptions_{day}.csv",
    "invoices": "invoices_{day}.csv",
    "payments": "payments_{day}.csv",
    "credits": "credits_{day}.jsonl.gz",
    "contact_points": "contact_points_{day}.csv",
    "consents": "consents_{day}.csv",
    "contatos": "contatos_{day}.csv",
}
# No file on a day without a record: of credits, because JSON Lines without a line would be a file without a byte, which
# nobody can tell from one cut short; of messages, because the system before is switched off.
_NONE_WHEN_EMPTY = ("credits", "contatos")
# No bank has this number.
_BANK = "000"
_OFFICE_FILES = ("customers", "subscriptions")
# Measured at 24 months, where growth and churn leave 19.7 invoices a customer.
_INVOICES_PER_CUSTOMER_AND_MONTH = 0.82


@dataclass(frozen=True, slots=True)
class SamplePortfolio:
    """What was written: records per file set, faults included, and the faults by kind."""

    folder: Path
    day: date
    row_counts: dict[str, int]
    planted: tuple[Planted, ...]


def generate(
    into: Path,
    *,
    customers: int,
    months: int,
    as_of: date,
    seed: int,
    dirt: bool = True,
    memory: str = "2GB",
    threads: int = 2,
) -> SamplePortfolio:
    """Write the exports of `as_of`: `customers` customers known by then and the invoices of the last `months` months.

    The same arguments give the same bytes, whatever `memory` and `threads`. Raises InputError for a portfolio too small
    to have a history.
    """
    opened = open_facts(
        into, customers=customers, months=months, as_of=as_of, seed=seed, day=as_of, memory=memory, threads=threads
    )
    with opened as (facts, work):
        return _write_exports(facts, work, into, as_of, dirt=dirt)


def generate_next_day(
    into: Path,
    *,
    customers: int,
    months: int,
    as_of: date,
    day: date,
    seed: int,
    changed_pct: float | None = 1.0,
    dirt: bool = True,
    memory: str = "2GB",
    threads: int = 2,
) -> SamplePortfolio:
    """Write the exports of `day`, later than `as_of`, for the portfolio that `generate` made with the same arguments.

    Customers and subscriptions are whole again, with a few changes; invoices, payments and credits hold what became
    known since the day before. `changed_pct` is the share of all invoices that the invoice delta brings: where fewer
    were issued, cancelled or written off, others are sent again with their note numbered anew and, while open, a due
    date five days later (later exports know nothing of that). None leaves it at what happened.
    """
    if day <= as_of:
        raise InputError(f"The next day must lie after {as_of}, the portfolio's own day; it is {day}.")
    opened = open_facts(
        into,
        customers=customers,
        months=months,
        as_of=as_of,
        seed=seed,
        since=day - timedelta(days=1),
        day=day,
        memory=memory,
        threads=threads,
    )
    with opened as (facts, work):
        if changed_pct is not None:
            _set(facts, reissued_below=_reissued_below(facts, changed_pct))
        return _write_exports(facts, work, into, day, dirt=dirt)


def write_sample(settings: Settings, *, customers: int, months: int, as_of: date, seed: int) -> SamplePortfolio:
    """Put the exports of `as_of`, faults included, into the inbox of the source `sample`."""
    return generate(
        settings.inbox / "sample",
        customers=customers,
        months=months,
        as_of=as_of,
        seed=seed,
        memory=settings.warehouse_memory,
        threads=settings.warehouse_threads,
    )


def customers_for(invoices: int, months: int) -> int:
    """How many customers make about so many invoices."""
    return max(10, round(invoices / months / _INVOICES_PER_CUSTOMER_AND_MONTH))


@contextmanager
def open_facts(
    into: Path,
    *,
    customers: int,
    months: int,
    as_of: date,
    seed: int,
    since: date = _BEGINNING_OF_TIME,
    day: date,
    memory: str = "2GB",
    threads: int = 2,
) -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """A portfolio's facts and the views of its exports of `day`, in a database of their own, with a folder to work in.

    The views of invoices, payments, credits and `contatos` hold what became known after `since`.
    """
    if customers < 10 or months < 2:
        raise InputError(f"A sample needs at least 10 customers and 2 months; asked for {customers} and {months}.")
    window_start = _month_before(as_of, months - 1)
    into.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".sample-", dir=into) as work,
        duckdb.connect(config={"memory_limit": memory, "threads": threads, "temp_directory": work}) as connection,
    ):
        _run(connection, "draws.sql")
        _set(connection, customers=customers, as_of=as_of, window_start=window_start, seed=seed)
        _set(connection, since=since, day=day, reissued_below=0)
        connection.execute("set variable seed_bits = mixed((getvariable('seed') % 4294967296)::ubigint)")
        connection.execute("create table bank_holidays (holiday_date date)")
        bank_holidays = [[holiday] for holiday in _bank_holidays(window_start.year, day.year + 1)]
        connection.executemany("insert into bank_holidays values ($1)", bank_holidays)
        connection.create_function("sample_boleto_line", _boleto_line)
        connection.create_function("sample_pix_code", _pix_code)
        for file_name in ("vocabulary.sql", "facts.sql", "exports.sql", "contatos.sql"):
            _run(connection, file_name)
        yield connection, Path(work)


def _write_exports(
    facts: duckdb.DuckDBPyConnection, work: Path, into: Path, day: date, *, dirt: bool
) -> SamplePortfolio:
    row_counts: dict[str, int] = {}
    planted: list[Planted] = []
    for file_set, pattern in _FILE_NAMES.items():
        path = work / file_set
        row_count, total = _write_clean(facts, file_set, path)
        if dirt and file_set in FAULTS:
            originals = _first_records(file_set, path, wanted_originals(file_set, row_count))
            records, of_this_file = faulty_records(file_set, row_count, originals)
            _append(file_set, path, records)
            planted += of_this_file
            row_count += len(records)
            if file_set in MONEY:
                total += sum(readable_amount(file_set, record) for record in records)
        row_counts[file_set] = row_count
        if row_count or file_set not in _NONE_WHEN_EMPTY:
            _deliver(file_set, path, into / pattern.format(day=day), row_count, total)
    written = [asdict(one) for one in planted]
    write_whole(into / f"planted_{day}.json", json.dumps(written, indent=2) + "\n")
    return SamplePortfolio(into, day, row_counts, tuple(planted))


def _write_clean(facts: duckdb.DuckDBPyConnection, file_set: str, path: Path) -> tuple[int, Decimal]:
    """Write a file set's good records in UTF-8; returns their number and the sum of their money column."""
    money = MONEY.get(file_set)
    total = f"sum({money}::decimal(18, 2))" if money else "null"
    [(row_count, amount)] = facts.execute(f"select count(*), {total} from {file_set}_export").fetchall()
    if file_set == "credits":
        cursor = facts.execute("from credits_export")
        columns = [column[0] for column in cursor.description]
        with path.open("w", encoding="utf-8") as file:
            file.writelines(_json_line(dict(zip(columns, values, strict=True))) for values in cursor.fetchall())
    else:
        facts.table(f"{file_set}_export").write_csv(str(path), sep=_separator(file_set), header=True)
    return row_count, amount or Decimal(0)


def _first_records(file_set: str, path: Path, count: int) -> list[Record]:
    with path.open(encoding="utf-8", newline="") as file:
        if file_set == "credits":
            return [json.loads(line) for line in islice(file, count)]
        return list(islice(csv.DictReader(file, delimiter=_separator(file_set)), count))


def _append(file_set: str, path: Path, records: list[Record]) -> None:
    with path.open("a", encoding="utf-8", newline="") as file:
        if file_set == "credits":
            file.writelines(map(_json_line, records))
        else:
            csv.writer(file, delimiter=_separator(file_set), lineterminator="\n").writerows(r.values() for r in records)


def _deliver(file_set: str, written: Path, target: Path, row_count: int, total: Decimal) -> None:
    """Move a finished file to where it is looked for, its manifest first: it is never seen without one."""
    finished = written.with_suffix(".finished")
    if file_set in _OFFICE_FILES:
        # The office system runs on Windows.
        with (
            written.open(encoding="utf-8", newline="") as text,
            finished.open("w", encoding="cp1252", newline="\r\n") as office_text,
        ):
            shutil.copyfileobj(text, office_text)
    elif file_set == "credits":
        # Without a name and a time in its head, the archive is the same bytes every time.
        with finished.open("wb") as file, gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as archive:
            archive.write(written.read_bytes())
    else:
        written.rename(finished)
    with finished.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    totals = {MONEY[file_set]: str(total)} if file_set in MONEY else {}
    manifest = {"sha256": sha256, "rows": row_count, "control_totals": totals}
    write_whole(target.with_name(target.name + ".manifest.json"), json.dumps(manifest, indent=2) + "\n")
    finished.replace(target)


def _reissued_below(facts: duckdb.DuckDBPyConnection, changed_pct: float) -> int:
    known: int
    delivered: int
    [(known,)] = facts.execute("select count(*) from invoices where issue_date <= getvariable('day')").fetchall()
    [(delivered,)] = facts.execute("select count(*) from delivered_invoices").fetchall()
    missing = round(known * changed_pct / 100) - delivered
    return max(0, missing * 2**32 // max(1, known - delivered))


def _boleto_line(cents: int, due_date: date, free_field: str) -> str:
    return boleto_line(bank=_BANK, amount=Decimal(cents).scaleb(-2), due_date=due_date, free_field=free_field)


def _pix_code(cents: int, transaction_id: str) -> str:
    return pix_code(
        key="financeiro@nuvemfacil.example",
        receiver="NUVEM FACIL TECNOLOGIA",
        city="SAO PAULO",
        amount=Decimal(cents).scaleb(-2),
        transaction_id=transaction_id,
    )


def _bank_holidays(first_year: int, last_year: int) -> list[date]:
    # The exchange's calendar, which also closes on 24 and 31 December, when banks do business.
    exchange = holidays.financial_holidays("BVMF", years=range(first_year, last_year + 1))
    return sorted(day for day in exchange if (day.month, day.day) not in ((12, 24), (12, 31)))


def _month_before(day: date, months: int) -> date:
    number = day.year * 12 + day.month - 1 - months
    return date(number // 12, number % 12 + 1, 1)


def _separator(file_set: str) -> str:
    return ";" if file_set in _OFFICE_FILES else ","


def _json_line(record: dict[str, object] | Record) -> str:
    return json.dumps(record, ensure_ascii=False, default=str) + "\n"


def _run(connection: duckdb.DuckDBPyConnection, file_name: str) -> None:
    connection.execute((_SQL_DIR / file_name).read_text(encoding="utf-8"))


def _set(connection: duckdb.DuckDBPyConnection, **variables: int | date) -> None:
    for name, value in variables.items():
        connection.execute(f"set variable {name} = $1", [value])
