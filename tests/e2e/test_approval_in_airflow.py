"""What is above the caps waits in a real Airflow for a person's word: nothing else publishes it, silence least of all.

The DAG and its tasks are those of production. Only the wait of six hours is one of seconds where nobody answers.
"""

from __future__ import annotations

import base64
import csv
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
import yaml
from playwright.sync_api import expect, sync_playwright
from tests.conftest import PROJECT_DIR
from tests.e2e.airflow_process import AirflowApi, Run, starting_airflow
from tests.e2e.test_emails_in_a_browser import CHROMIUM

from regua.dispatch.daily import plan_day
from regua.instants import utc_clock
from regua.ledger.database import open_ledger
from regua.ledger.suspensions import PROPOSALS, PUBLICATIONS, STANDINGS
from regua.nightly.stages import Night, run_night
from regua.sample.portfolio import write_sample
from regua.settings import Settings, load_settings
from regua.suspension.proving import prove
from regua.suspension.publishing import publish

EVE = date(2026, 6, 29)
DAY = date(2026, 6, 30)
DAG = "suspensions_publish"
# The same, but that it waits for seconds.
UNANSWERED = "suspensions_unanswered"
SIX_HOURS = "response_timeout=timedelta(hours=6)"

# Of the first, which also makes the nights and starts Airflow.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Product:
    """Takes all webhooks, and keeps of whom each says what."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        product = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                product.told.append((event["type"], event["data"]["subscription_id"]))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def suspended(self) -> set[str]:
        return {subscription_id for type_code, subscription_id in self.told if type_code == "customer.suspended"}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class House:
    """An Airflow, and the home that its tasks work in."""

    api: AirflowApi
    settings: Settings
    product: Product
    runs: list[Run] = field(default_factory=list)

    def start(self, dag_id: str = DAG) -> Run:
        run = self.api.start(dag_id)
        self.runs.append(run)
        return run

    def asks(self) -> Run:
        """A run that waits for a person."""
        run = self.start()
        run.waits("approve")
        return run

    def rows(self, table: sa.Table) -> list[Any]:
        with open_ledger(self.settings) as engine, engine.connect() as connection:
            return list(connection.execute(sa.select(table).order_by(table.primary_key.columns[0])))

    def proposal(self) -> Any:
        return self.rows(PROPOSALS)[-1]

    def kinds(self) -> list[str]:
        return [row.kind_code for row in self.rows(PUBLICATIONS)]

    def without_access(self) -> set[str]:
        """Who has no access by the ledger; the newest list says the same."""
        by_ledger = {row.subscription_id for row in self.rows(STANDINGS) if not row.has_access}
        newest = self.rows(PUBLICATIONS)[-1]
        manifest = self.settings.suspensions_dir / newest.file_names[-1]
        with (manifest.with_name(manifest.name.replace("_manifest.json", ".csv"))).open(encoding="utf-8") as file:
            assert {row["subscription_id"] for row in csv.DictReader(file)} == by_ledger
        return by_ledger

    def alerts(self) -> str:
        return (self.settings.home / "alerts.jsonl").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def product() -> Iterator[Product]:
    running = Product()
    yield running
    running.close()


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, product: Product) -> Iterator[tuple[AirflowApi, Path, Path]]:
    """An Airflow, the home it works in, and that home as it is when the night and the plan of DAY are there."""
    folder = tmp_path_factory.mktemp("approval")
    dags_dir = folder / "dags"
    dags_dir.mkdir()
    source = (PROJECT_DIR / "dags" / f"{DAG}.py").read_text(encoding="utf-8")
    assert source.count(SIX_HOURS) == 1
    soon = source.replace(SIX_HOURS, "response_timeout=timedelta(seconds=5)").replace(DAG, UNANSWERED)
    (dags_dir / f"{DAG}.py").write_text(source, encoding="utf-8")
    (dags_dir / f"{UNANSWERED}.py").write_text(soon, encoding="utf-8")
    written = yaml.safe_load((PROJECT_DIR / "include" / "suspension.yml").read_text(encoding="utf-8"))
    written["webhooks"] = [{"code": "product", "url": product.url}]
    (folder / "suspension.yml").write_text(yaml.safe_dump(written), encoding="utf-8")
    environ = {
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags_dir),
        "REGUA_ENV": "local",
        "REGUA_SUSPENSION_FILE": str(folder / "suspension.yml"),
        "REGUA_WEBHOOK_SECRET": "whsec_" + base64.b64encode(bytes(32)).decode(),
    }
    home = folder / "home"
    with starting_airflow(home, environ) as ready:
        prepared = folder / "prepared"
        _make_two_nights(load_settings(environ | {"REGUA_HOME": str(prepared)}))
        yield ready(), home, prepared


@pytest.fixture
def house(airflow: tuple[AirflowApi, Path, Path], product: Product) -> Iterator[House]:
    """DAY before anything of it is published: between runs no process holds a file of the home open."""
    api, home, prepared = airflow
    for path in home.iterdir():
        if path.name == "airflow":
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    shutil.copytree(prepared, home, dirs_exist_ok=True)
    product.told.clear()
    found = House(api, load_settings({"REGUA_HOME": str(home), "REGUA_ENV": "local"}), product)
    yield found
    for run in found.runs:
        run.abandon()


def _make_two_nights(settings: Settings) -> None:
    """On the list of EVE everybody is in notice at most, as no step is skipped; those of DAY are above the caps."""
    write_sample(settings, customers=600, months=12, as_of=DAY, seed=1)
    for day in (EVE, DAY):
        run_night(settings, Night(day, None, "night"), utc_clock)
        plan_day(settings, day, utc_clock)
        if day == EVE:
            publish(settings, prove(settings, day, utc_clock).number, utc_clock)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: `apt install chromium` to see a person click")
def test_a_no_in_the_interface_publishes_nothing_and_keeps_who_said_it(house: House, tmp_path: Path) -> None:
    """docs/images/approval.png is the picture that this leaves in its temporary folder."""
    run = house.asks()
    before = house.kinds()
    _click(run, "Reject", tmp_path / "approval.png")
    assert run.ends() == "failed"
    states = run.states()
    assert (states["approve"], states["publish_approved"]) == ("failed", "upstream_failed")
    proposal = house.proposal()
    assert (proposal.state_code, proposal.decided_by) == ("rejected", "admin")
    assert proposal.decided_at is not None
    _nothing_more(house, before)
    assert "approve failed" in house.alerts()


def test_a_yes_publishes_what_was_held_with_who_said_so_and_when_and_once(house: House) -> None:
    run = house.asks()
    proposal, daily = house.proposal(), house.rows(PUBLICATIONS)[-1]
    held = set(proposal.content["proved_subscription_ids"])
    assert len(held) > 20
    assert (daily.as_of_date, daily.kind_code, daily.suspended_count) == (DAY, "daily", 0)
    assert daily.held_count == proposal.held_count >= len(held)
    assert daily.placed_at is not None
    assert house.without_access() == house.product.suspended() == set()

    question = run.question("approve")
    assert question["subject"] == "Suspensões acima do limite: podem ser publicadas?"
    assert question["body"] == proposal.content["summary"]
    assert f"{len(held)} novas suspensões" in question["body"]
    assert question["options"] == ["Approve", "Reject"]
    assert question["defaults"] is None

    run.answer("approve", "Approve")
    assert run.ends() == "success", run.troubles()
    answered = datetime.fromisoformat(run.question("approve")["responded_at"]).replace(tzinfo=None)
    proposal, approved = house.proposal(), house.rows(PUBLICATIONS)[-1]
    assert (proposal.state_code, proposal.decided_by, proposal.decided_at) == ("approved", "admin", answered)
    assert house.kinds() == ["daily", "daily", "approved"]
    assert (approved.author_id, approved.suspended_count, approved.held_count) == ("admin", len(held), 0)
    assert house.without_access() == house.product.suspended() == held

    run.clear(["publish", "publish_approved"])
    assert run.ends() == "success", run.troubles()
    assert "sequence 2 of" in run.log("publish", attempt=2)
    assert "sequence 3 of" in run.log("publish_approved", attempt=2)
    again = house.start()
    assert again.ends() == "success", again.troubles()
    states = again.states()
    assert (states["give_back"], states["prove"], states["publish"]) == ("success", "skipped", "skipped")
    assert f"The list of {DAY} was published" in again.log("prove")
    assert house.kinds() == ["daily", "daily", "approved"]
    assert house.product.suspended() == held


def test_no_answer_publishes_nothing_and_ends_red(house: House) -> None:
    run = house.start(UNANSWERED)
    assert run.ends() == "failed"
    states = run.states()
    assert (states["publish"], states["approve"]) == ("success", "failed")
    assert (states["publish_approved"], states["hand_over"]) == ("upstream_failed", "success")
    proposal = house.proposal()
    assert (proposal.state_code, proposal.decided_by) == ("published", None)
    _nothing_more(house, ["daily", "daily"])
    assert "approve failed" in house.alerts()


def test_a_task_that_is_marked_a_success_is_no_yes_and_asks_again_when_it_is_cleared(house: House) -> None:
    run = house.asks()
    before = house.kinds()
    run.mark("approve", "success")
    assert run.ends() == "failed"
    states = run.states()
    assert (states["approve"], states["publish_approved"]) == ("success", "failed")
    assert "Nobody has approved this list" in run.log("publish_approved")
    proposal = house.proposal()
    assert (proposal.state_code, proposal.decided_by) == ("published", None)
    _nothing_more(house, before)
    run.clear(["approve", "publish_approved", "hand_over_approved"])
    run.waits("approve", attempt=2)
    run.answer("approve", "Approve")
    assert run.ends() == "success", run.troubles()
    assert house.kinds() == [*before, "approved"]


def _nothing_more(house: House, kinds: list[str]) -> None:
    assert house.proposal().held_count > 20
    assert house.kinds() == kinds
    assert house.without_access() == house.product.suspended() == set()


def _click(run: Run, option: str, picture: Path) -> None:
    """What the operator does: log in, read what is asked of the task, choose."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": 1280, "height": 1460}, locale="pt-BR", timezone_id="America/Sao_Paulo"
        )
        page.set_default_timeout(60_000)
        page.goto(f"{run.api.url}/auth/login")
        page.fill("input[name=username]", "admin")
        page.fill("input[name=password]", run.api.password)
        page.click("button[type=submit]")
        page.wait_for_url(f"{run.api.url}/")
        page.goto(f"{run.api.url}/dags/{run.dag_id}/runs/{quote(run.run_id)}/tasks/approve/required_actions")
        button = page.get_by_role("button", name=option, exact=True)
        expect(button).to_be_enabled(timeout=60_000)
        # The summary is laid out as tables, not shown as text with pipes.
        expect(page.get_by_role("cell", name="Perdem o acesso").first).to_be_visible()
        page.screenshot(path=picture)
        with page.expect_response("**/hitlDetails") as answer:
            button.click()
        assert answer.value.ok
        browser.close()
