"""What SendGrid and Twilio call things, as evidence. Their free text may hold an address: only codes are taken."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from regua.channels.provider_evidence import Fate, FoundMessage, Suppression
from regua.dispatch.evidence_facts import EventCode, Evidence, Hasher

_SENDGRID = "sendgrid"
_TWILIO = "twilio"
_SENDGRID_EVENTS = {
    "processed": EventCode.PROCESSED,
    "deferred": EventCode.DEFERRED,
    "delivered": EventCode.DELIVERED,
    "bounce": EventCode.BOUNCED,
    "blocked": EventCode.DROPPED,
    "dropped": EventCode.DROPPED,
    "spamreport": EventCode.COMPLAINED,
    "unsubscribe": EventCode.OPTED_OUT,
    "group_unsubscribe": EventCode.OPTED_OUT,
}
_DROP_REASONS = {
    "Bounced Address": "bounced_address",
    "Invalid": "invalid_address",
    "Unsubscribed Address": "unsubscribed_address",
    "Spam Reporting Address": "spam_reporting_address",
    "Invalid SMTPAPI header": "invalid_header",
    "Recipient List over Package Quota": "over_quota",
}
# A blocked message was refused for a reason that may pass; the address is not dead.
_SUPPRESSION_EVENTS = {
    "bounces": EventCode.BOUNCED,
    "invalid_emails": EventCode.BOUNCED,
    "spam_reports": EventCode.COMPLAINED,
    "unsubscribes": EventCode.OPTED_OUT,
    "unsubscribe_group": EventCode.OPTED_OUT,
}
_TWILIO_STATUSES = {
    "accepted": EventCode.PROCESSED,
    "queued": EventCode.PROCESSED,
    "scheduled": EventCode.PROCESSED,
    "sending": EventCode.PROCESSED,
    "sent": EventCode.PROCESSED,
    "delivered": EventCode.DELIVERED,
    "partially_delivered": EventCode.DELIVERED,
    "read": EventCode.READ,
    "undelivered": EventCode.FAILED,
    "failed": EventCode.FAILED,
}
# The number does not exist, or is not on WhatsApp. A landline (21614, 30006) is none: it can be called.
_TWILIO_DEAD = frozenset(("21211", "21217", "30005", "63003", "63024"))
_FOUND_EVENTS = {
    Fate.IN_TRANSIT: EventCode.PROCESSED,
    Fate.DELIVERED: EventCode.DELIVERED,
    Fate.BOUNCED: EventCode.FAILED,
}
_STOP_WORDS = re.compile(
    "STOP|STOPALL|UNSUBSCRIBE|END|QUIT|PARAR|PARE|PARA|SAIR|SAI|CANCELAR|CANCELE|DESCADASTRAR|REMOVER"
)
_ID = re.compile(r"[A-Za-z0-9._-]{1,200}")
_OUR_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_SMTP_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_TWILIO_CODE = re.compile(r"[0-9]{4,6}")
_BRAZILIAN_MOBILE = re.compile(r"(\+55[1-9][0-9])9?([6-9][0-9]{7})")
# Outside these the sender's clock is wrong, or the number is none.
_EARLIEST, _LATEST = 1_577_836_800, 4_102_444_800


def sendgrid_evidence(event: Mapping[str, Any], group_id: int | None, hashed: Hasher) -> Evidence | None:
    """None for an event that says nothing of a message's fate, or that nobody can use."""
    name, at = event.get("event"), event.get("timestamp")
    if name == "bounce" and event.get("type") == "blocked":
        name = "blocked"
    code = _SENDGRID_EVENTS.get(name) if isinstance(name, str) else None
    if code is None or not isinstance(at, int) or not _EARLIEST <= at <= _LATEST:
        return None
    if name == "group_unsubscribe" and group_id is not None and event.get("asm_group_id") not in (None, group_id):
        return None
    message_id, provider_id = _told(event, "message_id", _OUR_ID), _told(event, "sg_message_id", _ID)
    if message_id is None and provider_id is None:
        return None
    address = event.get("email")
    return Evidence(
        _SENDGRID,
        code,
        datetime.fromtimestamp(at, UTC).replace(tzinfo=None),
        message_id,
        provider_id,
        _sendgrid_reason(event),
        hashed(address) if isinstance(address, str) else None,
    )


