"""The Brazilian bank calendar: the days on which banks are closed although the week says they are open.

The dbt seed bank_holidays is this list, written by `python -m regua.transform.bank_calendar`. The models never
import it, so that a new release of the `holidays` library cannot move a due date without anybody committing it.
"""

from __future__ import annotations

import csv
import datetime as dt
from pathlib import Path

CALENDAR_CODE = "br-bank"
FIRST_YEAR = 1990
LAST_YEAR = 2060
# Resolução CMN 4.880/2020: besides national holidays, banks are closed on Carnival Monday and Tuesday and on
# Corpus Christi. Ash Wednesday, 24 December and the last working day of the year are business days with short hours.
CLOSED_OPTIONAL_HOLIDAYS = ("Carnaval", "Corpus Christi")
# The library's exchange calendar (BVMF) is not used: it adds 24 and 31 December, on which banks do work. It also has
# Maundy Thursday up to 1999 (Resolução 2.516 made it a business day); whoever holds debts that old adds it as an extra
# holiday.
SEED_PATH = Path(__file__).resolve().parents[3] / "dbt_project" / "seeds" / "bank_holidays.csv"


def bank_holidays(first_year: int = FIRST_YEAR, last_year: int = LAST_YEAR) -> list[tuple[dt.date, str]]:
    """Each day banks are closed for a holiday, with its Portuguese name, in order; weekends are not marked apart."""
    import holidays

    years = range(first_year, last_year + 1)
    national = holidays.country_holidays("BR", years=years, language="pt_BR")
    optional = holidays.country_holidays("BR", years=years, language="pt_BR", categories=("optional",))
    closed = {day: name for day, name in optional.items() if name in CLOSED_OPTIONAL_HOLIDAYS}
    return sorted({**closed, **national}.items())


def write_seed(path: Path = SEED_PATH) -> None:
    """Write the dbt seed."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("calendar_code", "holiday_date", "holiday_name"))
        writer.writerows((CALENDAR_CODE, day.isoformat(), name) for day, name in bank_holidays())


if __name__ == "__main__":
    write_seed()
