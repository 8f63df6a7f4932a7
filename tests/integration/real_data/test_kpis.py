"""The KPIs of a real portfolio against a second computation in plain pandas over its files, equal to the cent."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from regua.instants import utc_clock
from regua.nightly.stages import Night, run_night
from regua.settings import load_settings

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT.parent / "shared" / "data" / "datarisk"
AS_OF = pd.Timestamp("2019-06-30")
HORIZONS = (7, 15, 30, 60, 90, 180)
BUCKETS = {"1-30": (1, 30), "31-60": (31, 60), "61-90": (61, 90), "90+": (91, 100_000)}

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not DATA.is_dir(), reason=f"the Datarisk portfolio is not in {DATA}"),
]


@pytest.fixture(scope="module")
def marts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """What a night of the portfolio serves."""
    home = tmp_path_factory.mktemp("kpis")
    inbox = home / "inbox" / "datarisk"
    inbox.mkdir(parents=True)
    for path in DATA.glob("*.csv"):
        shutil.copyfile(path, inbox / path.name)
    settings = replace(load_settings({"REGUA_HOME": str(home)}), source_names=("datarisk",))
    run_night(settings, Night(AS_OF.date(), None, "real"), utc_clock)
    with duckdb.connect(str(settings.serving_dir / "current" / "serving.duckdb"), read_only=True) as serving:
        yield serving


@pytest.fixture(scope="module")
def charges() -> pd.DataFrame:
    """Those that were issued by then."""
    found = real_charges()
    return found[found["issued"] <= AS_OF]


def real_charges() -> pd.DataFrame:
    """The files' charges with an amount, in cents, and the days on which each became overdue and was paid."""
    [path] = DATA.glob("payments_*.csv")
    read = pd.read_csv(path, sep=";", dtype=str)
    read = read[read["VALOR_A_PAGAR"].notna()]
    found = pd.DataFrame(
        {
            "invoice": _invoice_ids(read),
            "customer": read["ID_CLIENTE"],
            "issued": pd.to_datetime(read["DATA_EMISSAO_DOCUMENTO"]),
            "due": pd.to_datetime(read["DATA_VENCIMENTO"]),
            "raw_paid": pd.to_datetime(read["DATA_PAGAMENTO"]),
            "cents": read["VALOR_A_PAGAR"].map(_cents),
        }
    )
    holidays = pd.read_csv(ROOT / "dbt_project" / "seeds" / "bank_holidays.csv", parse_dates=["holiday_date"])
    days_off = set(holidays["holiday_date"])
    effective = found["due"].copy()
    while (closed := (effective.dt.day_of_week >= 5) | effective.isin(days_off)).any():
        effective[closed] += pd.Timedelta(days=1)
    # Some were issued when they were past due already.
    found["overdue_from"] = (effective + pd.Timedelta(days=1)).where(lambda day: day > found["issued"], found["issued"])
    # Nothing is owed before the issue; a payment after the day is not known yet.
    found["paid"] = found[["raw_paid", "issued"]].max(axis=1).where(found["raw_paid"].notna())
    found.loc[found["paid"] > AS_OF, "paid"] = pd.NaT
    return found


def _invoice_ids(read: pd.DataFrame) -> pd.Series:
    """As include/sources/datarisk.yml makes them: of what a charge is, and its place among those alike."""
    columns = ["ID_CLIENTE", "DATA_EMISSAO_DOCUMENTO", "DATA_VENCIMENTO", "VALOR_A_PAGAR"]
    hashed = (
        read[columns]
        .agg("|".join, axis=1)
        .map(lambda text: hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:16])
    )
    place = read.sort_values("DATA_PAGAMENTO", kind="stable", na_position="last").groupby(columns).cumcount() + 1
    return hashed + "-" + place.reindex(read.index).astype(str)


def _cents(text: str) -> int:
    whole, _, part = text.partition(".")
    return int(whole) * 100 + int((part + "00")[:2])


def is_open(charges: pd.DataFrame, day: pd.Timestamp) -> pd.Series:
    return (charges["issued"] <= day) & ~(charges["paid"] <= day)


def bucket_of(charges: pd.DataFrame, day: pd.Timestamp) -> pd.Series:
    """`none` for what is not open."""
    days = (day - charges["due"]).dt.days
    bucket = pd.Series("current", index=charges.index)
    is_overdue = charges["overdue_from"] <= day
    for code, (first, last) in BUCKETS.items():
        bucket[is_overdue & days.between(first, last)] = code
    return bucket.where(is_open(charges, day), "none")


def cents_by(marts: duckdb.DuckDBPyConnection, query: str) -> dict[tuple, int]:
    """The last column of a query in cents, by the columns before it."""
    found = {}
    for *key, amount in marts.execute(query).fetchall():
        named = tuple(pd.Timestamp(part) if isinstance(part, date) else part for part in key)
        found[named] = int(amount * 100)
    return found


