"""What the contract promises of the raw tables, as expectations: columns are never written a second time.

Values and batches are looked at where they are new tonight, because older versions passed on their own night and raw
is append-only. Keys and references are looked at over all current rows: a version of tonight can break an old one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from regua.contract.entities import FIRST_DATE, LAST_DATE, LINEAGE_COLUMNS, OPERATORS, Column, Entity
from regua.quality.suites import Expectation, Threshold


def contract_expectations(
    contract: Mapping[str, Entity], thresholds: Mapping[str, Threshold]
) -> tuple[Expectation, ...]:
    """All expectations the contract gives, in the order of its entities; `thresholds` has `max_orphan_pct`."""
    return tuple(
        expectation
        for entity in contract.values()
        for expectation in _entity_expectations(entity, contract, thresholds)
    )


def _entity_expectations(
    entity: Entity, contract: Mapping[str, Entity], thresholds: Mapping[str, Threshold]
) -> Iterator[Expectation]:
    yield _columns(entity)
    yield _keys(entity)
    yield _values(entity)
    if any(column.references for column in entity.columns):
        yield _references(entity, contract, thresholds)
    yield _batches(entity)


def _columns(entity: Entity) -> Expectation:
    types = {**{column.name: column.sql_type for column in entity.columns}, **LINEAGE_COLUMNS}
    promised = ", ".join(f"('{name}', '{sql_type}')" for name, sql_type in types.items())
    return Expectation(
        name=f"{entity.name}_have_the_columns_of_the_contract",
        target=f"raw.{entity.name}",
        description="The table has the contract's columns and types, those that say where a row came from, no others.",
        when_red="The contract changed without the table, or somebody altered the table: migrate it to the contract.",
        query=f"""select
    coalesce(promised.column_name, found.column_name) as column_name,
    promised.data_type as promised_type_code,
    found.data_type as found_type_code
from (values {promised}) as promised (column_name, data_type)
full join (
    select column_name, data_type from information_schema.columns
    where table_catalog = current_database() and table_schema = 'raw' and table_name = '{entity.name}'
) as found on promised.column_name = found.column_name
where promised.data_type is distinct from found.data_type""",
    )


def _keys(entity: Entity) -> Expectation:
    return Expectation(
        name=f"{entity.name}_have_one_current_version_a_key",
        target=f"raw.{entity.name}",
        description=f"{entity.key} is never null and never twice among all current rows.",
        when_red="Two sources use the same ids, or a replaced version was not marked: see _source and _batch_id of "
        "the example; give the ids of one source a prefix in its mapping.",
        query=f"""select count(*) as key_count, sum(version_count) as row_count, min({entity.key}) as example_id
