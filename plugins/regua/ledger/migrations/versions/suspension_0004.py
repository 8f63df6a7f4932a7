"""Proposals and publications of access, what they left each subscription with, and debts listed with the bureau."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "suspension_proposals",
        sa.Column("proposal_number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("as_of_date", sa.Date, nullable=False),
        sa.Column("known_at", sa.DateTime, nullable=False),
        sa.Column("kind_code", sa.String(20), nullable=False),
        sa.Column("reason", sa.String(500)),
        sa.Column("content", sa.JSON, nullable=False),
        sa.Column("held_count", sa.Integer, nullable=False),
        sa.Column("state_code", sa.String(20), nullable=False),
        sa.Column("proposed_at", sa.DateTime, nullable=False),
        sa.Column("decided_at", sa.DateTime),
        sa.Column("decided_by", sa.String(200)),
        sa.CheckConstraint(
            "state_code in ('open', 'published', 'approved', 'rejected', 'lapsed')", "proposal_state_is_known"
        ),
    )
    op.create_index("suspension_proposals_by_day", "suspension_proposals", ["as_of_date"])
    op.create_table(
        "suspension_publications",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("as_of_date", sa.Date, nullable=False),
        sa.Column("edition", sa.Integer, nullable=False),
        sa.Column("kind_code", sa.String(20), nullable=False),
        sa.Column("reason", sa.String(500)),
        sa.Column("author_id", sa.String(200)),
        sa.Column("once_key", sa.String(40), unique=True),
        sa.Column("proposal_number", sa.Integer, sa.ForeignKey("suspension_proposals.proposal_number")),
        sa.Column("known_at", sa.DateTime, nullable=False),
        sa.Column("known_fact_numbers", sa.JSON, nullable=False),
        sa.Column("recorded_at", sa.DateTime, nullable=False),
        sa.Column("valid_until", sa.DateTime, nullable=False),
        sa.Column("staged_name", sa.String(80), nullable=False),
        sa.Column("file_names", sa.JSON, nullable=False),
        sa.Column("manifest_sha256", sa.String(64), nullable=False),
        sa.Column("without_access_count", sa.Integer, nullable=False),
        sa.Column("suspended_count", sa.Integer, nullable=False),
        sa.Column("reactivated_count", sa.Integer, nullable=False),
        sa.Column("held_count", sa.Integer, nullable=False),
        sa.Column("placed_at", sa.DateTime),
        sa.UniqueConstraint("as_of_date", "edition", name="edition_is_one_of_its_day"),
        sa.CheckConstraint("kind_code in ('daily', 'approved', 'refresh', 'correction')", "publication_kind_is_known"),
    )
    op.create_table(
        "suspension_copies",
        sa.Column("sequence", sa.Integer, sa.ForeignKey("suspension_publications.sequence"), primary_key=True),
        sa.Column("target_code", sa.String(64), primary_key=True),
        sa.Column("attempt_count", sa.Integer, nullable=False),
        sa.Column("last_reason", sa.String(500)),
        sa.Column("copied_at", sa.DateTime),
    )
    op.create_table(
        "subscription_standings",
        sa.Column("subscription_id", sa.String(64), primary_key=True),
        sa.Column("customer_id", sa.String(64), nullable=False),
        sa.Column("standing_code", sa.String(30), nullable=False),
        sa.Column("has_access", sa.Boolean, nullable=False),
        sa.Column("entry", sa.JSON, nullable=False),
        sa.Column("sequence", sa.Integer, sa.ForeignKey("suspension_publications.sequence"), nullable=False),
    )
    op.create_index("subscription_standings_by_customer", "subscription_standings", ["customer_id"])
    op.create_table(
        "standing_changes",
        sa.Column("sequence", sa.Integer, sa.ForeignKey("suspension_publications.sequence"), primary_key=True),
        sa.Column("subscription_id", sa.String(64), primary_key=True),
        sa.Column("customer_id", sa.String(64), nullable=False),
        sa.Column("as_of_date", sa.Date, nullable=False),
        sa.Column("standing_before_code", sa.String(30), nullable=False),
        sa.Column("standing_code", sa.String(30), nullable=False),
        sa.Column("change_code", sa.String(30)),
        sa.Column("reason_code", sa.String(30), nullable=False),
        sa.Column("event", sa.JSON),
    )
    op.create_index("standing_changes_by_subscription", "standing_changes", ["subscription_id"])
    op.create_table(
        "bureau_listings",
        sa.Column("invoice_id", sa.String(64), primary_key=True),
        sa.Column("listed_sequence", sa.Integer, sa.ForeignKey("suspension_publications.sequence"), primary_key=True),
        sa.Column("customer_id", sa.String(64), nullable=False),
        sa.Column("listed_date", sa.Date, nullable=False),
        sa.Column("balance_amount", sa.Numeric(18, 2), nullable=False),
        sa.Column("currency_code", sa.String(3), nullable=False),
        sa.Column("due_date", sa.Date, nullable=False),
        sa.Column("notice_id", sa.String(64), nullable=False),
        sa.Column("notice_delivered_date", sa.Date, nullable=False),
        sa.Column("state_code", sa.String(20), nullable=False),
        sa.Column("removal_reason_code", sa.String(30)),
        sa.Column("removal_from_date", sa.Date),
        sa.Column("remove_by_date", sa.Date),
        sa.Column("removed_at", sa.DateTime),
        sa.Column("removed_by", sa.String(64)),
        sa.CheckConstraint("state_code in ('listed', 'removal_due', 'removed')", "listing_state_is_known"),
    )
    op.create_index("bureau_listings_by_state", "bureau_listings", ["state_code"])
