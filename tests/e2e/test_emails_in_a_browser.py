"""E-mails opened in a real Chromium, as wide as a phone and as a desktop, light and dark."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.conftest import PROJECT_DIR

from regua.channels.dispatch_file import read_dispatch_file
from regua.channels.examples import example
from regua.channels.template_preview import preview_templates

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
EMAILS = (("overdue", "many_invoices"), ("suspension_notice", "one_invoice"), ("offer", "charges"))
# Runs in the page when it is laid out; what it says is read back from the dumped document.
LOOK = """
<script>addEventListener("load", () => {
  const images = [...document.images];
  const told = {
    width: innerWidth, needed: document.documentElement.scrollWidth,
    broken: images.filter(image => image.naturalWidth === 0).length, images: images.length,
    unnamed: images.filter(image => !image.hasAttribute("alt")).length, text: document.body.innerText,
    background: getComputedStyle(document.body).backgroundColor, colour: getComputedStyle(document.body).color,
    linked: [...document.links].filter(link => link.offsetWidth && link.offsetHeight).length,
  };
  parent.postMessage(btoa(unescape(encodeURIComponent(JSON.stringify(told)))), "*");
});</script></body>"""
# A frame as wide as wanted: Chromium's own window is never narrower than 500 pixels.
FRAME = """<!doctype html><script>addEventListener("message", event => {{
  const paper = document.createElement("pre");
  paper.id = "told"; paper.textContent = event.data; document.body.append(paper);
}});</script><body><iframe src="page.html" width="{width}" height="1600" frameborder="0"></iframe></body>"""

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: `apt install chromium` to see the e-mails tested"),
    pytest.mark.timeout(120),
]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("emails")
    dispatch_file = read_dispatch_file(PROJECT_DIR / "include" / "dispatch.yml")
    preview_templates(PROJECT_DIR / "include" / "templates", dispatch_file, [name for name, _ in EMAILS], folder)
    return folder


def look_at(page: Path, width: int, tmp_path: Path, *flags: str) -> dict[str, object]:
    asking = tmp_path / "frame.html"
    asking.write_text(FRAME.format(width=width), encoding="utf-8")
    asked = page.read_text(encoding="utf-8").replace("</body>", LOOK)
    (tmp_path / "page.html").write_text(asked, encoding="utf-8")
    command = [
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={width + 100},1700", *flags, "--virtual-time-budget=2000", "--dump-dom", asking.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    [told] = re.findall(r'<pre id="told">([^<]+)</pre>', done.stdout)
    return json.loads(base64.b64decode(told))


@pytest.mark.parametrize(("template_code", "case"), EMAILS, ids=[name for name, _ in EMAILS])
@pytest.mark.parametrize("width", [375, 1280])
def test_an_email_fits_its_window_and_shows_all_it_has(
    written: Path, tmp_path: Path, template_code: str, case: str, width: int
) -> None:
    told = look_at(_page(written, template_code, case), width, tmp_path)
    assert told["width"] == width
    assert told["needed"] <= told["width"], "the reader would have to scroll sideways"
    assert (told["broken"], told["unnamed"]) == (0, 0)
    assert told["linked"] >= 3
    content = example(template_code, "email", case)
    for line in content.lines:
        assert str(line.invoice_number) in told["text"]


def test_an_email_turns_dark_where_the_reader_wants_it(written: Path, tmp_path: Path) -> None:
    page = _page(written, *EMAILS[0])
    light = look_at(page, 375, tmp_path)
    dark = look_at(page, 375, tmp_path, "--force-dark-mode", "--blink-settings=preferredColorScheme=0")
    assert _brightness(light["background"]) > 200 > 100 > _brightness(dark["background"])


def _page(folder: Path, template_code: str, case: str) -> Path:
    [page] = (folder / "email").glob(f"{case}_{template_code}_email*.html")
    return page


def _brightness(colour: object) -> float:
    numbers = [float(number) for number in re.findall(r"[\d.]+", str(colour))[:3]]
    return sum(numbers) / 3
