"""SMS and WhatsApp through a Messaging Service of Twilio's."""

from __future__ import annotations

import base64
import json
import logging
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from twilio.http import HttpClient
from twilio.http.response import Response
from twilio.rest import Client

from regua.channels.answers import answer_of, pause_seconds
from regua.channels.dispatch_file import TwilioSending, WhatsappSending
from regua.channels.provider_evidence import Fate, FoundMessage
from regua.channels.provider_http import NotReachedError, ProviderHttp, Reply, UnansweredError
from regua.channels.sending import Answer, Outcome, Outgoing
from regua.instants import Clock, utc_clock

# The documented bounds are 5 minutes (15 until 2025) and 35 days; what lies nearer is sent at once.
_EARLIEST, _LATEST = timedelta(minutes=15), timedelta(days=35)
_LIMITED_CODES = {20429, 14107, 63018}
# Wrong, suspended or short of rights: nothing else of this account will pass either.
_ACCOUNT_CODES = {20003, 20005, 20403, 10001}
# Of this recipient alone: no number, no mobile, opted out, not on WhatsApp. 21408 is not among them: it says that the
# account may not write to a whole country, which is ours to switch on.
_ADDRESS_CODES = {21211, 21214, 21217, 21265, 21610, 21614, 63003, 63024}
_FATES = {
    "delivered": Fate.DELIVERED,
    "read": Fate.DELIVERED,
    "partially_delivered": Fate.DELIVERED,
    "undelivered": Fate.BOUNCED,
    "failed": Fate.BOUNCED,
    "canceled": Fate.CANCELLED,
}
_E164 = re.compile(r"\+[1-9][0-9]{7,14}")
_SID = re.compile(r"(SM|MM)[0-9a-fA-F]{32}")


