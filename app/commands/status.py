"""`candlewick status`: what runs and how it is."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, field

import click
import msgspec

from app.composition import bus_at
from app.installation import Installation, RunningServices
from app.supervisor import ProcessStatus, read_report
from config.settings import Settings, load_settings
from data.errors import InstallationError, TransientError
from data.messages import CollectorHealth
from data.timeframes import to_datetime
from messaging.health_board import HealthBoard


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """What could be found out. `runs` is None where parts may run that leave no note here."""

    runs: bool | None
    services: RunningServices | None
    processes: list[ProcessStatus]
    collectors: list[CollectorHealth] = field(default_factory=list)
    bus_problem: str = ""  # why the collectors could not be asked


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(as_json: bool) -> None:
    """Show what runs in this installation and how it is. Exit status 1 when nothing is known to run.

    With both DATABASE_URL and REDIS_URL set, parts that were started apart leave no note of themselves: then
    `running` is null, and what collectors last said comes from Redis.
    """
    settings = load_settings()
    installation = Installation(settings.candlewick_home)
    overview = _look(settings, installation)
    if as_json:
        click.echo(json.dumps(_document(installation, overview), indent=2))
    else:
        _print(installation, overview)
    sys.exit(0 if overview.runs else 1)


def _look(settings: Settings, installation: Installation) -> Overview:
    services = installation.running()
    processes: list[ProcessStatus] = []
    for path in (installation.processes_file, installation.collectors_file, installation.bots_file):
        report = read_report(path)
        if report is not None and report.is_current():
            processes += report.processes
    runs: bool | None = services is not None or bool(processes)
    if not runs and settings.database_url is not None and settings.redis_url is not None:
        runs = None
    redis_url = settings.redis_url.get_secret_value() if settings.redis_url is not None else ""
    if services is not None:
        redis_url = services.redis_url
    collectors: list[CollectorHealth] = []
    problem = ""
    if redis_url:
        try:
            collectors = asyncio.run(_collectors(redis_url))
        except (TransientError, InstallationError) as error:
            problem = str(error)
    return Overview(
        runs=runs, services=services, processes=processes, collectors=collectors, bus_problem=problem
    )


async def _collectors(redis_url: str) -> list[CollectorHealth]:
    async with bus_at(redis_url) as bus:
        return list(await HealthBoard(bus).last_health())


def _document(installation: Installation, overview: Overview) -> dict[str, object]:
    services = overview.services
    return {
        "home": str(installation.home),
        "running": overview.runs,
        "market_data": str(services.mode if services else installation.mode),
        "web_url": services.web_url if services else None,
        "processes": msgspec.to_builtins(overview.processes),
        "collectors": msgspec.to_builtins(overview.collectors),
        "bus_problem": overview.bus_problem or None,
    }


def _shard_words(health: CollectorHealth) -> str:
    """What is wrong, where something is, else what it does."""
    if health.detail:
        return health.detail
    words = [
        f"{health.symbols} symbols",
        f"{health.trades_per_s:.1f} trades/s",
        f"{health.messages_per_s:.0f} messages/s",
        f"lag {health.lag_ms:.0f} ms",
        f"{health.memory_bytes / 2**20:.0f} MiB",
    ]
    counts = (
        ("reconnects", health.reconnects),
        ("gaps", health.gaps_found),
        ("of them repaired", health.gaps_repaired),
        ("trades waiting", health.queue_depth + health.journal_depth),
        ("restarts", health.restarts),
    )
    return ", ".join([*words, *(f"{count} {name}" for name, count in counts if count)])


def _print(installation: Installation, overview: Overview) -> None:
    services = overview.services
    if services is not None:
        click.echo(
            f"{services.mode} market data in {installation.home}, page at {services.web_url or 'none'}"
        )
    elif overview.runs is None:
        click.echo(
            f"`candlewick up` does not run in {installation.home}; whether parts that were started apart "
            "(collect, bots run, web) use DATABASE_URL and REDIS_URL is not known here"
        )
    elif overview.runs:
        click.echo(f"parts run in {installation.home} without `candlewick up`")
    else:
        click.echo(f"nothing runs in {installation.home}; scripts/start or `candlewick up` starts it")
    width = max(10, *(len(process.name) for process in overview.processes), 0)
    for process in overview.processes:
        since = to_datetime(process.since_us).strftime("%Y-%m-%d %H:%M:%S UTC")
        restarts = f", {process.restarts} restarts" if process.restarts else ""
        detail = f": {process.detail}" if process.detail else ""
        words = f"{process.state} since {since}, process {process.pid}{restarts}{detail}"
        click.echo(f"  {process.name:<{width}} {words}")
    for health in overview.collectors:
        click.echo(f"  {health.shard or health.exchange:<{width}} {health.state}: {_shard_words(health)}")
    if overview.bus_problem:
        click.echo(f"  collectors could not be asked: {overview.bus_problem}")
