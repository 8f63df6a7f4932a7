"""What a preview writes is what would have been sent, and the same message is the same bytes."""

from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from regua.channels.dispatch_file import DispatchFile, read_dispatch_file
from regua.channels.examples import example
from regua.channels.letter_pdf import letter_pdf, letters_pdf
from regua.channels.preview import PreviewChannel
from regua.channels.rendering import TEMPLATES_DIR, Renderer
from regua.channels.sending import Answer, Outgoing, Rendered
from regua.cli import cli
from regua.errors import InputError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def dispatch_file() -> DispatchFile:
    return read_dispatch_file(ROOT / "include" / "dispatch.yml")


def outgoing(dispatch_file: DispatchFile, template_code: str, channel_code: str, case: str = "one_invoice") -> Outgoing:
    content = example(template_code, channel_code, case)
    return Outgoing(content, Renderer(TEMPLATES_DIR, dispatch_file).render(content))


def previewed(folder: Path, dispatch_file: DispatchFile) -> dict[str, bytes]:
    for template_code, channel_code in (
        ("overdue", "email"),
        ("overdue", "sms"),
        ("first_delay", "whatsapp"),
        ("offer", "call"),
        ("bureau_notice", "letter"),
    ):
        channel = PreviewChannel(channel_code, folder, dispatch_file)
        message = outgoing(dispatch_file, template_code, channel_code)
        outcome = channel.send(message)
        assert outcome.answer is Answer.ACCEPTED
        assert outcome.provider_message_id == f"preview:{message.content.message_id}"
        channel.finish()
        channel.finish()
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_channel_leaves_its_files_and_an_index(tmp_path: Path, dispatch_file: DispatchFile) -> None:
    files = previewed(tmp_path, dispatch_file)
    assert set(files) == {
        "2026-06-30/index.html",
        "2026-06-30/email/one_invoice_overdue_email.eml",
        "2026-06-30/email/one_invoice_overdue_email.html",
        "2026-06-30/sms/one_invoice_overdue_sms.txt",
        "2026-06-30/whatsapp/one_invoice_first_delay_whatsapp.txt",
        "2026-06-30/call/one_invoice_offer_call.txt",
        "2026-06-30/letter/one_invoice_bureau_notice_letter.pdf",
    }
    index = files["2026-06-30/index.html"].decode()
    assert all(path.removeprefix("2026-06-30/") in index for path in files if "index" not in path)
    assert b"cid:" not in files["2026-06-30/email/one_invoice_overdue_email.html"]


def test_the_same_night_gives_the_same_bytes(tmp_path: Path, dispatch_file: DispatchFile) -> None:
    assert previewed(tmp_path / "a", dispatch_file) == previewed(tmp_path / "b", dispatch_file)


def test_a_mail_program_finds_text_html_and_the_picture(tmp_path: Path, dispatch_file: DispatchFile) -> None:
    files = previewed(tmp_path, dispatch_file)
    written = files["2026-06-30/email/one_invoice_overdue_email.eml"]
    message = email.message_from_bytes(written, policy=email.policy.default)
    assert message["Subject"] == "Fatura Nuvem Fácil em aberto desde 24/06/2026"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert "R$ 1.349,90" in message.get_body(("plain",)).get_content()
    assert "cid:pix-1" in message.get_body(("html",)).get_content()
    assert [part["Content-ID"] for part in message.walk() if part.get_content_type() == "image/png"] == ["<pix-1>"]


def test_a_customer_who_owes_in_two_currencies_has_two_files(tmp_path: Path, dispatch_file: DispatchFile) -> None:
    channel = PreviewChannel("sms", tmp_path, dispatch_file)
    message = outgoing(dispatch_file, "overdue", "sms")
    channel.send(message)
    channel.send(replace(message, content=replace(message.content, currency_code="USD")))
    assert len(list(tmp_path.rglob("*.txt"))) == 2


def test_a_preview_that_cannot_be_written_was_not_sent(tmp_path: Path, dispatch_file: DispatchFile) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    channel = PreviewChannel("sms", tmp_path / "taken", dispatch_file)
    outcome = channel.send(outgoing(dispatch_file, "overdue", "sms"))
    assert outcome.answer is Answer.NOT_REACHED
    assert str(tmp_path) not in outcome.reason


def test_letters_are_the_same_bytes_alone_and_together(dispatch_file: DispatchFile) -> None:
    letters = [
        outgoing(dispatch_file, "bureau_notice", "letter", case).rendered for case in ("credit", "many_invoices")
    ]
    assert letter_pdf(letters[0]) == letter_pdf(letters[0])
    both = letters_pdf(letters)
    assert both == letters_pdf(letters)
    assert both.startswith(b"%PDF-")
    assert len(both) > len(letter_pdf(letters[0]))


@pytest.mark.parametrize(
    "page",
    [
        '<img src="http://127.0.0.1:9/x.png">',
        '<img src="file:///etc/hostname">',
        '<link rel="stylesheet" href="http://127.0.0.1:9/a">',
    ],
    ids=["image", "file", "style"],
)
def test_a_letter_fetches_nothing(page: str) -> None:
    with pytest.raises(InputError, match="outside itself"):
        letter_pdf(Rendered(text="", html=page))


def test_the_command_writes_all_cases_of_a_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGUA_HOME", str(tmp_path))
    result = CliRunner().invoke(cli, ["template", "preview", "overdue", "due_soon"], catch_exceptions=False)
    assert result.exit_code == 0
    folder = tmp_path / "preview" / "templates"
    assert (folder / "email" / "credit_overdue_email.html").is_file()
    assert "{{1}}" in (folder / "whatsapp" / "para_aprovacao_due_soon.txt").read_text(encoding="utf-8")
    assert "credit_overdue_email.html" in (folder / "index.html").read_text(encoding="utf-8")
    with pytest.raises(InputError, match="no template nothing"):
        CliRunner().invoke(cli, ["template", "preview", "nothing"], catch_exceptions=False)
