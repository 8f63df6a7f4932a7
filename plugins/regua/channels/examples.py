"""Made-up messages to look at templates with, each with something that makes a template look different."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from regua.channels.contents import Line, MessageContent
from regua.channels.payment_codes import boleto_line, pix_code

AS_OF = date(2026, 6, 30)
CASES = ("one_invoice", "many_invoices", "credit", "charges", "long_and_bare", "dollars")

_PREVENTIVE = ("reminder", "large_invoice", "due_tomorrow", "due_today", "due_soon")
# Days past due at the step of the shipped policies.
_DAYS = {
    "reminder": -5,
    "large_invoice": -3,
    "due_tomorrow": -1,
    "due_soon": -2,
    "due_today": 0,
    "first_delay": 5,
    "last_reminder": 12,
    "suspension_notice": 15,
    "offer": 25,
    "offer_for_all": 25,
    "bureau_notice": 40,
}
_NOTICES = {"suspension_notice": "suspension", "bureau_notice": "credit_bureau"}
_ADDRESSES = {
    "email": "ana@empresa.example",
    "sms": "+5511900001234",
    "whatsapp": "+5511900001234",
    "call": "+5511900001234",
    "letter": "Ana Souza Lima\nRua das Acácias, 120, ap. 45\nVila Nova\n01310-100 São Paulo - SP",
}
_LONG_NAME = (
    "Associação Comunitária dos Produtores Rurais e Agricultores Familiares do Vale do Rio das Almas e Região Ltda."
)


def example(template_code: str, channel_code: str, case: str) -> MessageContent:
    """One of CASES for a template and channel; the same every time."""
    days = _DAYS.get(template_code, 6)
    currency = "USD" if case == "dollars" else "BRL"
    count = {"many_invoices": 7, "charges": 2}.get(case, 1)
    lines = tuple(
        _line(number, days + 30 * number if days > 0 else days - number, case, currency) for number in range(count)
    )
    total = sum((line.payable_amount for line in lines), Decimal(0))
    has_offer = template_code.startswith("offer")
    return MessageContent(
        message_id=f"example-{template_code}-{channel_code}-{case}",
        as_of_date=AS_OF,
        customer_id=case,
        name=_LONG_NAME if case == "long_and_bare" else "Ana Souza Lima",
        address=_ADDRESSES[channel_code],
        channel_code=channel_code,
        step_code=f"{template_code}_{channel_code}",
        phase_code="preventive" if template_code in _PREVENTIVE else "friendly",
        notice_code=_NOTICES.get(template_code),
        template_code=template_code,
        variant_code=None,
        currency_code=currency,
        open_amount=sum((line.open_amount for line in lines), Decimal(0)),
        credit_amount=sum((line.credit_amount for line in lines), Decimal(0)),
        fine_amount=sum((line.fine_amount for line in lines), Decimal(0)),
        interest_amount=sum((line.interest_amount for line in lines), Decimal(0)),
        payable_amount=total,
        offer_instalment_count=6 if has_offer else None,
        offer_discount_pct=Decimal("10.00") if has_offer else None,
        offer_amount=(total * Decimal("0.9")).quantize(Decimal("0.01")) if has_offer else None,
        action_date=AS_OF + timedelta(days=10) if template_code in _NOTICES else None,
        lines=lines,
    )


def _line(number: int, days_past_due: int, case: str, currency: str) -> Line:
    amount = Decimal("1349.90") + 250 * number
    due_date = AS_OF - timedelta(days=days_past_due)
    has_charges = days_past_due > 0 and case in ("charges", "many_invoices")
    fine = (amount * Decimal("0.02")).quantize(Decimal("0.01")) if has_charges else Decimal(0)
    interest = (amount * days_past_due / 3000).quantize(Decimal("0.01")) if has_charges else Decimal(0)
    credit = Decimal("150.00") if case == "credit" else Decimal(0)
    is_bare = case in ("long_and_bare", "dollars")
    boleto = boleto_line(bank="237", amount=amount - credit, due_date=due_date, free_field=f"{number + 1:025}")
    pix = pix_code(
        key="financeiro@nuvemfacil.example",
        receiver="NUVEM FACIL TECNOLOGIA",
        city="SAO PAULO",
        amount=amount - credit,
        transaction_id=f"EXEMPLO{number + 1}",
    )
    return Line(
        invoice_id=f"example-{number + 1}",
        customer_id=case,
        invoice_number=None if case == "long_and_bare" else f"NF 2026/{1042 - number}",
        due_date=due_date,
        days_past_due=days_past_due if days_past_due > 0 else None,
        open_amount=amount,
        credit_amount=credit,
        fine_amount=fine,
        interest_amount=interest,
        payable_amount=amount - credit + fine + interest,
        payment_url=None if is_bare else f"https://pagar.nuvemfacil.example/f/EXEMPLO{number + 1}",
        boleto_line=None if is_bare else boleto,
        pix_code=None if is_bare else pix,
    )
