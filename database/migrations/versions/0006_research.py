"""Backtest runs, searches and their trials, jobs."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_UP: tuple[str, ...] = (
    # A run that somebody kept: its manifest and figures, and the whole document where that was wanted.
    """
    CREATE TABLE backtest_runs (
        run_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        run_hash text NOT NULL UNIQUE,
        strategy text NOT NULL,
        strategy_hash text NOT NULL,
        saved_at timestamptz NOT NULL,
        manifest jsonb NOT NULL,
        metrics jsonb NOT NULL,
        document jsonb
    )
    """,
    "CREATE INDEX backtest_runs_by_strategy ON backtest_runs (strategy, saved_at DESC)",
    # `search` is the hash of everything that decides what a trial gives: equal searches share their trials.
    """
    CREATE TABLE searches (
        search text PRIMARY KEY,
        strategy text NOT NULL,
        begun_at timestamptz NOT NULL,
        finished_at timestamptz,
        source jsonb NOT NULL,
        spec jsonb NOT NULL,
        result jsonb
    )
    """,
    # Every trial there ever was: the number of them is part of what the best is worth.
    """
    CREATE TABLE trials (
        search text NOT NULL REFERENCES searches ON DELETE CASCADE,
        point integer[] NOT NULL,
        values double precision[] NOT NULL,
        figures jsonb NOT NULL,
        blocks jsonb NOT NULL,
        refusal text NOT NULL DEFAULT '',
        PRIMARY KEY (search, point)
    )
    """,
)
_DOWN: tuple[str, ...] = (
    "DROP TABLE trials",
    "DROP TABLE searches",
    "DROP TABLE backtest_runs",
)


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWN:
        op.execute(statement)
