"""The dated facts that people record by command, as events that nothing changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_REFUSAL = "the ledger is append-only: record another event"


def upgrade() -> None:
    op.create_table(
        "fact_events",
        sa.Column("event_number", sa.Integer, sa.Identity(), primary_key=True),
        sa.Column("kind_code", sa.String(20), nullable=False),
        sa.Column("fact_number", sa.Integer, sa.ForeignKey("fact_events.event_number")),
        sa.Column("entity", sa.String(40), nullable=False),
        sa.Column("column_values", sa.JSON, nullable=False),
        sa.Column("author_id", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("recorded_at", sa.DateTime, nullable=False),
        sa.CheckConstraint("kind_code in ('recorded', 'changed', 'withdrawn')", "kind_is_known"),
        sa.CheckConstraint("(kind_code = 'recorded') = (fact_number is null)", "later_events_name_their_fact"),
        sqlite_autoincrement=True,
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "create function refuse_rewriting() returns trigger language plpgsql as "
            f"$$ begin raise exception '{_REFUSAL}'; end $$"
        )
        op.execute(
            "create trigger fact_events_are_append_only before update or delete or truncate on fact_events "
            "for each statement execute function refuse_rewriting()"
        )
    else:
        for action in ("update", "delete"):
            op.execute(
                f"create trigger fact_events_refuse_{action} before {action} on fact_events "
                f"begin select raise(abort, '{_REFUSAL}'); end"
            )
