"""`regua explain`: one customer on one day, from the balance to the message, with the facts that were looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import duckdb
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from regua.errors import InputError
from regua.instants import write_instant
from regua.policy.policies import load_policies
from regua.settings import Settings
from regua.simulation.replaying import DECISIONS, LadderReplay, Share
from regua.transform.dbt_run import compile_models

_WIDTH = 120
_WANTED = (*DECISIONS, "regua_decision_trace", "fct_payer_signals")
_Row = Mapping[str, Any]

# What a rule says when it decides; the evidence of the trace fills the braces.
_REASONS = {
    "quarantined": "what is known of it cannot be trusted ({evidence_id})",
    "paid": "it is paid, or unapplied credit of {evidence_amount} covers it",
    "prescribed": "it was prescribed on {evidence_date}",
    "disputed": "dispute {evidence_id} holds",
    "under_agreement": "agreement {evidence_id} covers it",
    "exempt": "exemption {evidence_id} holds",
    "paused": "pause {evidence_id} holds until {evidence_date}",
    "promise_open": "promise {evidence_id}: to be paid until {evidence_date}",
    "below_tolerance": "what is open is not above the tolerance of {evidence_amount}",
    "in_clearing": "a payment by {evidence_id} is, or may still be, under way (counted from {evidence_date})",
    "stale_feed": "payments were last heard of on {evidence_date}",
    "holdout": "the customer is among the {evidence_amount} % held out from this step",
    "opted_out": "the channel is not allowed ({evidence_id})",
    "no_contact_point": "there is no address for this channel",
    "undeliverable": "no address for this channel works",
    "outside_window": "no contact hours on this kind of day ({evidence_id})",
    "over_limit": "too soon or too often: last contact on {evidence_date}, {evidence_count} in the week before",
    "eligible": "goes out",
    "superseded": "a higher step of this channel is due as well",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Rows as the models give them, by the name of the model. No personal data: ids, codes, dates and amounts."""

    as_of: date
    known_at: datetime
    customer_id: str
    invoices: tuple[_Row, ...]
    ladder: tuple[_Row, ...]
    decisions: tuple[_Row, ...]
    trace: tuple[_Row, ...]
    messages: tuple[_Row, ...]
    message_lines: tuple[_Row, ...]
    standing: tuple[_Row, ...]
    signals: tuple[_Row, ...]
    contact_days: tuple[_Row, ...]
    published: tuple[_Row, ...]

    def to_json(self) -> dict[str, object]:
        written: dict[str, object] = {
            "as_of": self.as_of.isoformat(),
            "known_at": write_instant(self.known_at),
            "customer_id": self.customer_id,
        }
        for name in self.__slots__[3:]:
            rows: tuple[_Row, ...] = getattr(self, name)
            written[name] = [{column: _plain(value) for column, value in row.items()} for row in rows]
        return written


def explain(settings: Settings, customer_id: str, as_of: date, *, known_at: datetime | None = None) -> Explanation:
    """Decide the day anew for one customer and all merged with it. Nothing is written.

    Earlier decisions are those published. Raises InputError for a customer nobody names, BusyError while a night runs.
    """
    models = compile_models(settings)
    with duckdb.connect(config={"threads": settings.warehouse_threads}) as connection:
        replay = LadderReplay(
            connection,
            settings.warehouse_path,
            models,
            load_policies(settings.policies_dir),
            as_of,
            as_of,
            share=Share(customer_id=customer_id),
            wanted=_WANTED,
        )
        if not connection.execute("select 1 from simulation.shared_customers").fetchone():
            raise InputError(
                f"No customer and no invoice names {customer_id!r}. Ids are written as the source has them."
            )
        [(_, known_then, _)] = replay.days
        replay.run_day(as_of, known_at or known_then)

        def rows(query: str) -> tuple[_Row, ...]:
            cursor = connection.execute(query)
            names = [column[0] for column in cursor.description]
            return tuple(dict(zip(names, row, strict=True)) for row in cursor.fetchall())

        today = f"as_of_date = date '{as_of}'"
        return Explanation(
            as_of=as_of,
            known_at=known_at or known_then,
            customer_id=customer_id,
            invoices=rows("from intermediate.int_dunning_invoices order by due_date, invoice_id"),
            ladder=rows("from intermediate.int_dunning_ladder order by invoice_id, step_order"),
            decisions=rows(
                f"from marts.fct_dunning_decisions where {today} order by invoice_id, offset_days, step_code"
            ),
            trace=rows("from marts.regua_decision_trace order by invoice_id, step_code, rule_order"),
            messages=rows(f"from marts.fct_dunning_messages where {today} order by channel_code, currency_code"),
            message_lines=rows(f"from marts.fct_dunning_message_lines where {today} order by message_id, due_date"),
            standing=rows("from simulation.last_standings"),
            signals=rows("from marts.fct_payer_signals"),
            contact_days=rows(
                "select distinct as_of_date, channel_code, step_code from intermediate.int_used_decisions "
                "where outcome_code = 'eligible' order by as_of_date desc limit 10"
            ),
            published=_published(connection, as_of, rows),
        )


