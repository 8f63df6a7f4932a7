"""Past days under one or two régua policies, beside each other or beside what was published."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from regua.errors import InputError
from regua.policy.policies import Policies, Policy, combine, load_policies, read_policy
from regua.settings import Settings
from regua.simulation.replaying import SUSPENDED, LadderReplay, Share
from regua.transform.dbt_run import CompiledModel, compile_models
from regua.warehouse.store import reading

PUBLISHED = "as published"
INSTALLED = "policies in force"
Row = tuple[Any, ...]
# What is kept of each side, and from where.
_KEPT = {
    "decisions": "marts.fct_dunning_decisions",
    "messages": "marts.fct_dunning_messages",
    "suspensions": "marts.fct_customer_standing",
    "standing_days": "simulation.standing_days",
}


@dataclass(frozen=True, slots=True)
class Side:
    """One answer to the same days. Without policies it is what was published."""

    name: str
    policies: Policies | None


@dataclass(frozen=True, slots=True)
class Simulation:
    """Figures by side. `known_then_count` days knew what their own night knew; the others what the next night did."""

    first_day: date
    last_day: date
    known_then_count: int
    sides: tuple[str, ...]
    # days on which both sides decided: only these show in `differences`
    shared_day_count: int
    # side, step, channel, phase, currency, messages, lines, payable amount, cost
    steps: tuple[Row, ...]
    # side, outcome, judged candidates and days
    outcomes: tuple[Row, ...]
    # side, customers ever suspended, customer-days suspended, suspended on the last day
    suspended: tuple[Row, ...]
    # side, Monday of the week, channel, messages
    weeks: tuple[Row, ...]
    # side, day, suspended customers
    suspended_days: tuple[Row, ...]
    # side that has the message, step, why the other side has not, messages, customers, an example
    differences: tuple[Row, ...]

    def to_json(self) -> dict[str, object]:
        return {
            "from": self.first_day.isoformat(),
            "to": self.last_day.isoformat(),
            "days_known_then": self.known_then_count,
            "days_of_both_sides": self.shared_day_count,
            "sides": list(self.sides),
            "steps": _records(
                ("side", "step", "channel", "phase", "currency", "messages", "lines", "payable_amount", "cost_amount"),
                self.steps,
            ),
            "outcomes": _records(("side", "outcome", "candidate_days"), self.outcomes),
            "suspended": _records(("side", "customers", "customer_days", "on_last_day"), self.suspended),
            "differences": _records(
                ("side", "step", "other_side", "messages", "customers", "example_customer"), self.differences
            ),
        }


def sides_of(settings: Settings, files: Sequence[Path], *, is_published: bool) -> tuple[Side, ...]:
    """What is to be compared. Raises InputError where a file is no policy, or would be nobody's.

    A file takes the place of the installed policy of its name; one that says `default: true` that of the default. Its
    last version is taken to have always held: whoever tries a draft means it.
    """
    if len(files) > 2:
        raise InputError("Two policies can be compared, not more.")
    installed = load_policies(settings.policies_dir)
    names = [path.name for path in files] if len({path.name for path in files}) == len(files) else map(str, files)
    drafted = tuple(
        Side(name, _with_draft(installed, read_policy(path))) for name, path in zip(names, files, strict=True)
    )
    if len(drafted) == 2:
        return drafted
    other = Side(PUBLISHED, None) if is_published else Side(INSTALLED, installed)
    return (*drafted, other) if drafted or not is_published else (Side(INSTALLED, installed), other)


def simulate(
    settings: Settings,
    files: Sequence[Path],
    first_day: date,
    last_day: date,
    *,
    on_day: Callable[[str, date], None] = lambda side, day: None,
) -> Simulation:
    """Decide every day anew on what was known then; neither the marts nor the ledger are touched.

    Raises InputError for days in the wrong order or a file that is no policy, BusyError while a night is running.
    """
    if last_day < first_day:
        raise InputError(f"--to {last_day} is before --from {first_day}.")
    # A night that begins now has to wait: the warehouse is read from the first day to the last.
    with reading(settings) as warehouse:
        published = _published_days(warehouse, first_day, last_day)
    sides = sides_of(settings, files, is_published=bool(published))
    models = compile_models(settings)
    results = duckdb.connect(config={"memory_limit": settings.warehouse_memory})
    share_count = max(1, settings.warehouse_threads)
    with ThreadPoolExecutor(share_count) as pool:
        shares = [
            pool.submit(_run_share, settings, models, sides, first_day, last_day, Share(number, share_count), on_day)
            for number in range(share_count)
        ]
        parts = [share.result() for share in shares]
    for kept in _KEPT:
        for index, tables in enumerate(parts):
            part = tables[kept]
            verb = f"insert into {kept} by name" if index else f"create table {kept} as"
            results.register("part", part)
            results.execute(f"{verb} select * from part")
            results.unregister("part")
    _add_published(results, settings, sides, first_day, last_day)
    results.execute("create table sides (place integer, side varchar)")
    results.executemany("insert into sides values (?, ?)", [[place, side.name] for place, side in enumerate(sides)])
    return _figures(results, sides, first_day, last_day, parts[0]["nights"])


def _with_draft(installed: Policies, draft: Policy) -> Policies:
    last = draft.content.versions[-1].model_copy(update={"effective_from": None})
    always = replace(draft, content=draft.content.model_copy(update={"versions": [last]}))
    kept = [
        policy
        for policy in installed
        if policy.code != draft.code and not (policy.content.default and draft.content.default)
    ]
    return combine([*kept, always])


def _published_days(warehouse: duckdb.DuckDBPyConnection, first_day: date, last_day: date) -> int:
    exists = warehouse.execute(
        "select 1 from information_schema.tables where table_schema = 'marts' and table_name = 'fct_dunning_decisions'"
    ).fetchone()
    if exists is None:
        return 0
    [(count,)] = warehouse.execute(
        "select count(distinct as_of_date) from marts.fct_dunning_decisions where as_of_date between ? and ?",
        [first_day, last_day],
    ).fetchall()
    return int(count)


def _run_share(
    settings: Settings,
    models: Sequence[CompiledModel],
    sides: Sequence[Side],
    first_day: date,
    last_day: date,
    share: Share,
    on_day: Callable[[str, date], None],
) -> dict[str, pa.Table]:
    simulated = [(side.name, side.policies) for side in sides if side.policies is not None]
    spill = settings.work_dir / "spill"
    spill.mkdir(parents=True, exist_ok=True)
    config: dict[str, str | bool | int | float | list[str]] = {
        "threads": 1,
        "preserve_insertion_order": False,
        "temp_directory": str(spill),
    }
    kept: dict[str, list[pa.Table]] = {name: [] for name in _KEPT}
    with duckdb.connect(config=config) as connection:
        first_policies = simulated[0][1]
        replay = LadderReplay(
            connection,
            settings.warehouse_path,
            models,
            first_policies,
            first_day,
            last_day,
            share=share,
            assumes_delivery=True,
        )
        for place, (name, policies) in enumerate(simulated):
            if place:
                replay.set_policies(policies)
            for day, known_at, _ in replay.days:
                if share.number == 0:
                    on_day(name, day)
                replay.run_day(day, known_at)
            for table, relation in _KEPT.items():
                rows = connection.sql(
                    f"select $1 as side, * from {relation} where as_of_date between $2 and $3",
                    params=[name, first_day, last_day],
                )
                kept[table].append(rows.to_arrow_table())
        nights = connection.sql("from simulation.nights").to_arrow_table()
    return {name: pa.concat_tables(tables) for name, tables in kept.items()} | {"nights": nights}


def _add_published(
    results: duckdb.DuckDBPyConnection, settings: Settings, sides: Sequence[Side], first_day: date, last_day: date
) -> None:
    if all(side.policies is not None for side in sides):
        return
    with reading(settings) as warehouse:
        for table, relation in _KEPT.items():
            if table == "standing_days":
                select = (
                    f"select as_of_date, count(case when {SUSPENDED} then 1 end) as suspended_count "
                    "from marts.fct_customer_standing where as_of_date between ? and ? group by as_of_date"
                )
            else:
                select = f"select * from {relation} where as_of_date between ? and ?" + (
                    f" and {SUSPENDED}" if table == "suspensions" else ""
                )
            part = warehouse.sql(select, params=[first_day, last_day]).to_arrow_table()
            results.register("part", part)
            results.execute(f"insert into {table} by name select '{PUBLISHED}' as side, * from part")
            results.unregister("part")


def _figures(
    results: duckdb.DuckDBPyConnection, sides: Sequence[Side], first_day: date, last_day: date, nights: pa.Table
) -> Simulation:
    def rows(query: str) -> tuple[Row, ...]:
        return tuple(results.execute(query).fetchall())

    differences = (Path(__file__).parent / "differences.sql").read_text(encoding="utf-8")
    return Simulation(
        first_day=first_day,
        last_day=last_day,
        known_then_count=sum(nights.column("is_as_known_then").to_pylist()),
        sides=tuple(side.name for side in sides),
        shared_day_count=rows(
            "select count(*) from (select as_of_date from (select distinct side, as_of_date from decisions) "
            f"group by as_of_date having count(*) = {len(sides)})"
        )[0][0],
        steps=rows(
            "select side, step_code, channel_code, any_value(phase_code), currency_code, count(*), sum(line_count), "
            "sum(payable_amount), sum(cost_amount) from messages inner join sides using (side) "
            "group by place, side, step_code, channel_code, currency_code "
            "order by place, 6 desc, step_code, channel_code, currency_code"
        ),
        outcomes=rows(
            "select side, outcome_code, count(*) from decisions inner join sides using (side) where is_judged "
            "group by place, side, outcome_code order by place, 3 desc, outcome_code"
        ),
        suspended=rows(
            "select side, count(distinct contact_customer_id), count(contact_customer_id), "
            f"count(case when as_of_date = date '{last_day}' then 1 end) "
            "from sides left join suspensions using (side) group by place, side order by place"
        ),
        weeks=rows(
            "select side, cast(date_trunc('week', as_of_date) as date), channel_code, count(*) "
            "from messages inner join sides using (side) group by all order by all"
        ),
        suspended_days=rows(
            "select side, as_of_date, sum(suspended_count) from standing_days inner join sides using (side) "
            "group by side, as_of_date order by all"
        ),
        differences=rows(differences) if len(sides) == 2 else (),
    )


def _records(names: Sequence[str], rows: Sequence[Row]) -> list[dict[str, object]]:
    return [
        {
            name: value if isinstance(value, int | str) or value is None else str(value)
            for name, value in zip(names, row, strict=True)
        }
        for row in rows
    ]
