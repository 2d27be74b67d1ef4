"""Run by Alembic: migrates over the connection that `database.migrate` hands in; there is no alembic.ini."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=None,
    # All pending revisions or none.
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
