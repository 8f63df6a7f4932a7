"""Runs the night's models for day after day in memory, each day seeing what the days before decided."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import duckdb

from regua.contract.entities import load_contract
from regua.errors import InputError
from regua.policy.compilation import compile_policies
from regua.policy.policies import Policies
from regua.transform.dbt_run import CompiledModel

_SQL_DIR = Path(__file__).parent
# What a decision depends on and what tells of it; the other marts are made for readers.
DECISIONS = ("fct_dunning_decisions", "fct_dunning_messages", "fct_customer_standing")
_OTHER_TABLES = ("ops.batches", "ops.confirmations", "quarantine.rejected_rows", "raw.superseded")
# The rows that grow with the years; of the others there are few.
_GROWING = {"invoices": "issue_date", "payments": "payment_date", "credits": "applied_date"}
# What is divided among shares; facts of others' customers are few, and do no harm.
_SHARED = {
    "customers": "customer",
    "subscriptions": "customer",
    "invoices": "customer",
    "payments": "invoice",
    "credits": "customer",
}
_NEVER = "date '9999-12-31'"
# Of a row of fct_customer_standing: access would be off.
SUSPENDED = "level_code in ('suspended', 'cancellation_proposed') and unlocked_until_date is null"
# What a message that a simulated day decides leaves behind, where it is assumed to arrive on its day. Of letters and
# calls nobody has proof.
_DELIVERED = """
insert into simulation.delivered_touches by name
select
    concat_ws('/', 'simulated', invoice_id, step_code, channel_code, cycle_date) as touch_id,
    contact_customer_id as customer_id,
    invoice_id, step_code, channel_code, cycle_date,
    as_of_date as planned_date,
    'delivered' as fate_code,
    as_of_date as delivered_date,
    'simulated' as _batch_id,
    0 as _line,
    getvariable('known_at') as _loaded_at
from marts.fct_dunning_decisions
where
    as_of_date = getvariable('as_of') and outcome_code = 'eligible' and channel_code in ('email', 'sms', 'whatsapp')