def _published(connection: duckdb.DuckDBPyConnection, as_of: date, rows: Any) -> tuple[_Row, ...]:
    exists = connection.execute(
        "select 1 from duckdb_tables() where database_name = 'warehouse' and table_name = 'fct_dunning_decisions'"
    ).fetchone()
    if exists is None:
        return ()
    found: tuple[_Row, ...] = rows(
        "select decisions.* from warehouse.marts.fct_dunning_decisions as decisions "
        "semi join simulation.shared_customers as shared on decisions.customer_id = shared.customer_id "
        f"where as_of_date = date '{as_of}' order by invoice_id, offset_days, step_code"
    )
    return found


def print_explanation(told: Explanation, console: Console | None = None) -> None:
    """The account for people: who, what is owed, where each invoice stands, what goes out and what does not."""
    console = console or (Console() if Console().is_terminal else Console(width=_WIDTH))
    console.rule(f"[bold]customer {escape(told.customer_id)}[/bold] on {told.as_of}, known at {told.known_at} UTC")
    for line in _who(told):
        console.print(escape(line), highlight=False)
    if not told.invoices:
        console.print("Nothing is open: nothing can be said to this customer about debt.")
    else:
        console.print(_balance(told))
        console.print(_ladder(told))
    for line in _what_happens(told):
        console.print(line, highlight=False)
    for message in told.messages:
        console.print(_message(told, message))


def _who(told: Explanation) -> Iterator[str]:
    for contact in sorted({row["contact_customer_id"] for row in told.invoices}):
        first = next(row for row in told.invoices if row["contact_customer_id"] == contact)
        merged = "" if contact == told.customer_id else f" (contacted as {contact})"
        policies = sorted({f"{row['policy_code']} {row['version_hash']}" for row in told.invoices})
        yield (
            f"{first['person_type_code'] or 'kind of person unknown'}{merged}, "
            f"segment {first['segment_code'] or 'none'}, state {first['state_code'] or 'unknown'}; "
            f"policy {', '.join(policies)}"
        )
    for signal in told.signals:
        if signal["settled_count"]:
            score = "no score yet" if signal["score"] is None else f"score {signal['score']}"
            yield (
                f"{signal['on_time_count']} of {signal['settled_count']} paid in time, {signal['late_count']} late "
                f"by {signal['mean_delay_days'] or 0} days on average; {score}, {signal['profile_code']}"
            )
    for standing in told.standing:
        oldest = standing["max_days_past_due"]
        detail = f", oldest {oldest} days past due" if oldest is not None else ""
        stale = "; the payment feed is stale, nobody may be suspended on this" if standing["is_feed_stale"] else ""
        unlocked = standing["unlocked_until_date"]
        trust = f"; access on trust until {unlocked}" if unlocked is not None else ""
        yield f"level: {standing['level_code']}{detail}{trust}{stale}"
    if told.contact_days:
        days = ", ".join(f"{row['as_of_date']} {row['channel_code']} {row['step_code']}" for row in told.contact_days)
        yield f"written to before: {days}"


def _balance(told: Explanation) -> Table:
    table = Table(title="what is open", title_justify="left")
    for name, is_number in (("invoice", 0), ("due", 0), ("late after", 0), ("days", 1), ("amount", 1), ("open", 1),
                            ("credit", 1), ("held back by", 0)):  # fmt: skip
        table.add_column(name, justify="right" if is_number else "left")
    for row in told.invoices:
        table.add_row(
            row["invoice_id"], str(row["due_date"]), str(row["effective_due_date"]), f"{row['days_since_due']:+}",
            f"{row['amount']:,}", f"{row['open_amount']:,} {row['currency_code']}", f"{row['credit_amount']:,}",
            row["hold_code"] or "",
        )  # fmt: skip
    return table


