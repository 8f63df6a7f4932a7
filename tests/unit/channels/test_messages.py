"""Every shipped template, with whatever a company's data may hold, gives a message that the check lets pass."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from regua.channels.checking import faults_of
from regua.channels.contents import Line, MessageContent
from regua.channels.dispatch_file import DispatchFile, read_dispatch_file
from regua.channels.examples import CASES, example
from regua.channels.payment_codes import boleto_line, pix_code
from regua.channels.rendering import TEMPLATES_DIR, Renderer, UnsendableError, money, septets, transliterated
from regua.channels.sending import Rendered
from regua.channels.template_preview import channels_of_templates
from regua.errors import InputError

ROOT = Path(__file__).resolve().parents[3]
TEMPLATES = [(code, channel) for code, found in channels_of_templates(TEMPLATES_DIR).items() for channel in found]


@pytest.fixture(scope="module")
def dispatch_file() -> DispatchFile:
    return read_dispatch_file(ROOT / "include" / "dispatch.yml")


@pytest.fixture(scope="module")
def renderer(dispatch_file: DispatchFile) -> Renderer:
    return Renderer(TEMPLATES_DIR, dispatch_file)


def with_lines(content: MessageContent, *lines: Line) -> MessageContent:
    """The header follows the lines, as in a plan."""
    names = ("open_amount", "credit_amount", "fine_amount", "interest_amount", "payable_amount")
    return replace(content, lines=lines, **{name: sum(getattr(line, name) for line in lines) for name in names})


def thirty_invoices(content: MessageContent) -> MessageContent:
    [first, *_] = content.lines
    return with_lines(content, *(replace(first, invoice_id=f"i{n}", invoice_number=f"NF {n}") for n in range(30)))


def largest_amounts(content: MessageContent) -> MessageContent:
    amount = Decimal("9999999999999999.99")
    changes = {"boleto_line": None, "pix_code": None, "credit_amount": Decimal(0), "fine_amount": Decimal(0)}
    line = replace(content.lines[0], open_amount=amount, interest_amount=Decimal(0), payable_amount=amount, **changes)
    return with_lines(content, line)


def no_codes(content: MessageContent) -> MessageContent:
    return replace(content, lines=tuple(replace(li, boleto_line=None, pix_code=None) for li in content.lines))


def named(name: str) -> object:
    return lambda content: replace(content, name=name)


def numbered(number: str) -> object:
    return lambda content: replace(content, lines=tuple(replace(li, invoice_number=number) for li in content.lines))


EXTREMES = {
    "thirty invoices": thirty_invoices,
    "largest amounts": largest_amounts,
    "no codes": no_codes,
    "a name that is a template": named("{{ 7 * 7 }} {% raw %}"),
    "a name that is a tag": named("<script>alert(1)</script><img src=x>"),
    "a name that turns the text": named("\u202eadmil \u2066S.A."),
    "a name from right to left": named("شركة النور للتجارة"),
    "an emoji in the name": named("Padaria 🍞 & Filhos"),
    "None as name": named("None Ltda"),
    "a number that is a tag": numbered('"><b onclick=alert(1)>'),
    "a number of 500 characters": numbered("9" * 500),
    "an emoji as number": numbered("NF 🍞"),
}


def test_there_are_templates() -> None:
    assert len(TEMPLATES) >= 19


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("template_code", "channel_code"), TEMPLATES, ids=lambda value: value)
def test_every_template_makes_a_message_that_may_leave(
    renderer: Renderer, dispatch_file: DispatchFile, template_code: str, channel_code: str, case: str
) -> None:
    content = example(template_code, channel_code, case)
    assert faults_of(content, renderer.render(content), dispatch_file) == []


@pytest.mark.parametrize("extreme", EXTREMES.values(), ids=EXTREMES.keys())
@pytest.mark.parametrize(("template_code", "channel_code"), TEMPLATES, ids=lambda value: value)
def test_whatever_the_data_holds_stays_data(
    renderer: Renderer, dispatch_file: DispatchFile, template_code: str, channel_code: str, extreme
) -> None:
    content = extreme(example(template_code, channel_code, "charges"))
    rendered = renderer.render(content)
    assert faults_of(content, rendered, dispatch_file) == []
    for text in (rendered.html or "", rendered.text, rendered.subject or "", *rendered.parameters):
        assert not re.search("[\u202a-\u202e\u2066-\u2069]", text)
    assert "<script" not in (rendered.html or "")
    assert "<b onclick" not in (rendered.html or "")


def test_a_name_that_is_a_template_is_written_as_it_is(renderer: Renderer) -> None:
    content = replace(example("overdue", "email", "one_invoice"), name="{{ 7 * 7 }}")
    rendered = renderer.render(content)
    assert "Olá, {{ 7 * 7 }}," in rendered.text
    assert "{{ 7 * 7 }}" in (rendered.html or "")


@pytest.mark.parametrize("name", ["Ana\nBcc: x@y.example", "Ana\r\n", "Ana\x00", "Ana\u2028"], ids=repr)
@pytest.mark.parametrize("field", ["name", "address", "invoice_number"])
def test_a_line_break_in_a_value_makes_no_message(renderer: Renderer, field: str, name: str) -> None:
    content = example("overdue", "email", "one_invoice")
    if field == "invoice_number":
        content = replace(content, lines=(replace(content.lines[0], invoice_number=name),))
    else:
        content = replace(content, **{field: name})
    with pytest.raises(UnsendableError, match=field) as raised:
        renderer.render(content)
    assert "Ana" not in str(raised.value)


def test_no_template_of_a_shipped_policy_lacks_its_file() -> None:
    used = set()
    for path in (ROOT / "include" / "policies").glob("*.yml"):
        for version in yaml.safe_load(path.read_text(encoding="utf-8"))["versions"]:
            for step in version["steps"]:
                codes = {step["template"], *(variant["template"] for variant in step.get("variants", []))}
                used |= {(code, step["channel"]) for code in codes}
    assert len(used) >= 19
    assert used - set(TEMPLATES) == set()


def test_html_and_text_of_an_email_say_the_same(renderer: Renderer) -> None:
    rendered = renderer.render(example("overdue", "email", "one_invoice"))
    assert rendered.html is not None
    seen = " ".join(html.unescape(re.sub("<[^>]*>", " ", rendered.html)).split())
    for words in ("Ainda não identificamos o seu pagamento", "R$ 1.349,90", "Imprevistos acontecem.", "24/06/2026"):
        assert words in seen
        assert words in rendered.text
    assert dict(rendered.headers)["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert "example-overdue-email-one_invoice>" in dict(rendered.headers)["List-Unsubscribe"]


@pytest.mark.parametrize(
    ("case", "shown"),
    [("one_invoice", True), ("credit", True), ("charges", True), ("many_invoices", False), ("dollars", False)],
)
def test_codes_are_shown_where_they_help(renderer: Renderer, case: str, shown: bool) -> None:
    rendered = renderer.render(example("overdue", "email", case))
    assert ("Linha digitável" in rendered.text, "copia e cola" in rendered.text, bool(rendered.images)) == (shown,) * 3


def test_a_code_that_would_collect_another_amount_is_not_shown(renderer: Renderer, dispatch_file: DispatchFile) -> None:
    """Part of the invoice was paid, or a credit is netted: the face value would be too much."""
    content = example("overdue", "email", "one_invoice")
    half = replace(content.lines[0], open_amount=Decimal("674.95"), payable_amount=Decimal("674.95"))
    partly_paid = with_lines(content, half)
    credit = with_lines(
        content, replace(content.lines[0], credit_amount=Decimal(50), payable_amount=Decimal("1299.90"))
    )
    for changed in (partly_paid, credit):
        rendered = renderer.render(changed)
        assert "Linha digitável" not in rendered.text
        assert rendered.images == ()
        assert faults_of(changed, rendered, dispatch_file) == []


def test_the_overdue_sms_carries_the_linha_digitavel_of_a_single_invoice(renderer: Renderer) -> None:
    content = example("overdue", "sms", "one_invoice")
    assert content.lines[0].boleto_line in renderer.render(content).text
    assert "Boleto" not in renderer.render(example("overdue", "sms", "charges")).text


def test_an_sms_takes_the_first_wording_that_fits(tmp_path: Path, dispatch_file: DispatchFile) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "sms.txt").write_text("{{ 'ã' * 161 }}\n---\n{{ '€' * 81 }}\n---\n{{ 'ã' * 160 }}\n---\ncurto\n")
    content = replace(example("overdue", "sms", "one_invoice"), template_code="t")
    assert Renderer(tmp_path, dispatch_file).render(content).text == "a" * 160


@pytest.mark.parametrize(
    ("text", "count"),
    [("abc", 3), ("€", 2), ("[]{}", 8), ("àéÇ", 3), ("ã", None), ("ç", None), ("🍞", None), ("\n", 1), ("@£$", 3)],
)
def test_characters_are_counted_as_the_alphabet_of_sms_has_them(text: str, count: int | None) -> None:
    assert septets(text) == count


@pytest.mark.parametrize(
    ("text", "plain"),
    [("ação – já é à €", "acao - ja é à €"), ("São João", "Sao Joao"), ("🍞", "🍞"), ("“x”…", '"x"...')],
)
def test_only_what_the_alphabet_lacks_is_transliterated(text: str, plain: str) -> None:
    assert transliterated(text) == plain


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [
        ("1234.56", "BRL", "R$ 1.234,56"),
        ("0.05", "USD", "US$ 0,05"),
        ("1000000", "EUR", "€ 1.000.000,00"),
        ("-12.3", "BRL", "-R$ 12,30"),
    ],
)
def test_amounts_are_written_as_in_brazil(amount: str, currency: str, written: str) -> None:
    assert money(Decimal(amount), currency) == written


@pytest.mark.parametrize(
    ("days", "words"),
    [(-5, "vence em 05/07/2026"), (-1, "vence amanhã, 01/07/2026"), (0, "vence hoje, 30/06/2026")],
)
def test_a_reminder_says_when_it_falls_due(renderer: Renderer, days: int, words: str) -> None:
    content = example("reminder", "email", "one_invoice")
    due_date = content.as_of_date - timedelta(days=days)
    content = replace(content, lines=(replace(content.lines[0], due_date=due_date),))
    assert words in renderer.render(content).text


def test_an_invoice_due_on_a_holiday_is_not_called_overdue(renderer: Renderer) -> None:
    content = example("due_today", "email", "one_invoice")
    line = replace(content.lines[0], due_date=date(2026, 6, 28), days_past_due=None)
    text = renderer.render(replace(content, lines=(line,))).text
    assert "ainda pode ser paga sem encargos" in text
    assert "vencida" not in text


def test_a_notice_without_its_day_is_not_written(renderer: Renderer) -> None:
    content = replace(example("suspension_notice", "email", "one_invoice"), action_date=None)
    with pytest.raises(UnsendableError, match="a day that this message does not have"):
        renderer.render(content)


def test_a_template_that_is_not_there_or_wrong_is_told(tmp_path: Path, dispatch_file: DispatchFile) -> None:
    content = example("overdue", "sms", "one_invoice")
    with pytest.raises(InputError, match=r"no template overdue/sms\.txt"):
        Renderer(tmp_path, dispatch_file).render(content)
    (tmp_path / "overdue").mkdir()
    (tmp_path / "overdue" / "sms.txt").write_text("{{ nobody_gave_this }}")
    with pytest.raises(InputError, match="nobody_gave_this"):
        Renderer(tmp_path, dispatch_file).render(content)


def test_an_address_on_one_line_is_broken_for_the_window(renderer: Renderer) -> None:
    address = "Rua Professora Maria Antônia de Vasconcelos, 12345, bloco 12, Centro, 00720-089 São Luís - MA"
    content = replace(example("bureau_notice", "letter", "one_invoice"), address=address)
    text = renderer.render(content).text.splitlines()
    assert text[0] == content.name
    assert " ".join(text[1 : text.index("")]) == address
    with pytest.raises(UnsendableError, match="window"):
        renderer.render(replace(content, name="Associação " * 45))


def test_whatsapp_gets_parameters_in_their_order(renderer: Renderer) -> None:
    content = replace(example("due_soon", "whatsapp", "one_invoice"), name="Ana   Souza")
    rendered = renderer.render(content)
    approved = renderer.approval_text("due_soon", content)
    for number, parameter in enumerate(rendered.parameters, start=1):
        assert f"{{{{{number}}}}}" in approved
        approved = approved.replace(f"{{{{{number}}}}}", parameter)
    assert approved == rendered.text
    assert rendered.parameters[0] == "Ana Souza"


OTHER_BOLETO = boleto_line(bank="237", amount=Decimal("1.00"), due_date=date(2026, 6, 24), free_field="1" * 25)
OTHER_PIX = pix_code(key="x@y.example", receiver="X", city="Y", amount=Decimal("1.00"), transaction_id="1")


def changed_text(old: str, new: str) -> object:
    def change(content: MessageContent, rendered: Rendered) -> tuple[MessageContent, Rendered]:
        text, page = rendered.text.replace(old, new), (rendered.html or "").replace(old, new)
        assert (text, page) != (rendered.text, rendered.html)
        return content, replace(rendered, text=text, html=page)

    return change


def changed_line(**changes: object) -> object:
    return lambda content, rendered: (replace(content, lines=(replace(content.lines[0], **changes),)), rendered)


def appended(text: str = "", page: str = "") -> object:
    return lambda content, rendered: (
        content,
        replace(rendered, text=rendered.text + text, html=(rendered.html or "").replace("</body>", page + "</body>")),
    )


RED = {
    "no legal name": (changed_text("Nuvem Fácil Tecnologia Ltda.", "Nós"), "identity_missing: legal_name"),
    "no CNPJ": (changed_text("11.222.333/0001-81", ""), "identity_missing: cnpj"),
    "no address": (changed_text("Bela Vista", "Outro Lugar"), "identity_missing: address"),
    "total not written": (changed_text("R$ 1.349,90", "R$ 1.349,91"), "wrong_total: what is to be paid"),
    "total only in the text": (
        lambda content, rendered: (content, replace(rendered, html=rendered.html.replace("R$ 1.349,90", "muito"))),
        "wrong_total: what is to be paid",
    ),
    "sum of the lines": (changed_line(payable_amount=Decimal(1)), "wrong_total: the lines"),
    "an invoice twice": (
        lambda content, rendered: (with_lines(content, content.lines[0], content.lines[0]), rendered),
        "invoice_twice",
    ),
    "threat": (appended("Chamaremos a POLICIA."), "threat: line"),
    "threat in the HTML": (appended(page="<p>Seus vizinhos saberão</p>"), "threat: line"),
    "foreign link": (appended("Veja https://evil.example/x."), "link_host"),
    "foreign link without scheme": (appended("Veja www.evil.example/x."), "link_host"),
    "foreign link in the HTML": (appended(page="<a href='https://evil.example'>x</a>"), "link_host"),
    "script as link": (appended(page='<a href="javascript:alert(1)">x</a>'), "link_host"),
    "not encrypted": (appended("http://www.nuvemfacil.example"), "link_host"),
    "host as user": (appended("https://www.nuvemfacil.example@evil.example/"), "link_host"),
    "host as path": (appended("https://evil.example\\@www.nuvemfacil.example/"), "link_host"),
    "image from elsewhere": (appended(page='<img src="https://evil.example/pixel.png">'), "link_host"),
    "image that is not attached": (appended(page='<img src="cid:other">'), "link_host"),
    "foreign payment page": (
        lambda content, rendered: (content, replace(rendered, text=rendered.text + "https://pagar.evil.example/f/1")),
        "link_host",
    ),
    "template left over": (appended("Olá, {{ name }}"), "unresolved_variable"),
    "None left over": (appended("Pague até None."), "unresolved_variable"),
    "undefined left over": (appended(page="<p>undefined</p>"), "unresolved_variable"),
    "control character": (appended("\x07"), "control_character"),
    "line break in the subject": (
        lambda content, rendered: (content, replace(rendered, subject="a\r\nBcc: b@c.example")),
        "control_character",
    ),
    "long subject": (lambda content, rendered: (content, replace(rendered, subject="a" * 101)), "subject_length"),
    "no HTML": (lambda content, rendered: (content, replace(rendered, html=None)), "incomplete"),
    "boleto with a wrong digit": (changed_line(boleto_line="1" * 47), "boleto_invalid: invoice example-1"),
    "Pix with a wrong checksum": (changed_line(pix_code=OTHER_PIX[:-1]), "pix_invalid: invoice example-1"),
}


@pytest.mark.parametrize(("change", "fault"), RED.values(), ids=RED.keys())
def test_the_check_refuses(renderer: Renderer, dispatch_file: DispatchFile, change, fault: str) -> None:
    content = example("overdue", "email", "one_invoice")
    content, rendered = change(content, renderer.render(content))
    faults = faults_of(content, rendered, dispatch_file)
    assert any(each.startswith(fault) for each in faults), faults
    told = " ".join(faults)
    assert not any(value in told for value in ("Ana", "evil", "empresa.example", OTHER_PIX[:20], "11111"))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"boleto_line": OTHER_BOLETO}, "boleto_amount: invoice example-1"),
        ({"pix_code": OTHER_PIX}, "pix_amount: invoice example-1"),
    ],
    ids=["boleto", "pix"],
)
def test_a_shown_code_of_another_amount_is_refused(
    renderer: Renderer, dispatch_file: DispatchFile, changes: dict[str, str], fault: str
) -> None:
    content = example("overdue", "email", "one_invoice")
    rendered = renderer.render(content)
    content = replace(content, lines=(replace(content.lines[0], **changes),))
    assert faults_of(content, rendered, dispatch_file) == []
    shown = replace(rendered, text=rendered.text + next(iter(changes.values())))
    assert faults_of(content, shown, dispatch_file) == [fault]


def test_a_payment_page_elsewhere_refuses_the_message(renderer: Renderer, dispatch_file: DispatchFile) -> None:
    content = example("overdue", "email", "one_invoice")
    content = replace(content, lines=(replace(content.lines[0], payment_url="https://pagar.evil.example/f/1"),))
    faults = faults_of(content, renderer.render(content), dispatch_file)
    assert faults == ["link_host: a link leads elsewhere than to link_hosts"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Nuvem Facil: R$ 1.349,90 www.nuvemfacil.example " + "a" * 160, "sms_length: 208 of 160"),
        ("Nuvem Facil: R$ 1.349,90 www.nuvemfacil.example ã", "sms_alphabet"),
        ("R$ 1.349,90 www.nuvemfacil.example", "identity_missing: trade_name"),
        ("Nuvem Facil: R$ 1.349,90", "identity_missing: a page"),
        ("Nuvem Facil www.nuvemfacil.example", "wrong_total"),
    ],
    ids=["long", "alphabet", "who", "way", "total"],
)
def test_the_check_refuses_an_sms(dispatch_file: DispatchFile, text: str, fault: str) -> None:
    faults = faults_of(example("overdue", "sms", "one_invoice"), Rendered(text=text), dispatch_file)
    assert [each[: len(fault)] for each in faults] == [fault]