class TwilioMessages:
    """One channel of one account. Twilio has no idempotency key, and promises only of a 429 that nothing went out.

    Twilio has no batches, so a dispatch holds nothing here; what has a `send_at` all the same is recalled one by one
    (`recall_message`). Our `message_id` travels in the query of the status callback: an answer that was lost is
    settled by the first callback.
    """

    sender_code = "twilio"

    def __init__(
        self, channel_code: str, sending: TwilioSending, account_sid: str, auth_token: str, clock: Clock = utc_clock
    ) -> None:
        self._is_whatsapp = channel_code == "whatsapp"
        self._sending = sending
        self._clock = clock
        http = _KeptHttpClient(ProviderHttp(sending.api_url, sending.timeout_seconds))
        self._messages = Client(account_sid, auth_token, http_client=http).messages

    def open_batch(self) -> str | None:
        return None

    def send(self, outgoing: Outgoing) -> Outcome:
        content = outgoing.content
        if not _E164.fullmatch(content.address):
            return Outcome(Answer.REJECTED, "address_not_e164", is_address_fault=True)
        form = self._form(outgoing)
        if form is None:
            return Outcome(Answer.REJECTED, "no_approved_template")
        try:
            sid = self._messages.create(**form).sid
        except NotReachedError as error:
            return Outcome(Answer.NOT_REACHED, str(error))
        except UnansweredError as error:
            return Outcome(Answer.UNKNOWN, str(error))
        except _UnreadError:
            return Outcome(Answer.ACCEPTED, "body_unreadable")
        except _RefusedError as error:
            return self._refusal(error.reply)
        return Outcome(Answer.ACCEPTED, "http_201", provider_message_id=sid)

    def recall(self, batch_id: str) -> bool:
        return False

    def finish(self) -> None:
        """Nothing is handed over as a whole."""

    def recall_message(self, provider_message_id: str) -> bool:
        """True when Twilio confirmed that a message it still held will not go out."""
        try:
            return bool(self._messages(provider_message_id).update(status="canceled").status == "canceled")
        except (NotReachedError, UnansweredError, _UnreadError, _RefusedError):
            return False

    def message_status(self, provider_message_id: str) -> FoundMessage | None:
        """None for what Twilio does not know or does not tell now."""
        if not _SID.fullmatch(provider_message_id):
            return None
        try:
            message = self._messages(provider_message_id).fetch()
        except (NotReachedError, UnansweredError, _UnreadError, _RefusedError):
            return None
        reason = f"twilio_{message.error_code}" if message.error_code else None
        return FoundMessage(provider_message_id, _FATES.get(str(message.status), Fate.IN_TRANSIT), reason)

    def _form(self, outgoing: Outgoing) -> dict[str, Any] | None:
        """Arguments of `messages.create`; None where WhatsApp has approved no template for this message."""
        content, rendered, sending = outgoing.content, outgoing.rendered, self._sending
        form: dict[str, Any] = {"messaging_service_sid": sending.messaging_service_sid}
        if self._is_whatsapp:
            sids = sending.content_sids if isinstance(sending, WhatsappSending) else {}
            if content.template_code not in sids:
                return None
            places = {str(place): value for place, value in enumerate(rendered.parameters, start=1)}
            form |= {
                "to": f"whatsapp:{content.address}",
                "content_sid": sids[content.template_code],
                "content_variables": json.dumps(places, ensure_ascii=False),
            }
        else:
            form |= {"to": content.address, "body": rendered.text}
        if sending.status_callback_url is not None:
            mark = "&" if urlsplit(sending.status_callback_url).query else "?"
            query = urlencode({"message_id": content.message_id})
            form["status_callback"] = f"{sending.status_callback_url}{mark}{query}"
        if outgoing.send_at is not None and _EARLIEST <= _naive(outgoing.send_at) - self._clock() <= _LATEST:
            form |= {"schedule_type": "fixed", "send_at": _naive(outgoing.send_at)}
        return form

    def _refusal(self, reply: Reply) -> Outcome:
        code = _error_code(reply)
        answer = answer_of(reply)
        # Beside a 5xx a code proves nothing.
        if answer is Answer.REJECTED and code in _LIMITED_CODES:
            answer = Answer.LIMITED
        elif answer is Answer.REJECTED and code in _ACCOUNT_CODES:
            answer = Answer.UNAUTHORISED
        reason = f"http_{reply.status}" if code is None else f"twilio_{code}"
        if answer is Answer.LIMITED:
            return Outcome(answer, reason, retry_after_seconds=pause_seconds(reply.headers, self._clock()))
        return Outcome(answer, reason, is_address_fault=answer is Answer.REJECTED and code in _ADDRESS_CODES)


class _RefusedError(Exception):
    """A status other than 2xx; the SDK's own exception has lost its headers."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


class _UnreadError(Exception):
    """2xx, and a body that cannot be read."""


class _KeptHttpClient(HttpClient):  # type: ignore[misc]
    """The SDK's requests over connections that are kept, end in time and tell what may have arrived; none is logged."""

    def __init__(self, http: ProviderHttp) -> None:
        super().__init__(logging.getLogger(__name__), is_async=False)
        self._http = http

    def request(
        self,
        method: str,
        uri: str,
        params: dict[str, object] | None = None,
        data: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        timeout: float | None = None,
        allow_redirects: bool = False,
    ) -> Response:
        target = urlsplit(uri).path + (f"?{urlencode(params, doseq=True)}" if params else "")
        sent = dict(headers or {})
        if auth is not None:
            sent["Authorization"] = "Basic " + base64.b64encode(":".join(auth).encode()).decode()
        body = urlencode(data, doseq=True).encode() if data else None
        reply = self._http.request(method, target, sent, body)
        if answer_of(reply) is not Answer.ACCEPTED:
            raise _RefusedError(reply)
        if not isinstance(_json(reply), dict):
            raise _UnreadError
        return Response(reply.status, reply.body.decode(), dict(reply.headers.items()))


def _naive(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(tzinfo=None) if instant.tzinfo else instant


def _json(reply: Reply) -> Any:
    try:
        return json.loads(reply.body)
    except ValueError:
        return None


def _error_code(reply: Reply) -> int | None:
    body = _json(reply)
    code = body.get("code") if isinstance(body, dict) else None
    return code if isinstance(code, int) else None
