"""Messages to a made-up person whose data must not be seen where it has no business."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from regua.channels.contents import MessageContent
from regua.channels.dispatch_file import EmailSending, TwilioSending, WhatsappSending
from regua.channels.examples import example
from regua.channels.sending import InlineImage, Outgoing, Rendered

SHARED = Path(__file__).resolve().parents[4] / "shared"
NOW = datetime.fromisoformat("2026-06-30 12:00")
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))

NAME = "Zuleica Canarinho Xavier"
EMAIL = "zuleica.canarinho@exemplo.com.br"
PHONE = "+5511931415926"
CANARY_WORDS = ("zuleica", "canarinho", "931415926", "exemplo.com.br", "segredo-da-chave")
SECRET = "segredo-da-chave"
ACCOUNT_SID = "AC" + "0" * 32


def content(channel_code: str = "email", message_id: str = "m-1", **changes: Any) -> MessageContent:
    made = example("overdue", channel_code, "one_invoice")
    address = EMAIL if channel_code == "email" else PHONE
    return replace(made, **{"message_id": message_id, "name": NAME, "address": address} | changes)


def email(message_id: str = "m-1", **changes: Any) -> Outgoing:
    rendered = Rendered(
        text=f"Olá, {NAME}.\n.\nA fatura está em aberto.",
        subject=f"Fatura em aberto, {NAME}",
        html=f'<p>Olá, {NAME}.</p><img src="cid:pix">',
        images=(InlineImage("pix", PNG),),
        headers=(
            ("List-Unsubscribe", "<https://www.nuvemfacil.example/preferencias?m=m-1>"),
            ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        ),
    )
    return Outgoing(content("email", message_id), rendered, **changes)


def sms(message_id: str = "m-1", **changes: Any) -> Outgoing:
    return Outgoing(content("sms", message_id), Rendered(text=f"{NAME}: fatura em aberto & à vista"), **changes)


def whatsapp(message_id: str = "m-1", **changes: Any) -> Outgoing:
    rendered = Rendered(text=f"Olá, {NAME}", parameters=(NAME, 'R$ 10,00 "hoje"'))
    return Outgoing(content("whatsapp", message_id), rendered, **changes)


def email_sending(url: str = "https://api.sendgrid.com", **changes: Any) -> EmailSending:
    return EmailSending(
        **{
            "sender": "sendgrid",
            "from_email": "financeiro@nuvemfacil.example",
            "from_name": "Financeiro Nuvem Fácil",
            "reply_to": "financeiro@nuvemfacil.example",
            "unsubscribe_group_id": 10001,
            "messages_per_run": 100,
            "timeout_seconds": 1,
            "api_url": url,
        }
        | changes
    )


def twilio_sending(url: str = "https://api.twilio.com", **changes: Any) -> TwilioSending:
    return TwilioSending(**_twilio(url) | changes)


def whatsapp_sending(url: str = "https://api.twilio.com", **changes: Any) -> WhatsappSending:
    return WhatsappSending(**_twilio(url) | {"content_sids": {"overdue": "HX" + "1" * 32}} | changes)


def _twilio(url: str) -> dict[str, Any]:
    return {
        "sender": "twilio",
        "messaging_service_sid": "MG" + "0" * 32,
        "messages_per_run": 100,
        "timeout_seconds": 1,
        "api_url": url,
        "status_callback_url": "https://hooks.nuvemfacil.example/twilio",
    }