"""


@dataclass(frozen=True, slots=True)
class Share:
    """One of `count` shares of the customers, or one customer and whoever was merged with it.

    Nobody's messages depend on another's, so shares can run side by side.
    """

    number: int = 0
    count: int = 1
    customer_id: str | None = None

    @property
    def is_everybody(self) -> bool:
        return self.count == 1 and self.customer_id is None


EVERYBODY = Share()


class LadderReplay:
    """Days of one portfolio under some policies. The connection is in memory and is the replay's alone.

    `warehouse` is attached read-only. Days must be run in order, within `first_day` to `last_day`.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        warehouse: Path,
        models: Sequence[CompiledModel],
        policies: Policies,
        first_day: date,
        last_day: date,
        share: Share = EVERYBODY,
        wanted: Sequence[str] = DECISIONS,
        assumes_delivery: bool = False,
    ) -> None:
        self._connection = connection
        self._models = _needed(models, wanted)
        self._uses_day = _reading(self._models, "getvariable('as_of')")
        self._uses_knowledge = _reading(self._models, "getvariable('known_at')")
        self._known_at: datetime | None = None
        self._settled_until = date.min
        self._assumes_delivery = assumes_delivery
        self._attach(warehouse, first_day, last_day, share)
        self._start_histories(first_day)
        compile_policies(connection, policies)
        self._close_invoices(last_day)
        self.set_policies(policies)

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The marts of the days that were run, and all they were made of."""
        return self._connection

    @property
    def days(self) -> list[tuple[date, datetime, bool]]:
        """Each day, what its night knew, and whether a night of that very day was run."""
        return self._connection.execute("from simulation.nights order by day").fetchall()

    def set_policies(self, policies: Policies) -> None:
        """Decide by these from the next day on, and forget what was decided under others."""
        compile_policies(self._connection, policies)
        self._known_at = None
        self._settled_until = date.min
        self._connection.execute("delete from simulation.settled_totals")
        for model in self._models:
            if model.materialized == "incremental":
                self._connection.execute(f"delete from {model.relation}")
        self._connection.execute(
            "insert into marts.fct_dunning_decisions by name from simulation.earlier_decisions;"
            "delete from simulation.delivered_touches;"
            "create or replace table simulation.standing_days (as_of_date date, suspended_count bigint)"
        )

    def run_day(self, as_of: date, known_at: datetime) -> None:
        """Decide one day; what it decides is added to the marts."""
        self._set(as_of=as_of, known_at=known_at)
        is_knowledge_new = known_at != self._known_at
        self._known_at = known_at
        self._add_settled_totals(as_of)
        for model in self._models:
            if model.materialized == "incremental":
                self._connection.execute(f"insert into {model.relation} by name {model.sql}")
            elif model.name in self._uses_day or (is_knowledge_new and model.name in self._uses_knowledge):
                self._rebuild(model)
        self._connection.execute(
            "create or replace table simulation.last_standings as from marts.fct_customer_standing "
            "where as_of_date = getvariable('as_of')"
        )
        # Of the many who are late and nothing more, the number is enough.
        self._connection.execute(
            "insert into simulation.standing_days select getvariable('as_of'), "
            f"count(case when {SUSPENDED} then 1 end) from marts.fct_customer_standing "
            "where as_of_date = getvariable('as_of'); "
            f"delete from marts.fct_customer_standing where as_of_date = getvariable('as_of') and not ({SUSPENDED})"
        )
        if self._assumes_delivery:
            self._connection.execute(_DELIVERED)

    def _attach(self, warehouse: Path, first_day: date, last_day: date, share: Share) -> None:
        run = self._connection.execute
        run(f"attach '{_escaped(warehouse)}' as warehouse (read_only)")
        self._set(first_day=first_day, last_day=last_day, share_number=share.number, share_count=share.count)
        self._set(customer_id=share.customer_id)
        run((_SQL_DIR / "prepare.sql").read_text(encoding="utf-8"))
        if run("select count(*) from simulation.nights where known_at is null").fetchall() != [(0,)]:
            raise InputError("No night was ever modelled in this warehouse: run one first (`regua run`).")
        for entity in load_contract():
            run(f"create view raw.{entity} as from warehouse.raw.{entity}")
        run("create table simulation.delivered_touches as from warehouse.raw.touches limit 0")
        if self._assumes_delivery:
            # What really went out on these days went out under another policy; what is dead is dead.
            run(
                "create or replace view raw.touches as from warehouse.raw.touches "
                "where planned_date < getvariable('first_day') or fate_code in ('not_sent', 'bounced') "
                "union all by name from simulation.delivered_touches"
            )
        if not share.is_everybody:
            for entity, key in _SHARED.items():
                run(
                    f"create or replace view raw.{entity} as select rows.* from warehouse.raw.{entity} as rows "
                    f"semi join simulation.shared_{key}s as shared on rows.{key}_id = shared.{key}_id"
                )
        for table in _OTHER_TABLES:
            run(f"create view {table} as from warehouse.{table}")
        # The models of staging are views, so its tables are the seeds.
        seeds = run(
            "select table_name from duckdb_tables() where database_name = 'warehouse' and schema_name = 'staging'"
        ).fetchall()
        for (seed,) in seeds:
            run(f"create table staging.{seed} as from warehouse.staging.{seed}")

    def _start_histories(self, first_day: date) -> None:
        run = self._connection.execute
        for model in self._models:
            if model.materialized == "incremental":
                columns = ", ".join(f"{name} {sql_type}" for name, sql_type in model.columns.items())
                run(f"create table {model.relation} ({columns})")
        decisions = "marts.fct_dunning_decisions"
        run(f"create table simulation.earlier_decisions as from {decisions}")
        if run(
            "select 1 from duckdb_tables() where database_name = 'warehouse' and schema_name = 'marts' "
            "and table_name = 'fct_dunning_decisions'"
        ).fetchone():
            run(
                f"insert into simulation.earlier_decisions by name from warehouse.{decisions} where as_of_date < ?",
                [first_day],
            )

    def _close_invoices(self, last_day: date) -> None:
        """Build the receivables of the last day from everything, and set apart what is over by then."""
        run = self._connection.execute
        [(known_at,)] = run("select known_at from simulation.nights where day = ?", [last_day]).fetchall()
        self._set(as_of=last_day, known_at=known_at)
        receivables = _upstream(self._models, "int_settled_totals")
        for model in self._models:
            if model.name in receivables:
                self._build(model)
        run((_SQL_DIR / "close_invoices.sql").read_text(encoding="utf-8"))
        for entity, began in _GROWING.items():
            run(
                f"create table simulation.{entity} as select versions.*, "
                f"coalesce(closed.closed_from_day, {_NEVER}) as _closed_from_day, "
                # What was told of beforehand is looked at from the day on which it was.
                f"least(versions.{began}, cast((versions._loaded_at at time zone 'UTC') at time zone "
                f"'America/Sao_Paulo' as date)) as _begins from raw.{entity} as versions "
                "left join simulation.closed_invoices as closed on versions.invoice_id = closed.invoice_id "
                f"order by _closed_from_day, _begins"
            )
            run(
                f"create or replace view raw.{entity} as select * exclude (_closed_from_day, _begins) "
                f"from simulation.{entity} "
                "where _closed_from_day > getvariable('as_of') and _begins <= getvariable('as_of')"
            )
        run("create table simulation.settled_totals as from intermediate.int_settled_totals limit 0")
        run("drop table marts.fct_invoices")
        run(
            "create table simulation.open_invoices as select * exclude (closed_from_day) "
            "from simulation.closed_invoices limit 0"
        )
        run(
            "create view marts.fct_invoices as from simulation.open_invoices union all by name "
            "select * exclude (closed_from_day) from simulation.closed_invoices "
            "where closed_from_day <= getvariable('as_of')"
        )
        for model in self._models:
            if model.materialized != "incremental" and model.name not in receivables:
                self._build(model)

    def _build(self, model: CompiledModel) -> None:
        kind = "view" if model.materialized == "view" else "table"
        self._connection.execute(f"create or replace {kind} {model.relation} as {model.sql}")

    def _rebuild(self, model: CompiledModel) -> None:
        """Build what changes from day to day; what is over is not looked at again."""
        if model.name == "fct_invoices":
            self._connection.execute(f"create or replace table simulation.open_invoices as {model.sql}")
        elif model.name == "int_settled_totals":
            self._connection.execute(
                f"create or replace table {model.relation} as from simulation.settled_totals "
                f"union all by name ({_reading_only(model, 'simulation.open_invoices')})"
            )
        else:
            self._build(model)

    def _add_settled_totals(self, as_of: date) -> None:
        """Sums over the invoices that are over since the last day are added to those of before."""
        [totals] = [model for model in self._models if model.name == "int_settled_totals"]
        newly_closed = (
            "(select * from simulation.closed_invoices where closed_from_day > "
            f"date '{self._settled_until}' and closed_from_day <= date '{as_of}')"
        )
        self._connection.execute(f"insert into simulation.settled_totals by name {_reading_only(totals, newly_closed)}")
        self._settled_until = as_of

    def _set(self, **variables: date | datetime | int | str | None) -> None:
        for name, value in variables.items():
            self._connection.execute(f"set variable {name} = $1", [value])


def _needed(models: Sequence[CompiledModel], wanted: Sequence[str]) -> list[CompiledModel]:
    needed = {name for each in wanted for name in _upstream(models, each)}
    return [model for model in models if model.name in needed]


def _upstream(models: Sequence[CompiledModel], name: str) -> set[str]:
    """A model and all that it reads."""
    by_name = {model.name: model for model in models}
    found: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.add(current)
            waiting += by_name[current].upstream
    return found


def _reading(models: Iterable[CompiledModel], text: str) -> set[str]:
    """Models whose rows depend on a variable, by themselves or through what they read."""
    found: set[str] = set()
    for model in models:
        if text in model.sql or found & set(model.upstream):
            found.add(model.name)
    return found - {model.name for model in models if model.materialized == "view"}


def _reading_only(model: CompiledModel, invoices: str) -> str:
    """The model's SQL over a part of the invoices; its sums may then be added to those over the other parts."""
    return model.sql.replace('"memory"."marts"."fct_invoices"', invoices)


def _escaped(path: Path) -> str:
    return str(path).replace("'", "''")
