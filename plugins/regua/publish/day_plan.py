"""The plan of one day, as the night decided it: what would go out, what is held back and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb

from regua.publish.serving import current_generation
from regua.settings import Settings


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """Messages of one step and channel. Amounts are in `currency_code`; `held_back_count` are judged candidates."""

    step_code: str
    channel_code: str
    currency_code: str
    message_count: int
    line_count: int
    payable_amount: Decimal
    held_back_count: int


@dataclass(frozen=True, slots=True)
class DayPlan:
    """What a published day decided. `example_customer_id` is somebody worth explaining, if there is anybody."""

    as_of: date
    steps: tuple[PlannedStep, ...]
    held_back: tuple[tuple[str, int, int], ...]
    standings: tuple[tuple[str, int], ...]
    example_customer_id: str | None

    @property
    def message_count(self) -> int:
        return sum(step.message_count for step in self.steps)


_STEPS = """
with messages as (
    select step_code, channel_code, currency_code, count(*) as message_count, sum(line_count) as line_count,
        sum(payable_amount) as payable_amount
    from fct_dunning_messages where as_of_date = $1 group by all
),

held_back as (
    select step_code, channel_code, currency_code, count(*) as held_back_count
    from fct_dunning_decisions where as_of_date = $1 and is_judged and outcome_code <> 'eligible' group by all
)

select
    step_code, channel_code, currency_code, coalesce(message_count, 0), coalesce(line_count, 0),
    coalesce(payable_amount, 0), coalesce(held_back_count, 0)
from messages
full join held_back using (step_code, channel_code, currency_code)
order by 4 desc, 7 desc, step_code, channel_code, currency_code
"""
_HELD_BACK = """
select outcome_code, count(*), count(distinct contact_customer_id)
from fct_dunning_decisions where as_of_date = $1 and outcome_code <> 'eligible'
group by outcome_code order by 2 desc, outcome_code
"""
_STANDINGS = """
select level_code, count(*) from fct_customer_standing where as_of_date = $1
group by level_code order by 2 desc, level_code
"""
# Somebody of whom there is something to tell: written to for one thing, held back for another.
_EXAMPLE = """
select contact_customer_id
from fct_dunning_decisions where as_of_date = $1
group by contact_customer_id
order by
    count(distinct case when is_judged then outcome_code end) desc,
    abs(count(*) - 6),
    contact_customer_id
limit 1
"""


def read_day_plan(settings: Settings, as_of: date, *, generation: Path | None = None) -> DayPlan:
    """The plan of a published day, from `generation` or from what is served now.

    Raises InputError when nothing was ever published. A day that no night described has an empty plan.
    """
    folder = generation or current_generation(settings)
    with duckdb.connect(str(folder / "serving.duckdb"), read_only=True) as serving:

        def rows(query: str) -> Sequence[tuple[object, ...]]:
            return serving.execute(query, [as_of]).fetchall()

        example = serving.execute(_EXAMPLE, [as_of]).fetchone()
        return DayPlan(
            as_of=as_of,
            steps=tuple(PlannedStep(*row) for row in rows(_STEPS)),  # type: ignore[arg-type]
            held_back=tuple((str(code), int(str(n)), int(str(who))) for code, n, who in rows(_HELD_BACK)),
            standings=tuple((str(code), int(str(n))) for code, n in rows(_STANDINGS)),
            example_customer_id=example[0] if example else None,
        )
