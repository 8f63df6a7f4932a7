"""The panel as people open it: in a real Airflow behind its login, and as a file; drawn, filtered, refused, allowed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright
from tests.e2e.airflow_process import AirflowApi, starting_airflow
from tests.e2e.test_emails_in_a_browser import CHROMIUM
from tests.integration.suspension.test_standing_changes import publish

from regua.instants import utc_clock
from regua.nightly.stages import Night, run_night
from regua.panel.data import panel_data, written
from regua.panel.debtors import LISTINGS, read_listing, read_looks
from regua.panel.page import export_panel
from regua.panel.texts import TEXTS
from regua.sample.portfolio import write_sample
from regua.settings import Settings, load_settings

DAY = date(2026, 6, 30)
CHARTS = ("aging", "curve", "cohorts", "rolls", "funnel", "steps", "channels", "forecast", "access", "churn", "trust")
WIDTHS = {"desktop": 1360, "phone": 390}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: `apt install chromium` to see the panel tested"),
]


@dataclass
class Looked:
    """A page, and all that went wrong in it or was asked of anybody but `allowed`."""

    page: Page
    allowed: str
    troubles: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda said: self.troubles.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.route("**/*", self._pass)

    def _pass(self, route: Route) -> None:
        if route.request.url.startswith((self.allowed, "data:", "blob:")):
            route.continue_()
        else:
            self.troubles.append(f"asked for {route.request.url}")
            route.abort()

    def is_drawn(self) -> Any:
        """The page, or its frame within Airflow, once its charts are there."""
        for frame in self.page.frames:
            if frame.query_selector("html[data-drawn=yes]"):
                return frame
        return None


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with a night of the sample, which knows of a list that suspended two contracts."""
    settings = load_settings({"REGUA_HOME": str(tmp_path_factory.mktemp("panel") / "home"), "REGUA_ENV": "local"})
    write_sample(settings, customers=400, months=18, as_of=DAY, seed=4)
    off = {"standing_before_code": "notice", "standing_code": "suspended", "change_code": "suspend"}
    contracts = [{"subscription_id": "A11", "customer_id": "C1"}, {"subscription_id": "A21", "customer_id": "C2"}]
    publish(settings, 1, *[off | contract | {"reason_code": "over_threshold"} for contract in contracts])
    run_night(settings, Night(DAY, None, "night"), utc_clock)
    return settings


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def airflow(settings: Settings) -> Iterator[AirflowApi]:
    environ = {
        "REGUA_ENV": "local",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,vera:viewer",
    }
    with starting_airflow(settings.home, environ) as ready:
        yield ready()


@pytest.fixture(scope="module")
def exported(settings: Settings) -> Path:
    return export_panel(settings)


def opened(browser: Browser, path: Path, **options: Any) -> Looked:
    page = browser.new_context(**options).new_page()
    looked = Looked(page, path.as_uri())
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-drawn=yes]")
    return looked


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_file_draws_every_chart_and_asks_nobody_for_anything(
    width: str, scheme: Any, browser: Browser, exported: Path
) -> None:
    looked = opened(browser, exported, viewport={"width": WIDTHS[width], "height": 900}, color_scheme=scheme)
    page = looked.page
    for name in CHARTS:
        box = page.locator(f"#card-{name} canvas").first
        expect(box).to_be_visible()
        # Something other than one colour was painted.
        painted = box.evaluate(
            "canvas => new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size"
        )
        assert painted > 20, name
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width]
    assert page.locator("html").get_attribute("data-theme") == scheme
    assert looked.troubles == []
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_a_filter_adds_up_what_is_left_and_each_chart_opens_its_table_and_definition(
    browser: Browser, exported: Path
) -> None:
    page = opened(browser, exported, viewport={"width": 1360, "height": 900}).page
    whole = page.locator(".tile .value").first.inner_text()
    seconds = page.evaluate(
        "() => { const began = performance.now(), filter = document.getElementById('segment');"
        "filter.value = filter.options[1].value; filter.dispatchEvent(new Event('change', { bubbles: true }));"
        "return (performance.now() - began) / 1000; }"
    )
    assert page.locator(".tile .value").first.inner_text() != whole
    assert seconds < 5, "the page hangs"
    card = page.locator("#card-aging")
    card.locator("summary").first.focus()
    page.keyboard.press("Enter")
    expect(card.locator("table")).to_be_visible()
    card.locator("summary").nth(1).click()
    expect(card.get_by_text("Uma linha por dia, moeda, segmento, régua e faixa com saldo")).to_be_visible()
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Receivables panel")
    expect(card.get_by_text("the aging of each day by what is known today")).to_be_visible()
    # What a number cannot follow, it says.
    expect(page.locator("#card-forecast .answer")).to_contain_text("Not filtered by segment.")
    expect(page.locator("#card-aging .answer")).not_to_contain_text("Not filtered")
    # A file is for everybody: nothing in it leads to customers.
    assert page.locator("main a").count() == 0


