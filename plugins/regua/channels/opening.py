"""Which channel speaks, by environment: files on this machine, real providers for a few, real providers for all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from regua.channels.dispatch_file import DispatchFile
from regua.channels.sending import Answer, Channel, Outcome, Outgoing
from regua.errors import InputError

OUTBOX = "outbox"
_ALLOWED = "REGUA_ALLOWED_RECIPIENTS"


def open_channel(
    channel_code: str, dispatch_file: DispatchFile, environment: str, home: Path, environ: Mapping[str, str]
) -> Channel:
    """`local` writes previews whatever the file says; `test` reaches those of REGUA_ALLOWED_RECIPIENTS alone.

    Raises InputError naming the variable that a provider needs and that is not set.
    """
    if environment == "local":
        from regua.channels.preview import PreviewChannel

        return PreviewChannel(channel_code, home / "preview", dispatch_file)
    if environment == "production" and channel_code == "email" and dispatch_file.channels.email.sandbox:
        raise InputError(
            "channels.email.sandbox is true and REGUA_ENV is production: SendGrid would send nothing, and the ledger "
            "would count it as sent. Take sandbox out of the dispatch file."
        )
    provider = _provider(channel_code, dispatch_file, home / OUTBOX, environ)
    if environment == "production":
        return provider
    return AllowListed(provider, environ.get(_ALLOWED, ""))


class AllowListed:
    """Reaches only listed recipients: addresses, numbers, or a whole `@domain`. An empty list is nobody."""

    def __init__(self, channel: Channel, allowed: str) -> None:
        self._channel = channel
        self._allowed = {entry.strip().casefold() for entry in allowed.split(",") if entry.strip()}
        self.sender_code = channel.sender_code

    def open_batch(self) -> str | None:
        return self._channel.open_batch()

    def send(self, outgoing: Outgoing) -> Outcome:
        address = outgoing.content.address.strip().casefold()
        _, at, domain = address.rpartition("@")
        if address in self._allowed or (at and f"@{domain}" in self._allowed):
            return self._channel.send(outgoing)
        return Outcome(Answer.REJECTED, "recipient_not_allowed")

    def recall(self, batch_id: str) -> bool:
        return self._channel.recall(batch_id)

    def finish(self) -> None:
        self._channel.finish()


def _provider(channel_code: str, dispatch_file: DispatchFile, outbox: Path, environ: Mapping[str, str]) -> Channel:
    """The libraries of the providers take a tenth of a second each to import: only what is used is loaded."""
    channels = dispatch_file.channels
    if channel_code == "email" and channels.email.sender == "sendgrid":
        from regua.channels.sendgrid_mail import SendgridMail

        return SendgridMail(channels.email, _secret(environ, "SENDGRID_API_KEY"))
    if channel_code == "email":
        from regua.channels.smtp_mail import SmtpMail

        return SmtpMail(channels.email, _secret(environ, "SMTP_USER"), _secret(environ, "SMTP_PASSWORD"))
    if channel_code in ("sms", "whatsapp"):
        from regua.channels.twilio_messages import TwilioMessages

        sid, token = _secret(environ, "TWILIO_ACCOUNT_SID"), _secret(environ, "TWILIO_AUTH_TOKEN")
        return TwilioMessages(channel_code, dispatch_file.sending(channel_code), sid, token)
    if channel_code == "letter":
        from regua.channels.print_house import PrintHouse

        return PrintHouse(outbox / "letters")
    if channel_code == "call":
        from regua.channels.call_list import CallList
        from regua.channels.webhook_out import WebhookOut

        url, timeout = channels.call.webhook_url, channels.call.timeout_seconds
        webhook = None if url is None else WebhookOut(url, _secret(environ, "REGUA_WEBHOOK_SECRET"), timeout)
        return CallList(outbox / "calls", webhook)
    raise InputError(f"There is no channel {channel_code!r}.")


def _secret(environ: Mapping[str, str], variable: str) -> str:
    value = environ.get(variable, "").strip()
    if not value:
        raise InputError(f"{variable} is not set. docs/how-to/channels.md says where its value comes from.")
    return value
