"""Layouts of the price chart and lists of markets that a person gave a name."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE chart_layouts (
            kind text NOT NULL CHECK (kind IN ('layout', 'watchlist')),
            name text NOT NULL,
            content jsonb NOT NULL,
            is_default boolean NOT NULL DEFAULT false,
            saved_at timestamptz NOT NULL,
            PRIMARY KEY (kind, name)
        )
        """
    )
    op.execute("CREATE UNIQUE INDEX chart_layouts_default ON chart_layouts (kind) WHERE is_default")


def downgrade() -> None:
    op.execute("DROP TABLE chart_layouts")
