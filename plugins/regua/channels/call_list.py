"""The day's list of people to call, for operators, and the signed word that it is ready."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from regua.channels.operator_csv import write_operator_csv
from regua.channels.sending import Answer, Outcome, Outgoing
from regua.channels.webhook_out import WebhookOut
from regua.durable_file import write_whole

_HEADER = (
    "id",
    "nome",
    "telefone",
    "etapa",
    "faturas",
    "vencimento_mais_antigo",
    "dias_em_atraso",
    "valor_em_aberto",
    "valor_atualizado",
    "roteiro",
)
_LIST, _MANIFEST = "ligacoes.csv", "ligacoes.manifest.json"


class CallList:
    """One entry a call in `folder`/<day>, from which `finish` writes the day's list: whole, largest amount first.

    Only those who run the machine can read the folder. The webhook carries ids and sums of bytes, no person.
    """

    sender_code = "call_list"

    def __init__(self, folder: Path, webhook: WebhookOut | None) -> None:
        self._folder = folder
        self._webhook = webhook

    def open_batch(self) -> str | None:
        return None

    def send(self, outgoing: Outgoing) -> Outcome:
        content = outgoing.content
        entry = content.to_json() | {"script": outgoing.rendered.text}
        day = self._folder / content.as_of_date.isoformat()
        try:
            day.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(day / f"{content.message_id}.json", json.dumps(entry, ensure_ascii=False))
        except OSError as error:
            # Nothing of it, or all: writing the same entry again lists nobody twice.
            return Outcome(Answer.NOT_REACHED, type(error).__name__)
        return Outcome(Answer.ACCEPTED, "listed", provider_message_id=content.message_id)

    def recall(self, batch_id: str) -> bool:
        return False

    def finish(self) -> None:
        """Write the list of each day whose entries it does not hold yet, and tell of it.

        Raises BusyError when the receiver cannot be told now, InputError when it refuses: the list itself is written.
        """
        for day in sorted(self._folder.glob("????-??-??")):
            entries = sorted(path for path in day.glob("*.json") if path.name != _MANIFEST)
            manifest = _manifest(day)
            if len(entries) != manifest.get("rows"):
                manifest = self._write(day, entries)
            if self._webhook is not None and not manifest["is_told"]:
                self._tell(self._webhook, day, manifest)

    def _write(self, day: Path, paths: list[Path]) -> dict[str, Any]:
        entries = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        entries.sort(key=lambda entry: (-Decimal(entry["payable_amount"]), entry["message_id"]))
        written = write_operator_csv(_HEADER, [_row(entry) for entry in entries])
        manifest = {
            "file": _LIST,
            "rows": len(entries),
            "sha256": hashlib.sha256(written).hexdigest(),
            "message_ids": [entry["message_id"] for entry in entries],
            "is_told": False,
        }
        write_whole(day / _LIST, written)
        write_whole(day / _MANIFEST, json.dumps(manifest))
        return manifest

    def _tell(self, webhook: WebhookOut, day: Path, manifest: dict[str, Any]) -> None:
        told = {name: manifest[name] for name in ("file", "rows", "sha256", "message_ids")}
        event = {"type": "call_list.ready", "timestamp": f"{day.name}T00:00:00Z", "data": {"day": day.name} | told}
        # The same list has the same id, so that a repetition after a crash is seen to be one.
        webhook.post(f"calls-{day.name}-{manifest['sha256'][:16]}", event)
        write_whole(day / _MANIFEST, json.dumps(manifest | {"is_told": True}))


def _manifest(day: Path) -> dict[str, Any]:
    path = day / _MANIFEST
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _row(entry: dict[str, Any]) -> list[str | int | Decimal | None]:
    lines = entry["lines"]
    return [
        entry["message_id"],
        entry["name"],
        entry["address"],
        entry["step_code"],
        ", ".join(line["invoice_number"] or line["invoice_id"] for line in lines),
        date.fromisoformat(min(line["due_date"] for line in lines)).strftime("%d/%m/%Y"),
        max(line["days_past_due"] or 0 for line in lines),
        Decimal(entry["open_amount"]),
        Decimal(entry["payable_amount"]),
        entry["script"],
    ]
