"""Plans, messages and their fate: a table of what is so, and events that nothing changes and that are chained."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_REFUSAL = "the ledger is append-only: record another event"
_STATES = (
    "planned", "claimed", "accepted", "delivered", "bounced", "dropped", "rejected", "suppressed", "cancelled_paid",
    "superseded", "expired", "unknown", "settled_sent", "settled_not_sent",
)  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "ledger_marks",
        sa.Column("mark_code", sa.String(20), primary_key=True),
        sa.Column("value", sa.String(500), nullable=False),
    )
    op.create_table(
        "plans",
        sa.Column("as_of_date", sa.Date, primary_key=True),
        sa.Column("known_at", sa.DateTime, nullable=False),
        sa.Column("planned_at", sa.DateTime, nullable=False),
        sa.Column("known_fact_numbers", sa.JSON, nullable=False),
        sa.Column("message_count", sa.Integer, nullable=False),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("gate_code", sa.String(10), nullable=False),
        sa.Column("gate_reason", sa.Text),
        sa.CheckConstraint("gate_code in ('open', 'green', 'red')", "gate_is_known"),
    )
    op.create_table(
        "messages",
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
        sa.Column("is_decided", sa.Boolean, nullable=False),
        sa.Column("run_id", sa.String(64)),
        sa.Column("sender_code", sa.String(20)),
        sa.Column("provider_message_id", sa.String(200)),
        sa.Column("batch_id", sa.String(100)),
        sa.Column("send_at", sa.DateTime),
        sa.CheckConstraint(f"state_code in {_STATES}", "state_is_known"),
    )
    # With the id, so that a claim looks up its own rows instead of all that are planned.
    columns = ["state_code", "channel_code", "as_of_date", "message_id"]
    op.create_index("messages_by_state", "messages", columns)
    op.create_index("messages_by_customer", "messages", ["customer_id"])
    op.create_index("messages_by_provider", "messages", ["provider_message_id"])
    op.create_index("messages_by_address", "messages", ["address_hash"])
    op.create_table(
        "message_contents",
        sa.Column("message_id", sa.String(64), sa.ForeignKey("messages.message_id"), primary_key=True),
        sa.Column("content", sa.JSON, nullable=False),
    )
    op.create_table(
        "message_steps",
        # Customer, invoice, step, channel and cycle, hashed: nothing of a run, a day or an attempt.
        sa.Column("step_key", sa.String(64), primary_key=True),
        sa.Column("message_id", sa.String(64), sa.ForeignKey("messages.message_id"), nullable=False),
        sa.Column("customer_id", sa.String(64), nullable=False),
        sa.Column("invoice_id", sa.String(64), nullable=False),
        sa.Column("step_code", sa.String(64), nullable=False),
        sa.Column("cycle_date", sa.Date, nullable=False),
    )
    op.create_index("message_steps_by_message", "message_steps", ["message_id"])
    op.create_table(
        "contact_days",
        sa.Column("address_hash", sa.String(64), primary_key=True),
        sa.Column("channel_code", sa.String(20), primary_key=True),
        sa.Column("local_date", sa.Date, primary_key=True),
        sa.Column("message_id", sa.String(64), sa.ForeignKey("messages.message_id"), nullable=False, unique=True),
    )
    op.create_table(
        "held_batches",
        sa.Column("batch_id", sa.String(100), primary_key=True),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("channel_code", sa.String(20), nullable=False),
        sa.Column("send_at", sa.DateTime, nullable=False),
        sa.Column("recalled_at", sa.DateTime),
        sa.Column("is_recall_confirmed", sa.Boolean, nullable=False),
    )
    op.create_table(
        "payment_notices",
        sa.Column("notice_key", sa.String(300), primary_key=True),
        sa.Column("entity", sa.String(20), nullable=False),
        sa.Column("notice_id", sa.String(200), nullable=False),
        sa.Column("invoice_id", sa.String(64)),
        sa.Column("customer_id", sa.String(64)),
        sa.Column("origin_code", sa.String(20), nullable=False),
        sa.Column("recorded_at", sa.DateTime, nullable=False),
        sa.Column("seen_at", sa.DateTime),
    )
    op.create_index("payment_notices_by_invoice", "payment_notices", ["invoice_id"])
    op.create_table(
        "evidence_events",
        sa.Column("evidence_key", sa.String(64), primary_key=True),
        sa.Column("message_id", sa.String(64)),
        sa.Column("provider_message_id", sa.String(200)),
        sa.Column("sender_code", sa.String(20), nullable=False),
        sa.Column("event_code", sa.String(20), nullable=False),
        sa.Column("reason", sa.String(200)),
        sa.Column("occurred_at", sa.DateTime, nullable=False),
        sa.Column("recorded_at", sa.DateTime, nullable=False),
        sa.Column("applied_at", sa.DateTime),
    )
    op.create_index("evidence_by_message", "evidence_events", ["message_id"])
    op.create_index("evidence_by_application", "evidence_events", ["applied_at"])
    op.create_table(
        "message_events",
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
    )
    op.create_index("message_events_by_message", "message_events", ["message_id"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "create trigger message_events_are_append_only before update or delete or truncate on message_events "
            "for each statement execute function refuse_rewriting()"
        )
    else:
        for action in ("update", "delete"):
            op.execute(
                f"create trigger message_events_refuse_{action} before {action} on message_events "
                f"begin select raise(abort, '{_REFUSAL}'); end"
            )
