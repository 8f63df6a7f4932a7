"""include/sources/NAME.yml: how one company's exports become the contract. docs/how-to/sources.md explains every field."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from regua.contract.entities import Column, load_contract
from regua.errors import InputError
from regua.yaml_file import read_yaml_model

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
Percentage = Annotated[float, Field(ge=0, le=100)]


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
            missing = [c.name for c in entity.columns if c.required and c.default is None and c.name not in feed.columns]
            if missing:
                raise ValueError(f"{name} needs {', '.join(missing)}")
        return feeds

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
            return codecs.lookup(encoding).name
        except LookupError as error:
            raise ValueError(f"Python knows no encoding {encoding!r}; try utf-8, cp1252 or iso8859-1") from error


class Source(_Written):
    """One company system: where its exports arrive and what they become."""

    name: str = ""
    description: str
    calendar: Literal["br-bank", "plain"] = "br-bank"
    currency: Literal["BRL", "USD", "EUR"] = "BRL"
    timezone: str = "America/Sao_Paulo"
    inbox: str = ""
    files: dict[str, FileSet] = {}

    @field_validator("timezone")
    @classmethod
    def _timezone_is_known(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{timezone!r} is no IANA time zone") from error
        return timezone

    @field_validator("files")
    @classmethod
    def _set_names_are_plain(cls, sets: dict[str, FileSet]) -> dict[str, FileSet]:
        for name in sets:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r}: name a set with lower-case letters, digits and _, beginning with a letter")
        return sets

    @model_validator(mode="after")
    def _something_feeds(self) -> Source:
        if not self.files:
            raise ValueError("the source has no files")
        return self

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
