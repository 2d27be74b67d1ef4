"""Accounts of several bots, versions of a bot's settings, limits and their violations."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_UP: tuple[str, ...] = ()
_DOWN: tuple[str, ...] = ()


# Each setting a bot ever had; `bots.config` is the one in force, `bots.version` the newest that is wanted.
_VERSIONS_UP = (
    "ALTER TABLE bots ADD COLUMN version integer NOT NULL DEFAULT 1",
    "ALTER TABLE bots ADD COLUMN applied_version integer NOT NULL DEFAULT 1",
    """
    CREATE TABLE bot_versions (
        bot_id integer NOT NULL REFERENCES bots ON DELETE CASCADE,
        version integer NOT NULL,
        config jsonb NOT NULL,
        at timestamptz NOT NULL,
        who text NOT NULL,
        why text NOT NULL DEFAULT '',
        from_file boolean NOT NULL,
        reverts_to integer,
        applied_at timestamptz,
        PRIMARY KEY (bot_id, version)
    )
    """,
    """
    INSERT INTO bot_versions (bot_id, version, config, at, who, from_file, applied_at)
    SELECT bot_id, 1, config, created_at, 'migration', source <> '', started_at FROM bots
    """,
    # How a bot stood before its first candle of a UTC day, and after each change from outside.
    """
    CREATE TABLE bot_checkpoints (
        bot_id integer NOT NULL REFERENCES bots ON DELETE CASCADE,
        opened_at timestamptz NOT NULL,
        config jsonb NOT NULL,
        strategy_version text NOT NULL,
        account jsonb NOT NULL,
        PRIMARY KEY (bot_id, opened_at)
    )
    """,
    # What each version of a strategy that a bot ran was made of.
    """
    CREATE TABLE bot_definitions (
        strategy_version text PRIMARY KEY,
        definition text NOT NULL
    )
    """,
)
_VERSIONS_DOWN = (
    "DROP TABLE bot_definitions",
    "DROP TABLE bot_checkpoints",
    "DROP TABLE bot_versions",
    "ALTER TABLE bots DROP COLUMN applied_version",
    "ALTER TABLE bots DROP COLUMN version",
)


def upgrade() -> None:
    for statement in (*_UP, *_VERSIONS_UP):
        op.execute(statement)


def downgrade() -> None:
    for statement in (*_VERSIONS_DOWN, *_DOWN):
        op.execute(statement)
