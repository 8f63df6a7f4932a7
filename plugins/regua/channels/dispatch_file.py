"""`include/dispatch.yml`: who writes, through which providers, within which bounds (docs/how-to/dispatch.md)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from stdnum.br import cnpj as cnpj_number

from regua.yaml_file import read_yaml_model

CHANNELS = ("email", "sms", "whatsapp", "letter", "call")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def _provider_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ValueError("must begin with https://")
    return url.rstrip("/")


def _cnpj(text: str) -> str:
    if not cnpj_number.is_valid(text):
        raise ValueError("is no valid CNPJ")
    return cnpj_number.compact(text)


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds a control character")
    return text


def _hold(minutes: int) -> int:
    if minutes and not 30 <= minutes <= 24 * 60:
        raise ValueError(
            "must be 0, or from 30 to 1440: it is looked at every 15 minutes, and SendGrid recalls up to 10 before"
        )
    return minutes


OneLine = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line)]
ProviderUrl = Annotated[str, AfterValidator(_provider_url)]
Email = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Supplier(_Part):
    """Who collects. Name, address and CNPJ stand on every message: CDC art. 42-A."""

    trade_name: OneLine
    legal_name: OneLine
    cnpj: Annotated[str, AfterValidator(_cnpj)]
    address: OneLine
    email: Email
    phone: OneLine
    website: ProviderUrl
    # Where the customer finds every open invoice; used where an invoice brings no link of its own.
    payment_portal_url: ProviderUrl
    # Where the customer says that it wants no such message any more; the message's id is appended.
    opt_out_url: ProviderUrl


class _Sending(_Part):
    # Above this nothing more of the channel leaves in one run: a wrong plan must not reach everybody.
    messages_per_run: int = Field(ge=1)
    connections: int = Field(default=16, ge=1, le=256)
    timeout_seconds: float = Field(default=15, gt=0, le=60)


class EmailSending(_Sending):
    sender: Literal["sendgrid", "smtp"]
    from_email: Email
    from_name: OneLine
    reply_to: Email
    # Time in which a payment or a person can still stop what SendGrid holds.
    hold_minutes: Annotated[int, AfterValidator(_hold)] = 45
    # What is held is recalled by batch; a payment recalls its whole batch. Large runs have larger ones: daily.py.
    messages_per_batch: int = Field(default=20, ge=1, le=1000)
    unsubscribe_group_id: int | None = None
    # The public key of the signed Event Webhook, as SendGrid shows it.
    event_webhook_key: str | None = None
    # SendGrid validates and sends nothing.
    sandbox: bool = False
    api_url: ProviderUrl = "https://api.sendgrid.com"
    smtp_host: str | None = None
    smtp_port: int = 587

    @model_validator(mode="after")
    def _complete(self) -> EmailSending:
        if self.sender == "smtp" and self.smtp_host is None:
            raise ValueError("sender smtp needs smtp_host")
        if self.sender == "sendgrid" and self.unsubscribe_group_id is None:
            raise ValueError("sender sendgrid needs unsubscribe_group_id")
        return self


class TwilioSending(_Sending):
    sender: Literal["twilio"]
    messaging_service_sid: str = Field(pattern=r"^MG[0-9a-f]{32}$")
    api_url: ProviderUrl = "https://api.twilio.com"
    # Where Twilio tells what became of a message; the receiver's public address.
    status_callback_url: ProviderUrl | None = None


class WhatsappSending(TwilioSending):
    # The approved template (HX…) of each of our templates; what is not listed is not sent.
    content_sids: dict[str, Annotated[str, Field(pattern=r"^HX[0-9a-f]{32}$")]] = Field(default_factory=dict)


class LetterSending(_Sending):
    sender: Literal["print_house"]


class CallSending(_Sending):
    sender: Literal["call_list"]
    # Told of each new list; signed by Standard Webhooks with REGUA_WEBHOOK_SECRET.
    webhook_url: ProviderUrl | None = None


class ChannelSendings(_Part):
    email: EmailSending
    sms: TwilioSending
    whatsapp: WhatsappSending
    letter: LetterSending
    call: CallSending


class VolumeBand(_Part):
    """A plan outside it is not believed: its messages against those of the mean of the last plans."""

    plans: int = Field(default=10, ge=1)
    at_most_times: float = Field(default=3, gt=1)
    # Below this many messages no ratio says anything.
    from_messages: int = Field(default=200, ge=0)


class DispatchFile(_Part):
    supplier: Supplier
    # The only hosts a message may link to; those of the supplier's own addresses belong to them.
    link_hosts: Annotated[list[str], Field(min_length=1)]
    volume: VolumeBand = VolumeBand()
    channels: ChannelSendings

    @model_validator(mode="after")
    def _links_are_allowed(self) -> DispatchFile:
        for host in self.link_hosts:
            if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", host):
                raise ValueError(f"link_hosts: {host!r} is no host name")
        for name in ("payment_portal_url", "opt_out_url", "website"):
            if urlsplit(getattr(self.supplier, name)).hostname not in self.link_hosts:
                raise ValueError(f"supplier.{name}: its host is not among link_hosts")
        return self

    def sending(self, channel_code: str) -> Any:
        return getattr(self.channels, channel_code)


def read_dispatch_file(path: Path) -> DispatchFile:
    """Raises InputError naming file, line and field."""
    return read_yaml_model(path, DispatchFile)
