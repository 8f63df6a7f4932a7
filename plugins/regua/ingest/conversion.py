"""Text to the contract's types, strictly and in one pass of SQL, each failure with its reason code and column."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from regua.contract.entities import FIRST_DATE, ID_PATTERN, LAST_DATE, TEXT_LIMIT, Column, Entity
from regua.errors import InputError
from regua.ingest.expressions import bare_column, literal, quoted
from regua.ingest.mapping import Feed, FeedingSet, Source

REASONS = {
    "missing_value": "there is no value",
    "unreadable_number": "it is not a number as the mapping says numbers are written",
    "too_many_decimals": "it has more than two decimals",
    "unreadable_date": "it is not a date as the mapping says dates are written",
    "ambiguous_date": "two of the mapping's date formats read it as different days",
    "out_of_range": "it is outside what the contract allows",
    "bad_id": "an id may hold only letters, digits and . _ : - and at most 64 of them",
    "unknown_code": "it is none of the contract's codes",
    "bad_flag": "it is neither true nor false",
    "bad_text": f"it is longer than {TEXT_LIMIT} characters or holds control characters",
    "conflicting_key": "the same key stands in this file with different content",
    "key_of_other_source": "the key already belongs to another source",
}
_TRUE, _FALSE = "('true', 't', '1', 'sim', 's', 'yes', 'y')", "('false', 'f', '0', 'não', 'nao', 'n', 'no')"


@dataclass(frozen=True, slots=True)
class _Mapped:
    """One contract column with the expression that gives it and the type DuckDB finds the expression to have."""

    column: Column
    expression: str
    sql_type: str


def create_typed(
    connection: duckdb.DuckDBPyConnection, source: Source, feeding_set: FeedingSet, entity: Entity, *, file_name: str
) -> None:
    """Make the temporary table `typed` from `records`: `_line`, the entity's columns, and `_fault`.

    `_fault` is null for a good row, else `reason_code:column`. Raises InputError naming the mapping's field when an
    expression does not fit the file.
    """
    feed = feeding_set.feeds[entity.name]
    base = _derived_relation(connection, source, feeding_set, file_name)
    where = f" where ({feed.where})" if feed.where is not None else ""
    if feed.where is not None:
        _type_of(connection, f"(({feed.where}))::boolean", base, f"{source.name}: {entity.name}.where")
    mapped = [_mapped(connection, source, feed, entity, column, base) for column in entity.columns]
    texts = ", ".join(f"{_prepared(each, feeding_set)} as {quoted(each.column.name)}" for each in mapped)
    values = ", ".join(_value(each, source, feeding_set) for each in mapped)
    faults = [
        f"when {condition} then '{reason}:{each.column.name}'"
        for each in mapped
        for reason, condition in _faults(each, source, feeding_set)
    ]
    if entity.needs_one_of:
        nothing = " and ".join(f"{quoted(name)} is null" for name in entity.needs_one_of)
        faults.append(f"when {nothing} then 'missing_value:{entity.needs_one_of[0]}'")
    fault = f"case {' '.join(faults)} end" if faults else "null"
    named = ", ".join(f"{quoted('value ' + c.name)} as {quoted(c.name)}" for c in entity.columns)
    try:
        connection.execute(
            f"create or replace temp table typed as "
            f"with texts as (select _line, {texts} from {base}{where}), "
            f"valued as (select *, {values} from texts) "
            f"select _line, {named}, {fault} as _fault from valued"
        )
    except (duckdb.DataError, duckdb.InvalidInputException) as error:
        place = f"{source.name}: {_failing(connection, feeding_set, entity, mapped, base, where) or entity.name}"
        # DuckDB's own sentence quotes the value, which may be a person's.
        kind = str(error).split(":", 1)[0]
        raise InputError(
            f"{place}: fails on a row of {file_name} ({kind}). Let the expression give the text as it is, which is "
            "then read strictly row by row, or use try_cast and the like, which give null."
        ) from None


def describe_fault(fault: str, feed: Feed) -> tuple[str, str, str]:
    """(reason_code, contract column, sentence) of a `_fault`; the sentence names the file's own column."""
    reason, column = fault.split(":", 1)
    written = bare_column(feed.columns.get(column, ""))
    place = f"column {written!r} ({column})" if written else column
    return reason, column, f"{place}: {REASONS[reason]}"


