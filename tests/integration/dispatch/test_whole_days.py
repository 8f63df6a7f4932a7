"""A day from the night's decisions to the providers: the night, the plan, its gate and the dispatch as they are run."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
import sqlalchemy as sa
import yaml
from tests.conftest import PROJECT_DIR
from tests.faults.provider_process import ProviderProcess, running_provider

from regua.dispatch.daily import Dispatch, dispatch_day, judge_plan, plan_day, recall_what_must_not_go
from regua.errors import InputError
from regua.ledger.database import open_ledger
from regua.ledger.messages import MESSAGES, PLANS, STEPS
from regua.nightly.stages import Night, run_night
from regua.quality.gate import RedGateError
from regua.sample.portfolio import write_sample
from regua.settings import Settings, load_settings

DAY = date(2026, 6, 30)
FIVE = datetime.fromisoformat("2026-06-30 05:00")
TEN = datetime.fromisoformat("2026-06-30 13:00")
SECRETS = {"SENDGRID_API_KEY": "SG.key", "TWILIO_ACCOUNT_SID": f"AC{'0' * 32}", "TWILIO_AUTH_TOKEN": "token"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Clock:
    """Stands at an instant; each look is a millisecond later, as nothing happens at once."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home after the night of DAY; each test has a copy."""
    home = tmp_path_factory.mktemp("night") / "home"
    settings = load_settings({"REGUA_HOME": str(home), "REGUA_ENV": "production"})
    # Of so few customers, those of this seed are to get a letter on the day.
    write_sample(settings, customers=250, months=6, as_of=DAY, seed=2)
    run_night(settings, Night(DAY, None, "night"), Clock(FIVE))
    return home


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[ProviderProcess]:
    # It holds batches by its own clock, which is not that of the day.
    with running_provider(tmp_path / "taken.jsonl", "--cancel-before-seconds", "-1000000000") as running:
        yield running


@pytest.fixture
def settings(night: Path, provider: ProviderProcess, tmp_path: Path) -> Settings:
    shutil.copytree(night, tmp_path / "home")
    written = yaml.safe_load((PROJECT_DIR / "include" / "dispatch.yml").read_text(encoding="utf-8"))
    for channel_code in ("email", "sms", "whatsapp"):
        written["channels"][channel_code] |= {"api_url": provider.url, "connections": 8}
    for channel_code in ("sms", "whatsapp"):
        written["channels"][channel_code]["status_callback_url"] = "https://regua.nuvemfacil.example/twilio/status"
    codes = ("overdue", "first_delay", "reminder")
    written["channels"]["whatsapp"]["content_sids"] = dict.fromkeys(codes, f"HX{'0' * 32}")
    dispatch_path = tmp_path / "dispatch.yml"
    dispatch_path.write_text(yaml.safe_dump(written, allow_unicode=True), encoding="utf-8")
    environ = {"REGUA_HOME": str(tmp_path / "home"), "REGUA_ENV": "production"}
    return load_settings(environ | {"REGUA_DISPATCH_FILE": str(dispatch_path)})


def dispatch(settings: Settings, clock: Clock, run_id: str = "run") -> Dispatch:
    return dispatch_day(settings, DAY, clock, run_id=run_id, environ=SECRETS)


def states(settings: Settings) -> Counter[tuple[str, str]]:
    with open_ledger(settings) as engine, engine.connect() as connection:
        rows = connection.execute(sa.select(MESSAGES.c.channel_code, MESSAGES.c.state_code))
        return Counter((row.channel_code, row.state_code) for row in rows)


def test_everything_decided_goes_out_once_through_the_channel_it_was_decided_for(
    settings: Settings, provider: ProviderProcess
) -> None:
    clock = Clock(TEN)
    plan = plan_day(settings, DAY, clock)
    assert plan.message_count > 50
    judge_plan(settings, DAY, clock)
    dispatch(settings, clock)
    again = dispatch(settings, clock, "again")
    assert all(report.attempted == 0 for report in again.reports)
    taken = Counter(provider.taken())
    assert set(taken.values()) == {1}
    with duckdb.connect(str(settings.warehouse_path), read_only=True) as warehouse:
        decided = dict(
            warehouse.execute(
                "select message_id, channel_code from marts.fct_dunning_messages where as_of_date = ?", [DAY]
            ).fetchall()
        )
    assert set(taken) <= set(decided)
    found = states(settings)
    by_provider = found["email", "accepted"] + found["sms", "accepted"]
    assert by_provider == len([key for key in taken if decided[key] in ("email", "sms")])
    assert {state for _, state in found} <= {"accepted", "suppressed", "rejected"}
    assert found["letter", "accepted"] > 0
    assert list((settings.home / "outbox").rglob("*.pdf"))
    assert found["call", "accepted"] > 0
    assert list((settings.home / "outbox").rglob("*.csv"))


