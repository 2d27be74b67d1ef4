"""Bots: their state, orders, fills, trades, equity, decisions, signals and the audit."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_STATES = "('created', 'running', 'paused', 'stopping', 'stopped', 'failed')"

_UP = (
    # `step` counts committed steps; a step is applied only where the stored number is one less.
    # `account` is the account's whole state, the truth; `summary` holds the figures that lists show.
    f"""
    CREATE TABLE bots (
        bot_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL UNIQUE,
        config jsonb NOT NULL,
        source text NOT NULL,
        market_id integer REFERENCES markets,
        timeframe_s integer,
        strategy text NOT NULL,
        strategy_version text NOT NULL DEFAULT '',
        state text NOT NULL CHECK (state IN {_STATES}),
        desired_state text NOT NULL CHECK (desired_state IN {_STATES} AND desired_state <> 'stopping'),
        flatten boolean NOT NULL DEFAULT false,
        asked_at timestamptz NOT NULL,
        health text NOT NULL DEFAULT '',
        step bigint NOT NULL DEFAULT 0,
        account jsonb,
        summary jsonb,
        last_candle_at timestamptz,
        last_price double precision,
        opened_candle_at timestamptz,
        last_signal text NOT NULL DEFAULT '',
        last_signal_at timestamptz,
        created_at timestamptz NOT NULL,
        started_at timestamptz,
        updated_at timestamptz NOT NULL
    )
    """,
    """
    CREATE TABLE bot_orders (
        bot_id integer NOT NULL REFERENCES bots ON DELETE CASCADE,
        order_sequence bigint NOT NULL,
        side text NOT NULL CHECK (side IN ('buy', 'sell')),
        position_side text NOT NULL CHECK (position_side IN ('long', 'short')),
        reason text NOT NULL,
        status text NOT NULL CHECK (status IN ('pending', 'filled', 'refused', 'cancelled')),
        decided_at timestamptz NOT NULL,
        quantity numeric,
        refusal text NOT NULL DEFAULT '',
        PRIMARY KEY (bot_id, order_sequence)
    )
    """,
    # One fill for an order, ever: the key is what makes a double booking impossible.
    """
    CREATE TABLE bot_fills (
        bot_id integer NOT NULL,
        order_sequence bigint NOT NULL,
        side text NOT NULL CHECK (side IN ('buy', 'sell')),
        position_side text NOT NULL CHECK (position_side IN ('long', 'short')),
        reason text NOT NULL,
        price numeric NOT NULL,
        quantity numeric NOT NULL CHECK (quantity > 0),
        fee numeric NOT NULL CHECK (fee >= 0),
        slippage numeric NOT NULL,
        filled_at timestamptz NOT NULL,
        ambiguous boolean NOT NULL,
        PRIMARY KEY (bot_id, order_sequence),
        FOREIGN KEY (bot_id, order_sequence) REFERENCES bot_orders ON DELETE CASCADE
    )
    """,
    "CREATE INDEX bot_fills_by_time ON bot_fills (filled_at)",
    """
    CREATE TABLE bot_trades (
        bot_id integer NOT NULL REFERENCES bots ON DELETE CASCADE,
        trade_sequence bigint NOT NULL,
        side text NOT NULL CHECK (side IN ('long', 'short')),
        entry_at timestamptz NOT NULL,
        entry_price numeric NOT NULL,
        exit_at timestamptz NOT NULL,
        exit_price numeric NOT NULL,
        quantity numeric NOT NULL,
        fees numeric NOT NULL,
        pnl numeric NOT NULL,
        return_rate numeric NOT NULL,
        exit_reason text NOT NULL,
        PRIMARY KEY (bot_id, trade_sequence)
    )
    """,
    """
    CREATE TABLE bot_equity (
        bot_id integer NOT NULL REFERENCES bots ON DELETE CASCADE,
        at timestamptz NOT NULL,
        equity numeric NOT NULL,
        cash numeric NOT NULL,
        position numeric NOT NULL,
        PRIMARY KEY (bot_id, at)
    )
    """,
    # `says` is a set of bits: 1 long entry, 2 long exit, 4 short entry, 8 short exit.
    """
    CREATE TABLE decisions (
        bot_id integer NOT NULL REFERENCES bots ON DELETE CASCADE,
        opened_at timestamptz NOT NULL,
        strategy_version text NOT NULL,
        close double precision NOT NULL,
        says smallint NOT NULL CHECK (says BETWEEN 0 AND 15),
        outcome text NOT NULL,
        record jsonb NOT NULL,
        PRIMARY KEY (bot_id, opened_at)
    )
    """,
    "CREATE INDEX decisions_that_speak ON decisions (bot_id, opened_at) WHERE says <> 0",
    # What was said belongs to the strategy and the market: a second bot says it again, harmlessly.
    """
    CREATE TABLE signals (
        strategy text NOT NULL,
        version text NOT NULL,
        market_id integer NOT NULL REFERENCES markets,
        timeframe_s integer NOT NULL,
        opened_at timestamptz NOT NULL,
        action text NOT NULL CHECK (action IN ('long_entry', 'long_exit', 'short_entry', 'short_exit')),
        close double precision NOT NULL,
        record jsonb NOT NULL,
        PRIMARY KEY (market_id, timeframe_s, opened_at, strategy, version, action)
    )
    """,
    # The audit names the bot by text as well, and outlives it.
    """
    CREATE TABLE bot_events (
        event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        bot_id integer NOT NULL,
        bot text NOT NULL,
        at timestamptz NOT NULL,
        who text NOT NULL,
        what text NOT NULL,
        why text NOT NULL DEFAULT ''
    )
    """,
    "CREATE INDEX bot_events_by_bot ON bot_events (bot, event_id)",
    """
    CREATE FUNCTION refuse_to_rewrite_the_audit() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'bot_events only grows: % is not allowed', TG_OP;
    END
    $$
    """,
    """
    CREATE TRIGGER bot_events_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON bot_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_rewrite_the_audit()
    """,
    """
    CREATE VIEW bot_positions AS
    SELECT b.bot_id, b.name AS bot, m.exchange, m.symbol,
           p.side, p.quantity, p.entry_price, p.stop_price, p.target_price, p.trailing_price,
           p.unrealised_pnl, TIMESTAMPTZ 'epoch' + p.entry_at_us * INTERVAL '1 microsecond' AS entry_at
    FROM bots b
    JOIN markets m USING (market_id)
    CROSS JOIN LATERAL jsonb_to_record(b.summary -> 'position') AS p(
        side text, quantity numeric, entry_price numeric, stop_price numeric, target_price numeric,
        trailing_price numeric, unrealised_pnl numeric, entry_at_us bigint)
    WHERE jsonb_typeof(b.summary -> 'position') = 'object'
    """,
)

_DOWN = (
    "DROP VIEW bot_positions",
    "DROP TABLE bot_events",
    "DROP FUNCTION refuse_to_rewrite_the_audit",
    "DROP TABLE signals",
    "DROP TABLE decisions",
    "DROP TABLE bot_equity",
    "DROP TABLE bot_trades",
    "DROP TABLE bot_fills",
    "DROP TABLE bot_orders",
    "DROP TABLE bots",
)


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWN:
        op.execute(statement)
