"""`regua ledger …` as a person types it, over a ledger with messages."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from tests.integration.dispatch.made_plans import House, RememberingChannel, made_message

from regua.channels.sending import Answer, Outcome
from regua.cli import cli


@pytest.fixture
def typed(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REGUA_HOME", str(house.settings.home))
    monkeypatch.setenv("REGUA_ENV", "production")
    if house.settings.ledger_url is not None:
        monkeypatch.setenv("REGUA_LEDGER_URL", house.settings.ledger_url)
    house.plan(made_message(1), made_message(2))
    house.send(RememberingChannel({"C1": [Outcome(Answer.UNKNOWN, "timeout")]}))

    def run(*words: str) -> str:
        done = CliRunner().invoke(cli, ["ledger", *words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    return run


def test_status_tells_counts_the_gate_and_that_the_log_is_whole(typed) -> None:
    told = typed("status")
    for part in ("accepted", "unknown", "timeout", "gate green", "of unknown fate, all days: 1", "event log: whole"):
        assert part in told


def test_unknowns_are_listed_and_settled(house: House, typed) -> None:
    message_id = house.message_of("C1").message_id
    assert message_id in typed("unknowns")
    typed("settle", message_id, "sent", "--author", "ana", "--reason", "the log of the provider shows it")
    assert house.states()["C1"].startswith("settled_sent")
    assert message_id not in typed("unknowns")


def test_the_history_of_a_customer_tells_each_message_and_event(typed) -> None:
    told = typed("history", "C2")
    assert "overdue_email: accepted" in told
    assert [line.split()[2] for line in told.splitlines()[1:]] == ["planned", "claimed", "accepted"]
    assert "holds no message" in typed("history", "C9")


def test_a_payment_told_by_hand_is_noted_once(typed) -> None:
    assert "is noted" in typed("paid", "I9", "PIX-1", "--author", "ana")
    assert "noted before" in typed("paid", "I9", "PIX-1", "--author", "ana")


def test_stop_and_resume(house: House, typed) -> None:
    assert "0 messages in 0 batches" in typed("stop", "--author", "ana", "--reason", "wrong text")
    assert house.settings.stop_path.exists()
    assert "Sending is stopped" in typed("status")
    typed("resume", "--author", "ana", "--reason", "mended")
    assert not house.settings.stop_path.exists()
    assert "Sending is stopped" not in typed("status")
