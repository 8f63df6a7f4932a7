"""The ledger's tables of access: proposals, publications, standings and their changes, debts listed with the bureau."""

from __future__ import annotations

import sqlalchemy as sa

from regua.ledger.facts import METADATA

# What a night found, proved, and what a person has to say to it. `content` is the whole of it, ids and amounts only.
PROPOSALS = sa.Table(
    "suspension_proposals",
    METADATA,
    sa.Column("proposal_number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("as_of_date", sa.Date, nullable=False),
    sa.Column("known_at", sa.DateTime, nullable=False),
    sa.Column("kind_code", sa.String(20), nullable=False),
    sa.Column("reason", sa.String(500)),
    sa.Column("content", sa.JSON, nullable=False),
    sa.Column("held_count", sa.Integer, nullable=False),
    # open, published, approved, rejected, lapsed
    sa.Column("state_code", sa.String(20), nullable=False),
    sa.Column("proposed_at", sa.DateTime, nullable=False),
    sa.Column("decided_at", sa.DateTime),
    sa.Column("decided_by", sa.String(200)),
    sa.Index("suspension_proposals_by_day", "as_of_date"),
)
PUBLICATIONS = sa.Table(
    "suspension_publications",
    METADATA,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("as_of_date", sa.Date, nullable=False),
    # 1 for the first of its day.
    sa.Column("edition", sa.Integer, nullable=False),
    sa.Column("kind_code", sa.String(20), nullable=False),
    sa.Column("reason", sa.String(500)),
    sa.Column("author_id", sa.String(200)),
    # What may be published once, is: `daily:2026-06-30`, `approved:7`.
    sa.Column("once_key", sa.String(40), unique=True),
    # Empty where access was only given back.
    sa.Column("proposal_number", sa.Integer, sa.ForeignKey("suspension_proposals.proposal_number")),
    sa.Column("known_at", sa.DateTime, nullable=False),
    # By entity the last fact event that its night knew.
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
    # Empty until its files lie where they belong.
    sa.Column("placed_at", sa.DateTime),
    sa.UniqueConstraint("as_of_date", "edition", name="edition_is_one_of_its_day"),
)
COPIES = sa.Table(
    "suspension_copies",
    METADATA,
    sa.Column("sequence", sa.Integer, sa.ForeignKey("suspension_publications.sequence"), primary_key=True),
    sa.Column("target_code", sa.String(64), primary_key=True),
    sa.Column("attempt_count", sa.Integer, nullable=False),
    sa.Column("last_reason", sa.String(500)),
    sa.Column("copied_at", sa.DateTime),
)
# What was published last of each subscription that is not regular.
STANDINGS = sa.Table(
    "subscription_standings",
    METADATA,
    sa.Column("subscription_id", sa.String(64), primary_key=True),
    sa.Column("customer_id", sa.String(64), nullable=False),
    sa.Column("standing_code", sa.String(30), nullable=False),
    sa.Column("has_access", sa.Boolean, nullable=False),
    sa.Column("entry", sa.JSON, nullable=False),
    sa.Column("sequence", sa.Integer, sa.ForeignKey("suspension_publications.sequence"), nullable=False),
    sa.Index("subscription_standings_by_customer", "customer_id"),
)
CHANGES = sa.Table(
    "standing_changes",
    METADATA,
    sa.Column("sequence", sa.Integer, sa.ForeignKey("suspension_publications.sequence"), primary_key=True),
    sa.Column("subscription_id", sa.String(64), primary_key=True),
    sa.Column("customer_id", sa.String(64), nullable=False),
    sa.Column("as_of_date", sa.Date, nullable=False),
    sa.Column("standing_before_code", sa.String(30), nullable=False),
    sa.Column("standing_code", sa.String(30), nullable=False),
    sa.Column("change_code", sa.String(30)),
    sa.Column("reason_code", sa.String(30), nullable=False),
    # The webhook that tells of it, where one does.
    sa.Column("event", sa.JSON),
    sa.Index("standing_changes_by_subscription", "subscription_id"),
)
# One row per invoice and time it was listed with the credit bureau.
LISTINGS = sa.Table(
    "bureau_listings",
    METADATA,
    sa.Column("invoice_id", sa.String(64), primary_key=True),
    sa.Column("listed_sequence", sa.Integer, sa.ForeignKey("suspension_publications.sequence"), primary_key=True),
    sa.Column("customer_id", sa.String(64), nullable=False),
    sa.Column("listed_date", sa.Date, nullable=False),
    sa.Column("balance_amount", sa.Numeric(18, 2), nullable=False),
    sa.Column("currency_code", sa.String(3), nullable=False),
    sa.Column("due_date", sa.Date, nullable=False),
    sa.Column("notice_id", sa.String(64), nullable=False),
    sa.Column("notice_delivered_date", sa.Date, nullable=False),
    # listed, removal_due, removed
    sa.Column("state_code", sa.String(20), nullable=False),
    sa.Column("removal_reason_code", sa.String(30)),
    sa.Column("removal_from_date", sa.Date),
    sa.Column("remove_by_date", sa.Date),
    sa.Column("removed_at", sa.DateTime),
    sa.Column("removed_by", sa.String(64)),
    sa.Index("bureau_listings_by_state", "state_code"),
)
