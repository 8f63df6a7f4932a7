"""The figures of a run of the bench as Markdown, and their place in docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.measuring import NOTHING, PROJECT_DIR, Cost

_PAGE = PROJECT_DIR / "docs" / "benchmarks.md"
_BEGIN, _END = "<!-- figures: written by `python -m bench --write` -->", "<!-- end of figures -->"
_COST_HEADER = ("Seconds", "CPU seconds", "Rows/s", "Peak MB")
MODELLING = ("staging", "intermediate", "marts")


@dataclass(frozen=True, slots=True)
class PandasCost:
    """The whole process, and the seconds of its parts."""

    whole: Cost
    read: float
    model: float
    write: float


@dataclass(frozen=True, slots=True)
class NightCosts:
    """A full night and the night after it in which 1 % changed: by stages, by `regua run`, through Airflow."""

    stages: Mapping[str, Cost]
    command: Cost
    airflow: Cost | None
    next_stages: Mapping[str, Cost]
    next_command: Cost
    next_airflow: Cost | None

    @property
    def whole(self) -> Cost:
        """As production pays it: through Airflow where there is one, else stage by stage."""
        return self.airflow or sum(self.stages.values(), NOTHING)

    @property
    def next_whole(self) -> Cost:
        return self.next_airflow or sum(self.next_stages.values(), NOTHING)

    @property
    def peak_mb(self) -> float:
        costs = [*self.stages.values(), *self.next_stages.values(), self.command, self.next_command]
        return max(cost.peak_mb for cost in [*costs, self.whole, self.next_whole])


@dataclass(frozen=True, slots=True)
class SizeFigures:
    """All that was measured of one size; `row_counts` by day (first, next) and file set."""

    invoices: int
    row_counts: Mapping[str, Mapping[str, int]]
    floors: Sequence[Cost]
    nights: NightCosts
    pandas: PandasCost | None

    @property
    def rows(self) -> int:
        return sum(self.row_counts["first"].values())

    @property
    def floor_seconds(self) -> float:
        return median(floor.seconds for floor in self.floors)


def in_markdown(machine: Mapping[str, str], fixed: NightCosts, sizes: Sequence[SizeFigures]) -> str:
    parts = [
        f"Measured on {machine['machine']}; {machine['versions']}.",
        _targets(fixed, sizes),
        *(part for size in sizes for part in (_stages(size, fixed), _wholes(size, fixed))),
    ]
    return "\n\n".join(part for part in parts if part)


def write_into_docs(report: str) -> None:
    before, rest = _PAGE.read_text(encoding="utf-8").split(_BEGIN)
    _, after = rest.split(_END)
    _PAGE.write_text(f"{before}{_BEGIN}\n\n{report}\n\n{_END}{after}", encoding="utf-8")


def _targets(fixed: NightCosts, sizes: Sequence[SizeFigures]) -> str:
    smallest, largest = sizes[0], sizes[-1]
    whole, following = largest.nights.whole, largest.nights.next_whole
    variable = whole.seconds - fixed.whole.seconds
    rows: list[tuple[str, str, str]] = [
        ("Fixed cost of a night", "≤ 60 s", f"{fixed.whole.seconds:.0f} s"),
        (
            "Whole night beside the floor",
            "≤ 3×",
            f"{whole.seconds / largest.floor_seconds:.1f}× "
            f"({variable / largest.floor_seconds:.1f}× without the fixed cost)",
        ),
        ("Peak memory of a process", "≤ 8 GB", f"{largest.nights.peak_mb / 1024:.1f} GB"),
        (
            "A night in which 1 % changed, of a full one",
            "≤ 30 %",
            f"{following.seconds / whole.seconds:.0%} "
            f"({(following.seconds - fixed.next_whole.seconds) / variable:.0%} without the fixed cost)",
        ),
    ]
    if largest.pandas is not None:
        modelling = _sum(largest.nights.stages, MODELLING)
        start = _sum(fixed.stages, MODELLING)
        work = modelling.seconds - start.seconds
        rows.append(
            (
                "Modelling beside pandas",
                "≥ 5× faster",
                f"{largest.pandas.model / modelling.seconds:.1f}×; "
                f"without dbt's start {largest.pandas.model / work:.1f}×; "
                f"with pandas' reading {(largest.pandas.model + largest.pandas.read) / modelling.seconds:.1f}×",
            )
        )
    if largest is not smallest:
        growth = variable / (smallest.nights.whole.seconds - fixed.whole.seconds)
        rows.append(
            (
                f"{largest.rows / smallest.rows:.1f} times the rows take",
                "near-linear",
                f"{whole.seconds / smallest.nights.whole.seconds:.1f} times the time "
                f"({growth:.1f} without the fixed cost)",
            )
        )
    return _table(("At " + f"{largest.invoices:,} invoices", "Target", "Measured"), rows)


def _stages(size: SizeFigures, fixed: NightCosts) -> str:
    def row(name: str, cost: Cost, following: Cost, least: Cost) -> tuple[str, ...]:
        return (*_cells(name, cost, size.rows), f"{following.seconds:.1f}", f"{least.seconds:.1f}")

    nights = size.nights
    rows = [row(name, cost, nights.next_stages[name], fixed.stages[name]) for name, cost in nights.stages.items()]
    rows.append(row("**all**", *(_sum(costs) for costs in (nights.stages, nights.next_stages, fixed.stages))))
    counts = ", ".join(f"{count:,} {name}" for name, count in size.row_counts["first"].items())
    changed = ", ".join(f"{count:,} {name}" for name, count in size.row_counts["next"].items())
    header = ("Stage, a process each", *_COST_HEADER, "1 % night, seconds", "Fixed, seconds")
    return (
        f"### {size.invoices:,} invoices\n\nThe full night reads {size.rows:,} rows: {counts}. "
        f"The night after it reads {changed}.\n\n{_table(header, rows)}"
    )


def _wholes(size: SizeFigures, fixed: NightCosts) -> str:
    def row(name: str, cost: Cost, least: Cost | None) -> tuple[str, ...]:
        beside = "" if least is None else f"{(cost.seconds - least.seconds) / size.floor_seconds:.1f}×"
        return (*_cells(name, cost, size.rows), f"{cost.seconds / size.floor_seconds:.1f}×", beside)

    nights = size.nights
    rows = [row(f"floor {place}", cost, None) for place, cost in enumerate(size.floors, start=1)]
    rows.append(row("night by `regua run`", nights.command, fixed.command))
    rows.append(row("1 % night by `regua run`", nights.next_command, fixed.next_command))
    if nights.airflow and nights.next_airflow:
        rows.append(row("night through Airflow", nights.airflow, fixed.airflow))
        rows.append(row("1 % night through Airflow", nights.next_airflow, fixed.next_airflow))
    if size.pandas is not None:
        rows.append(row("pandas, the marts only", size.pandas.whole, None))
    header = ("Whole", *_COST_HEADER, "Of the floor", "Without fixed cost")
    table = _table(header, rows)
    if size.pandas is None:
        return table
    modelling, start = _sum(nights.stages, MODELLING), _sum(fixed.stages, MODELLING)
    return (
        f"{table}\n\npandas reads for {size.pandas.read:.1f} s, models for {size.pandas.model:.1f} s and writes for "
        f"{size.pandas.write:.1f} s; the three modelling stages take {modelling.seconds:.1f} s, "
        f"of which {start.seconds:.1f} s are fixed."
    )


def _cells(name: str, cost: Cost, rows: int) -> tuple[str, ...]:
    rate = f"{rows / cost.seconds:,.0f}"
    return name, f"{cost.seconds:.1f}", f"{cost.cpu_seconds:.1f}", rate, f"{cost.peak_mb:,.0f}"


def _sum(costs: Mapping[str, Cost], names: Iterable[str] | None = None) -> Cost:
    return sum((costs[name] for name in names or costs), NOTHING)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    marks = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, marks, *rows))
