from __future__ import annotations

from app.processes.collector_shards import silenced_health
from app.supervisor import ProcessStatus, State


def status(state: State) -> ProcessStatus:
    return ProcessStatus(
        name="collector-okx-2",
        pid=None,
        state=state,
        restarts=5,
        since_us=0,
        last_exit=1,
        detail="Traceback | ValueError: no such thing",
    )


def test_a_shard_in_a_crash_loop_is_spoken_for() -> None:
    health = silenced_health(status(State.CRASH_LOOP), "okx", 7)
    assert (health.exchange, health.shard, health.state, health.restarts) == (
        "okx",
        "collector-okx-2",
        "stopped",
        5,
    )
    assert health.detail == (
        "collector-okx-2 keeps crashing and is paused for 3 minutes. ValueError: no such thing"
    )
    assert health.sent_at_us == 7


def test_a_shard_that_refuses_its_settings_is_spoken_for() -> None:
    health = silenced_health(status(State.MISCONFIGURED), "okx", 7)
    assert "refuses its settings" in health.detail
