"""Decision records in few bytes: `strategies.records` says how; JSON of before stays readable as it is."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_UP = (
    """
    ALTER TABLE decisions ALTER COLUMN record TYPE bytea USING
        CASE WHEN jsonb_typeof(record -> 'packed') = 'string' THEN decode(record ->> 'packed', 'base64')
        ELSE convert_to(record::text, 'UTF8') END
    """,
    # Compressed already: trying again would cost time at each insert.
    "ALTER TABLE decisions ALTER COLUMN record SET STORAGE EXTERNAL",
)

_DOWN = (
    # 123 is the brace that JSON text begins with.
    """
    ALTER TABLE decisions ALTER COLUMN record TYPE jsonb USING
        CASE WHEN get_byte(record, 0) = 123 THEN convert_from(record, 'UTF8')::jsonb
        ELSE jsonb_build_object('packed', encode(record, 'base64')) END
    """,
)


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWN:
        op.execute(statement)
