"""What sending costs: `python -m bench.dispatch run` plans messages and sends them, beside the plain loop of the SDK.

The provider is tests/faults/hostile_provider.py on its good behaviour, with the latency of a real one, in a process of
its own on the same cores; it syncs what it takes. Messages are real ones: rendered, checked, two invoices each, a third
with a Pix QR code. docs/benchmarks.md keeps the figures of a quiet machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
from collections import Counter
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import click

from bench.measuring import Cost, run_process

DAY = date(2026, 6, 30)
_WORDS = ("Padaria", "Clínica", "Oficina", "Escola", "Mercado")


@click.group()
def main() -> None:
    """Time a dispatch, and the loop that most people begin with."""


@main.command()
@click.option("--messages", type=click.IntRange(min=100), default=100_000, show_default=True)
@click.option("--dispatchers", type=click.IntRange(1, 8), default=2, show_default=True)
@click.option("--connections", type=click.IntRange(1, 256), default=64, show_default=True)
@click.option("--latency-ms", type=click.IntRange(0), default=50, show_default=True)
@click.option("--loop-messages", type=click.IntRange(min=10), default=400, show_default=True)
@click.option("--ledger-url", help="PostgreSQL instead of SQLite.")
def run(
    messages: int, dispatchers: int, connections: int, latency_ms: int, loop_messages: int, ledger_url: str | None
) -> None:
    """Plan, dispatch, and the loop, one after the other on one provider."""
    from tests.faults.provider_process import running_provider

    with tempfile.TemporaryDirectory(prefix="regua-bench-") as folder:
        home = Path(folder) / "home"
        environment = {"REGUA_HOME": str(home), "REGUA_ENV": "production"}
        if ledger_url:
            environment["REGUA_LEDGER_URL"] = ledger_url
        planning = _step(environment, "plan", str(messages))
        click.echo(f"plan of {messages:,} messages: {planning.seconds:.1f} s, peak {planning.peak_mb:,.0f} MB")
        with running_provider(Path(folder) / "taken.jsonl", "--latency-ms", str(latency_ms)) as provider:
            before = _loop_rate(environment, provider.url, loop_messages)
            sending, children = _dispatch(environment, provider.url, dispatchers, connections)
            after = _loop_rate(environment, provider.url, loop_messages)
            # What the loop sends carries no id of ours.
            taken = Counter(key for key in provider.taken() if key)
        twice = sum(1 for count in taken.values() if count > 1)
        sent = len(taken)
        rate, loop = sent / sending, (before + after) / 2
        click.echo(f"sent {sent:,} of {messages:,}, {twice} twice, in {sending:.1f} s by {dispatchers} dispatchers")
        click.echo(f"{rate:,.0f} messages/s; CPU {children * 1000 / max(sent, 1):.2f} ms a message, ledger included")
        click.echo(f"the plain loop of the SDK: {loop:.1f} messages/s; {rate / loop:.1f} times")
        if not ledger_url:
            size = sum(path.stat().st_size for path in (home / "ledger").iterdir())
            click.echo(f"ledger: {size / 1e6:,.0f} MB, {size / messages:,.0f} bytes a message")


@main.command(hidden=True)
@click.argument("messages", type=int)
def plan(messages: int) -> None:
    """Write the plan, as green as the gate would leave it."""
    import sqlalchemy as sa

    from regua.dispatch.planning import DecidedNight, write_plan
    from regua.ledger.database import open_ledger
    from regua.ledger.messages import PLANS
    from regua.settings import load_settings

    planned = tuple(sorted((_message(number) for number in range(messages)), key=lambda each: each.content.message_id))
    night = DecidedNight(DAY, datetime.fromisoformat("2026-06-30 05:00"), planned, {}, frozenset())
    with open_ledger(load_settings()) as engine:
        write_plan(engine, night, _clock)
        with engine.begin() as connection:
            connection.execute(sa.update(PLANS).values(gate_code="green"))


@main.command(hidden=True)
@click.argument("url")
@click.argument("connections", type=int)
def send(url: str, connections: int) -> None:
    """One dispatcher, with everything that a real one has but the hold."""
    from regua.channels.dispatch_file import read_dispatch_file
    from regua.channels.sendgrid_mail import SendgridMail
    from regua.dispatch.daily import CheckedWriter
    from regua.dispatch.dispatching import Bounds, Run
    from regua.dispatch.outbox import Outbox
    from regua.ledger.database import open_ledger
    from regua.settings import load_settings

    settings = load_settings()
    dispatch_file = read_dispatch_file(settings.dispatch_path)
    email = dispatch_file.channels.email.model_copy(update={"api_url": url})
    with open_ledger(settings) as engine:
        outbox = Outbox(
            engine,
            DAY,
            "email",
            run_id=f"bench-{os.getpid()}",
            sender_code="sendgrid",
            lease=timedelta(minutes=10),
            keeps_hours=True,
            stop_file=settings.stop_path,
            clock=_clock,
        )
        bounds = Bounds(
            messages=10_000_000, connections=connections, timeout=timedelta(seconds=15), run_for=timedelta(hours=2)
        )
        run = Run(outbox, SendgridMail(email, "key"), CheckedWriter(settings, dispatch_file), bounds, "email", _clock)
        report = run.run()
    click.echo(json.dumps({"attempted": report.attempted, "ended": report.ended}))


@main.command(hidden=True)
@click.argument("url")
@click.argument("messages", type=int)
def loop(url: str, messages: int) -> None:
    """What one writes first: render, send with the SDK, next. Nothing is kept, nothing is checked."""
    from sendgrid import SendGridAPIClient
    from sendgrid.helpers.mail import Mail

    from regua.channels.dispatch_file import read_dispatch_file
    from regua.channels.rendering import Renderer
    from regua.settings import load_settings

    settings = load_settings()
    renderer = Renderer(settings.templates_dir, read_dispatch_file(settings.dispatch_path))
    client = SendGridAPIClient("key", host=url)
    started = time.perf_counter()
    for number in range(messages):
        content = _message(number).content
        rendered = renderer.render(content)
        mail = Mail("financeiro@nuvemfacil.example", content.address, rendered.subject, rendered.text, rendered.html)
        client.send(mail)
    click.echo(json.dumps(messages / (time.perf_counter() - started)))


def _step(environment: dict[str, str], *arguments: str) -> Cost:
    return run_process([sys.executable, "-m", "bench.dispatch", *arguments], environment)[0]


def _loop_rate(environment: dict[str, str], url: str, messages: int) -> float:
    _, output = run_process([sys.executable, "-m", "bench.dispatch", "loop", url, str(messages)], environment)
    return float(json.loads(output.splitlines()[-1]))


def _dispatch(environment: dict[str, str], url: str, dispatchers: int, connections: int) -> tuple[float, float]:
    """Wall seconds of all dispatchers together, and their CPU seconds."""
    import resource
    import subprocess

    from bench.measuring import PROJECT_DIR

    whole = {**os.environ, "PYTHONPATH": f"{PROJECT_DIR}:{PROJECT_DIR / 'plugins'}", **environment}
    command = [sys.executable, "-m", "bench.dispatch", "send", url, str(connections // dispatchers)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    processes = [subprocess.Popen(command, env=whole, cwd=PROJECT_DIR) for _ in range(dispatchers)]
    codes = [process.wait() for process in processes]
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if any(codes):
        raise click.ClickException(f"a dispatcher ended with {codes}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _message(number: int):  # noqa: ANN202 - imported where it is used
    from regua.channels.contents import Line, MessageContent
    from regua.channels.payment_codes import boleto_line, pix_code
    from regua.dispatch.planning import PlannedMessage, Step

    customer, zero = f"C{number}", Decimal("0.00")
    message_id = hashlib.md5(customer.encode(), usedforsecurity=False).hexdigest()
    lines = []
    for place, amount in enumerate((Decimal("129.90") + number % 700, Decimal("89.90"))):
        due_date = DAY - timedelta(days=6 + 30 * place)
        has_pix = number % 3 == 0 and place == 0
        lines.append(
            Line(
                invoice_id=f"I{number}-{place}",
                customer_id=customer,
                invoice_number=f"2026/{number:06}-{place}",
                due_date=due_date,
                days_past_due=(DAY - due_date).days,
                open_amount=amount,
                credit_amount=zero,
                fine_amount=zero,
                interest_amount=zero,
                payable_amount=amount,
                payment_url=f"https://pagar.nuvemfacil.example/f/{number}-{place}",
                boleto_line=None
                if has_pix
                else boleto_line(bank="341", amount=amount, due_date=due_date, free_field=f"{number:025}"),
                pix_code=pix_code(
                    key="11222333000181",
                    receiver="NUVEM FACIL",
                    city="SAO PAULO",
                    amount=amount,
                    transaction_id=f"T{number}",
                )
                if has_pix
                else None,
            )
        )
    total = sum((line.payable_amount for line in lines), zero)
    content = MessageContent(
        message_id=message_id,
        as_of_date=DAY,
        customer_id=customer,
        name=f"{_WORDS[number % 5]} {number} Ltda.",
        address=f"financeiro{number}@exemplo.com.br",
        channel_code="email",
        step_code="overdue_email",
        phase_code="friendly",
        notice_code=None,
        template_code="overdue",
        variant_code=None,
        currency_code="BRL",
        open_amount=total,
        credit_amount=zero,
        fine_amount=zero,
        interest_amount=zero,
        payable_amount=total,
        offer_instalment_count=None,
        offer_discount_pct=None,
        offer_amount=None,
        action_date=None,
        lines=tuple(lines),
    )
    steps = tuple(
        Step(
            hashlib.md5(f"{customer}|{line.invoice_id}".encode(), usedforsecurity=False).hexdigest(),
            message_id,
            customer,
            line.invoice_id,
            "overdue_email",
            line.due_date,
        )
        for line in lines
    )
    hours = datetime.fromisoformat("2026-06-30 00:00"), datetime.fromisoformat("2026-07-01 00:00")
    return PlannedMessage(content, "default", "v1", None, *hours, steps)


def _clock() -> datetime:
    """A clock that goes on, on the day of the plan."""
    return datetime.fromisoformat("2026-06-30 12:00") + timedelta(seconds=time.monotonic() - _STARTED)


_STARTED = time.monotonic()

if __name__ == "__main__":
    main()
