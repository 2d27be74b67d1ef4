"""Other channels than trades, events of markets, telemetry of collectors, digests of trades."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# As a collector tells of itself; the history keeps the same columns as the newest word.
_HEALTH_COLUMNS = """
    shard text NOT NULL,
    sent_at timestamptz NOT NULL,
    exchange text NOT NULL,
    state text NOT NULL,
    detail text NOT NULL,
    symbols integer NOT NULL,
    trades_stored bigint NOT NULL,
    trades_per_s double precision NOT NULL,
    duplicates bigint NOT NULL,
    malformed bigint NOT NULL,
    gaps_open integer NOT NULL,
    lag_ms double precision NOT NULL,
    messages_per_s double precision NOT NULL,
    reconnects integer NOT NULL,
    gaps_found integer NOT NULL,
    gaps_repaired integer NOT NULL,
    queue_depth integer NOT NULL,
    journal_depth bigint NOT NULL,
    memory_bytes bigint NOT NULL,
    stale_symbols text[] NOT NULL,
    restarts integer NOT NULL
"""

# Like trades, what streams bring names its market without a foreign key, and its keys hold the time.
_UP = (
    """
    CREATE TABLE venue_candles (
        market_id integer NOT NULL,
        timeframe_s integer NOT NULL,
        opened_at timestamptz NOT NULL,
        open double precision NOT NULL,
        high double precision NOT NULL,
        low double precision NOT NULL,
        close double precision NOT NULL,
        volume double precision NOT NULL,
        trades integer NOT NULL,
        PRIMARY KEY (market_id, timeframe_s, opened_at)
    )
    """,
    """
    CREATE TABLE quotes (
        market_id integer NOT NULL,
        at timestamptz NOT NULL,
        bid_price double precision NOT NULL,
        bid_quantity double precision NOT NULL,
        ask_price double precision NOT NULL,
        ask_quantity double precision NOT NULL,
        PRIMARY KEY (market_id, at)
    )
    """,
    # The best level first on both sides; a price and the quantity at the same place belong together.
    """
    CREATE TABLE books (
        market_id integer NOT NULL,
        at timestamptz NOT NULL,
        bid_prices double precision[] NOT NULL,
        bid_quantities double precision[] NOT NULL,
        ask_prices double precision[] NOT NULL,
        ask_quantities double precision[] NOT NULL,
        PRIMARY KEY (market_id, at)
    )
    """,
    """
    CREATE TABLE mark_prices (
        market_id integer NOT NULL,
        at timestamptz NOT NULL,
        mark_price double precision NOT NULL,
        index_price double precision NOT NULL,
        PRIMARY KEY (market_id, at)
    )
    """,
    """
    CREATE TABLE funding_rates (
        market_id integer NOT NULL,
        funding_at timestamptz NOT NULL,
        rate double precision NOT NULL,
        settled boolean NOT NULL,
        seen_at timestamptz NOT NULL,
        PRIMARY KEY (market_id, funding_at)
    )
    """,
    # A minute's trades as they were stored, in any order: how many, and the exclusive or of each one's hash.
    """
    CREATE TABLE trade_digests (
        market_id integer NOT NULL,
        minute_at timestamptz NOT NULL,
        trades integer NOT NULL,
        digest bigint NOT NULL,
        PRIMARY KEY (market_id, minute_at)
    )
    """,
    """
    CREATE TABLE market_events (
        market_id integer NOT NULL REFERENCES markets,
        at timestamptz NOT NULL,
        kind text NOT NULL,
        detail text NOT NULL,
        PRIMARY KEY (market_id, at, kind)
    )
    """,
    """
    CREATE TABLE feeds (
        market_id integer PRIMARY KEY REFERENCES markets,
        stale boolean NOT NULL,
        since timestamptz NOT NULL,
        last_trade_at timestamptz,
        usual_pause_s double precision NOT NULL,
        detail text NOT NULL
    )
    """,
    """
    CREATE TABLE feed_changes (
        market_id integer NOT NULL REFERENCES markets,
        since timestamptz NOT NULL,
        stale boolean NOT NULL,
        last_trade_at timestamptz,
        usual_pause_s double precision NOT NULL,
        detail text NOT NULL,
        PRIMARY KEY (market_id, since)
    )
    """,
    f"CREATE TABLE collector_health ({_HEALTH_COLUMNS}, PRIMARY KEY (shard))",
    f"CREATE TABLE collector_figures ({_HEALTH_COLUMNS}, PRIMARY KEY (shard, sent_at))",
)
_DOWN = (
    "DROP TABLE collector_figures",
    "DROP TABLE collector_health",
    "DROP TABLE feed_changes",
    "DROP TABLE feeds",
    "DROP TABLE market_events",
    "DROP TABLE trade_digests",
    "DROP TABLE funding_rates",
    "DROP TABLE mark_prices",
    "DROP TABLE books",
    "DROP TABLE quotes",
    "DROP TABLE venue_candles",
)


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWN:
        op.execute(statement)
