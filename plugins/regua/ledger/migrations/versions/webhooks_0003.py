"""Webhooks that tell of access: what is said, once and for good, and how far each receiver has been told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "webhook_events",
        sa.Column("event_id", sa.String(64), primary_key=True),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("subject_id", sa.String(64), nullable=False),
        sa.Column("type_code", sa.String(40), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("recorded_at", sa.DateTime, nullable=False),
    )
    op.create_index("webhook_events_by_subject", "webhook_events", ["subject_id", "sequence"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("event_id", sa.String(64), sa.ForeignKey("webhook_events.event_id"), primary_key=True),
        sa.Column("endpoint_code", sa.String(64), primary_key=True),
        sa.Column("state_code", sa.String(20), nullable=False),
        sa.Column("attempt_count", sa.Integer, nullable=False),
        sa.Column("next_attempt_at", sa.DateTime),
        sa.Column("lease_until", sa.DateTime),
        sa.Column("last_reason", sa.String(200)),
        sa.Column("delivered_at", sa.DateTime),
        sa.CheckConstraint("state_code in ('pending', 'delivered', 'dead', 'superseded')", "delivery_state_is_known"),
    )
    op.create_index("webhook_deliveries_by_state", "webhook_deliveries", ["state_code", "endpoint_code"])
