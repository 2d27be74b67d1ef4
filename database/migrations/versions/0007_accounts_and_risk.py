"""Accounts of several bots, versions of a bot's settings, limits and their violations."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_UP: tuple[str, ...] = (
    # `state` is what the account's limits remember; `settled` what bots gained that are deleted by now.
    """
    CREATE TABLE accounts (
        account text PRIMARY KEY,
        quote text NOT NULL,
        capital numeric NOT NULL CHECK (capital > 0),
        limits jsonb NOT NULL,
        state jsonb NOT NULL,
        settled numeric NOT NULL DEFAULT 0
    )
    """,
    # A bot's sub-ledger, as of its newest step. Who changes one holds the lock on the account's row.
    """
    CREATE TABLE account_shares (
        bot_id integer PRIMARY KEY REFERENCES bots ON DELETE CASCADE,
        account text NOT NULL REFERENCES accounts,
        in_use numeric NOT NULL CHECK (in_use >= 0),
        gained numeric NOT NULL,
        equity_gained numeric NOT NULL,
        at timestamptz NOT NULL,
        ordered_at timestamptz[] NOT NULL
    )
    """,
    "CREATE INDEX account_shares_by_account ON account_shares (account)",
    """
    CREATE FUNCTION settle_account_share() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE accounts SET settled = settled + OLD.gained WHERE account = OLD.account;
        RETURN OLD;
    END
    $$
    """,
    """
    CREATE TRIGGER account_shares_settle BEFORE DELETE ON account_shares
    FOR EACH ROW EXECUTE FUNCTION settle_account_share()
    """,
    # Double entry: no booking is stored that does not sum to zero.
    """
    CREATE TABLE bot_journal (
        entry_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        bot_id integer NOT NULL REFERENCES bots ON DELETE CASCADE,
        at timestamptz NOT NULL,
        order_sequence bigint,
        cash numeric NOT NULL,
        position numeric NOT NULL,
        fees numeric NOT NULL,
        realised numeric NOT NULL,
        funding numeric NOT NULL,
        CHECK (cash + position + fees + realised + funding = 0)
    )
    """,
    "CREATE INDEX bot_journal_by_bot ON bot_journal (bot_id, entry_id)",
    # Names the bot by text as well, and outlives it.
    """
    CREATE TABLE risk_violations (
        violation_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        bot_id integer NOT NULL,
        bot text NOT NULL,
        account text NOT NULL,
        opened_at timestamptz NOT NULL,
        at timestamptz NOT NULL,
        stored_at timestamptz NOT NULL,
        limit_name text NOT NULL,
        gate text NOT NULL,
        used numeric NOT NULL,
        allowed numeric NOT NULL,
        detail text NOT NULL,
        UNIQUE (bot_id, opened_at, limit_name)
    )
    """,
    "CREATE INDEX risk_violations_by_bot ON risk_violations (bot, violation_id)",
    """
    CREATE TABLE emergency_stops (
        stop_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        engaged_at timestamptz NOT NULL,
        who text NOT NULL,
        why text NOT NULL,
        flatten boolean NOT NULL,
        released_at timestamptz,
        released_by text NOT NULL DEFAULT '',
        release_why text NOT NULL DEFAULT ''
    )
    """,
    "CREATE UNIQUE INDEX emergency_stops_one_engaged ON emergency_stops ((true)) WHERE released_at IS NULL",
    # Limits as they were in force, one row for each change.
    """
    CREATE TABLE risk_files (
        loaded_at timestamptz NOT NULL,
        digest text NOT NULL,
        document jsonb NOT NULL,
        PRIMARY KEY (loaded_at)
    )
    """,
)
_DOWN: tuple[str, ...] = (
    "DROP TABLE risk_files",
    "DROP TABLE emergency_stops",
    "DROP TABLE risk_violations",
    "DROP TABLE bot_journal",
    "DROP TABLE account_shares",
    "DROP FUNCTION settle_account_share",
    "DROP TABLE accounts",
)


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
