"""Fills say how they met the recorded order book."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # `bots.orders.DepthUse`; null where the order did not ask for depth.
    op.execute("ALTER TABLE bot_fills ADD COLUMN depth jsonb")


def downgrade() -> None:
    op.execute("ALTER TABLE bot_fills DROP COLUMN depth")
