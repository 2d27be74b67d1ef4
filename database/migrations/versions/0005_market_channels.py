"""Other channels than trades, versions of instruments, events of markets, telemetry of collectors."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_UP: tuple[str, ...] = ()
_DOWN: tuple[str, ...] = ()


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWN:
        op.execute(statement)
