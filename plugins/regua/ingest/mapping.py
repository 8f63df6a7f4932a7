"""include/sources/NAME.yml: how one company's exports become the contract. docs/how-to/sources.md explains them."""

from __future__ import annotations

import codecs
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from regua.contract.entities import Column, load_contract
from regua.errors import InputError
from regua.yaml_file import read_yaml_model

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_DATE_PARTS = re.compile(r"%-?.")
_KNOWN_DATE_PARTS = frozenset(
    {"%%", *(f"%{letter}" for letter in "aAbBdfgHIjmMnpSyYzZ"), *(f"%-{letter}" for letter in "dHIjmMSy")}
)
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_TABLE = re.compile(r'[^."\s\0]+(?:\.[^."\s\0]+)?')
_SPAN = re.compile(r"([0-9]{1,6})\s*(s|min|h|d)")
_SPAN_UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days"}
Percentage = Annotated[float, Field(ge=0, le=100)]


def _span(written: object) -> timedelta:
    if isinstance(written, timedelta):
        return written
    if not isinstance(written, str) or not (match := _SPAN.fullmatch(written.strip())):
        raise ValueError("write a length of time as a number and s, min, h or d, like 90s, 30min, 1h or 2d")
    return timedelta(**{_SPAN_UNITS[match[2]]: int(match[1])})


Span = Annotated[timedelta, BeforeValidator(_span)]


class _Written(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Feed(_Written):
    """What one file set gives to one entity: SQL over the file's columns, by contract column."""

    columns: dict[str, str] = Field(min_length=1)
    where: str | None = None

    @field_validator("columns", mode="before")
    @classmethod
    def _expressions_are_text(cls, columns: object) -> object:
        # YAML reads `amount: 0` as a number and `flag: true` as a truth value; as SQL they mean the same.
        if not isinstance(columns, dict):
            return columns
        return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in columns.items()}


class FeedingSet(_Written):
    """What every kind of input has in common, be it files or a database table."""

    mode: Literal["snapshot", "delta"]
    max_age_days: int = Field(default=1, ge=0)
    quarantine_limit_pct: Percentage = 1.0
    missing_limit_pct: Percentage = 5.0
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ".", ",", " ", "'"] = ""
    date_formats: list[str] = Field(default=["%Y-%m-%d"], min_length=1)
    null_values: list[str] = [""]
    derived: dict[str, str] = {}
    feeds: dict[str, Feed] = Field(min_length=1)

    @field_validator("feeds")
    @classmethod
    def _feeds_follow_the_contract(cls, feeds: dict[str, Feed]) -> dict[str, Feed]:
        contract = load_contract()
        for name, feed in feeds.items():
            if name not in contract:
                raise ValueError(f"{name!r} is no entity of the contract; it has {', '.join(contract)}")
            entity = contract[name]
            if unknown := [column for column in feed.columns if column not in entity.column_names]:
                raise ValueError(f"{name} has no column {', '.join(unknown)}; it has {', '.join(entity.column_names)}")
            missing = [
                c.name for c in entity.columns if c.required and c.default is None and c.name not in feed.columns
            ]
            if entity.needs_one_of and not set(entity.needs_one_of) & set(feed.columns):
                missing.append(" or ".join(entity.needs_one_of))
            if missing:
                raise ValueError(f"{name} needs {', '.join(missing)}")
        return feeds

    @field_validator("date_formats")
    @classmethod
    def _formats_give_days(cls, formats: list[str]) -> list[str]:
        for written in formats:
            parts = set(_DATE_PARTS.findall(written))
            if unknown := parts - _KNOWN_DATE_PARTS:
                raise ValueError(
                    f"{written!r} holds {', '.join(sorted(unknown))}, which is no part of a date; see %Y, %m, %d"
                )
            if (
                not parts & {"%Y", "%y"}
                or not (parts & {"%d", "%-d", "%j"})
                or not parts & {"%m", "%-m", "%b", "%B", "%j"}
            ):
                raise ValueError(f"{written!r} does not give a day; write it with %d, %m and %Y, like %d/%m/%Y")
            if _DATE_PARTS.sub("", written).endswith("Z"):
                raise ValueError(
                    f"{written!r} ends in a Z that says UTC; write %z, or the day would not be the local one"
                )
        return formats

    @model_validator(mode="after")
    def _marks_differ(self) -> FeedingSet:
        if self.decimal == self.thousands:
            raise ValueError("decimal and thousands are the same mark: no number could be read")
        return self


class FileSet(FeedingSet):
    """Files of one kind, told by their names."""

    glob: str
    format: Literal["csv", "jsonl", "parquet"] = "csv"
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    quote: str = Field(default='"', min_length=1, max_length=1)
    encoding: str = "utf-8"
    manifest: Literal["none", "optional", "required"] = "optional"
    final_newline: Literal["required", "optional"] = "required"
    column_order: Literal["fixed", "any"] = "fixed"
    file_order: Literal["name", "arrival"] = "name"
    optional: bool = False

    @field_validator("glob")
    @classmethod
    def _glob_stays_in_its_folder(cls, glob: str) -> str:
        if "/" in glob or "\\" in glob or glob in ("", ".", ".."):
            raise ValueError("give the name pattern of files in the source's inbox folder, without a path")
        return glob

    @field_validator("encoding")
    @classmethod
    def _encoding_is_known(cls, encoding: str) -> str:
        try:
            "".encode(encoding)
            name = codecs.lookup(encoding).name
        except (LookupError, UnicodeError) as error:
            raise ValueError(
                f"{encoding!r} is no encoding of text that Python knows; try utf-8, cp1252 or iso8859-1"
            ) from error
        # A byte-order mark is skipped where there is one, whatever the encoding is called.
        return "utf-8" if name == "utf-8-sig" else name


