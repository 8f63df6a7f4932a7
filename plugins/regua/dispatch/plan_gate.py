"""The gate between plan and claim: Great Expectations on the ledger's own plan, laid beside what the night knew."""

from __future__ import annotations

from datetime import date, datetime
from statistics import fmean
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from regua.channels.contents import MessageContent
from regua.channels.dispatch_file import DispatchFile
from regua.dispatch.dispatching import Writer
from regua.errors import InputError
from regua.instants import Clock
from regua.ledger.event_log import MessageEvent, append_events, writing_messages
from regua.ledger.messages import CONTENTS, MESSAGES, PLANS, STEPS
from regua.quality.gate import GateReport, RedGateError, run_gate
from regua.settings import Settings
from regua.warehouse.store import warehouse_lock, writing

_MONEY = pa.decimal128(18, 2)
_TEXT, _DAY, _INSTANT, _COUNT = pa.string(), pa.date32(), pa.timestamp("us"), pa.int64()
_AMOUNTS = ("open_amount", "credit_amount", "fine_amount", "interest_amount", "payable_amount")
_SCHEMAS = {
    "messages": {
        **dict.fromkeys(
            (
                "message_id",
                "customer_id",
                "channel_code",
                "currency_code",
                "step_code",
                "state_code",
                "name",
                "address",
            ),
            _TEXT,
        ),
        "opens_at": _INSTANT,
        "closes_at": _INSTANT,
        **dict.fromkeys(_AMOUNTS, _MONEY),
    },
    "lines": {
        **dict.fromkeys(("message_id", "invoice_id", "customer_id"), _TEXT),
        **dict.fromkeys(_AMOUNTS, _MONEY),
    },
    "steps": {**dict.fromkeys(("step_key", "message_id", "invoice_id", "step_code"), _TEXT), "cycle_date": _DAY},
    "volumes": {"message_count": _COUNT, "mean_count": pa.float64(), "highest_count": pa.float64()},
    "supplier": dict.fromkeys(("legal_name", "cnpj", "address"), _TEXT),
    "faults": dict.fromkeys(("message_id", "template_code", "channel_code", "fault_code"), _TEXT),
}
_Rows = dict[str, list[dict[str, Any]]]


def gate_plan(
    settings: Settings, engine: sa.Engine, as_of: date, dispatch_file: DispatchFile, writer: Writer, clock: Clock
) -> GateReport:
    """Judge the plan of `as_of` and keep the verdict in the ledger: only a green plan is claimed from.

    A gate that errs leaves the plan as it was, not green. Raises RedGateError when it is red, BusyError while the
    warehouse is written.
    """
    with engine.connect() as connection:
        plan: Any = connection.execute(sa.select(PLANS).where(PLANS.c.as_of_date == as_of)).one_or_none()
        if plan is None:
            raise InputError(f"There is no plan of {as_of}: run `regua plan --as-of {as_of}` after the night.")
        rows = _rows_of(connection, as_of, plan.message_count, dispatch_file, writer)
    with warehouse_lock(settings, f"the gate of the plan {as_of}", clock):
        with writing(settings) as warehouse:
            warehouse.execute("create schema if not exists plan")
            for name, schema in _SCHEMAS.items():
                table = pa.Table.from_pylist(rows[name], schema=pa.schema(list(schema.items())))
                warehouse.register("given", table)
                warehouse.execute(f"create or replace table plan.{name} as select * from given")
                warehouse.unregister("given")
        report = run_gate(settings, "plan", as_of=as_of, known_at=plan.known_at)
    _keep_verdict(engine, as_of, plan.planned_at, report, clock)
    report.raise_if_red()
    return report


def _keep_verdict(engine: sa.Engine, as_of: date, planned_at: datetime, report: GateReport, clock: Clock) -> None:
    """On the plan that was looked at, and on no other."""
    gate_code = "green" if report.success else "red"
    reason = None if report.success else str(RedGateError(report))
    with writing_messages(engine) as connection:
        now = clock()
        updated = connection.execute(
            sa.update(PLANS)
            .where(PLANS.c.as_of_date == as_of, PLANS.c.planned_at == planned_at)
            .values(gate_code=gate_code, gate_reason=reason)
        ).rowcount
        if not updated:
            raise InputError(f"The plan of {as_of} was written anew while its gate ran: run the gate again.")
        detail = {"as_of": as_of.isoformat(), "red": [outcome.expectation for outcome in report.red]}
        append_events(connection, [MessageEvent("gate", reason_code=gate_code, detail=detail)], now)


def _rows_of(
    connection: sa.Connection, as_of: date, message_count: int, dispatch_file: DispatchFile, writer: Writer
) -> _Rows:
    query = (
        sa.select(MESSAGES, CONTENTS.c.content)
        .join(CONTENTS, CONTENTS.c.message_id == MESSAGES.c.message_id)
        .where(MESSAGES.c.as_of_date == as_of)
        .order_by(MESSAGES.c.message_id)
    )
    rows: _Rows = {name: [] for name in _SCHEMAS}
    tried: set[tuple[str, str, str]] = set()
    for message in connection.execute(query).mappings():
        content = MessageContent.from_json(message["content"])
        amounts = {name: getattr(content, name) for name in _AMOUNTS}
        own = {name: message[name] for name in _SCHEMAS["messages"] if name in message}
        rows["messages"].append({**own, "name": content.name, "address": content.address, **amounts})
        for line in content.lines:
            ids = {"message_id": content.message_id, "invoice_id": line.invoice_id, "customer_id": line.customer_id}
            rows["lines"].append({**ids, **{name: getattr(line, name) for name in _AMOUNTS}})
        kind = (content.template_code, content.channel_code, content.currency_code)
        if message["state_code"] == "planned" and kind not in tried:
            tried.add(kind)
            rows["faults"] += _faults(content, writer)
    of_day = sa.select(MESSAGES.c.message_id).where(MESSAGES.c.as_of_date == as_of, MESSAGES.c.state_code == "planned")
    steps = connection.execute(sa.select(STEPS).where(STEPS.c.message_id.in_(of_day))).mappings()
    rows["steps"] = [{name: step[name] for name in _SCHEMAS["steps"]} for step in steps]
    rows["volumes"] = [_volume(connection, as_of, message_count, dispatch_file)]
    supplier = dispatch_file.supplier
    rows["supplier"] = [{"legal_name": supplier.legal_name, "cnpj": supplier.cnpj, "address": supplier.address}]
    return rows


def _faults(content: MessageContent, writer: Writer) -> list[dict[str, str]]:
    try:
        writer.write(content)
    except InputError as error:
        fault = str(error).split(":", 1)[0].strip().replace(" ", "_")[:64]
        codes = {"template_code": content.template_code, "channel_code": content.channel_code}
        return [{"message_id": content.message_id, **codes, "fault_code": fault}]
    return []


def _volume(connection: sa.Connection, as_of: date, message_count: int, dispatch_file: DispatchFile) -> dict[str, Any]:
    band = dispatch_file.volume
    query = (
        sa.select(PLANS.c.message_count)
        .where(PLANS.c.as_of_date < as_of, PLANS.c.gate_code == "green")
        .order_by(PLANS.c.as_of_date.desc())
        .limit(band.plans)
    )
    before: list[int] = list(connection.execute(query).scalars())
    if not before:
        # The first plan has nothing to be held against; the caps of each channel still bound it.
        return {"message_count": message_count, "mean_count": None, "highest_count": None}
    mean = fmean(before)
    highest = max(mean * band.at_most_times, float(band.from_messages))
    return {"message_count": message_count, "mean_count": mean, "highest_count": highest}
