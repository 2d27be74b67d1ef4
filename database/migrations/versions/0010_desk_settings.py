"""What people set on the page: display preferences and how long data is kept."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE desk_settings (
            name text PRIMARY KEY,
            value jsonb NOT NULL,
            set_by text NOT NULL,
            set_at timestamptz NOT NULL
        )
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE desk_settings")
