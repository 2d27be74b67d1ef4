"""Orders, fills and trades name their market: a basket has several. Those of before keep their bot's."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_TABLES = ("bot_orders", "bot_fills", "bot_trades")
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