from (
    select {entity.key}, count(*) as version_count from current_{entity.name}
    group by {entity.key} having count(*) > 1 or {entity.key} is null
)
having count(*) > 0""",
    )


def _values(entity: Entity) -> Expectation:
    rules = [(column.name, code, broken) for column in entity.columns for code, broken in _rules(column)]
    if entity.needs_one_of:
        rules.append(
            (entity.needs_one_of[0], "required", " and ".join(f"{name} is null" for name in entity.needs_one_of))
        )
    measures = ", ".join(
        f"count(*) filter (where {broken}) as count_{number}, "
        f"min({entity.key}) filter (where {broken}) as example_{number}"
        for number, (_, _, broken) in enumerate(rules)
    )
    findings = " union all ".join(
        f"select '{column}' as column_name, '{code}' as rule_code, count_{number} as row_count, "
        f"example_{number} as example_id from measured where count_{number} > 0"
        for number, (column, code, _) in enumerate(rules)
    )
    return Expectation(
        name=f"{entity.name}_hold_values_of_the_contract",
        target=f"raw.{entity.name}",
        description="In the rows new tonight: required columns filled, codes listed, money not below its minimum, "
        f"dates between {FIRST_DATE} and {LAST_DATE}.",
        when_red="The loader let a value through that the contract forbids: such rows belong in quarantine. Do not "
        "widen the contract before knowing what the value means.",
        query=f"with measured as materialized (select {measures} from tonight_{entity.name}) {findings}",
    )


def _rules(column: Column) -> Iterator[tuple[str, str]]:
    """(code of the rule, SQL that is true where it is broken)."""
    if column.required:
        yield "required", f"{column.name} is null"
    if column.values:
        listed = ", ".join(f"'{value}'" for value in column.values)
        yield "listed", f"{column.name} not in ({listed})"
    if column.minimum is not None:
        yield "minimum", f"{column.name} < {column.minimum}"
    if column.type == "percentage":
        yield "range", f"{column.name} not between 0 and 100"
    if column.type == "date":
        yield "range", f"{column.name} not between date '{FIRST_DATE}' and date '{LAST_DATE}'"


def _references(entity: Entity, contract: Mapping[str, Entity], thresholds: Mapping[str, Threshold]) -> Expectation:
    # What people recorded was looked up when they did; a fact may outlive the customer it is about.
    looked_up = f"_source <> '{OPERATORS}'" if entity.is_dated else "true"
    counted = " union all ".join(
        f"""select
    '{column.name}' as column_name, '{column.references}' as referred_code,
    count(*) as orphan_count, min(referring.{column.name}) as example_id,
    (select count({column.name}) from current_{entity.name} where {looked_up}) as row_count,
    (select count(*) from ops.batches where entity = '{column.references}' and _loaded_at <= {{known_at}}) as fed_count
from current_{entity.name} as referring
anti join current_{column.references} as referred
    on referring.{column.name} = referred.{contract[column.references].key}
where referring.{column.name} is not null and {looked_up}"""
        for column in entity.columns
        if column.references
    )
    return Expectation(
        name=f"{entity.name}_refer_to_rows_that_exist",
        target=f"raw.{entity.name}",
        description="Of all current rows, at most {max_orphan_pct} % name a row that does not exist; fewer are shown "
        "as accepted. A table that no source feeds is not looked up.",
        when_red="A file came late or short, or two files write the same id differently: compare the example with the "
        "other table, and correct the mapping or ask for the file again.",
        query=f"""select
    column_name, referred_code, orphan_count, row_count, example_id,
    round(100.0 * orphan_count / row_count, 3) as orphan_pct,
    fed_count = 0 or 100.0 * orphan_count <= {{max_orphan_pct}} * row_count as is_accepted
from ({counted})
where orphan_count > 0""",
        thresholds={"max_orphan_pct": thresholds["max_orphan_pct"]},
    )


def _batches(entity: Entity) -> Expectation:
    amount = f"coalesce(sum({entity.money}), 0)" if entity.money else "0"
    return Expectation(
        name=f"{entity.name}_are_as_many_as_their_batches_say",
        target=f"raw.{entity.name}",
        description="Each batch of tonight has in the table the rows and the money it reported as accepted.",
        when_red="A load was cut between the rows and its report, or rows were deleted: restore the warehouse of the "
        "night before and run the night again.",
        query=f"""select
    batches._batch_id as batch_id, batches.accepted_count, coalesce(stored.row_count, 0) as stored_count,
    batches.accepted_amount, coalesce(stored.amount, 0) as stored_amount
from ops.batches as batches
left join (
    select _batch_id, count(*) as row_count, {amount} as amount from raw.{entity.name}
    where _batch_id in (select _batch_id from ops.batches where entity = '{entity.name}' and as_of = {{as_of}})
    group by _batch_id
) as stored on batches._batch_id = stored._batch_id
where
    batches.entity = '{entity.name}' and batches.as_of = {{as_of}} and batches._loaded_at <= {{known_at}}
    and (
        batches.accepted_count is distinct from coalesce(stored.row_count, 0)
        or coalesce(batches.accepted_amount, 0) <> coalesce(stored.amount, 0)
    )""",
    )
