"""Notifications, saved layouts and preferences."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_UP = (
    # The order in which fills were stored: what a reader that follows them asks by.
    "ALTER TABLE bot_fills ADD COLUMN fill_id bigint GENERATED ALWAYS AS IDENTITY",
    "CREATE INDEX bot_fills_by_id ON bot_fills (fill_id)",
    """
    CREATE TABLE alerts (
        alert_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        key text NOT NULL UNIQUE,
        kind text NOT NULL,
        at timestamptz NOT NULL,
        stored_at timestamptz NOT NULL,
        title text NOT NULL,
        body text NOT NULL,
        bot text NOT NULL,
        market text NOT NULL
    )
    """,
    """
    CREATE TABLE alert_deliveries (
        alert_id bigint NOT NULL REFERENCES alerts ON DELETE CASCADE,
        channel text NOT NULL,
        state text NOT NULL CHECK (state IN ('pending', 'sent', 'failed', 'dropped')),
        attempts integer NOT NULL DEFAULT 0,
        next_try_at timestamptz NOT NULL,
        tried_at timestamptz,
        error text NOT NULL DEFAULT '',
        PRIMARY KEY (alert_id, channel)
    )
    """,
    "CREATE INDEX alert_deliveries_due ON alert_deliveries (next_try_at) WHERE state = 'pending'",
    # How far each source of alerts was read; rows at or before `began` are past and never told.
    """
    CREATE TABLE alert_cursors (
        source text PRIMARY KEY,
        began bigint NOT NULL,
        position bigint NOT NULL
    )
    """,
)
_DOWN = (
    "DROP TABLE alert_cursors",
    "DROP TABLE alert_deliveries",
    "DROP TABLE alerts",
    "ALTER TABLE bot_fills DROP COLUMN fill_id",
)


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWN:
        op.execute(statement)
