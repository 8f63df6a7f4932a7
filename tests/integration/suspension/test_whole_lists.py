"""Two days of lists as people type them: proved, published, held, approved, given back, corrected."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml
from click.testing import CliRunner
from tests.conftest import PROJECT_DIR

from regua.cli import cli
from regua.dispatch.daily import plan_day
from regua.ledger.database import open_ledger
from regua.ledger.event_log import broken_link
from regua.ledger.suspensions import LISTINGS, PROPOSALS, PUBLICATIONS
from regua.nightly.stages import Night, run_night
from regua.sample.portfolio import write_sample
from regua.settings import Settings, load_settings
from regua.suspension.artefacts import verify
from regua.suspension.bureau import removals_at_risk
from regua.suspension.ledger_state import read_standings
from regua.suspension.proving import prove
from regua.suspension.publishing import publish

EVE = date(2026, 6, 29)
_PERSONAL = ("NOME_RAZAO_SOCIAL", "EMAIL", "TELEFONE", "CNPJ_CPF")
DAY = date(2026, 6, 30)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Clock:
    """Stands at an instant; each look is a millisecond later."""

    def __init__(self, now: str) -> None:
        self.now = datetime.fromisoformat(now)

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now


@pytest.fixture(scope="module")
def two_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home after the list of the first day and the night of the second."""
    home = tmp_path_factory.mktemp("two_days") / "home"
    settings = load_settings({"REGUA_HOME": str(home)})
    write_sample(settings, customers=400, months=8, as_of=DAY, seed=1)
    run_night(settings, Night(EVE, None, "eve"), Clock("2026-06-29 05:00"))
    plan_day(settings, EVE, Clock("2026-06-29 06:00"))
    proposal = prove(settings, EVE, Clock("2026-06-29 06:10"))
    publish(settings, proposal.number, Clock("2026-06-29 06:20"))
    run_night(settings, Night(DAY, None, "day"), Clock("2026-06-30 05:00"))
    plan_day(settings, DAY, Clock("2026-06-30 06:00"))
    return home


