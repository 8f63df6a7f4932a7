"""Plans of made-up messages, an installation to keep them in, and a provider that remembers what it was given."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from regua.channels.contents import Line, MessageContent
from regua.channels.sending import Answer, Outcome, Outgoing, Rendered
from regua.dispatch.dispatching import Bounds, Run, RunReport
from regua.dispatch.outbox import Outbox
from regua.dispatch.planning import DecidedNight, Plan, PlannedMessage, Step, write_plan
from regua.ledger.event_log import writing_messages
from regua.ledger.messages import EVENTS, MESSAGES, PLANS, STEPS, State
from regua.settings import Settings

DAY = date(2026, 6, 30)
KNOWN_AT = datetime.fromisoformat("2026-06-30 05:00")
# Ten in the morning in São Paulo, and the hours of most states, in UTC.
TEN = datetime.fromisoformat("2026-06-30 13:00")
OPENS, CLOSES = datetime.fromisoformat("2026-06-30 12:00"), datetime.fromisoformat("2026-06-30 22:00")


def made_message(
    number: int,
    *,
    day: date = DAY,
    channel: str = "email",
    step: str = "overdue_email",
    address: str | None = None,
    amount: str = "100.00",
    invoices: Sequence[str] = (),
) -> PlannedMessage:
    """A message to customer C<number> about its invoices, by default I<number>."""
    customer = f"C{number}"
    invoice_ids = tuple(invoices) or (f"I{number}",)
    money = Decimal(amount)
    message_id = hashlib.md5(f"{day}|{customer}|{channel}|BRL".encode(), usedforsecurity=False).hexdigest()
    lines = tuple(
        Line(
            invoice_id=invoice_id,
            customer_id=customer,
            invoice_number=f"NF-{invoice_id}",
            due_date=day - timedelta(days=6),
            days_past_due=6,
            open_amount=money,
            credit_amount=Decimal("0.00"),
            fine_amount=Decimal("0.00"),
            interest_amount=Decimal("0.00"),
            payable_amount=money,
            payment_url=None,
            boleto_line=None,
            pix_code=None,
        )
        for invoice_id in invoice_ids
    )
    total = money * len(lines)
    content = MessageContent(
        message_id=message_id,
        as_of_date=day,
        customer_id=customer,
        name=f"Canário {number}",
        address=address or (f"canario{number}@exemplo.com.br" if channel == "email" else f"+55119{number:08}"),
        channel_code=channel,
        step_code=step,
        phase_code="friendly",
        notice_code=None,
        template_code="overdue",
        variant_code=None,
        currency_code="BRL",
        open_amount=total,
        credit_amount=Decimal("0.00"),
        fine_amount=Decimal("0.00"),
        interest_amount=Decimal("0.00"),
        payable_amount=total,
        offer_instalment_count=None,
        offer_discount_pct=None,
        offer_amount=None,
        action_date=None,
        lines=lines,
    )
    steps = tuple(
        Step(
            step_key=hashlib.md5(
                f"{customer}|{line.invoice_id}|{step}|{channel}|{line.due_date}".encode(), usedforsecurity=False
            ).hexdigest(),
            message_id=message_id,
            customer_id=customer,
            invoice_id=line.invoice_id,
            step_code=step,
            # The cycle is that of the debt, whatever the day of the message.
            cycle_date=DAY - timedelta(days=6),
        )
        for line in lines
    )
    shift = timedelta(days=(day - DAY).days)
    keys = tuple(replace(s, step_key=_key(s, channel)) for s in steps)
    return PlannedMessage(content, "default", "v1", None, OPENS + shift, CLOSES + shift, keys)


def _key(step: Step, channel: str) -> str:
    told = f"{step.customer_id}|{step.invoice_id}|{step.step_code}|{channel}|{step.cycle_date}"
    return hashlib.md5(told.encode(), usedforsecurity=False).hexdigest()


def decided(
    messages: Sequence[PlannedMessage], day: date = DAY, facts: Mapping[str, int] | None = None
) -> DecidedNight:
    ordered = tuple(sorted(messages, key=lambda message: message.content.message_id))
    return DecidedNight(day, KNOWN_AT + timedelta(days=(day - DAY).days), ordered, facts or {}, frozenset())


class PlainWriter:
    """Writes next to nothing; refuses whom it is told to."""

    def __init__(self, refusals: Mapping[str, Exception] | None = None) -> None:
        self.refusals = refusals or {}

    def write(self, content: MessageContent) -> Rendered:
        if content.customer_id in self.refusals:
            raise self.refusals[content.customer_id]
        return Rendered(text="texto", subject="assunto")


@dataclass
class RememberingChannel:
    """Answers as told, by customer, once each in the order given; then accepts. Knows all that it was given."""

    answers: dict[str, list[Outcome]] = field(default_factory=dict)
    sender_code: str = "remembering"
    holds: bool = False
    during: Callable[[Outgoing], None] = lambda outgoing: None
    received: list[Outgoing] = field(default_factory=list)
    recalled: list[str] = field(default_factory=list)
    recall_works: bool = True
    _lock: Any = field(default_factory=threading.Lock)
    _batches: int = 0

    def open_batch(self) -> str | None:
        if not self.holds:
            return None
        self._batches += 1
        return f"batch-{self._batches}-{id(self)}"

    def send(self, outgoing: Outgoing) -> Outcome:
        with self._lock:
            self.received.append(outgoing)
            told = self.answers.get(outgoing.content.customer_id, [])
            outcome = told.pop(0) if told else Outcome(Answer.ACCEPTED, "", f"id-{len(self.received)}")
        self.during(outgoing)
        return outcome

    def recall(self, batch_id: str) -> bool:
        self.recalled.append(batch_id)
        return self.recall_works

    def finish(self) -> None:
        pass

    @property
    def customers(self) -> list[str]:
        return sorted(outgoing.content.customer_id for outgoing in self.received)


@dataclass
class House:
    """A ledger with a clock that stands still until it is moved."""

    engine: sa.Engine
    settings: Settings
    folder: Path
    now: datetime = TEN

    def clock(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @property
    def stop_file(self) -> Path:
        return self.folder / "STOP"

    def plan(self, *messages: PlannedMessage, day: date = DAY, gate: str = "green", facts: Any = None) -> Plan:
        plan = write_plan(self.engine, decided(messages, day, facts), self.clock)
        with writing_messages(self.engine) as connection:
            connection.execute(sa.update(PLANS).where(PLANS.c.as_of_date == day).values(gate_code=gate))
        return plan

    def outbox(
        self, channel: str = "email", day: date = DAY, *, run_id: str = "run", keeps_hours: bool = True
    ) -> Outbox:
        return Outbox(
            self.engine,
            day,
            channel,
            run_id=run_id,
            sender_code="remembering",
            lease=timedelta(minutes=10),
            keeps_hours=True,
            stop_file=self.stop_file,
            clock=self.clock,
        )

    def send(
        self,
        provider: RememberingChannel,
        *,
        channel: str = "email",
        day: date = DAY,
        run_id: str = "run",
        writer: Any = None,
        **bounds: Any,
    ) -> RunReport:
        given = {"messages": 1000, "connections": 1, "timeout": timedelta(seconds=15)} | bounds
        outbox = self.outbox(channel, day, run_id=run_id)
        run = Run(outbox, provider, writer or PlainWriter(), Bounds(**given), channel, self.clock, self.wait)
        return run.run()

    def states(self) -> dict[str, str]:
        """State, with its reason, by customer; the newest day counts."""
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(MESSAGES).order_by(MESSAGES.c.as_of_date)).all()
        return {
            row.customer_id: f"{row.state_code}: {row.reason_code}" if row.reason_code else row.state_code
            for row in rows
        }

    def events(self, customer: str) -> list[str]:
        with self.engine.connect() as connection:
            query = (
                sa.select(EVENTS.c.kind_code)
                .join(MESSAGES, MESSAGES.c.message_id == EVENTS.c.message_id)
                .where(MESSAGES.c.customer_id == customer)
                .order_by(EVENTS.c.event_number)
            )
            return list(connection.execute(query).scalars())

    def message_of(self, customer: str) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(sa.select(MESSAGES).where(MESSAGES.c.customer_id == customer)).one()

    def owner_of(self, step_key: str) -> str:
        with self.engine.connect() as connection:
            return str(
                connection.execute(sa.select(STEPS.c.message_id).where(STEPS.c.step_key == step_key)).scalar_one()
            )


__all__ = ["DAY", "TEN", "House", "PlainWriter", "RememberingChannel", "State", "decided", "made_message"]