def test_an_interval_is_drawn_for_each_step_that_holds_customers_out(browser: Browser, exported: Path) -> None:
    text = exported.read_text(encoding="utf-8")
    [island] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    data = json.loads(island)
    data["tables"]["experiments"]["rows"] = [
        ["BRL", "default", "overdue_email", "email", 500, 180, 60, 15, 11.0, -0.6, 22.6],
        ["BRL", "default", "offer_email", "email", 900, 400, 100, 30, 14.4, 4.9, 23.9],
    ]
    path = exported.with_name("held_out.html")
    path.write_text(text.replace(island, written(data)), encoding="utf-8")
    page = opened(browser, path).page
    card = page.locator("#card-experiments")
    expect(card.locator(".answer")).to_contain_text("1 de 2 comparações")
    expect(card.locator("canvas").first).to_be_visible()
    assert page.evaluate("plots.get('experiments').getOption().series.map(one => one.data.length)") == [2, 2]


def test_the_tiles_are_what_the_marts_say(browser: Browser, exported: Path) -> None:
    page = opened(browser, exported).page
    data = json.loads(
        page.locator("#data").inner_text() or page.evaluate("document.getElementById('data').textContent")
    )
    columns, rows = data["tables"]["balances"]["columns"], data["tables"]["balances"]["rows"]
    named = [dict(zip(columns, row, strict=True)) for row in rows]
    cents = sum(
        row["open_amount"] for row in named if row["day_date"] == "2026-06-30" and row["currency_code"] == "BRL"
    )
    text = page.locator(".tile .value").first.inner_text()
    shown = float(re.sub(r"[^\d,]", "", text).replace(",", ".")) * (
        1000 if "mil" in text else 1e6 if "mi" in text else 1
    )
    assert abs(shown - cents / 100) <= cents / 100 * 0.05


