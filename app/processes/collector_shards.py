"""The collectors' manager: a process for each shard, as many as the settings need at any time."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import NoReturn

import structlog

from app.composition import bus_at, now_us
from app.installation import Installation, RunningServices
from app.supervisor import ChildSpec, ProcessStatus, RestartPolicy, State, Supervisor
from config.settings import Settings
from data.collectors.collector_manager import CollectorPlan, plan_collectors
from data.collectors.settings_file import SettingsFile
from data.messages import CollectorHealth
from messaging.redis_publisher import RedisPublisher

log = structlog.get_logger()

_LOOK_S = 0.5
_TELL_S = 2.0
# A shard that dies so often gives the venue, the database and the log a rest.
_LOOP_PAUSE_S = 180.0
_SILENCED = (State.CRASH_LOOP, State.MISCONFIGURED)


def settings_file(settings: Settings) -> SettingsFile:
    """What to record, as a person writes it, and as it last could be used."""
    installation = Installation(settings.candlewick_home)
    return SettingsFile(settings.candlewick_collectors, installation.run / "collectors.last-good.json")


async def run_shards(
    file: SettingsFile,
    installation: Installation,
    services: RunningServices,
    plans: Sequence[CollectorPlan],
) -> None:
    """Keep a process for each plan running, and follow the settings' `file`, until told to end."""
    environment = {"DATABASE_URL": services.database_url, "REDIS_URL": services.redis_url}
    supervisor = Supervisor(
        [_spec(plan.name, environment) for plan in plans],
        logs=installation.logs,
        report_file=installation.collectors_file,
        policy=lambda: RestartPolicy(loop_pause_s=_LOOP_PAUSE_S),
    )
    exchanges = {plan.name: plan.settings.exchange for plan in plans}
    async with bus_at(services.redis_url) as bus, asyncio.TaskGroup() as tasks:
        beside = [
            tasks.create_task(_follow(file, supervisor, exchanges, environment)),
            tasks.create_task(_tell_silenced(supervisor, exchanges, RedisPublisher(bus))),
        ]
        try:
            await supervisor.run()
        finally:
            for task in beside:
                task.cancel()


def _spec(name: str, environment: dict[str, str]) -> ChildSpec:
    return ChildSpec(
        name=name, argv=[sys.executable, "-m", "app", "collect", "--shard", name], env=environment
    )


async def _follow(
    file: SettingsFile, supervisor: Supervisor, exchanges: dict[str, str], environment: dict[str, str]
) -> NoReturn:
    """Start and end processes as the settings change; those that stay read the file themselves."""
    while True:
        await asyncio.sleep(_LOOK_S)
        venues = file.changed()
        if venues is None:
            continue
        needed = {plan.name: plan.settings.exchange for plan in plan_collectors(venues)}
        standing = {process.name: process for process in supervisor.status()}
        for name in standing.keys() - needed.keys():
            log.info("shard_ends", shard=name)
            await supervisor.remove(name)
        exchanges.clear()
        exchanges.update(needed)
        for name in needed:
            if name not in standing:
                log.info("shard_begins", shard=name)
                await supervisor.add(_spec(name, environment))
            elif standing[name].state in _SILENCED:
                # What it refused may have been mended.
                await supervisor.restart(name)


async def _tell_silenced(
    supervisor: Supervisor, exchanges: dict[str, str], publisher: RedisPublisher
) -> NoReturn:
    """Speak for the shards that cannot: who hears of their health should hear why nothing comes."""
    while True:
        for process in supervisor.status():
            if process.state in _SILENCED and process.name in exchanges:
                await publisher.publish_health(silenced_health(process, exchanges[process.name], now_us()))
        await asyncio.sleep(_TELL_S)


def silenced_health(process: ProcessStatus, exchange: str, now_us: int) -> CollectorHealth:
    """What a process that is paused, or refused its settings, would say of itself."""
    if process.state is State.CRASH_LOOP:
        detail = f"{process.name} keeps crashing and is paused for {_LOOP_PAUSE_S / 60:g} minutes."
    else:
        detail = f"{process.name} refuses its settings and waits until they are mended."
    last_line = process.detail.split(" | ")[-1:]
    return CollectorHealth(
        exchange=exchange,
        state="stopped",
        detail=" ".join([detail, *last_line]),
        symbols=0,
        trades_stored=0,
        trades_per_s=0.0,
        duplicates=0,
        malformed=0,
        gaps_open=0,
        lag_ms=0.0,
        sent_at_us=now_us,
        shard=process.name,
        restarts=process.restarts,
    )
