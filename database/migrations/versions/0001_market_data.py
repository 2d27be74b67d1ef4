"""Markets, instruments, trades, candles and the ledger of trade ids."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_CANDLE_COLUMNS = """
    market_id integer NOT NULL,
    timeframe_s integer NOT NULL,
    opened_at timestamptz NOT NULL,
    open double precision NOT NULL,
    high double precision NOT NULL,
    low double precision NOT NULL,
    close double precision NOT NULL,
    volume double precision NOT NULL,
    trades integer NOT NULL,
    from_venue boolean NOT NULL
"""

# trades and candles name their market without a foreign key: checking it would cost the server as much as
# storing the row. The ids come from one place, the repository that also made them.
# Primary keys hold the time, because TimescaleDB wants the partitioning column in every unique key.
_UP = (
    """
    CREATE TABLE installation (
        key text PRIMARY KEY,
        value text NOT NULL,
        set_at timestamptz NOT NULL DEFAULT now()
    )
    """,
    "INSERT INTO installation (key, value) VALUES ('created_at', to_char(now() AT TIME ZONE 'UTC', "
    '\'YYYY-MM-DD"T"HH24:MI:SS"Z"\'))',
    """
    CREATE TABLE markets (
        market_id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        exchange text NOT NULL,
        symbol text NOT NULL,
        UNIQUE (exchange, symbol)
    )
    """,
    """
    CREATE TABLE instruments (
        market_id integer NOT NULL REFERENCES markets,
        valid_from timestamptz NOT NULL,
        venue_symbol text NOT NULL,
        kind text NOT NULL,
        base text NOT NULL,
        quote text NOT NULL,
        tick_size numeric NOT NULL,
        lot_size numeric NOT NULL,
        min_quantity numeric NOT NULL,
        min_notional numeric NOT NULL,
        contract_size numeric NOT NULL,
        status text NOT NULL,
        PRIMARY KEY (market_id, valid_from)
    )
    """,
    """
    CREATE TABLE trades (
        market_id integer NOT NULL,
        trade_id bigint NOT NULL,
        traded_at timestamptz NOT NULL,
        price double precision NOT NULL,
        quantity double precision NOT NULL,
        taker_side smallint NOT NULL CHECK (taker_side IN (-1, 1)),
        PRIMARY KEY (market_id, trade_id, traded_at)
    )
    """,
    "CREATE INDEX trades_by_time ON trades (market_id, traded_at)",
    f"CREATE TABLE candles ({_CANDLE_COLUMNS}, CHECK (timeframe_s > 1), "
    "PRIMARY KEY (market_id, timeframe_s, opened_at))",
    # One-second candles age out within weeks and the others stay; TimescaleDB's retention drops whole chunks
    # of one table, so they live apart.
    f"CREATE TABLE second_candles ({_CANDLE_COLUMNS}, CHECK (timeframe_s = 1), "
    "PRIMARY KEY (market_id, timeframe_s, opened_at))",
    """
    CREATE TABLE trade_runs (
        market_id integer NOT NULL REFERENCES markets,
        first_id bigint NOT NULL,
        last_id bigint NOT NULL,
        first_at timestamptz NOT NULL,
        last_at timestamptz NOT NULL,
        CHECK (first_id <= last_id),
        PRIMARY KEY (market_id, first_id)
    )
    """,
    """
    CREATE TABLE trade_gaps (
        market_id integer NOT NULL REFERENCES markets,
        first_id bigint NOT NULL,
        last_id bigint NOT NULL,
        reason text NOT NULL,
        found_at timestamptz NOT NULL,
        CHECK (first_id <= last_id),
        PRIMARY KEY (market_id, first_id)
    )
    """,
)
_TABLES = (
    "trade_gaps",
    "trade_runs",
    "second_candles",
    "candles",
    "trades",
    "instruments",
    "markets",
    "installation",
)


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    for table in _TABLES:
        op.execute(f"DROP TABLE {table}")
