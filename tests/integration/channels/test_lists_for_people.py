"""Letters and calls: whole or absent, once each, and no cell that runs."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.integration.channels.made_messages import CANARY_WORDS, PHONE, content

from regua.channels import print_house
from regua.channels.call_list import CallList
from regua.channels.dispatch_file import DispatchFile, read_dispatch_file
from regua.channels.examples import example
from regua.channels.opening import AllowListed, open_channel
from regua.channels.operator_csv import inert, write_operator_csv
from regua.channels.preview import PreviewChannel
from regua.channels.print_house import PrintHouse, page_count
from regua.channels.sending import Answer, Channel, Outcome, Outgoing, Rendered
from regua.errors import BusyError, InputError

DAY = "2026-06-30"


class Webhook:
    def __init__(self) -> None:
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self.is_busy = False

    def post(self, webhook_id: str, body: dict[str, Any]) -> None:
        if self.is_busy:
            raise BusyError("not now")
        self.posted.append((webhook_id, body))


def call(message_id: str, **changes: Any) -> Outgoing:
    return Outgoing(content("call", message_id, **changes), Rendered(text="Bom dia!\n- fatura"))


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""), delimiter=";"))


def test_the_call_list_is_written_and_told_of_once(tmp_path: Path) -> None:
    webhook: Any = Webhook()
    calls = CallList(tmp_path / "calls", webhook)
    large = replace(example("overdue", "call", "many_invoices"), message_id="b-large")
    for outgoing in (call("a-small"), Outgoing(large, Rendered(text="Olá")), call("a-small")):
        assert calls.send(outgoing).answer is Answer.ACCEPTED
    calls.finish()
    calls.finish()
    path = tmp_path / "calls" / DAY / "ligacoes.csv"
    assert [row["id"] for row in rows(path)] == ["b-large", "a-small"]
    assert rows(path)[1]["telefone"] == f"'{PHONE}"
    ((webhook_id, event),) = webhook.posted
    assert event["data"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not any(word in json.dumps(event).lower() for word in CANARY_WORDS)
    calls.send(call("c-late"))
    calls.finish()
    assert len(rows(path)) == 3
    assert webhook.posted[1][0] != webhook_id


def test_a_receiver_that_is_away_gets_the_same_word_later(tmp_path: Path) -> None:
    webhook: Any = Webhook()
    webhook.is_busy = True
    calls = CallList(tmp_path, webhook)
    calls.send(call("a"))
    with pytest.raises(BusyError):
        calls.finish()
    assert (tmp_path / DAY / "ligacoes.csv").exists(), "the list does not wait for the receiver"
    webhook.is_busy = False
    CallList(tmp_path, webhook).finish()
    assert len(webhook.posted) == 1


def test_only_the_owner_reads_the_lists(tmp_path: Path) -> None:
    CallList(tmp_path / "calls", None).send(call("a"))
    assert (tmp_path / "calls" / DAY).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+55",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "＝1",
        "＋1",
        "－1",
        "＠x",
        " =1",
        "\u3000＝1",
        '=HYPERLINK("x")',
    ],
)
def test_no_cell_is_a_formula(text: str) -> None:
    assert inert(text) == f"'{text}"
    (written,) = csv.reader(
        io.StringIO(write_operator_csv(["a"], [[text]]).decode("utf-8-sig").split("\r\n", 1)[1], newline=""),
        delimiter=";",
    )
    assert written == [f"'{text}"]


@pytest.mark.parametrize("text", ["Ana", "1+1", "a=b", "", "R$ 10,00"])
def test_other_cells_are_left_alone(text: str) -> None:
    assert inert(text) == text


# Letters


@pytest.fixture
def house(tmp_path: Path) -> PrintHouse:
    try:
        return PrintHouse(tmp_path / "letters")
    except InputError as error:
        pytest.skip(str(error))


def letter(message_id: str, pages: int = 1, address: str = "Zuleica\n=Rua 1\n01310-100 São Paulo - SP") -> Outgoing:
    html = "".join(f"<p style='break-after: page'>{message_id} {page}</p>" for page in range(pages - 1))
    made = replace(example("bureau_notice", "letter", "one_invoice"), message_id=message_id, address=address)
    return Outgoing(made, Rendered(text="", html=f"<html><body>{html}<p>fim</p></body></html>"))


def test_each_letter_is_in_one_batch(house: PrintHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(print_house, "_LETTERS_PER_BATCH", 2)
    day = tmp_path / "letters" / DAY
    for outgoing in (letter("a", 2), letter("b"), letter("c", 3), letter("a", 2)):
        assert house.send(outgoing).answer is Answer.ACCEPTED
    house.finish()
    first = {path: path.read_bytes() for path in day.rglob("lote-*/*")}
    assert len(first) == 6
    house.send(letter("d"))
    house.send(letter("a", 2))
    house.finish()
    house.finish()
    batches = sorted(day.glob("lote-*"))
    manifests = [json.loads((batch / "manifest.json").read_text()) for batch in batches]
    assert [[each["id"] for each in manifest["letters"]] for manifest in manifests] == [["a", "b"], ["c"], ["d"]]
    assert {path: path.read_bytes() for path in first} == first, "a batch never changes"
    for batch, manifest in zip(batches, manifests, strict=True):
        for name, digest in manifest["sha256"].items():
            assert hashlib.sha256((batch / name).read_bytes()).hexdigest() == digest
        assert page_count((batch / "cartas.pdf").read_bytes()) == manifest["pages"]
    addresses = rows(batches[0] / "enderecos.csv")
    assert [(row["id"], row["paginas"], row["pagina_inicial"]) for row in addresses] == [
        ("a", "2", "1"),
        ("b", "1", "3"),
    ]
    assert (addresses[0]["linha_3"], addresses[0]["cep"]) == ("'=Rua 1", "01310-100")


def test_an_address_on_one_line_stands_in_the_list_as_in_the_window(house: PrintHouse, tmp_path: Path) -> None:
    """Exports bring it so, the sample's too."""
    address = "Rua das Acácias, 120, Centro, 01310-100 São Paulo - SP"
    assert house.send(letter("a", address=address)).answer is Answer.ACCEPTED
    house.finish()
    [row] = rows(tmp_path / "letters" / DAY / "lote-01" / "enderecos.csv")
    shown = [row[f"linha_{number}"] for number in range(1, 7) if row[f"linha_{number}"]]
    assert len(shown) > 2
    assert " ".join(shown[1:]) == address


