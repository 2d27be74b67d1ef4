"""Orders, fills and trades name their market: a basket has several.

Those of before get the market of the settings that were in force then: a bot without a position may have
changed its symbol. Where no settings of that time are known they keep their bot's.
"""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_TABLES = ("bot_orders", "bot_fills", "bot_trades")
# A checkpoint tells the settings from a candle on, by the venue's clock as fills do; a version, when it was
# taken up by ours. Of both the newest at or before the fill counts.
_SETTINGS = """
    CREATE TEMPORARY TABLE settings_of_bots ON COMMIT DROP AS
    SELECT s.bot_id, s.since, s.of_candles, m.market_id
    FROM (
        SELECT bot_id, opened_at AS since, true AS of_candles, config FROM bot_checkpoints
        UNION ALL
        SELECT bot_id, applied_at, false, config FROM bot_versions WHERE applied_at IS NOT NULL
    ) s
    JOIN markets m ON m.exchange = s.config ->> 'venue' AND m.symbol = s.config ->> 'symbol'
    WHERE EXISTS (
        SELECT FROM bot_versions v JOIN bots b USING (bot_id) JOIN markets now USING (market_id)
        WHERE v.bot_id = s.bot_id
        AND (v.config ->> 'venue', v.config ->> 'symbol') IS DISTINCT FROM (now.exchange, now.symbol)
    )
"""
_OF_THEN = """
    UPDATE {table} t SET market_id = s.market_id
    FROM (
        SELECT r.bot_id, r.{key}, s.market_id
        FROM {table} r CROSS JOIN LATERAL (
            SELECT market_id FROM settings_of_bots s
            WHERE s.bot_id = r.bot_id AND s.since {until} r.{at}
            ORDER BY s.since DESC, s.of_candles DESC LIMIT 1
        ) s
    ) s
    WHERE s.bot_id = t.bot_id AND s.{key} = t.{key} AND s.market_id <> t.market_id
"""
# What was decided at a close belongs to the candle before it, a position to where it was entered.
_TIMES = (
    ("bot_orders", "order_sequence", "decided_at", "<"),
    ("bot_fills", "order_sequence", "filled_at", "<="),
    ("bot_trades", "trade_sequence", "entry_at", "<="),
)
# An order is of the market it was filled in.
_OF_ITS_FILL = """
    UPDATE bot_orders o SET market_id = f.market_id FROM bot_fills f
    WHERE f.bot_id = o.bot_id AND f.order_sequence = o.order_sequence AND f.market_id <> o.market_id
"""
_COLUMNS = """
    side text, quantity numeric, entry_price numeric, stop_price numeric, target_price numeric,
    trailing_price numeric, unrealised_pnl numeric, entry_at_us bigint"""
_FIGURES = """
    p.side, p.quantity, p.entry_price, p.stop_price, p.target_price, p.trailing_price, p.unrealised_pnl,
    TIMESTAMPTZ 'epoch' + p.entry_at_us * INTERVAL '1 microsecond' AS entry_at"""
_OF_ONE = f"""
    SELECT b.bot_id, b.name AS bot, m.exchange, m.symbol, {_FIGURES}
    FROM bots b
    JOIN markets m USING (market_id)
    CROSS JOIN LATERAL jsonb_to_record(b.summary -> 'position') AS p({_COLUMNS})
    WHERE jsonb_typeof(b.summary -> 'position') = 'object'
"""
_OF_SEVERAL = f"""
    SELECT b.bot_id, b.name AS bot, m.exchange, p.symbol, {_FIGURES}
    FROM bots b
    JOIN markets m USING (market_id)
    CROSS JOIN LATERAL jsonb_to_recordset(b.summary -> 'positions') AS p(symbol text, {_COLUMNS})
    WHERE jsonb_typeof(b.summary -> 'positions') = 'array'
"""


def upgrade() -> None:
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} ADD COLUMN market_id integer REFERENCES markets")
        op.execute(f"UPDATE {table} t SET market_id = b.market_id FROM bots b WHERE b.bot_id = t.bot_id")
    op.execute(_SETTINGS)
    for table, key, at, until in _TIMES:
        op.execute(_OF_THEN.format(table=table, key=key, at=at, until=until))
    op.execute(_OF_ITS_FILL)
    op.execute("DROP TABLE settings_of_bots")
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN market_id SET NOT NULL")
    # What a bot with several symbols has in use of each: {"BTC-USDT": "123.45"}.
    op.execute("ALTER TABLE account_shares ADD COLUMN parts jsonb NOT NULL DEFAULT '{}'")
    op.execute("DROP VIEW bot_positions")
    op.execute(f"CREATE VIEW bot_positions AS {_OF_ONE} UNION ALL {_OF_SEVERAL}")


def downgrade() -> None:
    op.execute("DROP VIEW bot_positions")
    op.execute(f"CREATE VIEW bot_positions AS {_OF_ONE}")
    op.execute("ALTER TABLE account_shares DROP COLUMN parts")
    for table in _TABLES:
        op.execute(f"ALTER TABLE {table} DROP COLUMN market_id")
