"""How long a reader waits for the panel: `REGUA_HOME=… python -m bench.panel` opens and filters it in Chromium.

Prints one line a figure; docs/benchmarks.md keeps those of a night over a large portfolio.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import click
from playwright.sync_api import Page, sync_playwright

from regua.panel.data import panel_data
from regua.panel.page import page
from regua.settings import load_settings

_FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
# Until the browser has painted what the filter left in view.
_FILTER = """([id, value]) => new Promise(done => {
  const filter = document.getElementById(id), began = performance.now();
  filter.value = value ?? filter.options[1].value;
  filter.dispatchEvent(new Event("change", { bubbles: true }));
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
})"""
_FILTERS = (("period", "3"), ("segment", None), ("policy", None), ("channel", None), ("period", "12"))


@click.command()
@click.option("--times", type=click.IntRange(min=1), default=7, show_default=True)
def main(times: int) -> None:
    """Make the page of the served night as the app does, then look at it as people do."""
    began = perf_counter()
    text = page(panel_data(load_settings()))
    click.echo(f"page made: {perf_counter() - began:.2f} s, {len(text.encode()):,} bytes")
    painted: list[float] = []
    drawn: list[float] = []
    filtered: list[float] = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "panel.html"
        path.write_text(text, encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(times):
            shown = browser.new_context(viewport={"width": 1360, "height": 900}).new_page()
            began = perf_counter()
            shown.goto(path.as_uri())
            _is_drawn(shown)
            drawn.append(perf_counter() - began)
            painted.append(shown.evaluate(_FIRST_PAINT) / 1000)
            for choice in _FILTERS:
                filtered.append(shown.evaluate(_FILTER, choice) / 1000)
                _is_drawn(shown)
        browser.close()
    for name, seconds in {"first paint": painted, "every chart drawn": drawn, "a filter in view": filtered}.items():
        click.echo(f"{name}: median {statistics.median(seconds):.2f} s, at most {max(seconds):.2f} s")


def _is_drawn(shown: Page) -> None:
    shown.wait_for_selector("html[data-drawn=yes]")


if __name__ == "__main__":
    sys.exit(main())
