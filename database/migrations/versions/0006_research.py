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
    # What people asked for and what became of it; only the entry `queue_id` of the queue may change a job.
    """
    CREATE TABLE jobs (
        job_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        kind text NOT NULL,
        title text NOT NULL,
        arguments json NOT NULL,
        who text NOT NULL,
        lock text,
        state text NOT NULL CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
        queue_id bigint NOT NULL DEFAULT 0,
        attempts integer NOT NULL DEFAULT 0,
        progress json,
        result json,
        error text NOT NULL DEFAULT '',
        cancelled_by text NOT NULL DEFAULT '',
        asked_at timestamptz NOT NULL,
        started_at timestamptz,
        finished_at timestamptz
    )
    """,
    "CREATE INDEX jobs_under_way ON jobs (job_id) WHERE state IN ('queued', 'running')",
    # The library that queues jobs keeps its tables apart; see database/queue_schema.py.
    "CREATE SCHEMA job_queue",
    "CREATE TABLE job_queue.applied_files (name text PRIMARY KEY)",
)
_DOWN: tuple[str, ...] = (
    "DROP SCHEMA job_queue CASCADE",
    "DROP TABLE jobs",
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
