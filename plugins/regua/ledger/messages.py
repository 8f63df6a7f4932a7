"""The ledger's tables of messages, the states a message can be in, and the ways from one to another.

    planned → claimed → accepted → delivered | bounced | dropped
    claimed → unknown → settled_sent | settled_not_sent
    planned → cancelled_paid | suppressed | superseded | expired; claimed → rejected

Only `planned → claimed` leads to the network. What has left `planned` never comes back to it, but for an attempt of
which it is proved that no byte of the request was sent or that the provider did not process it.
"""

from __future__ import annotations

from enum import StrEnum

import sqlalchemy as sa

from regua.ledger.facts import METADATA


class State(StrEnum):
    PLANNED = "planned"
    CLAIMED = "claimed"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    DROPPED = "dropped"
    REJECTED = "rejected"
    SUPPRESSED = "suppressed"
    CANCELLED_PAID = "cancelled_paid"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    UNKNOWN = "unknown"
    SETTLED_SENT = "settled_sent"
    SETTLED_NOT_SENT = "settled_not_sent"


# It is known that nothing went out: another message may carry the same step.
NOT_SENT = frozenset(
    (
        State.REJECTED,
        State.SUPPRESSED,
        State.CANCELLED_PAID,
        State.SUPERSEDED,
        State.EXPIRED,
        State.SETTLED_NOT_SENT,
    )
)
# Nobody has to do anything about them any more, unless a provider says otherwise.
TERMINAL = NOT_SENT | {State.DELIVERED, State.BOUNCED, State.DROPPED, State.SETTLED_SENT}
_PROVED = (State.DELIVERED, State.BOUNCED, State.DROPPED)
# From what each state may be reached. What a provider proves stands above what was thought before.
REACHED_FROM: dict[State, frozenset[State]] = {
    State.PLANNED: frozenset((State.CLAIMED,)),
    State.CLAIMED: frozenset((State.PLANNED,)),
    State.ACCEPTED: frozenset((State.CLAIMED, State.UNKNOWN)),
    State.UNKNOWN: frozenset((State.CLAIMED,)),
    State.REJECTED: frozenset((State.CLAIMED,)),
    # A recall takes back what the provider still holds.
    State.SUPPRESSED: frozenset((State.PLANNED, State.ACCEPTED)),
    State.CANCELLED_PAID: frozenset((State.PLANNED, State.ACCEPTED)),
    State.SUPERSEDED: frozenset((State.PLANNED,)),
    State.EXPIRED: frozenset((State.PLANNED,)),
    State.SETTLED_SENT: frozenset((State.UNKNOWN,)),
    State.SETTLED_NOT_SENT: frozenset((State.UNKNOWN,)),
    **{
        state: frozenset(State) - {state, State.PLANNED, State.BOUNCED if state is State.DELIVERED else state}
        for state in _PROVED
    },
}

