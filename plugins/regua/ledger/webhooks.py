"""The ledger's tables of webhooks: what is told, and how far each receiver has been told."""

from __future__ import annotations

from enum import StrEnum

import sqlalchemy as sa

from regua.ledger.facts import METADATA


class DeliveryState(StrEnum):
    """`superseded`: not known to be taken, and sent no more: a newer event of its subject says what is so now."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    SUPERSEDED = "superseded"


WEBHOOK_EVENTS = sa.Table(
    "webhook_events",
    METADATA,
    sa.Column("event_id", sa.String(64), primary_key=True),
    # That of the publication; of one subject the greatest is the newest.
    sa.Column("sequence", sa.Integer, nullable=False),
    # The subscription.
    sa.Column("subject_id", sa.String(64), nullable=False),
    sa.Column("type_code", sa.String(40), nullable=False),
    # The bytes that are signed, the same at every attempt.
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("recorded_at", sa.DateTime, nullable=False),
    sa.Index("webhook_events_by_subject", "subject_id", "sequence"),
)
WEBHOOK_DELIVERIES = sa.Table(
    "webhook_deliveries",
    METADATA,
    sa.Column("event_id", sa.String(64), sa.ForeignKey("webhook_events.event_id"), primary_key=True),
    sa.Column("endpoint_code", sa.String(64), primary_key=True),
    sa.Column("state_code", sa.String(20), nullable=False),
    # Attempts whose answer is recorded, since the event was enqueued or delivered anew.
    sa.Column("attempt_count", sa.Integer, nullable=False),
    # Empty once nothing more is to be tried.
    sa.Column("next_attempt_at", sa.DateTime),
    sa.Column("lease_until", sa.DateTime),
    sa.Column("last_reason", sa.String(200)),
    sa.Column("delivered_at", sa.DateTime),
    sa.Index("webhook_deliveries_by_state", "state_code", "endpoint_code"),
)
