"""What we send, judged by what SendGrid and Twilio publish of their APIs.

The descriptions are public but not ours to ship: the tests run where they lie beside the project, in shared/specs. One
part needs nothing else; the other asks Prism, which needs Node, and is fetched once into the user's cache.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import jsonschema
import pytest
from tests.integration.channels.made_messages import (
    ACCOUNT_SID,
    SECRET,
    SHARED,
    email,
    email_sending,
    sms,
    twilio_sending,
    whatsapp,
    whatsapp_sending,
)

from regua.channels.provider_http import ProviderHttp, Reply
from regua.channels.sendgrid_mail import SendgridMail
from regua.channels.sending import Answer, Outgoing
from regua.channels.twilio_messages import TwilioMessages
from regua.instants import utc_clock

MAIL = SHARED / "specs" / "sendgrid" / "tsg_mail_v3.json"
TWILIO = SHARED / "specs" / "twilio" / "twilio_api_v2010.json"
PRISM_VERSION = "5.14.2"
PRISM_HOME = Path.home() / ".cache" / "regua-prism"

pytestmark = pytest.mark.skipif(
    not (MAIL.is_file() and TWILIO.is_file()), reason=f"the published descriptions are not in {SHARED / 'specs'}"
)


def held() -> Any:
    return utc_clock() + timedelta(minutes=45)


def mail_bodies() -> dict[str, dict[str, Any]]:
    mail, sandbox = SendgridMail(email_sending(), SECRET), SendgridMail(email_sending(sandbox=True), SECRET)
    return {
        "at once": mail.payload(email()),
        "held": mail.payload(email(send_at=held(), batch_id="YWJjZGVmZ2hpamts")),
        "sandbox": sandbox.payload(email()),
    }


class _Recorded(ProviderHttp):
    def request(self, method: str, target: str, headers: Any, body: bytes | None = None, body_bytes: int = 0) -> Reply:
        self.form = {name: values[0] for name, values in parse_qs((body or b"").decode()).items()}
        raise AssertionError("recorded")


def form_of(monkeypatch: pytest.MonkeyPatch, channel_code: str, outgoing: Outgoing) -> dict[str, str]:
    """The form that the SDK makes of a message."""
    recorded = _Recorded("https://api.twilio.com", 1)
    monkeypatch.setattr("regua.channels.twilio_messages.ProviderHttp", lambda *_: recorded)
    sending = whatsapp_sending() if channel_code == "whatsapp" else twilio_sending()
    with pytest.raises(AssertionError, match="recorded"):
        TwilioMessages(channel_code, sending, ACCOUNT_SID, SECRET).send(outgoing)
    return recorded.form


# Without Node


def mail_schema() -> dict[str, Any]:
    description = json.loads(MAIL.read_text(encoding="utf-8"))
    schema = description["components"]["requestBodies"]["PostMailSend"]["content"]["application/json"]["schema"]
    return _closed(schema) | {"components": description["components"]}


def form_schema() -> dict[str, Any]:
    description = json.loads(TWILIO.read_text(encoding="utf-8"))
    operation = description["paths"]["/2010-04-01/Accounts/{AccountSid}/Messages.json"]["post"]
    schema = operation["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
    return _closed(schema) | {"components": description["components"]}


def _closed(schema: Any) -> Any:
    """With every name that is not described refused: a misspelt field would otherwise pass, and do nothing."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(each) for name, each in schema.items()}
    if isinstance(schema.get("properties"), dict):
        closed.setdefault("additionalProperties", False)
    return closed


def test_mail_as_described() -> None:
    schema = mail_schema()
    for body in mail_bodies().values():
        jsonschema.validate(body, schema)


@pytest.mark.parametrize("channel_code", ["sms", "whatsapp"])
@pytest.mark.parametrize("is_held", [False, True])
def test_forms_as_described(monkeypatch: pytest.MonkeyPatch, channel_code: str, is_held: bool) -> None:
    make = sms if channel_code == "sms" else whatsapp
    form = form_of(monkeypatch, channel_code, make(send_at=held() if is_held else None))
    jsonschema.validate(form, form_schema())
    assert form["StatusCallback"] == "https://hooks.nuvemfacil.example/twilio?message_id=m-1"
    assert ("SendAt" in form, form.get("ScheduleType")) == ((True, "fixed") if is_held else (False, None))
    if channel_code == "whatsapp":
        assert form["To"].startswith("whatsapp:+55")
        assert json.loads(form["ContentVariables"])["2"] == 'R$ 10,00 "hoje"'
        assert "Body" not in form
    if is_held:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", form["SendAt"])


