"""The SQL of the ladder against docs/reference/ladder.md in plain Python, on random portfolios, day after day.

Where the two differ, the page decides which is wrong; where it does not say, it has a gap.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from tests.oracle.comparison import assert_alike
from tests.oracle.ladder_oracle import DayResult
from tests.oracle.portfolios import Recipe, random_recipe, recipes
from tests.oracle.scenario import Workshop, decide_by_oracle

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

EXAMPLES = 12
# What a dozen portfolios that show nothing of a rule would not try.
WANTED_OUTCOMES = {
    "quarantined",
    "paid",
    "prescribed",
    "disputed",
    "under_agreement",
    "exempt",
    "paused",
    "promise_open",
    "below_tolerance",
    "in_clearing",
    "stale_feed",
    "holdout",
    "opted_out",
    "no_contact_point",
    "undeliverable",
    "outside_window",
    "over_limit",
    "eligible",
    "superseded",
}


# Each example takes seconds: the shrinking of one that fails would take hours if it tried as much as it likes.
@settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
@given(recipe=recipes())
def test_both_derivations_decide_every_row_alike(workshop: Workshop, recipe: Recipe) -> None:
    """Each decision, message, line, standing and signal of each day is the same by either way."""
    scenario = recipe.scenario()
    assert_alike(scenario, workshop.decide(scenario), decide_by_oracle(scenario))


def test_the_portfolios_show_every_outcome() -> None:
    """A comparison in which some rule never decides anything says nothing about that rule."""
    seen: Counter[str] = Counter()
    standings: Counter[str] = Counter()
    messages = 0
    for seed in range(EXAMPLES):
        for result in decide_by_oracle(random_recipe(seed).scenario()).values():
            seen.update(decision.outcome_code for decision in result.decisions.values())
            standings.update(standing.level_code for standing in result.standings.values())
            messages += len(result.messages)
    assert set(seen) == WANTED_OUTCOMES
    assert {*standings} == {"regular", "notice", "suspended", "cancellation_proposed"}
    assert messages > 100


@pytest.mark.parametrize("table", [table.name for table in fields(DayResult)])
def test_one_value_that_differs_is_noticed(table: str) -> None:
    """The comparison fails on one column of one row of any table, and on a row that is missing."""
    scenario, results, day = next(
        (scenario, results, day)
        for scenario in (random_recipe(seed).scenario() for seed in range(EXAMPLES))
        for results in [decide_by_oracle(scenario)]
        for day, result in results.items()
        if getattr(result, table)
    )
    rows: dict[Any, Any] = getattr(results[day], table)
    key, row = next(iter(rows.items()))
    for column in fields(row):
        changed = replace(row, **{column.name: "another"})
        with pytest.raises(AssertionError, match="another"):
            assert_alike(scenario, results, results | {day: replace(results[day], **{table: rows | {key: changed}})})
    fewer = {place: other for place, other in rows.items() if place != key}
    with pytest.raises(AssertionError, match="only SQL has"):
        assert_alike(scenario, results, results | {day: replace(results[day], **{table: fewer})})
