"""A system in memory."""

from __future__ import annotations

from collections.abc import Sequence

from dashboard.system_readers import (
    BusFacts,
    DatabaseFacts,
    LogEvent,
    ProcessFacts,
    Statement,
    TableSize,
)
from data.errors import TransientError
from tests.dashboard.fakes import NOW_US


class FakeSystem:
    """`SystemDesk` in memory: one process keeps dying, one error stands in the logs."""

    def __init__(self, *, empty: bool = False) -> None:
        self.empty = empty
        self.bus_is_away = False
        self.events = [
            LogEvent(
                at="2026-11-21T14:03:16.343354Z",
                level="error",
                process="web",
                event="callback_failed",
                detail="number=4be1c0d2\nTraceback (most recent call last):\n  ZeroDivisionError",
            )
        ]

    def processes(self) -> Sequence[ProcessFacts]:
        if self.empty:
            return []
        shape = {"since_us": NOW_US - 7_200_000_000, "cpu": 0.031, "memory_bytes": 190 * 2**20}
        return [
            ProcessFacts(name="collect", pid=411, state="running", restarts=0, detail="", **shape),  # type: ignore[arg-type]
            ProcessFacts(
                name="bots",
                pid=None,
                state="crash loop",
                restarts=6,
                since_us=NOW_US - 9_000_000,
                detail="MemoryError",
                cpu=None,
                memory_bytes=None,
            ),
        ]

    def database(self) -> DatabaseFacts:
        return DatabaseFacts(
            version="17.6",
            timescaledb="",
            bytes=512 * 2**20,
            connections=9,
            most_connections=100,
            tables=[TableSize(name="trades", bytes=400 * 2**20, rows=3_120_000)],
            statements=[Statement(text="SELECT 1 FROM trades", calls=1_204, mean_ms=3.21, total_ms=3_864.8)],
            remembers_statements=True,
        )

    def bus(self) -> BusFacts:
        if self.bus_is_away:
            raise TransientError("Redis does not answer: connection refused")
        return BusFacts(
            version="8.1",
            memory_bytes=3 * 2**20,
            peak_bytes=5 * 2**20,
            clients=11,
            commands_per_s=240,
            channels=7,
        )

    def log_events(self, words: str, limit: int) -> Sequence[LogEvent]:
        return [one for one in self.events if words in f"{one.event} {one.detail}"][:limit]

    def versions(self) -> Sequence[tuple[str, str]]:
        return [("Python", "3.11.9")]

    def configuration(self) -> Sequence[tuple[str, str]]:
        return [("CANDLEWICK_PORT", "8050"), ("DATABASE_URL", "postgresql://127.0.0.1:5432")]