def test_who_paid_after_the_night_is_written_to_neither_by_what_is_planned_nor_by_what_is_held(
    settings: Settings, provider: ProviderProcess
) -> None:
    clock = Clock(TEN)
    plan_day(settings, DAY, clock)
    judge_plan(settings, DAY, clock)
    payers = _email_invoices(settings)
    before, after = payers[0], payers[1]
    _pays(settings, "1", before)
    dispatch(settings, clock)
    assert _message_of(settings, before).state_code == "cancelled_paid"
    held = _message_of(settings, after)
    assert held.state_code == "accepted"
    _pays(settings, "2", after)
    clock.now += timedelta(minutes=15)
    dispatch(settings, clock, "later")
    assert _message_of(settings, after).state_code == "cancelled_paid"
    released = provider.released((TEN + timedelta(days=1)).timestamp() + 10**9)
    assert not {held.message_id, _message_of(settings, before).message_id} & set(released)


def test_a_red_plan_sends_nothing_and_says_why(settings: Settings, provider: ProviderProcess) -> None:
    clock = Clock(TEN)
    plan_day(settings, DAY, clock)
    with open_ledger(settings) as engine, engine.begin() as connection:
        yesterday = {"as_of_date": DAY - timedelta(days=1), "message_count": 1, "gate_code": "green"}
        given = {"known_at": FIVE, "planned_at": FIVE, "known_fact_numbers": {}, "content_sha256": ""}
        connection.execute(sa.insert(PLANS).values(**yesterday, **given))
    written = yaml.safe_load(settings.dispatch_path.read_text(encoding="utf-8"))
    written["volume"] = {"plans": 10, "at_most_times": 1.5, "from_messages": 10}
    settings.dispatch_path.write_text(yaml.safe_dump(written, allow_unicode=True), encoding="utf-8")
    with pytest.raises(RedGateError, match="plan_volume_is_plausible"):
        judge_plan(settings, DAY, clock)
    with pytest.raises(InputError, match="has not passed its gate"):
        dispatch(settings, clock)
    assert provider.taken() == []


def test_another_day_and_another_environment_are_refused(settings: Settings, provider: ProviderProcess) -> None:
    with pytest.raises(InputError, match="only the plan of today"):
        plan_day(settings, DAY, Clock(TEN + timedelta(days=1)))
    plan_day(settings, DAY, Clock(TEN))
    trial = load_settings({"REGUA_HOME": str(settings.home), "REGUA_ENV": "local"})
    with pytest.raises(InputError, match="environment production"):
        plan_day(trial, DAY, Clock(TEN))
    assert provider.taken() == []


def test_a_stop_file_alone_stops_the_day_and_the_next_look_recalls_what_is_held(
    settings: Settings, provider: ProviderProcess
) -> None:
    clock = Clock(TEN)
    plan_day(settings, DAY, clock)
    judge_plan(settings, DAY, clock)
    dispatch_day(settings, DAY, clock, run_id="run", channel_codes=["email"], environ=SECRETS)
    settings.stop_path.write_text("by hand", encoding="utf-8")
    with pytest.raises(InputError, match="Sending is stopped"):
        dispatch_day(settings, DAY, clock, run_id="stopped", channel_codes=["sms"], environ=SECRETS)
    recalled = recall_what_must_not_go(settings, clock, SECRETS)
    assert recalled.recalled == states(settings)["email", "suppressed"] > 0
    assert states(settings)["email", "accepted"] == 0
    assert recalled.unconfirmed_batch_ids == ()


def _email_invoices(settings: Settings) -> list[str]:
    """Invoices of two customers with an e-mail on the plan, one each."""
    with duckdb.connect(str(settings.warehouse_path), read_only=True) as warehouse:
        rows = warehouse.execute(
            "select min(lines.invoice_id) from marts.fct_dunning_message_lines as lines "
            "inner join marts.fct_dunning_messages as messages using (as_of_date, message_id) "
            "where as_of_date = ? and messages.channel_code = 'email' and messages.line_count = 1 "
            "group by messages.contact_customer_id order by 1 limit 2",
            [DAY],
        ).fetchall()
    return [row[0] for row in rows]


def _message_of(settings: Settings, invoice_id: str) -> sa.Row[tuple[object, ...]]:
    with open_ledger(settings) as engine, engine.connect() as connection:
        query = (
            sa.select(MESSAGES)
            .join(STEPS, STEPS.c.message_id == MESSAGES.c.message_id)
            .where(STEPS.c.invoice_id == invoice_id, MESSAGES.c.channel_code == "email")
        )
        return connection.execute(query).one()


def _pays(settings: Settings, number: str, invoice_id: str) -> None:
    """A file of the day, in the form of the sample's own."""
    content = (
        "recebimento,titulo,data_pagamento,data_registro,valor_recebido,meio,data_estorno\n"
        f"HOJE-{number},{invoice_id},{DAY},{DAY},10.00,PIX,\n"
    ).encode()
    path = settings.inbox / "sample" / f"payments_{DAY}_{number}.csv"
    path.write_bytes(content)
    manifest = {"sha256": hashlib.sha256(content).hexdigest(), "rows": 1}
    path.with_name(f"{path.name}.manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
