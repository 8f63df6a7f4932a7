"""Messages as files instead of messages: what REGUA_ENV=local sends, and what templates are looked at with."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import jinja2

from regua.channels.dispatch_file import CHANNELS, DispatchFile, EmailSending
from regua.channels.letter_pdf import letter_pdf, require_weasyprint
from regua.channels.mime_message import mime_message
from regua.channels.sending import Answer, Channel, Outcome, Outgoing
from regua.durable_file import sync_directory, write_whole

_INDEX = jinja2.Template(
    """<!DOCTYPE html>
<html lang="pt-BR">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{ title }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 50rem; padding: 0 1rem; }
td, th { text-align: left; padding: .2rem 1.5rem .2rem 0; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<p>Nada foi enviado: cada mensagem virou um arquivo.</p>
<p>{% for folder, messages in folders.items() %}
<a href="#{{ folder }}">{{ folder }} ({{ messages | length }})</a>
{% endfor %}</p>
{% for folder, messages in folders.items() %}
<h2 id="{{ folder }}">{{ folder }} ({{ messages | length }})</h2>
<table>
{% for name, endings in messages.items() %}
<tr><td>{{ name }}</td><td>
{% for ending in endings %}
<a href="{{ folder | urlencode }}/{{ (name ~ ending) | urlencode }}">{{ ending }}</a>
{% endfor %}
</td></tr>
{% endfor %}
</table>
{% endfor %}
</body>
</html>
""",
    autoescape=True,
    trim_blocks=True,
)


class PreviewChannel(Channel):
    """Writes each message below `folder`/<as_of>/<channel>; the same message written again replaces itself."""

    sender_code = "preview"

    def __init__(self, channel_code: str, folder: Path, dispatch_file: DispatchFile) -> None:
        if channel_code == "letter":
            require_weasyprint()
        self._channel_code = channel_code
        self._folder = folder
        self._sending = dispatch_file.channels.email
        self._written_to: set[Path] = set()

    def open_batch(self) -> str | None:
        return None

    def send(self, outgoing: Outgoing) -> Outcome:
        content = outgoing.content
        folder = self._folder / content.as_of_date.isoformat() / self._channel_code
        try:
            write_message(folder, outgoing, self._sending)
        except OSError as error:
            return Outcome(Answer.NOT_REACHED, f"the preview cannot be written: {error.strerror}")
        self._written_to.add(folder)
        return Outcome(Answer.ACCEPTED, "written", provider_message_id=f"preview:{content.message_id}")

    def recall(self, batch_id: str) -> bool:
        return True

    def finish(self) -> None:
        for folder in sorted(self._written_to):
            sync_directory(folder)
            write_index(folder.parent, f"Mensagens de {folder.parent.name}")


def write_message(folder: Path, outgoing: Outgoing, sending: EmailSending) -> None:
    """The files of one message, in `folder`, by customer and step."""
    content = outgoing.content
    # Who owes in two currencies gets a message for each.
    currency = "" if content.currency_code == "BRL" else f"_{content.currency_code}"
    folder.mkdir(parents=True, exist_ok=True)
    for ending, written in _files(outgoing, sending):
        _write(folder / f"{content.customer_id}_{content.step_code}{currency}{ending}", written)


def _files(outgoing: Outgoing, sending: EmailSending) -> Iterator[tuple[str, bytes]]:
    rendered = outgoing.rendered
    if outgoing.content.channel_code == "email":
        yield ".eml", mime_message(outgoing, sending).as_bytes()
        html = rendered.html or ""
        for image in rendered.images:
            data = base64.b64encode(image.png).decode()
            html = html.replace(f"cid:{image.content_id}", f"data:image/png;base64,{data}")
        yield ".html", html.encode()
    elif outgoing.content.channel_code == "letter":
        yield ".pdf", letter_pdf(rendered)
    else:
        yield ".txt", rendered.text.encode()


def write_index(folder: Path, title: str) -> None:
    """`index.html` of what lies in the folders below `folder`, by message."""
    folders: dict[str, dict[str, list[str]]] = {}
    for channel_code in CHANNELS:
        for path in sorted((folder / channel_code).glob("[!.]*")):
            folders.setdefault(channel_code, {}).setdefault(path.stem, []).append(path.suffix)
    write_whole(folder / "index.html", _INDEX.render(title=title, folders=folders))


def _write(path: Path, content: bytes) -> None:
    """Whole or absent, but not synced: a power cut takes little that matters, and syncing took as long as writing."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    beside.write_bytes(content)
    beside.replace(path)