def wrong_bodies() -> dict[str, dict[str, Any]]:
    right = mail_bodies()["held"]
    made: dict[str, dict[str, Any]] = {}
    for name, change in {
        "no sender": lambda body: body.pop("from"),
        "no recipient": lambda body: body["personalizations"][0].pop("to"),
        "send_at as text": lambda body: body.update(send_at="2026-06-30T12:00:00Z"),
        "group as text": lambda body: body["asm"].update(group_id="10001"),
        "attachment without a name": lambda body: body["attachments"][0].pop("filename"),
    }.items():
        made[name] = copy.deepcopy(right)
        change(made[name])
    return made


@pytest.mark.parametrize("name", wrong_bodies())
def test_wrong_mail_would_be_seen(name: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong_bodies()[name], mail_schema())


def test_suppression_is_never_bypassed() -> None:
    """Opt-outs win over everything: promise 12."""
    for body in mail_bodies().values():
        assert "bypass" not in json.dumps(body)
        assert body["asm"]["group_id"] == 10001


def test_custom_args_are_opaque() -> None:
    (personalization,) = mail_bodies()["held"]["personalizations"]
    assert set(personalization) == {"to", "custom_args"}
    assert set(personalization["custom_args"]) == {"message_id", "step_code"}


# With Prism


@contextmanager
def prism(description: Path) -> Iterator[str]:
    """A mock of an API that answers by its description and refuses what the description does not allow."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Prism needs Node, which is not installed")
    command = PRISM_HOME / "node_modules" / ".bin" / "prism"
    if not command.exists():
        install = [npm, "install", "--prefix", str(PRISM_HOME), "--no-audit", "--no-fund"]
        done = subprocess.run([*install, f"@stoplight/prism-cli@{PRISM_VERSION}"], capture_output=True, timeout=240)
        if done.returncode != 0 or not command.exists():
            pytest.skip("Prism cannot be fetched from npm")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [str(command), "mock", "--errors", "-p", str(port), "-h", "127.0.0.1", str(description)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, "Prism ended"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def status_of(url: str, body: bytes, headers: dict[str, str]) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=20) as answer:  # noqa: S310
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.timeout(400)
def test_prism_takes_our_mail_and_no_other() -> None:
    with prism(MAIL) as url:
        mail = SendgridMail(email_sending(url, timeout_seconds=20), SECRET)
        assert mail.open_batch()
        for outgoing in (email(), email(send_at=held(), batch_id="YWJjZGVmZ2hpamts")):
            assert mail.send(outgoing).answer is Answer.ACCEPTED
        headers = {"Authorization": f"Bearer {SECRET}", "Content-Type": "application/json"}
        for name, body in wrong_bodies().items():
            assert 400 <= status_of(f"{url}/v3/mail/send", json.dumps(body).encode(), headers) < 500, name


@pytest.mark.timeout(400)
def test_prism_takes_our_texts_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    right = form_of(monkeypatch, "sms", sms(send_at=held()))
    monkeypatch.undo()
    with prism(TWILIO) as url:
        texts = TwilioMessages("sms", twilio_sending(url, timeout_seconds=20), ACCOUNT_SID, SECRET)
        templates = TwilioMessages("whatsapp", whatsapp_sending(url, timeout_seconds=20), ACCOUNT_SID, SECRET)
        for channel, outgoing in ((texts, sms()), (texts, sms(send_at=held())), (templates, whatsapp())):
            assert channel.send(outgoing).answer is Answer.ACCEPTED
        target = f"{url}/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
        headers = {"Authorization": "Basic eDp5", "Content-Type": "application/x-www-form-urlencoded"}
        assert status_of(target, urlencode(right).encode(), headers) < 300
        for wrong in ({"To": None}, {"ScheduleType": "someday"}, {"MessagingServiceSid": "MG1"}):
            form = {name: value for name, value in (right | wrong).items() if value is not None}
            assert 400 <= status_of(target, urlencode(form).encode(), headers) < 500, wrong
