"""E-mail through SendGrid's v3 API: what is held until `send_at` can be recalled by batch."""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import Message
from typing import Any
from urllib.request import Request

from python_http_client.client import Client
from sendgrid import SendGridAPIClient

from regua.channels.answers import answer_of, epoch_seconds, pause_seconds
from regua.channels.dispatch_file import EmailSending
from regua.channels.provider_evidence import Fate, FoundMessage, Suppression
from regua.channels.provider_http import NotReachedError, ProviderHttp, Reply, UnansweredError
from regua.channels.sending import Answer, Outcome, Outgoing
from regua.errors import BusyError, InputError
from regua.instants import Clock, utc_clock

_SUPPRESSION_LISTS = ("bounces", "blocks", "spam_reports", "invalid_emails", "unsubscribes")
_PAGE = 500
_LIST_BYTES = 1 << 26
_FIELD = re.compile(r"[a-z0-9_.]{1,64}")
_PROVIDER_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_FATES = {"delivered": Fate.DELIVERED, "not_delivered": Fate.BOUNCED}

# The client writes every payload and the key's header to its log at DEBUG: addresses, names and a secret.
logging.getLogger("python_http_client.client").addFilter(lambda _record: False)


class SendgridMail:
    """One account. The API key needs Mail Send and Scheduled Sends; evidence needs Suppressions and Email Activity.

    SendGrid has no idempotency key, so nothing here is repeated. A batch can be cancelled until 10 minutes before its
    `send_at`, and no more than 10 batches at one time; `send_at` reaches 72 hours ahead.
    """

    sender_code = "sendgrid"

    def __init__(self, sending: EmailSending, api_key: str, clock: Clock = utc_clock) -> None:
        self._sending = sending
        self._clock = clock
        sdk = SendGridAPIClient(api_key, host=sending.api_url).client
        http = ProviderHttp(sending.api_url, sending.timeout_seconds)
        self._client = _DeadlineClient(http, host=sdk.host, request_headers=sdk.request_headers, version=3)

    def open_batch(self) -> str | None:
        try:
            reply = _reply(self._client.mail.batch.post())
        except (NotReachedError, UnansweredError) as error:
            raise BusyError(f"SendGrid gave no batch ({error}). Try again later.") from error
        if answer_of(reply) in (Answer.REJECTED, Answer.UNAUTHORISED):
            raise InputError(
                f"SendGrid refused to give a batch (HTTP {reply.status}): look at SENDGRID_API_KEY's scopes."
            )
        body = _json(reply) if answer_of(reply) is Answer.ACCEPTED else None
        batch_id = body.get("batch_id") if isinstance(body, dict) else None
        if not isinstance(batch_id, str) or not _PROVIDER_ID.fullmatch(batch_id):
            raise BusyError(f"SendGrid gave no batch (HTTP {reply.status}). Try again later.")
        return batch_id

    def send(self, outgoing: Outgoing) -> Outcome:
        try:
            reply = _reply(self._client.mail.send.post(request_body=self.payload(outgoing)))
        except NotReachedError as error:
            return Outcome(Answer.NOT_REACHED, str(error))
        except UnansweredError as error:
            return Outcome(Answer.UNKNOWN, str(error))
        answer = answer_of(reply)
        reason = f"http_{reply.status}"
        if answer is Answer.ACCEPTED:
            return Outcome(answer, reason, provider_message_id=_message_id(reply.headers))
        if answer is Answer.LIMITED:
            return Outcome(answer, reason, retry_after_seconds=pause_seconds(reply.headers, self._clock()))
        fields = _refused_fields(reply)
        return Outcome(
            answer,
            ":".join([reason, *fields[:1]]),
            is_address_fault=answer is Answer.REJECTED
            and any(field.startswith("personalizations.0.to") for field in fields),
        )

    def recall(self, batch_id: str) -> bool:
        """Also True for a batch cancelled before. False beyond 10 cancelled batches or 10 minutes before `send_at`."""
        try:
            cancelled = {"batch_id": batch_id, "status": "cancel"}
            if _reply(self._client.user.scheduled_sends.post(request_body=cancelled)).status == 201:
                return True
            reply = _reply(self._client.user.scheduled_sends._(batch_id).get())
        except (NotReachedError, UnansweredError):
            return False
        return answer_of(reply) is Answer.ACCEPTED and _json(reply) == [cancelled]

    def finish(self) -> None:
        """Nothing is handed over as a whole."""

    def payload(self, outgoing: Outgoing) -> dict[str, Any]:
        """The body of POST /v3/mail/send; never with `bypass_list_management`, for suppressions win over everything."""
        content, rendered, sending = outgoing.content, outgoing.rendered, self._sending
        parts = [{"type": "text/plain", "value": rendered.text}]
        if rendered.html is not None:
            parts.append({"type": "text/html", "value": rendered.html})
        body: dict[str, Any] = {
            "personalizations": [
                {
                    "to": [{"email": content.address}],
                    # Kept by SendGrid for years and shown in its events: opaque identifiers only.
                    "custom_args": {"message_id": content.message_id, "step_code": content.step_code},
                }
            ],
            "from": {"email": sending.from_email, "name": sending.from_name},
            "reply_to": {"email": sending.reply_to},
            "subject": rendered.subject or "",
            "content": parts,
            "categories": list(dict.fromkeys((content.step_code, content.phase_code))),
            "tracking_settings": {
                # Would turn payment links into links of another host: what phishing looks like, and what we promise not
                # to send. Opens are told by a hidden picture, which proves nothing and watches people.
                "click_tracking": {"enable": False, "enable_text": False},
                "open_tracking": {"enable": False},
                "subscription_tracking": {"enable": False},
            },
        }
        if sending.unsubscribe_group_id is not None:
            group_id = sending.unsubscribe_group_id
            body["asm"] = {"group_id": group_id, "groups_to_display": [group_id]}
        if rendered.headers:
            body["headers"] = dict(rendered.headers)
        if rendered.images:
            body["attachments"] = [
                {
                    "content": base64.b64encode(image.png).decode(),
                    "type": "image/png",
                    "filename": f"{image.content_id}.png",
                    "disposition": "inline",
                    "content_id": image.content_id,
                }
                for image in rendered.images
            ]
        if outgoing.send_at is not None:
            body["send_at"] = epoch_seconds(outgoing.send_at)
        if outgoing.batch_id is not None:
            body["batch_id"] = outgoing.batch_id
        if sending.sandbox:
            body["mail_settings"] = {"sandbox_mode": {"enable": True}}
        return body

    def suppressions(self, since: datetime) -> Iterator[Suppression]:
        """Everything added to SendGrid's lists, and to our unsubscribe group, since an instant (UTC).

        Raises BusyError when SendGrid cannot be asked, InputError when the key may not ask.
        """
        start = epoch_seconds(since)
        for list_code in _SUPPRESSION_LISTS:
            offset = 0
            while True:
                query = {"start_time": start, "limit": _PAGE, "offset": offset}
                page = self._listed(self._client.suppression._(list_code), query)
                yield from (Suppression(list_code, entry["email"], _instant(entry["created"])) for entry in page)
                if len(page) < _PAGE:
                    break
                offset += _PAGE
        # Answered whole, of all groups, since ever.
        for entry in self._listed(self._client.asm.suppressions, {}):
            if entry["group_id"] == self._sending.unsubscribe_group_id and entry["created_at"] >= start:
                yield Suppression("unsubscribe_group", entry["email"], _instant(entry["created_at"]))

    def message_status(self, provider_message_id: str) -> FoundMessage | None:
        """What became of a message by its X-Message-Id, of which SendGrid's own id is a continuation.

        None while SendGrid shows nothing, and always for accounts without the paid Email Activity. At most 6 a minute.
        """
        if not _PROVIDER_ID.fullmatch(provider_message_id):
            return None
        return self._found(f"msg_id LIKE '{provider_message_id}%'")

    def sent_message(self, message_id: str) -> FoundMessage | None:
        """The same by our own id: settles an attempt whose answer was lost."""
        if not _PROVIDER_ID.fullmatch(message_id):
            return None
        return self._found(f"(unique_args['message_id']=\"{message_id}\")")

    def _found(self, query: str) -> FoundMessage | None:
        try:
            reply = _reply(self._client.messages.get(query_params={"query": query, "limit": 1}))
        except (NotReachedError, UnansweredError):
            return None
        body = _json(reply) if answer_of(reply) is Answer.ACCEPTED else None
        messages = body.get("messages") if isinstance(body, dict) else None
        if not messages:
            return None
        return FoundMessage(messages[0]["msg_id"], _FATES.get(messages[0]["status"], Fate.IN_TRANSIT))

    def _listed(self, resource: _DeadlineClient, query: dict[str, int]) -> list[dict[str, Any]]:
        try:
            reply = _reply(resource.get(query_params=query))
        except (NotReachedError, UnansweredError) as error:
            raise BusyError(f"SendGrid did not show its suppressions ({error}). Try again later.") from error
        if answer_of(reply) in (Answer.REJECTED, Answer.UNAUTHORISED):
            raise InputError(
                f"SendGrid does not show its suppressions (HTTP {reply.status}): look at the key's scopes."
            )
        found = _json(reply) if answer_of(reply) is Answer.ACCEPTED else None
        if not isinstance(found, list):
            raise BusyError(f"SendGrid did not show its suppressions (HTTP {reply.status}). Try again later.")
        return found