MARKS = sa.Table(
    "ledger_marks",
    METADATA,
    sa.Column("mark_code", sa.String(20), primary_key=True),
    sa.Column("value", sa.String(500), nullable=False),
)
PLANS = sa.Table(
    "plans",
    METADATA,
    sa.Column("as_of_date", sa.Date, primary_key=True),
    sa.Column("known_at", sa.DateTime, nullable=False),
    sa.Column("planned_at", sa.DateTime, nullable=False),
    sa.Column("known_fact_numbers", sa.JSON, nullable=False),
    sa.Column("message_count", sa.Integer, nullable=False),
    sa.Column("content_sha256", sa.String(64), nullable=False),
    sa.Column("gate_code", sa.String(10), nullable=False),
    sa.Column("gate_reason", sa.Text),
)
MESSAGES = sa.Table(
    "messages",
    METADATA,
    sa.Column("message_id", sa.String(64), primary_key=True),
    sa.Column("as_of_date", sa.Date, sa.ForeignKey("plans.as_of_date"), nullable=False),
    sa.Column("customer_id", sa.String(64), nullable=False),
    sa.Column("channel_code", sa.String(20), nullable=False),
    sa.Column("currency_code", sa.String(3), nullable=False),
    sa.Column("policy_code", sa.String(64), nullable=False),
    sa.Column("version_hash", sa.String(64), nullable=False),
    sa.Column("step_code", sa.String(64), nullable=False),
    sa.Column("contact_point_id", sa.String(64)),
    sa.Column("address_hash", sa.String(64), nullable=False),
    sa.Column("opens_at", sa.DateTime, nullable=False),
    sa.Column("closes_at", sa.DateTime, nullable=False),
    sa.Column("content_sha256", sa.String(64), nullable=False),
    sa.Column("state_code", sa.String(20), nullable=False),
    sa.Column("reason_code", sa.String(200)),
    sa.Column("state_at", sa.DateTime, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("attempt_count", sa.Integer, nullable=False),
    sa.Column("not_before_at", sa.DateTime),
    sa.Column("lease_until", sa.DateTime),
    # False when the newest plan of its day does not have it any more.
    sa.Column("is_decided", sa.Boolean, nullable=False),
    sa.Column("run_id", sa.String(64)),
    sa.Column("sender_code", sa.String(20)),
    sa.Column("provider_message_id", sa.String(200)),
    sa.Column("batch_id", sa.String(100)),
    sa.Column("send_at", sa.DateTime),
    sa.Index("messages_by_state", "state_code", "channel_code", "as_of_date", "message_id"),
    sa.Index("messages_by_customer", "customer_id"),
    sa.Index("messages_by_provider", "provider_message_id"),
    sa.Index("messages_by_address", "address_hash"),
)
CONTENTS = sa.Table(
    "message_contents",
    METADATA,
    sa.Column("message_id", sa.String(64), sa.ForeignKey("messages.message_id"), primary_key=True),
    sa.Column("content", sa.JSON, nullable=False),
)
STEPS = sa.Table(
    "message_steps",
    METADATA,
    sa.Column("step_key", sa.String(64), primary_key=True),
    sa.Column("message_id", sa.String(64), sa.ForeignKey("messages.message_id"), nullable=False),
    sa.Column("customer_id", sa.String(64), nullable=False),
    sa.Column("invoice_id", sa.String(64), nullable=False),
    sa.Column("step_code", sa.String(64), nullable=False),
    sa.Column("cycle_date", sa.Date, nullable=False),
    sa.Index("message_steps_by_message", "message_id"),
)
CONTACT_DAYS = sa.Table(
    "contact_days",
    METADATA,
    sa.Column("address_hash", sa.String(64), primary_key=True),
    sa.Column("channel_code", sa.String(20), primary_key=True),
    sa.Column("local_date", sa.Date, primary_key=True),
    sa.Column("message_id", sa.String(64), sa.ForeignKey("messages.message_id"), nullable=False, unique=True),
)
HELD_BATCHES = sa.Table(
    "held_batches",
    METADATA,
    sa.Column("batch_id", sa.String(100), primary_key=True),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("channel_code", sa.String(20), nullable=False),
    sa.Column("send_at", sa.DateTime, nullable=False),
    sa.Column("recalled_at", sa.DateTime),
    # False while the provider has not said that it holds nothing of it any more.
    sa.Column("is_recall_confirmed", sa.Boolean, nullable=False),
)
PAYMENT_NOTICES = sa.Table(
    "payment_notices",
    METADATA,
    sa.Column("notice_key", sa.String(300), primary_key=True),
    sa.Column("entity", sa.String(20), nullable=False),
    sa.Column("notice_id", sa.String(200), nullable=False),
    sa.Column("invoice_id", sa.String(64)),
    sa.Column("customer_id", sa.String(64)),
    sa.Column("origin_code", sa.String(20), nullable=False),
    sa.Column("recorded_at", sa.DateTime, nullable=False),
    # The known_at of the first night that knew the payment too; its decisions, and later ones, speak for it.
    sa.Column("seen_at", sa.DateTime),
    sa.Index("payment_notices_by_invoice", "invoice_id"),
)
EVIDENCE = sa.Table(
    "evidence_events",
    METADATA,
    sa.Column("evidence_key", sa.String(64), primary_key=True),
    sa.Column("message_id", sa.String(64)),
    sa.Column("provider_message_id", sa.String(200)),
    sa.Column("sender_code", sa.String(20), nullable=False),
    sa.Column("event_code", sa.String(20), nullable=False),
    sa.Column("reason", sa.String(200)),
    sa.Column("occurred_at", sa.DateTime, nullable=False),
    sa.Column("recorded_at", sa.DateTime, nullable=False),
    sa.Column("applied_at", sa.DateTime),
    sa.Index("evidence_by_message", "message_id"),
    sa.Index("evidence_by_application", "applied_at"),
)
EVENTS = sa.Table(
    "message_events",
    METADATA,
    sa.Column("event_number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("message_id", sa.String(64)),
    sa.Column("kind_code", sa.String(20), nullable=False),
    sa.Column("reason_code", sa.String(200)),
    sa.Column("run_id", sa.String(64)),
    sa.Column("epoch", sa.Integer),
    sa.Column("detail", sa.JSON, nullable=False),
    sa.Column("recorded_at", sa.DateTime, nullable=False),
    sa.Column("previous_hash", sa.String(64), nullable=False),
    sa.Column("event_hash", sa.String(64), nullable=False),
    sa.Index("message_events_by_message", "message_id"),
)
