"""An e-mail as it travels by SMTP and lies in the preview: the same message gives the same bytes."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, time
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from regua.channels.dispatch_file import EmailSending
from regua.channels.sending import Outgoing

# Not every server on the way takes eight bits.
_POLICY = SMTP.clone(cte_type="7bit")


def mime_message(outgoing: Outgoing, sending: EmailSending) -> EmailMessage:
    """Plain text first, HTML with its pictures after it. Message-ID is our own id at the sender's domain.

    Date is `send_at`, or noon UTC of the day of the plan. Raises ValueError for a line break in a header.
    """
    content, rendered = outgoing.content, outgoing.rendered
    message = EmailMessage(policy=_POLICY)
    message["From"] = _address(sending.from_name, sending.from_email)
    message["To"] = content.address
    message["Reply-To"] = sending.reply_to
    message["Subject"] = rendered.subject or ""
    message["Date"] = format_datetime(_date(outgoing))
    message["Message-ID"] = f"<{content.message_id}@{sending.from_email.partition('@')[2]}>"
    # Keeps absence notices from answering.
    message["Auto-Submitted"] = "auto-generated"
    for name, value in rendered.headers:
        message[name] = value
    message.set_content(rendered.text)
    if rendered.html is not None:
        message.add_alternative(rendered.html, subtype="html")
        html = message.get_body(("html",))
        assert html is not None  # noqa: S101 - just added
        for image in rendered.images:
            html.add_related(
                image.png,
                maintype="image",
                subtype="png",
                cid=f"<{image.content_id}>",
                filename=f"{image.content_id}.png",
                disposition="inline",
            )
    _name_boundaries(message, content.message_id)
    return message


def _address(name: str, email: str) -> Address:
    return Address(display_name=name, addr_spec=email)


def _date(outgoing: Outgoing) -> datetime:
    if outgoing.send_at is None:
        return datetime.combine(outgoing.content.as_of_date, time(12), UTC)
    return outgoing.send_at if outgoing.send_at.tzinfo else outgoing.send_at.replace(tzinfo=UTC)


def _name_boundaries(message: EmailMessage, message_id: str) -> None:
    """Left alone, the library draws them by chance."""
    for place, part in enumerate(part for part in message.walk() if part.is_multipart()):
        part.set_boundary(f"=_{hashlib.sha256(f'{message_id}:{place}'.encode()).hexdigest()[:32]}")