class _Answered:
    """A reply in the shape that the SDK's client reads."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def getcode(self) -> int:
        return self._reply.status

    def read(self) -> bytes:
        return self._reply.body

    def info(self) -> Message:
        return self._reply.headers


class _DeadlineClient(Client):  # type: ignore[misc]
    """The SDK's client over connections that are kept, end in time and tell what may have arrived.

    No status raises: what it means is decided in one place for all providers.
    """

    def __init__(self, http: ProviderHttp, **settings: Any) -> None:
        super().__init__(**settings)
        self._http = http

    def _build_client(self, name: str | None = None) -> _DeadlineClient:
        return _DeadlineClient(
            self._http,
            host=self.host,
            request_headers=self.request_headers,
            version=self._version,
            url_path=[*self._url_path, name] if name else self._url_path,
        )

    def _make_request(self, opener: Any, request: Request, timeout: float | None = None) -> _Answered:
        headers = dict(request.header_items())
        data: Any = request.data
        return _Answered(self._http.request(request.get_method(), request.selector, headers, data, _LIST_BYTES))


def _reply(response: Any) -> Reply:
    return Reply(response.status_code, response.headers, response.body)


def _json(reply: Reply) -> Any:
    try:
        return json.loads(reply.body)
    except ValueError:
        return None


def _refused_fields(reply: Reply) -> list[str]:
    """The messages beside them may quote the address."""
    body = _json(reply)
    errors = body.get("errors") if isinstance(body, dict) else None
    fields = [error.get("field") for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    return [field for field in fields if isinstance(field, str) and _FIELD.fullmatch(field)]


def _message_id(headers: Message) -> str | None:
    written = str(headers.get("X-Message-Id", ""))
    return written if _PROVIDER_ID.fullmatch(written) else None


def _instant(epoch: int) -> datetime:
    return datetime.fromtimestamp(epoch, UTC).replace(tzinfo=None)
