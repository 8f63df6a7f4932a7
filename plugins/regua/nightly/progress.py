"""`regua run`: the night in this process, with what it is doing on the screen."""

from __future__ import annotations

from datetime import date, datetime

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from regua.instants import Clock
from regua.nightly.stages import STAGES, Night, run_night
from regua.nightly.summary import show_night
from regua.settings import Settings


def run_with_progress(settings: Settings, as_of: date, known_at: datetime | None, clock: Clock) -> Night:
    """Run the night of `as_of` and show what happened. Raises what the first failing stage raises."""
    console = Console(stderr=True)
    run_id = f"cli__{as_of}__{clock():%Y%m%dT%H%M%S%f}"
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(STAGES))

        def on_stage(stage: str) -> None:
            progress.update(task, description=f"{as_of} {stage}", advance=1)
            if not console.is_terminal:
                console.print(f"{as_of} {stage}")

        night = run_night(settings, Night(as_of, known_at, run_id), clock, on_stage=on_stage)
    show_night(settings, as_of, require_success=True)
    return night
