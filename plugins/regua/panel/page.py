"""The page itself: one HTML text that needs nothing from anywhere, whether Airflow serves it or a file holds it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regua.durable_file import write_whole
from regua.panel.data import asset, panel_data, written
from regua.settings import Settings

# In the order in which they run.
SCRIPTS = ("echarts.min.js", "texts.js", "figures.js", "charts.js", "panel.js")


def page(data: Mapping[str, Any]) -> str:
    """The whole page. Its policy lets these very scripts run and nothing be fetched."""
    scripts = [asset(name) for name in SCRIPTS]
    allowed = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    policy = f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"
    parts = {
        "POLICY": policy,
        "STYLE": asset("panel.css"),
        "DATA": written(data),
        "SCRIPTS": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    text = asset("panel.html")
    for name, part in parts.items():
        text = text.replace(f"@@{name}@@", part, 1)
    return text


def export_panel(settings: Settings) -> Path:
    """Write the page of the served night to `panel/` in REGUA_HOME; the same night gives the same bytes."""
    data = panel_data(settings)
    folder = settings.home / "panel"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"panel_{data['as_of']}.html"
    write_whole(path, page(data).encode())
    return path


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