@pytest.fixture
def home(two_days: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    shutil.copytree(two_days, tmp_path / "home", symlinks=True)
    written = yaml.safe_load((PROJECT_DIR / "include" / "suspension.yml").read_text(encoding="utf-8"))
    written |= {"webhooks": [], "targets": [{"code": "ops", "url": str(tmp_path / "ops")}]}
    suspension_path = tmp_path / "suspension.yml"
    suspension_path.write_text(yaml.safe_dump(written), encoding="utf-8")
    environ = {
        "REGUA_ENV": "local",
        "REGUA_HOME": str(tmp_path / "home"),
        "REGUA_SUSPENSION_FILE": str(suspension_path),
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return load_settings(environ)


@pytest.fixture
def typed(home: Settings) -> Callable[..., str]:
    def run(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(cli, ["suspensions", *words])
        if code:
            assert done.exception is not None
            return str(done.exception)
        assert done.exit_code == 0, (done.output, done.exception)
        return done.output

    return run


def listed(settings: Settings, stem: str) -> list[dict[str, str]]:
    with (settings.suspensions_dir / f"suspensions_{stem}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def pays(settings: Settings, invoice_id: str, amount: str) -> None:
    """A file of the day, in the form of the sample's own."""
    content = (
        "recebimento,titulo,data_pagamento,data_registro,valor_recebido,meio,data_estorno\n"
        f"HOJE-{invoice_id},{invoice_id},{DAY},{DAY},{amount},PIX,\n"
    ).encode()
    path = settings.inbox / "sample" / f"payments_{DAY}_{invoice_id}.csv"
    path.write_bytes(content)
    manifest = {"sha256": hashlib.sha256(content).hexdigest(), "rows": 1}
    path.with_name(f"{path.name}.manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_the_first_list_of_all_takes_access_from_nobody(home: Settings) -> None:
    assert listed(home, str(EVE)) == []
    assert listed(home, f"{EVE}_changes") == []
    assert len(listed(home, f"{EVE}_banner")) > 20
    with open_ledger(home) as engine, engine.connect() as connection:
        assert {entry.standing_code for entry in read_standings(connection).values()} == {"notice"}


def test_above_the_cap_a_person_is_asked_and_what_was_approved_is_a_sequence_of_its_own(
    home: Settings, typed: Callable[..., str]
) -> None:
    told = typed("publish", "--as-of", str(DAY))
    assert "novas suspensões, e o limite é 20" in told
    assert listed(home, str(DAY)) == []
    [number] = typed("waiting").split()
    assert "Perdem o acesso" in typed("proposal", number)
    typed("approve", number, "--author", "ana")
    approved = listed(home, f"{DAY}_e2")
    assert len(approved) > 20
    assert {row["standing_code"] for row in approved} == {"suspended"}
    assert all(row["notice_id"] and row["billing_hint_code"] == "stop_invoicing" for row in approved)
    changes = listed(home, f"{DAY}_e2_changes")
    assert {(row["change_code"], row["has_access"]) for row in changes} == {("suspend", "false")}
    assert {row["subscription_id"] for row in changes} == {row["subscription_id"] for row in approved}
    for edition in ("", "_e2"):
        manifest = home.suspensions_dir / f"suspensions_{DAY}{edition}_manifest.json"
        assert "6 files are whole" in typed("verify", str(manifest))
    with open_ledger(home) as engine, engine.connect() as connection:
        rows = connection.execute(sa.select(PUBLICATIONS).order_by(PUBLICATIONS.c.sequence)).all()
        decided = connection.execute(sa.select(PROPOSALS).where(PROPOSALS.c.proposal_number == int(number))).one()
    assert [(row.kind_code, row.author_id) for row in rows] == [("daily", None), ("daily", None), ("approved", "ana")]
    assert (decided.state_code, decided.decided_by) == ("approved", "ana")
    assert decided.decided_at is not None
    assert "nothing of it waits" not in typed("approve", number, "--author", "bia"), "approved once, told twice"
    assert typed("waiting") == ""
    with open_ledger(home) as engine:
        assert broken_link(engine) is None


def test_a_refusal_is_kept_and_nothing_more_is_published(home: Settings, typed: Callable[..., str]) -> None:
    typed("publish", "--as-of", str(DAY))
    [number] = typed("waiting").split()
    typed("reject", number, "--author", "ana")
    assert "is rejected" in typed("approve", number, "--author", "bia", code=1)
    assert not list(home.suspensions_dir.glob("*_e2*"))
    assert typed("waiting") == ""


def test_a_day_is_published_once_and_a_correction_says_who_and_why(home: Settings, typed: Callable[..., str]) -> None:
    typed("publish", "--as-of", str(DAY))
    before = {path.name: path.read_bytes() for path in home.suspensions_dir.glob("*.*")}
    assert "A correction is a sequence of its own" in typed("publish", "--as-of", str(DAY), code=1)
    assert "was published (sequence 2)" in typed("publish", "--as-of", str(DAY), "--once")
    told = typed("correct", "--as-of", str(DAY), "--author", "ana", "--reason", "um acordo faltava")
    assert "(correction)" in told
    assert {name: (home.suspensions_dir / name).read_bytes() for name in before} == before
    assert verify(home.suspensions_dir, f"suspensions_{DAY}_e2_manifest.json").publication.kind_code == "correction"
    assert "um acordo faltava" not in (home.suspensions_dir / f"suspensions_{DAY}_e2_manifest.json").read_text()
    assert "correction by ana" in typed("status")


def test_who_pays_during_the_day_has_access_again_once_and_the_files_reach_ops(
    home: Settings, typed: Callable[..., str], tmp_path: Path
) -> None:
    typed("publish", "--as-of", str(DAY))
    [number] = typed("waiting").split()
    typed("approve", number, "--author", "ana")
    assert "Nobody is to be given access back" in typed("refresh")
    with open_ledger(home) as engine, engine.connect() as connection:
        standings = read_standings(connection)
    shut = next(one for one in standings.values() if len(one.debt.suspending_invoice_ids) == 1 and not one.has_access)
    pays(home, shut.debt.suspending_invoice_ids[0], "10.00")
    assert "0 suspended, 1 given back" in typed("refresh")
    assert "Nobody is to be given access back" in typed("refresh")
    [back] = [row for row in listed(home, f"{DAY}_e3_changes") if row["change_code"] == "reactivate"]
    assert (back["subscription_id"], back["reason_code"], back["has_access"]) == (
        shut.subscription_id, "payment_received", "true",
    )  # fmt: skip
    assert shut.subscription_id not in {row["subscription_id"] for row in listed(home, f"{DAY}_e3")}
    assert [line.split(": ")[1] for line in typed("show", shut.subscription_id).splitlines()] == [
        "regular → notice (no change of access, over_threshold)",
        "notice → suspended (suspend, over_threshold)",
        "suspended → reactivated (reactivate, payment_received)",
    ]
    (tmp_path / "ops").mkdir()
    assert "4 lists copied" in typed("deliver")
    assert "0 lists copied" in typed("deliver")
    assert verify(tmp_path / "ops", f"suspensions_{DAY}_e3_manifest.json").sequence == 4
    typed("workbook", str(tmp_path / "lista.xlsx"))
    assert (tmp_path / "lista.xlsx").stat().st_mode & 0o077 == 0


def test_a_debt_that_is_paid_comes_off_the_bureau_by_the_fifth_business_day(
    home: Settings, typed: Callable[..., str]
) -> None:
    typed("publish", "--as-of", str(DAY))
    for number in typed("waiting").split():
        typed("approve", number, "--author", "ana")
    with open_ledger(home) as engine, engine.connect() as connection:
        listing = connection.execute(sa.select(LISTINGS).order_by(LISTINGS.c.invoice_id).limit(1)).one()
    assert listing.invoice_id in typed("listed")
    pays(home, listing.invoice_id, str(listing.balance_amount))
    clock = Clock("2026-06-30 15:00")
    run_night(home, Night(DAY, None, "again"), clock)
    plan_day(home, DAY, clock)
    typed("correct", "--as-of", str(DAY), "--author", "ana", "--reason", "um pagamento chegou")
    newest = sorted(home.suspensions_dir.glob("*_bureau_removals.csv"), key=lambda path: path.stat().st_mtime_ns)[-1]
    with newest.open(encoding="utf-8", newline="") as file:
        [removal] = [row for row in csv.DictReader(file) if row["invoice_id"] == listing.invoice_id]
    # Paid on Tuesday, 30 June 2026.
    assert (removal["removal_reason_code"], removal["remove_by_date"]) == ("paid", "2026-07-07")
    assert [one.candidate.invoice_id for one in removals_at_risk(home, Clock("2026-07-02 12:00"))] == []
    at_risk = removals_at_risk(home, Clock("2026-07-03 12:00"))
    assert [one.candidate.invoice_id for one in at_risk] == [listing.invoice_id]
    assert f"remove by {removal['remove_by_date']} (paid)" in typed("listed")
    assert "Not listed" in typed("removed", listing.invoice_id, "nobody", "--author", "ana", code=1)
    typed("removed", listing.invoice_id, "--author", "ana")
    assert listing.invoice_id not in typed("listed")
    assert removals_at_risk(home, Clock("2026-07-08 12:00")) == []


def test_no_personal_data_leaves_in_machine_files_but_the_link_by_which_one_pays(
    home: Settings, typed: Callable[..., str]
) -> None:
    typed("publish", "--as-of", str(DAY))
    typed("approve", typed("waiting").strip(), "--author", "ana")
    with (home.inbox / "sample" / f"customers_{DAY}.csv").open(encoding="cp1252", newline="") as file:
        people = list(csv.DictReader(file, delimiter=";"))
    words = [
        value for row in people for name, value in row.items() if name in ("NOME", "EMAIL", "TELEFONE", "CPF_CNPJ")
    ]
    assert len(words) > 300
    written = "".join(path.read_text(encoding="utf-8") for path in home.suspensions_dir.glob("*.*"))
    assert not [word for word in words if word and len(word) > 4 and word in written]
