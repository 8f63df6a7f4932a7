"""Great Expectations on DuckDB itself. Importing this module takes about ten seconds: gate.py does it when needed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import great_expectations as gx
import sqlalchemy as sa
from great_expectations.checkpoint.actions import UpdateDataDocsAction
from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.expectations.expectation import BatchExpectation
from sqlalchemy.engine.cursor import FullyBufferedCursorFetchStrategy

from regua.contract.entities import ID_PATTERN
from regua.quality.suites import Expectation

FINDING_LIMIT = 1000  # A query without aggregation over a broken table must not fill the memory.
SHOWN_LIMIT = 5
_COUNT_COLUMN = "_finding_count"
# The answer has a row even when there is no finding: a result that GX loses on the way reads as empty, not as an error.
_COUNTED = (
    "with findings as materialized (\n{statement}\n)\n"
    f"select * from (select count(*) as {_COUNT_COLUMN} from findings) as counted "
    "left join (select * from findings limit {limit}) as shown on true"
)
_UNSHOWN_COLUMNS = (_COUNT_COLUMN, "is_accepted")
# A finding's text is shown only from columns that cannot hold a name, a document or an address; numbers and dates are.
_SHOWN_TEXT_COLUMNS = re.compile(r".*_(id|code)|column_name|table_name|file_set")
_SHOWN_TEXT = re.compile(ID_PATTERN + r"|DECIMAL\(18,2\)")
# Their messages quote SQL and the catalogue; those of other errors quote values, which may be personal.
_VALUE_FREE_ERRORS = (duckdb.CatalogException, duckdb.BinderException, duckdb.ParserException)


class ExpectOnlyAcceptedFindings(BatchExpectation):
    """Each row of the query is a finding. It is red unless it has a column `is_accepted` that is true."""

    statement: str
    success_keys: ClassVar[tuple[str, ...]] = ("statement",)

    def _validate(
        self,
        metrics: dict[str, Any],
        runtime_configuration: dict[str, Any] | None = None,
        execution_engine: Any = None,
    ) -> dict[str, Any]:
        # The statement carries no bind parameters, so no colon in it may be taken for one.
        counted = _COUNTED.format(statement=self.statement, limit=FINDING_LIMIT).replace(":", r"\:")
        try:
            rows = execution_engine.execute_query(sa.text(counted)).mappings().all()
        except sa.exc.DBAPIError as error:
            return _result(False, f"the query failed: {_without_values(error)}")
        if not rows:
            return _result(False, "the query's answer was lost before it was read, so nothing was evaluated")
        count = rows[0][_COUNT_COLUMN]
        found = [row for row in rows if row.get("is_accepted") is not True] if count else []
        accepted = [row for row in rows if row.get("is_accepted") is True]
        parts = [_listed("finding", found)] if found else ["no finding"]
        if accepted:
            parts.append(_listed("accepted", accepted))
        if count > FINDING_LIMIT:
            parts.append(f"{count} rows in all, more than can be judged")
        return _result(not found and count <= FINDING_LIMIT, "; ".join(parts))


def _result(success: bool, observed: str) -> dict[str, Any]:
    return {"success": success, "result": {"observed_value": observed}}


def _without_values(error: sa.exc.DBAPIError) -> str:
    if isinstance(error.orig, _VALUE_FREE_ERRORS):
        return str(error.orig).splitlines()[0]
    return f"{type(error.orig).__name__} (its message may quote personal values and is not shown)"


def _listed(word: str, rows: Sequence[Mapping[str, Any]]) -> str:
    shown = " | ".join(_described(row) for row in rows[:SHOWN_LIMIT])
    more = f" | and {len(rows) - SHOWN_LIMIT} more" if len(rows) > SHOWN_LIMIT else ""
    return f"{len(rows)} {word}{'s' if word == 'finding' and len(rows) != 1 else ''}: {shown}{more}"


def _described(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_shown(name, value)}" for name, value in row.items() if name not in _UNSHOWN_COLUMNS)


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, str):
        is_shown = bool(_SHOWN_TEXT_COLUMNS.fullmatch(name) and _SHOWN_TEXT.fullmatch(value))
    else:
        is_shown = isinstance(value, int | float | Decimal | date)
    return str(value) if is_shown else "(hidden)"


def buffer_results(engine: sa.Engine) -> None:
    """Read every result while its connection is still held.

    GX gives the connection back before it reads, and DuckDB drops a pending result then: without this listener GX's
    own expectations fail over duckdb-engine, and a query for offending rows finds none.
    """

    @sa.event.listens_for(engine, "after_cursor_execute")
    def _buffer(
        _connection: Any, cursor: Any, _statement: str, _parameters: Any, context: Any, _executemany: bool
    ) -> None:
        if cursor.description:
            context.cursor_fetch_strategy = FullyBufferedCursorFetchStrategy(cursor)


@contextmanager
def _read_only_source(context: Any, warehouse: Path, duckdb_config: Mapping[str, str | int]) -> Iterator[Any]:
    """The warehouse as a GX data source; no file is held when the block ends, so a writer may follow at once."""
    address = sa.URL.create("duckdb", database=str(warehouse)).render_as_string()
    source = context.data_sources.add_sql(
        name="warehouse",
        connection_string=address.replace("$", r"\$"),
        kwargs={"connect_args": {"read_only": True, "config": dict(duckdb_config)}},
    )
    engines = (source.get_engine(), source.get_execution_engine().engine)
    try:
        for engine in engines:
            buffer_results(engine)
        yield source
    finally:
        for engine in engines:
            engine.dispose()


def run_checkpoint(
    warehouse: Path,
    duckdb_config: Mapping[str, str | int],
    gate: str,
    expectations: Sequence[tuple[Expectation, str]],
    *,
    known_at: datetime,
    docs_dir: Path,
) -> tuple[bool, dict[str, tuple[bool, str]]]:
    """Evaluate (expectation, statement) pairs as one checkpoint and leave its Data Docs in `docs_dir`, built anew.

    Answers whether GX calls it a success, and (success, observed) by expectation for those that were evaluated.
    """
    shutil.rmtree(docs_dir, ignore_errors=True)
    context = gx.get_context(project_config=_context_config(docs_dir), mode="ephemeral")
    suite = gx.ExpectationSuite(name=gate, expectations=[_gx_expectation(*pair) for pair in expectations])
    with _read_only_source(context, warehouse, duckdb_config) as source:
        # The batch is the night itself: the expectations look at whole schemas, and say which table in their notes.
        asset = source.add_query_asset(name=gate, query="select 1 as night_count")
        definition = gx.ValidationDefinition(
            name=gate, data=asset.add_batch_definition_whole_table("night"), suite=context.suites.add(suite)
        )
        checkpoint = gx.Checkpoint(
            name=gate,
            validation_definitions=[context.validation_definitions.add(definition)],
            actions=[UpdateDataDocsAction(name="data_docs", site_names=["night"])],
            result_format={"result_format": "BASIC", "exclude_unexpected_values": True},
        )
        run_id = RunIdentifier(run_name=gate, run_time=known_at.replace(tzinfo=UTC))
        result = context.checkpoints.add(checkpoint).run(run_id=run_id)
    # Moving pictures of GX's own tour, four fifths of each night's megabytes; nothing links them.
    for picture in (docs_dir / "static" / "images").glob("*.gif"):
        picture.unlink()
    evaluated = {}
    for validation in result.run_results.values():
        for outcome in validation.results:
            # An exception that GX caught leaves no observed value: that expectation counts as not evaluated.
            observed = outcome.result.get("observed_value")
            if observed is not None and outcome.expectation_config is not None:
                evaluated[outcome.expectation_config.meta["name"]] = (outcome.success is True, observed)
    return result.success is True, evaluated


def _gx_expectation(expectation: Expectation, statement: str) -> ExpectOnlyAcceptedFindings:
    reasons = [f"{name} {threshold.value}: {threshold.reason}" for name, threshold in expectation.thresholds.items()]
    return ExpectOnlyAcceptedFindings(
        statement=statement,
        description=f"{expectation.target}: {expectation.sentence} ({expectation.name})",
        notes=[f"When red: {expectation.when_red}", *reasons],
        meta={"name": expectation.name},
    )


def _context_config(docs_dir: Path) -> DataContextConfig:
    return DataContextConfig(
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False),
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        data_docs_sites={
            "night": {
                "class_name": "SiteBuilder",
                "show_how_to_buttons": False,
                "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs_dir)},
                "site_index_builder": {"class_name": "DefaultSiteIndexBuilder", "show_cta_footer": False},
            }
        },
    )
