"""Every template with made-up data, as files to look at: what somebody who changes the wording wants to see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from regua.channels.checking import faults_of
from regua.channels.dispatch_file import CHANNELS, DispatchFile
from regua.channels.examples import CASES, example
from regua.channels.preview import write_index, write_message
from regua.channels.rendering import Renderer
from regua.channels.sending import Outgoing
from regua.durable_file import write_whole
from regua.errors import InputError


@dataclass(frozen=True, slots=True)
class TemplatePreview:
    """`faults` are those the check would refuse a message for, with template, channel and case."""

    index: Path
    message_count: int
    faults: tuple[str, ...]


def channels_of_templates(templates_dir: Path) -> dict[str, list[str]]:
    """The channels that each template has words for. Folders named as a channel hold its layout."""
    found = {
        folder.name: [channel for channel in CHANNELS if (folder / f"{channel}.txt").is_file()]
        for folder in sorted(templates_dir.iterdir())
        if folder.is_dir() and folder.name not in CHANNELS
    }
    return {template_code: channels for template_code, channels in found.items() if channels}


def preview_templates(
    templates_dir: Path, dispatch_file: DispatchFile, template_codes: Sequence[str], folder: Path
) -> TemplatePreview:
    """Write each case of each template named, or of all. Raises InputError for a template that is not there."""
    known = channels_of_templates(templates_dir)
    unknown = [code for code in template_codes if code not in known]
    if unknown:
        raise InputError(f"There is no template {', '.join(unknown)}; there are {', '.join(known)}.")
    renderer = Renderer(templates_dir, dispatch_file)
    faults: list[str] = []
    count = 0
    for template_code in template_codes or known:
        for channel_code in known[template_code]:
            for case in CASES:
                content = example(template_code, channel_code, case)
                rendered = renderer.render(content)
                where = f"{template_code}, {channel_code}, {case}"
                faults += [f"{where}: {fault}" for fault in faults_of(content, rendered, dispatch_file)]
                write_message(folder / channel_code, Outgoing(content, rendered), dispatch_file.channels.email)
                count += 1
            if channel_code == "whatsapp":
                text = renderer.approval_text(template_code, example(template_code, channel_code, CASES[0]))
                write_whole(folder / channel_code / f"para_aprovacao_{template_code}.txt", text)
    write_index(folder, "Modelos de mensagem")
    return TemplatePreview(folder / "index.html", count, tuple(faults))
