"""docs/reference/contract.md, made from the contract: `make docs` writes what this module prints."""

from __future__ import annotations

import sys

from regua.contract.entities import FIRST_DATE, ID_PATTERN, LAST_DATE, TEXT_LIMIT, Column, Entity, load_contract

_INTRODUCTION = f"""# The data contract

<!-- Made from plugins/regua/contract/contract.yml by `make docs`; edit that file, not this one. -->

Every source, whatever its own exports look like, is turned into these tables. A mapping
([how to write one](../how-to/sources.md)) says where each column comes from.

| Type | What is accepted |
|---|---|
| `id` | text matching `{ID_PATTERN}`: opaque, safe in file names and CSVs |
| `text` | free text, at most {TEXT_LIMIT} characters, no control characters |
| `code` | one of the values listed |
| `money` | a number with at most two decimals, up to 16 digits before them; stored as `DECIMAL(18,2)` |
| `percentage` | a number from 0 to 100 with at most two decimals; stored as `DECIMAL(5,2)` |
| `date` | a calendar day between {FIRST_DATE} and {LAST_DATE}, local to the source's time zone |
| `flag` | true or false |

A row that misses a **required** column, or holds a value that is not of its type, goes to quarantine with a
[reason code](../how-to/sources.md#what-becomes-of-a-bad-row). A **personal** column never leaves the raw tables, the
warehouse and the ledger.

The tables from `contact_points` on are **dated facts**: each row holds from `valid_from_date` to `valid_to_date`, both
included. Beside the sources, people give them [by command](../how-to/facts.md).
"""


def render_contract() -> str:
    """The whole page as Markdown."""
    return "\n".join([_INTRODUCTION, *(_render_entity(entity) for entity in load_contract().values())])


def _render_entity(entity: Entity) -> str:
    rows = [_render_column(entity, column) for column in entity.columns]
    money = f" Control totals are taken of `{entity.money}`." if entity.money else ""
    needed = " or ".join(f"`{name}`" for name in entity.needs_one_of)
    needs = f" Each row fills {needed}, or both." if needed else ""
    head = f"## {entity.name}\n\n{entity.grain}{needs}{money}\n\n"
    head += "| Column | Type | Required | Meaning |\n|---|---|---|---|"
    return "\n".join([head, *rows, ""])


def _render_column(entity: Entity, column: Column) -> str:
    notes = [column.meaning]
    if column.values:
        notes.append("One of " + ", ".join(f"`{value}`" for value in column.values) + ".")
    if column.references:
        notes.append(f"Refers to [{column.references}](#{column.references}).")
    if column.default:
        default = column.default.replace("source.", "the source's ")
        notes.append(f"When not mapped: {default}.")
    if column.personal:
        notes.append("Personal.")
    required = "key" if column.name == entity.key else "yes" if column.required else ""
    return f"| `{column.name}` | {column.type} | {required} | {' '.join(notes)} |"


if __name__ == "__main__":
    sys.stdout.write(render_contract())