def test_a_crash_leaves_no_half_batch(house: PrintHouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house.send(letter("a"))
    written: list[Path] = []

    def fails_at_the_second(path: Path, data: bytes | str) -> None:
        written.append(path)
        if len(written) == 2:
            raise OSError("disk full")
        path.write_bytes(data if isinstance(data, bytes) else data.encode())

    with monkeypatch.context() as patched:
        patched.setattr(print_house, "write_whole", fails_at_the_second)
        with pytest.raises(OSError, match="disk full"):
            house.finish()
    assert list((tmp_path / "letters" / DAY).glob("lote-*")) == []
    house.finish()
    assert [path.name for path in (tmp_path / "letters" / DAY).glob("lote-*")] == ["lote-01"]


@pytest.mark.parametrize("address", ["Zuleica\nRua sem CEP", "01310-100", "\n".join(["linha"] * 7 + ["01310-100"])])
def test_addresses_no_window_can_show(house: PrintHouse, address: str) -> None:
    outcome = house.send(letter("a", address=address))
    assert (outcome.answer, outcome.is_address_fault) == (Answer.REJECTED, True)


# Which channel speaks


@pytest.fixture(scope="module")
def dispatch_file(project_dir: Path) -> DispatchFile:
    return read_dispatch_file(project_dir / "include" / "dispatch.yml")


ENVIRON = {
    "SENDGRID_API_KEY": "k",
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "t",
    "REGUA_ALLOWED_RECIPIENTS": "ana@empresa.example, @nuvemfacil.example",
}
SENDERS = {"email": "sendgrid", "sms": "twilio", "whatsapp": "twilio", "letter": "print_house", "call": "call_list"}


@pytest.mark.parametrize("channel_code", SENDERS)
def test_local_never_reaches_a_provider(channel_code: str, dispatch_file: DispatchFile, tmp_path: Path) -> None:
    assert isinstance(open_channel(channel_code, dispatch_file, "local", tmp_path, ENVIRON), PreviewChannel)


@pytest.mark.parametrize(("channel_code", "sender_code"), SENDERS.items())
def test_production_and_test(channel_code: str, sender_code: str, dispatch_file: DispatchFile, tmp_path: Path) -> None:
    production = open_channel(channel_code, dispatch_file, "production", tmp_path, ENVIRON)
    test = open_channel(channel_code, dispatch_file, "test", tmp_path, ENVIRON)
    assert production.sender_code == test.sender_code == sender_code
    assert (isinstance(production, AllowListed), isinstance(test, AllowListed)) == (False, True)


@pytest.mark.parametrize(
    ("channel_code", "missing"),
    [("email", "SENDGRID_API_KEY"), ("sms", "TWILIO_ACCOUNT_SID"), ("whatsapp", "TWILIO_AUTH_TOKEN")],
)
def test_the_missing_secret_is_named(
    channel_code: str, missing: str, dispatch_file: DispatchFile, tmp_path: Path
) -> None:
    environ = {name: value for name, value in ENVIRON.items() if name != missing}
    with pytest.raises(InputError, match=missing):
        open_channel(channel_code, dispatch_file, "production", tmp_path, environ)


class Reached(Channel):
    sender_code = "reached"

    def send(self, outgoing: Outgoing) -> Outcome:
        return Outcome(Answer.ACCEPTED, "reached")


@pytest.mark.parametrize(
    ("address", "allowed", "is_reached"),
    [
        ("ana@empresa.example", "ana@empresa.example", True),
        ("Ana@Empresa.example", " ana@empresa.example , x@y.example", True),
        ("bia@empresa.example", "@empresa.example", True),
        ("+5511900001234", "+5511900001234", True),
        ("bia@empresa.example", "ana@empresa.example", False),
        ("bia@empresa.example.evil.example", "@empresa.example", False),
        ("bia@sub.empresa.example", "@empresa.example", False),
        ("bia@empresa.example", "empresa.example", False),
        ("+5511900001235", "+5511900001234", False),
        ("+5511900001234", "@", False),
        ("bia@empresa.example", "", False),
    ],
)
def test_only_the_listed_are_reached(address: str, allowed: str, is_reached: bool) -> None:
    outcome = AllowListed(Reached(), allowed).send(Outgoing(content(address=address), Rendered(text="")))
    expected = (Answer.ACCEPTED, "reached") if is_reached else (Answer.REJECTED, "recipient_not_allowed")
    assert (outcome.answer, outcome.reason) == expected