class TableSet(FeedingSet):
    """One table, or one query, of the source's database."""

    table: str | None = None
    query: str | None = None
    cursor: str | None = None
    overlap: Span = timedelta(hours=1)
    deletes: Literal["snapshot", "none"] = "snapshot"

    @field_validator("table")
    @classmethod
    def _table_is_a_name(cls, table: str | None) -> str | None:
        if table is not None and not _TABLE.fullmatch(table):
            raise ValueError("write schema.name as the database has it, without quotes; the rest goes into `query`")
        return table

    @field_validator("query")
    @classmethod
    def _query_is_one_select(cls, query: str | None) -> str | None:
        if query is None:
            return None
        text = query.strip().removesuffix(";").strip()
        if not re.match(r"(select|with)\b", text, re.IGNORECASE) or ";" in text:
            raise ValueError("write one SELECT (or WITH … SELECT), without semicolons")
        return text

    @model_validator(mode="after")
    def _parts_fit_together(self) -> TableSet:
        if (self.table is None) == (self.query is None):
            raise ValueError("give either `table` or `query`")
        if self.decimal != "." or self.thousands:
            # A numeric 1.234 arrives as that text, of which a point taken as a thousands mark would make 1234.
            raise ValueError("`decimal` and `thousands` are for files; turn text into numbers in the column's SQL")
        if self.mode == "delta" and self.cursor is None:
            raise ValueError("mode delta needs `cursor`, the column that says when a row last changed")
        if self.mode == "snapshot" and (unused := self.model_fields_set & {"cursor", "overlap", "deletes"}):
            raise ValueError(f"mode snapshot reads the whole table and has no use for {', '.join(sorted(unused))}")
        return self

    @property
    def lists_keys(self) -> bool:
        """Whether the keys that exist are read beside the rows, so that those gone are seen."""
        return self.mode == "delta" and self.deletes == "snapshot"

    def as_files(self) -> FileSet:
        """The set as its extractions look once landed: Parquet files."""
        shared = {name: getattr(self, name) for name in FeedingSet.model_fields}
        return FileSet.model_construct(glob="*.parquet", format="parquet", **shared)


class Source(_Written):
    """One company system: where its exports arrive, or its tables are read, and what they become.

    `connection` names the environment variable that holds the database's URI; `statement_timeout` is enforced by the
    server on each query.
    """

    name: str = ""
    description: str
    calendar: Literal["br-bank", "plain"] = "br-bank"
    currency: Literal["BRL", "USD", "EUR"] = "BRL"
    timezone: str = "America/Sao_Paulo"
    inbox: str = ""
    files: dict[str, FileSet] = {}
    connection: str | None = None
    statement_timeout: Span = timedelta(minutes=30)
    tables: dict[str, TableSet] = {}

    @field_validator("connection")
    @classmethod
    def _connection_is_a_variable(cls, connection: str | None) -> str | None:
        if connection is not None and not _VARIABLE.fullmatch(connection):
            # The text is not repeated: it may be the secret itself.
            raise ValueError(
                "write the name of the environment variable that holds the URI, as BILLING_DATABASE_URI, never the URI"
            )
        return connection

    @field_validator("timezone")
    @classmethod
    def _timezone_is_known(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{timezone!r} is no IANA time zone") from error
        return timezone

    @field_validator("files", "tables")
    @classmethod
    def _set_names_are_plain(cls, sets: dict[str, FeedingSet]) -> dict[str, FeedingSet]:
        for name in sets:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r}: name a set with lower-case letters, digits and _, beginning with a letter")
        return sets

    @model_validator(mode="after")
    def _something_feeds(self) -> Source:
        if not self.files and not self.tables:
            raise ValueError("the source has neither files nor tables")
        if both := self.files.keys() & self.tables.keys():
            raise ValueError(f"{', '.join(sorted(both))}: a set of files and one of tables need different names")
        if self.tables and self.connection is None:
            raise ValueError("tables need `connection`, the name of the environment variable that holds the URI")
        return self

    def feeding_set(self, name: str) -> FileSet | TableSet | None:
        return self.files.get(name) or self.tables.get(name)

    def default_of(self, column: Column) -> str | None:
        """The value a contract column takes when no feed names it; None is SQL's null."""
        if column.default is None or not column.default.startswith("source."):
            return column.default
        return str(getattr(self, column.default.removeprefix("source.")))


def read_source(sources_dir: Path, name: str) -> Source:
    """Read and validate one mapping. Raises InputError naming file, line and field, or the sources there are."""
    path = sources_dir / f"{name}.yml"
    if not _NAME.fullmatch(name) or not path.is_file():
        known = ", ".join(source_names(sources_dir)) or "none"
        raise InputError(f"There is no source {name!r}: {sources_dir} holds {known}.")
    return read_yaml_model(path, Source).model_copy(update={"name": name})


def source_names(sources_dir: Path) -> list[str]:
    return sorted(path.stem for path in sources_dir.glob("*.yml"))