def _failing(
    connection: duckdb.DuckDBPyConnection,
    feeding_set: FeedingSet,
    entity: Entity,
    mapped: Sequence[_Mapped],
    base: str,
    where: str,
) -> str | None:
    """The field of the mapping that cannot be worked out on some row; looked for only when one cannot."""
    fields = {f"derived.{name}": quoted(name) for name in feeding_set.derived}
    fields |= {f"{entity.name}.{each.column.name}": each.expression for each in mapped}
    for field, expression in fields.items():
        try:
            connection.execute(f"select count({expression}) from {base}{where}").fetchone()
        except duckdb.Error:
            return field
    return None


def _derived_relation(
    connection: duckdb.DuckDBPyConnection, source: Source, feeding_set: FeedingSet, file_name: str
) -> str:
    """The file's columns with the pseudo columns and the derived ones, as something to select from."""
    relation = f"(select *, {literal(file_name)} as _file from records)"
    for name, expression in feeding_set.derived.items():
        if name.casefold() in {column.casefold() for column in _columns_of(connection, relation)}:
            raise InputError(
                f"{source.name}: derived.{name}: {file_name} has a column of that name already; call the derived one "
                "otherwise."
            )
        _type_of(connection, f"({expression})", relation, f"{source.name}: derived.{name}")
        relation = f"(select *, ({expression}) as {quoted(name)} from {relation})"
    return relation


def _mapped(
    connection: duckdb.DuckDBPyConnection, source: Source, feed: Feed, entity: Entity, column: Column, base: str
) -> _Mapped:
    written = feed.columns.get(column.name)
    if written is None:
        default = source.default_of(column)
        return _Mapped(column, f"{literal(default)}::varchar", "VARCHAR")
    bare = bare_column(written)
    expression = quoted(bare) if bare is not None else f"({written})"
    return _Mapped(
        column, expression, _type_of(connection, expression, base, f"{source.name}: {entity.name}.{column.name}")
    )


def _columns_of(connection: duckdb.DuckDBPyConnection, relation: str) -> list[str]:
    return [name for name, *_ in connection.execute(f"describe select * from {relation}").fetchall()]


def _type_of(connection: duckdb.DuckDBPyConnection, expression: str, base: str, place: str) -> str:
    try:
        # Beside _line, so that an aggregate, which would fold the file into one row, is refused here.
        described = connection.execute(f"describe select {expression}, _line from {base}").fetchone()
    except duckdb.Error as error:
        raise InputError(f"{place}: {str(error).splitlines()[0]}") from error
    return str(described[1]) if described else "VARCHAR"


def _prepared(each: _Mapped, feeding_set: FeedingSet) -> str:
    """The expression, with text trimmed and what the mapping calls null made null; a JSON value becomes its text."""
    if each.sql_type not in ("VARCHAR", "JSON"):
        return each.expression
    text = f"trim(({each.expression})::varchar)"
    nulls = sorted({"", *feeding_set.null_values})
    if nulls == [""]:
        return f"nullif({text}, '')"
    return f"case when {text} not in ({', '.join(map(literal, nulls))}) then {text} end"


def _value(each: _Mapped, source: Source, feeding_set: FeedingSet) -> str:
    text, alias = quoted(each.column.name), quoted("value " + each.column.name)
    is_text = each.sql_type in ("VARCHAR", "JSON")
    match each.column.type:
        case "money" | "percentage":
            value = _money_from_text(text, feeding_set) if is_text else f"try_cast({text} as decimal(18, 2))"
        case "date":
            value = _date_from_text(text, source, feeding_set) if is_text else _local_date(text, each.sql_type, source)
        case "flag" if is_text:
            lower = f"lower({text})"
            value = f"case when {lower} in {_TRUE} then true when {lower} in {_FALSE} then false end"
        case "flag":
            value = f"try_cast({text} as boolean)"
        case _:
            value = text if is_text else f"cast({text} as varchar)"
    return f"{value} as {alias}"