def suppression_evidence(suppression: Suppression, hashed: Hasher) -> Evidence | None:
    """None for a list that is about messages, not about an address."""
    code = _SUPPRESSION_EVENTS.get(suppression.list_code)
    address_hash = hashed(suppression.address)
    if code is None or address_hash is None:
        return None
    return Evidence(
        _SENDGRID,
        code,
        suppression.created_at,
        reason=f"list_{suppression.list_code}",
        address_hash=address_hash,
        channel_code="email",
    )


def found_evidence(sender_code: str, message_id: str, found: FoundMessage) -> Evidence | None:
    """The answer to a question. It has no time of its own, so asking again tells nothing new."""
    code = _FOUND_EVENTS.get(found.fate)
    if code is None:
        return None
    if code is EventCode.FAILED and sender_code == _TWILIO:
        code = _twilio_failure((found.reason_code or "").removeprefix("twilio_"))
    return Evidence(sender_code, code, None, message_id, found.provider_message_id, found.reason_code)


def twilio_evidence(form: Mapping[str, str], message_id: str | None) -> Evidence | None:
    """A status callback: `message_id` is that of its address. Twilio gives no time, and each status once."""
    status = form.get("MessageStatus") or form.get("SmsStatus") or ""
    code, sid = _TWILIO_STATUSES.get(status), _told(form, "MessageSid", _ID)
    if code is None or sid is None:
        return None
    error = form.get("ErrorCode", "")
    if code is EventCode.FAILED:
        code = _twilio_failure(error)
    own = message_id if message_id is not None and _OUR_ID.fullmatch(message_id) else None
    reason = f"twilio_{error}" if _TWILIO_CODE.fullmatch(error) and error != "0000" else None
    return Evidence(_TWILIO, code, None, own, sid, reason)


def inbound_evidence(form: Mapping[str, str], now: datetime, hashed: Hasher) -> list[Evidence]:
    """An opt-out for each way of writing the number, when the message asks for one; else nothing."""
    if form.get("OptOutType", "").upper() != "STOP" and not asks_to_stop(form.get("Body", "")):
        return []
    whatsapp, sign, number = form.get("From", "").rpartition("whatsapp:")
    channel_code = "whatsapp" if sign and not whatsapp else "sms"
    hashes = [hashed(written) for written in ways_to_write(number)]
    return [
        Evidence(_TWILIO, EventCode.OPTED_OUT, now, reason="inbound", address_hash=each, channel_code=channel_code)
        for each in hashes
        if each is not None
    ]


def asks_to_stop(text: str) -> bool:
    """Whether a message is one of the words by which people leave, whatever its case, accents and points."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().upper()
    return _STOP_WORDS.fullmatch(re.sub(r"[^A-Z]+", " ", plain).strip()) is not None


def ways_to_write(number: str) -> tuple[str, ...]:
    """WhatsApp still knows many Brazilian mobiles without the ninth digit that all have had since 2016."""
    match = _BRAZILIAN_MOBILE.fullmatch(number)
    return (number,) if match is None else (f"{match[1]}9{match[2]}", f"{match[1]}{match[2]}")


def _twilio_failure(error: str) -> EventCode:
    return EventCode.BOUNCED if error in _TWILIO_DEAD else EventCode.FAILED


def _sendgrid_reason(event: Mapping[str, Any]) -> str | None:
    status, reason = event.get("status"), event.get("reason")
    if event.get("event") == "dropped" and isinstance(reason, str):
        return _DROP_REASONS.get(reason, "spam_content" if reason.startswith("Spam Content") else "other")
    return status if isinstance(status, str) and _SMTP_STATUS.fullmatch(status) else None


def _told(event: Mapping[str, Any], name: str, form: re.Pattern[str]) -> str | None:
    value = event.get(name)
    return value if isinstance(value, str) and form.fullmatch(value) else None