def _ladder(told: Explanation) -> Table:
    outcomes = {(row["invoice_id"], row["step_code"]): row["outcome_code"] for row in told.decisions}
    table = Table(title="where each invoice stands on its ladder", title_justify="left")
    for name in ("invoice", "day", "step", "channel", "state", ""):
        table.add_column(name, justify="right" if name == "day" else "left", overflow="fold")
    previous = None
    for row in told.ladder:
        if previous not in (None, row["invoice_id"]):
            table.add_section()
        shown = row["invoice_id"] if row["invoice_id"] != previous else ""
        previous = row["invoice_id"]
        key = (row["invoice_id"], row["step_code"])
        table.add_row(
            shown, f"{row['offset_days']:+}", row["step_code"], row["channel_code"], row["ladder_state_code"],
            _state_detail(row, outcomes.get(key)),
        )  # fmt: skip
    return table


def _state_detail(row: _Row, outcome: str | None) -> str:
    if row["ladder_state_code"] in ("sent", "held_out"):
        return f"on {row['used_date']}"
    if row["ladder_state_code"] == "condition_unmet":
        return f"{row['unmet_condition_code']} does not hold"
    return outcome or ""


def _what_happens(told: Explanation) -> Iterator[str]:
    for decision in told.decisions:
        place = f"{decision['invoice_id']}, {decision['step_code']} by {decision['channel_code']}"
        rules = [
            row
            for row in told.trace
            if (row["invoice_id"], row["step_code"]) == (decision["invoice_id"], decision["step_code"])
        ]
        decisive: _Row = next((row for row in rules if row["is_decisive"]), {})
        outcome = decision["outcome_code"]
        reason = _REASONS[outcome].format_map(_Evidence(decisive))
        colour = "green" if outcome == "eligible" else "yellow"
        yield f"[{colour}]{outcome}[/{colour}] {escape(place)}: {escape(reason)}"
        passed = [row["rule_code"] for row in rules if not row["is_decisive"]]
        if passed:
            yield f"    [dim]passed {'all rules' if outcome == 'eligible' else ', '.join(passed)}[/dim]"
    if told.invoices and not told.decisions:
        yield "No step is due today: nothing goes out."
    published = {(row["invoice_id"], row["step_code"]): row["outcome_code"] for row in told.published}
    now = {(row["invoice_id"], row["step_code"]): row["outcome_code"] for row in told.decisions}
    if published and published != now:
        changed = sorted(
            f"{invoice} {step}: {published.get((invoice, step), 'none')} then, {now.get((invoice, step), 'none')} now"
            for invoice, step in {*published, *now}
            if published.get((invoice, step)) != now.get((invoice, step))
        )
        yield f"[bold]The night of that day decided otherwise:[/bold] {escape('; '.join(changed))}"


class _Evidence(dict[str, Any]):
    """Evidence that a rule has not is shown as a dash."""

    def __init__(self, row: _Row) -> None:
        super().__init__({name: value for name, value in row.items() if value is not None})

    def __missing__(self, key: str) -> str:
        return "–"


def _message(told: Explanation, message: _Row) -> Table:
    table = Table(
        title=(
            f"message by {message['channel_code']}: {message['step_code']}, template {message['template_code']}, "
            f"between {_clock(message['opens_minute'])} and {_clock(message['closes_minute'])}"
        ),
        title_justify="left",
        show_footer=True,
    )
    table.add_column("invoice", "total")
    table.add_column("for", "")
    table.add_column("days", "", justify="right")
    for name in ("open", "credit", "fine", "interest", "payable"):
        table.add_column(name, f"{message[f'{name}_amount']:,}", justify="right")
    for line in told.message_lines:
        if line["message_id"] == message["message_id"]:
            table.add_row(
                line["invoice_id"], line["step_code"] or "also past due", str(line["days_past_due"] or ""),
                *(f"{line[f'{name}_amount']:,}" for name in ("open", "credit", "fine", "interest", "payable")),
            )  # fmt: skip
    if message["offer_instalment_count"] is not None:
        table.caption = (
            f"offer: up to {message['offer_instalment_count']} instalments, or {message['offer_amount']:,} at once "
            f"({message['offer_discount_pct']} % off)"
        )
    return table


def _clock(minute: int) -> str:
    return f"{minute // 60}:{minute % 60:02}"


def _plain(value: Any) -> object:
    return value if isinstance(value, int | str) or value is None else str(value)
