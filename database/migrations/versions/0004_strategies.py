"""Saved versions of strategies: content never changes and is never removed."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_UP = (
    """
    CREATE TABLE strategies (
        strategy_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL UNIQUE,
        newest text NOT NULL,
        archived_at timestamptz
    )
    """,
    # `version` is the hash of what the content decides; `badge` is what the look-ahead proof last found.
    """
    CREATE TABLE strategy_versions (
        strategy_id integer NOT NULL REFERENCES strategies,
        version text NOT NULL,
        number integer NOT NULL,
        kind text NOT NULL CHECK (kind IN ('json', 'python')),
        content text NOT NULL,
        saved_at timestamptz NOT NULL,
        who text NOT NULL,
        why text NOT NULL DEFAULT '',
        badge jsonb NOT NULL,
        PRIMARY KEY (strategy_id, version),
        UNIQUE (strategy_id, number)
    )
    """,
    "CREATE INDEX strategy_versions_by_hash ON strategy_versions (version)",
    """
    CREATE FUNCTION refuse_to_rewrite_versions() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'UPDATE' AND (to_jsonb(NEW) - 'badge') = (to_jsonb(OLD) - 'badge') THEN
            RETURN NEW;
        END IF;
        RAISE EXCEPTION 'saved strategy versions are kept as they are: % is not allowed', TG_OP;
    END
    $$
    """,
    """
    CREATE TRIGGER strategy_versions_stay BEFORE UPDATE OR DELETE ON strategy_versions
    FOR EACH ROW EXECUTE FUNCTION refuse_to_rewrite_versions()
    """,
    """
    CREATE TRIGGER strategy_versions_are_not_emptied BEFORE TRUNCATE ON strategy_versions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_rewrite_versions()
    """,
)

_DOWN = (
    "DROP TABLE strategy_versions",
    "DROP FUNCTION refuse_to_rewrite_versions",
    "DROP TABLE strategies",
)


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWN:
        op.execute(statement)
