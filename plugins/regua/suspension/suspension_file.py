"""`include/suspension.yml`: how far without a person, where lists go, who is told (docs/how-to/suspensions.md)."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from regua.yaml_file import read_yaml_model

Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _unlike(listed: list[Any]) -> list[Any]:
    codes = [one.code for one in listed]
    if repeated := sorted({code for code in codes if codes.count(code) > 1}):
        raise ValueError(f"{', '.join(repeated)}: written twice")
    return listed


class Band(_Part):
    """How far the number of subscriptions without access may lie from the mean of the last lists."""

    days: int = Field(ge=1, le=366)
    from_lists: int = Field(ge=1)
    pct: int = Field(ge=1)
    subscriptions: int = Field(ge=0)


class Caps(_Part):
    """What is above them takes a person's word."""

    new_suspensions: int = Field(ge=0)
    new_suspensions_pct_of_active: Annotated[Decimal, Field(ge=0, le=100)]
    band: Band


class Target(_Part):
    code: Code
    url: str


class Endpoint(_Part):
    code: Code
    url: str


class BureauRules(_Part):
    removal_business_days: int = Field(ge=1, le=30)
    alert_business_days: int = Field(ge=0, le=30)


class SuspensionFile(_Part):
    caps: Caps
    valid_hours: int = Field(ge=24, le=24 * 7)
    has_bom: bool = False
    targets: Annotated[list[Target], AfterValidator(_unlike)] = []
    webhooks: Annotated[list[Endpoint], AfterValidator(_unlike)] = []
    bureau: BureauRules


def read_suspension_file(path: Path) -> SuspensionFile:
    """Raises InputError naming file, line and field."""
    return read_yaml_model(path, SuspensionFile)
