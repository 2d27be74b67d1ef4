"""What was fetched after the fact, when a venue was down, and which of a venue's candles were fetched."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_UP = (
    # Ids fetched later than they came. Pages are fetched from the newest down, so a row grows downwards and
    # keeps its last id. `repaired_at` is null while the venue does not give what the store has lost;
    # `candles_until` says up to which venue time the candles it touches have been built again.
    """
    CREATE TABLE trade_repairs (
        market_id integer NOT NULL REFERENCES markets,
        first_id bigint NOT NULL,
        last_id bigint NOT NULL,
        start_at timestamptz NOT NULL,
        end_at timestamptz NOT NULL,
        reason text NOT NULL,
        repaired_at timestamptz,
        candles_until timestamptz,
        CHECK (first_id <= last_id),
        PRIMARY KEY (market_id, last_id)
    )
    """,
    """
    CREATE TABLE venue_outages (
        market_id integer NOT NULL REFERENCES markets,
        start_at timestamptz NOT NULL,
        end_at timestamptz NOT NULL,
        reason text NOT NULL,
        CHECK (start_at < end_at),
        PRIMARY KEY (market_id, start_at)
    )
    """,
    """
    CREATE TABLE fetched_klines (
        market_id integer NOT NULL REFERENCES markets,
        timeframe_s integer NOT NULL,
        start_at timestamptz NOT NULL,
        end_at timestamptz NOT NULL,
        CHECK (start_at < end_at),
        PRIMARY KEY (market_id, timeframe_s, start_at)
    )
    """,
)


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    for table in ("fetched_klines", "venue_outages", "trade_repairs"):
        op.execute(f"DROP TABLE {table}")
