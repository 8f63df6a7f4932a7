"""The bench compares like with like: the night, the floor and pandas give the same marts, row for row."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest
from bench.__main__ import AS_OF, NEXT_DAY
from bench.measuring import BenchError, Cost, run_step
from bench.nights import STAGES, Home, by_stages
from bench.report import NightCosts, PandasCost, SizeFigures, in_markdown

# The gates and the publication change nothing in the marts.
_TO_THE_MARTS = ("land", "load", "staging", "intermediate", "marts")


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    _, customers = run_step("customers_of", invoices=2_000)
    _, row_counts = run_step(
        "generate",
        into=str(folder / "first" / "sample"),
        next_into=str(folder / "next" / "sample"),
        customers=customers,
        as_of=AS_OF.isoformat(),
        next_day=NEXT_DAY.isoformat(),
    )
    assert 1_500 < row_counts["first"]["invoices"] < 2_500
    assert row_counts["next"]["invoices"] >= 15
    return folder / "first"


@pytest.fixture(scope="module")
def floor(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("floor")
    run_step("floor", exports=str(exports / "sample"), into=str(into), as_of=AS_OF.isoformat())
    return into / "floor.duckdb"


@pytest.fixture(scope="module")
def home(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("home"))
    costs = by_stages(home, exports, AS_OF, _TO_THE_MARTS)
    assert tuple(costs) == _TO_THE_MARTS
    assert all(cost.seconds > 0 and cost.peak_mb > 1 for cost in costs.values())
    return home


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_floor_gives_the_marts_of_the_night(home: Home, floor: Path) -> None:
    _, counts = run_step("compare", warehouse=str(home.warehouse), floor=str(floor))
    assert counts["fct_invoices"] > 1_500
    assert counts["agg_aging_daily"] == 5


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_pandas_gives_the_marts_of_the_night(home: Home, exports: Path, tmp_path: Path) -> None:
    run_step("pandas", exports=str(exports / "sample"), into=str(tmp_path), as_of=AS_OF.isoformat())
    _, counts = run_step("compare", warehouse=str(home.warehouse), pandas=str(tmp_path))
    assert counts["agg_aging_daily"] == 5


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_cent_of_difference_fails_the_bench(home: Home, floor: Path, tmp_path: Path) -> None:
    altered = tmp_path / "altered.duckdb"
    shutil.copy(floor, altered)
    with duckdb.connect(str(altered)) as connection:
        one = "(select min(invoice_id) from fct_invoices)"
        connection.execute(f"update fct_invoices set paid_amount = paid_amount + 0.01 where invoice_id = {one}")
    with pytest.raises(BenchError, match="fct_invoices: 1 rows"):
        run_step("compare", warehouse=str(home.warehouse), floor=str(altered))


def test_the_stages_timed_are_those_of_a_night() -> None:
    from regua.nightly.stages import STAGES as OF_A_NIGHT

    assert tuple(OF_A_NIGHT) == STAGES


def test_ratios_are_taken_beside_the_median_floor_with_and_without_the_fixed_cost() -> None:
    fixed = _night(seconds=5.0)
    small, large = (
        SizeFigures(
            invoices, {"first": {"invoices": invoices}, "next": {"invoices": invoices // 100}}, floors, night, pandas
        )
        for invoices, floors, night, pandas in [
            (1_000, [_cost(4.0)], _night(seconds=10.0), None),
            (
                10_000,
                [_cost(20.0), _cost(99.0), _cost(10.0)],
                _night(seconds=50.0),
                PandasCost(_cost(400.0), read=100.0, model=270.0, write=30.0),
            ),
        ]
    )
    report = in_markdown({"machine": "one", "versions": "none"}, fixed, [small, large])
    # Ten stages of 50 s and 5 s: 500 s beside a floor of 20 s; three of them model what pandas models.
    assert "| Fixed cost of a night | ≤ 60 s | 50 s |" in report
    assert "| Whole night beside the floor | ≤ 3× | 25.0× (22.5× without the fixed cost) |" in report
    assert (
        "| Modelling beside pandas | ≥ 5× faster | 1.8×; without dbt's start 2.0×; with pandas' reading 2.5× |"
        in report
    )
    assert "| 10.0 times the rows take | near-linear | 5.0 times the time (9.0 without the fixed cost) |" in report


def _cost(seconds: float) -> Cost:
    return Cost(seconds, seconds, 100.0)


def _night(*, seconds: float) -> NightCosts:
    stages = dict.fromkeys(STAGES, _cost(seconds))
    return NightCosts(stages, _cost(seconds * 7), None, stages, _cost(seconds * 7), None)
