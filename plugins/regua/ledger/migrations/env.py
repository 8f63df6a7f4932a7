"""What alembic runs: the steps, within the transaction that `regua.ledger.database` has opened and locked."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