def test_lists_narrowed_down_are_parts_of_the_whole(settings: Settings) -> None:
    tables = {
        name: [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
        for name, table in panel_data(settings)["tables"].items()
    }
    balances = [row for row in tables["balances"] if row["day_date"] == str(DAY)]
    months = [date(2025 + month // 12, month % 12 + 1, 1) for month in range(18)]
    by_month = [read_listing(settings, "invoices", {"month": month}).total_count for month in months]
    assert sum(by_month) == sum(row["overdue_count"] for row in balances) > 0
    assert read_listing(settings, "invoices", {}).total_count == sum(row["open_count"] for row in balances)
    false = read_listing(settings, "false_contacts", {})
    of_months = [read_listing(settings, "false_contacts", {"month": month}).total_count for month in months]
    assert sum(of_months) == false.total_count > 0
    assert read_listing(settings, "contacts", {"policy": "nobody's"}).rows == ()
    cohort = [row for row in tables["cohorts"] if (row["cohort_month"], row["horizon_days"]) == ("2026-05-01", 15)]
    members = read_listing(settings, "cohort", {"month": date(2026, 5, 1), "days": "15"})
    for column, whole in (("overdue_amount", "observed_amount"), ("recovered_amount", "recovered_amount")):
        cents = [int(row[members.columns.index(column)].replace(".", "")) for row in members.rows]
        assert sum(cents) == sum(row[whole] for row in cohort) > 0
    # Of what the sample has none of, the question is right all the same.
    for name, listing in LISTINGS.items():
        given = {key: date(2026, 6, 1) if key in ("month", "since") else "15" for key in listing.filters}
        found = read_listing(settings, name, given)
        assert found.total_count == 0 or not listing.filters
        assert set(found.columns) <= TEXTS["en"].keys()


def logged_in(browser: Browser, airflow: AirflowApi, settings: Settings, user: str) -> Looked:
    passwords = json.loads((settings.home / "airflow" / "passwords.json").read_text(encoding="utf-8"))
    page = browser.new_context(viewport={"width": 1360, "height": 900}).new_page()
    looked = Looked(page, airflow.url)
    page.goto(f"{airflow.url}/auth/login")
    page.fill("input[name=username]", user)
    page.fill("input[name=password]", passwords[user])
    page.locator("button[type=submit]").click()
    page.wait_for_url(re.compile(r"^(?!.*auth/login)"))
    looked.troubles.clear()
    return looked


def test_nobody_sees_anything_without_a_login(browser: Browser, airflow: AirflowApi) -> None:
    page = browser.new_context().new_page()
    for path in ("panel", "lists/debtors", "lists/suspensions?month=2026-06-01", "debtors/C1"):
        answer = page.goto(f"{airflow.url}/regua/{path}")
        assert answer is not None
        assert answer.status == 401


def test_a_viewer_sees_the_panel_in_the_navigation_and_no_customer(
    browser: Browser, airflow: AirflowApi, settings: Settings
) -> None:
    looked = logged_in(browser, airflow, settings, "vera")
    page = looked.page
    page.goto(f"{airflow.url}/plugin/regua-panel")
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", name="Painel de recebíveis")).to_be_visible(timeout=30_000)
    expect(frame.locator("#card-aging canvas").first).to_be_visible()
    expect(frame.get_by_text("Abrir clientes")).to_be_hidden()
    assert frame.locator("#charts a").count() == 0
    assert [trouble for trouble in looked.troubles if "asked for" in trouble] == []
    for path in ("lists/debtors", "lists/nothing", "lists/invoices?bucket=1-30", "debtors/C1"):
        answer = page.request.get(f"{airflow.url}/regua/{path}")
        assert answer.status == 403
    assert read_looks(settings) == []


def test_who_may_edit_the_night_opens_customers_and_each_look_is_kept(
    browser: Browser, airflow: AirflowApi, settings: Settings
) -> None:
    looked = logged_in(browser, airflow, settings, "admin")
    page = looked.page
    page.goto(f"{airflow.url}/regua/panel")
    page.wait_for_selector("html[data-drawn=yes]")
    assert looked.troubles == []
    page.goto(f"{airflow.url}/regua/lists/debtors")
    first = page.locator("tbody th a").first
    customer_id = first.inner_text()
    first.click()
    expect(page.get_by_role("heading")).to_have_text(f"Faturas em aberto de {customer_id}")
    assert page.locator("tbody tr").count() >= 1
    for path, status in (("debtors/nobody", 404), ("lists/nothing", 404), ("lists/suspensions?month=june", 400)):
        assert page.request.get(f"{airflow.url}/regua/{path}").status == status
    assert [(look.user_name, look.customer_id, look.listing) for look in read_looks(settings)] == [
        ("admin", "nobody", "customer"),
        ("admin", customer_id, "customer"),
        ("admin", None, "debtors"),
    ]


def amount_of(text: str) -> Decimal:
    return Decimal(re.sub(r"[^\d,]", "", text).replace(",", "."))


# The card whose table is opened, the row and the column of the number, and the list that it leads to.
NUMBERS = {
    "an amount of the aging": ("aging", "last", "1-30 dias", "lists/invoices?currency=BRL&bucket=1-30"),
    "what a step planned": ("steps", "first", "planejado", "lists/contacts?currency=BRL&step="),
    "what a channel planned": ("channels", "first", "planejado", "lists/contacts?currency=BRL&channel="),
    "contracts that ended": ("churn", "first", "terminados", "lists/contracts?currency=BRL&month=2025-07-01"),
    "suspensions": ("access", "last", "suspensos", "lists/suspensions?currency=BRL&month=2026-06-01"),
}


@pytest.mark.parametrize("segment", ["", "pme"])
@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_opens_down_to_its_rows_and_they_make_it_up(
    number: str, segment: str, browser: Browser, airflow: AirflowApi, settings: Settings
) -> None:
    name, row_place, column, link = NUMBERS[number]
    page = logged_in(browser, airflow, settings, "admin").page
    page.goto(f"{airflow.url}/regua/panel")
    page.wait_for_selector("html[data-drawn=yes]")
    page.select_option("#segment", segment)
    page.wait_for_selector("html[data-drawn=yes]")
    card = page.locator(f"#card-{name}")
    card.locator("summary").first.click()
    place = card.locator("thead th").all_inner_texts().index(column)
    cell = getattr(card.locator("tbody tr"), row_place).locator("th, td").nth(place)
    shown = cell.inner_text()
    with page.context.expect_page() as opening:
        cell.locator("a").click()
    rows = opening.value
    rows.wait_for_load_state()
    assert link.replace("BRL&", f"BRL&segment={segment}&" if segment else "BRL&") in rows.url
    found = re.search(r"(\d+) de (\d+)", rows.locator("p").first.inner_text())
    assert found
    if name == "aging":
        heads = rows.locator("thead th").all_inner_texts()
        amounts = rows.locator(f"tbody tr > :nth-child({heads.index('em aberto') + 1})").all_inner_texts()
        assert found[1] == found[2]
        assert sum(map(Decimal, amounts)) == amount_of(shown) > 0
    else:
        assert found[2] == str(amount_of(shown))
    assert read_looks(settings)[0].listing.startswith(link.removeprefix("lists/").split("?")[0])
    assert Axe().run(rows).violations_count == 0