def sums(charges: pd.DataFrame, chosen: pd.Series, *keys: pd.Series) -> dict[tuple, int]:
    found = charges.loc[chosen, "cents"].groupby([key[chosen] for key in keys]).sum()
    return {(key if isinstance(key, tuple) else (key,)): int(cents) for key, cents in found.items()}


def month_of(days: pd.Series) -> pd.Series:
    return days.dt.to_period("M").dt.to_timestamp()


def test_every_day_of_a_year_has_the_same_balances(marts: duckdb.DuckDBPyConnection, charges: pd.DataFrame) -> None:
    ours = cents_by(
        marts,
        "select day_date, aging_bucket_code, sum(open_amount) from kpi_aging where day_date >= '2018-08-01' "
        "group by all",
    )
    theirs: dict[tuple, int] = {}
    for day in pd.date_range("2018-08-01", AS_OF):
        bucket = bucket_of(charges, day)
        for (code,), cents in sums(charges, bucket != "none", bucket).items():
            theirs[day, code] = cents
    assert len(theirs) > 1000
    assert ours == theirs


@pytest.mark.parametrize(
    ("column", "day", "condition"),
    [
        ("billed_amount", "issued", lambda charges: charges["issued"].notna()),
        ("collected_amount", "paid", lambda charges: charges["paid"].notna()),
        ("recovered_amount", "paid", lambda charges: charges["paid"] > charges["overdue_from"]),
        (
            "new_overdue_amount",
            "overdue_from",
            lambda charges: (charges["overdue_from"] <= AS_OF) & ~(charges["paid"] <= charges["overdue_from"]),
        ),
    ],
)
def test_what_moved_on_each_day_is_the_same(
    column: str, day: str, condition, marts: duckdb.DuckDBPyConnection, charges: pd.DataFrame
) -> None:
    since = pd.Timestamp("2018-08-01")
    ours = cents_by(
        marts,
        f"select day_date, sum({column}) as amount from kpi_daily where day_date >= '2018-08-01' "
        "group by all having amount <> 0",
    )
    chosen = condition(charges) & (charges[day] >= since)
    theirs = {key: cents for key, cents in sums(charges, chosen, charges[day]).items() if cents}
    assert len(theirs) > 100
    assert ours == theirs


def test_what_was_billed_and_is_due_is_the_same(marts: duckdb.DuckDBPyConnection, charges: pd.DataFrame) -> None:
    ours = cents_by(
        marts, "select day_date, sum(billed_due_amount) from kpi_daily where day_date >= '2018-08-01' group by 1"
    )
    theirs = {
        (day,): int(charges.loc[charges["overdue_from"] <= day, "cents"].sum())
        for day in pd.date_range("2018-08-01", AS_OF)
    }
    assert ours == theirs


@pytest.mark.parametrize("days", HORIZONS)
def test_cohorts_recover_the_same(days: int, marts: duckdb.DuckDBPyConnection, charges: pd.DataFrame) -> None:
    became = (charges["overdue_from"] <= AS_OF) & ~(charges["paid"] <= charges["overdue_from"])
    cohort = month_of(charges["overdue_from"])
    until = charges["overdue_from"] + pd.Timedelta(days=days)
    for column, chosen in {
        "overdue_amount": became,
        "observed_amount": became & (until <= AS_OF),
        "recovered_amount": became & (until <= AS_OF) & (charges["paid"] <= until),
        "cured_amount": became & (until <= AS_OF) & (charges["paid"] <= until),
    }.items():
        ours = cents_by(
            marts,
            f"select cohort_month, sum({column}) as amount from kpi_recovery_cohorts where horizon_days = {days} "
            "group by all having amount <> 0",
        )
        assert ours == sums(charges, chosen, cohort), column


def test_balances_roll_the_same(marts: duckdb.DuckDBPyConnection, charges: pd.DataFrame) -> None:
    ours = cents_by(
        marts,
        "select month_date, from_code, to_code, sum(amount) from kpi_roll_rates where month_date >= '2018-09-01' "
        "group by all",
    )
    theirs: dict[tuple, int] = {}
    for month in pd.date_range("2018-09-01", "2019-06-01", freq="MS"):
        start, end = month - pd.Timedelta(days=1), month + pd.offsets.MonthEnd(0)
        before, after = bucket_of(charges, start), bucket_of(charges, end)
        # Each charge is paid at once, so a balance moves whole or is gone.
        after = after.where((after != "none") | (before == "none"), "paid")
        for key, cents in sums(charges, after != "none", before, after).items():
            theirs[(month, *key)] = cents
    assert len(theirs) > 60
    assert ours == theirs