def _money_from_text(text: str, feeding_set: FeedingSet) -> str:
    whole = "[0-9]+"
    plain = text
    if mark := feeding_set.thousands:
        whole = rf"(?:[0-9]{{1,3}}(?:{re.escape(mark)}[0-9]{{3}})+|[0-9]+)"
        plain = f"replace({plain}, {literal(mark)}, '')"
    if feeding_set.decimal != ".":
        plain = f"replace({plain}, {literal(feeding_set.decimal)}, '.')"
    # Further decimals are let through when they are zeros: 10.5000 is exact, 10.505 is not.
    pattern = rf"[-+]?{whole}(?:{re.escape(feeding_set.decimal)}[0-9]{{1,2}}0*)?"
    return f"case when regexp_full_match({text}, {literal(pattern)}) then try_cast({plain} as decimal(18, 2)) end"


def _date_from_text(text: str, source: Source, feeding_set: FeedingSet) -> str:
    earliest, latest = _possible_days(text, source, feeding_set)
    # Formats that read one text as different days leave it without a value: nobody can say which is meant.
    return earliest if earliest == latest else f"case when {earliest} = {latest} then {earliest} end"


def _possible_days(text: str, source: Source, feeding_set: FeedingSet) -> tuple[str, str]:
    """The earliest and latest day that the mapping's formats make of a text; the same one where there is one format."""
    days = [_day(text, written, source) for written in feeding_set.date_formats]
    return (days[0], days[0]) if len(days) == 1 else (f"least({', '.join(days)})", f"greatest({', '.join(days)})")


def _day(text: str, written: str, source: Source) -> str:
    if "%z" in written or "%Z" in written:
        # DuckDB's %z reads every offset but the Z that most systems write.
        instant = f"try_strptime(regexp_replace({text}, 'Z$', '+00:00'), {literal(written)})"
        return f"({instant} at time zone {literal(source.timezone)})::date"
    return f"try_strptime({text}, {literal(written)})::date"


def _local_date(text: str, sql_type: str, source: Source) -> str:
    if sql_type == "TIMESTAMP WITH TIME ZONE":
        return f"({text} at time zone {literal(source.timezone)})::date"
    return f"try_cast({text} as date)"


def _faults(each: _Mapped, source: Source, feeding_set: FeedingSet) -> list[tuple[str, str]]:
    """(reason code, SQL condition) in the order in which they are looked at."""
    is_text = each.sql_type in ("VARCHAR", "JSON")
    column, text, value = each.column, quoted(each.column.name), quoted("value " + each.column.name)
    faults = [("missing_value", f"{text} is null")] if column.required else []
    match column.type:
        case "id":
            faults.append(("bad_id", f"not regexp_full_match({value}, '{ID_PATTERN}')"))
        case "text":
            faults.append(
                ("bad_text", f"length({value}) > {TEXT_LIMIT} or regexp_matches({value}, '[\\x00-\\x1f\\x7f]')")
            )
        case "code":
            codes = ", ".join(map(literal, column.values))
            faults.append(("unknown_code", f"{value} not in ({codes})"))
        case "flag":
            faults.append(("bad_flag", f"{text} is not null and {value} is null"))
        case "money" | "percentage":
            if is_text:
                mark = re.escape(feeding_set.decimal)
                decimals = f"regexp_full_match({text}, '[-+]?[0-9]+{mark}[0-9]{{3,}}')"
                faults.append(("too_many_decimals", f"{text} is not null and {value} is null and {decimals}"))
            elif each.sql_type in ("DOUBLE", "FLOAT"):
                # A float is let in when it is a whole number of cents as closely as a float can say so.
                faults.append(("too_many_decimals", f"abs({text} - {value}::double) > 1e-9 * greatest(1, abs({text}))"))
            else:
                faults.append(("too_many_decimals", f"{text} <> {value}"))
            faults.append(("unreadable_number", f"{text} is not null and {value} is null"))
            if column.minimum is not None:
                faults.append(("out_of_range", f"{value} < {column.minimum}"))
            if column.type == "percentage":
                faults.append(("out_of_range", f"{value} not between 0 and 100"))
        case "date":
            if is_text and len(feeding_set.date_formats) > 1:
                earliest, latest = _possible_days(text, source, feeding_set)
                faults.append(("ambiguous_date", f"{earliest} <> {latest}"))
            faults.append(("unreadable_date", f"{text} is not null and {value} is null"))
            faults.append(("out_of_range", f"{value} not between date '{FIRST_DATE}' and date '{LAST_DATE}'"))
    return faults
