"""`candlewick status`: what runs and how it is."""

from __future__ import annotations

import asyncio
import json
import sys

import click
import msgspec

from app.composition import bus_at
from app.installation import Installation, RunningServices
from app.supervisor import SupervisorReport, read_report
from config.settings import load_settings
from data.exchanges.registry import EXCHANGES
from data.messages import CollectorHealth
from data.timeframes import to_datetime
from messaging.health_board import HealthBoard


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(as_json: bool) -> None:
    """Show what runs in this installation and how it is. Exit status 1 when nothing runs."""
    installation = Installation(load_settings().candlewick_home)
    services = installation.running()
    report = read_report(installation.processes_file)
    if report is not None and not report.is_current():
        report = None
    collectors = asyncio.run(_collectors(services)) if services is not None else []
    if as_json:
        click.echo(json.dumps(_document(installation, services, report, collectors), indent=2))
    else:
        _print(installation, services, report, collectors)
    sys.exit(0 if services is not None else 1)


async def _collectors(services: RunningServices) -> list[CollectorHealth]:
    async with bus_at(services.redis_url) as bus:
        return list(await HealthBoard(bus, tuple(EXCHANGES)).last_health())


def _document(
    installation: Installation,
    services: RunningServices | None,
    report: SupervisorReport | None,
    collectors: list[CollectorHealth],
) -> dict[str, object]:
    return {
        "home": str(installation.home),
        "running": services is not None,
        "market_data": str(services.mode if services else installation.mode),
        "web_url": services.web_url if services else None,
        "processes": msgspec.to_builtins(report.processes) if report else [],
        "collectors": msgspec.to_builtins(collectors),
    }


def _print(
    installation: Installation,
    services: RunningServices | None,
    report: SupervisorReport | None,
    collectors: list[CollectorHealth],
) -> None:
    if services is None:
        click.echo(f"nothing runs in {installation.home}; scripts/start or `candlewick up` starts it")
        return
    click.echo(f"{services.mode} market data in {installation.home}, page at {services.web_url or 'none'}")
    for process in report.processes if report else ():
        since = to_datetime(process.since_us).strftime("%Y-%m-%d %H:%M:%S UTC")
        restarts = f", {process.restarts} restarts" if process.restarts else ""
        detail = f": {process.detail}" if process.detail else ""
        click.echo(
            f"  {process.name:<10} {process.state} since {since}, process {process.pid}{restarts}{detail}"
        )
    for health in collectors:
        words = health.detail or (
            f"{health.symbols} symbols, {health.trades_per_s:.1f} trades/s, lag {health.lag_ms:.0f} ms"
        )
        click.echo(f"  {health.exchange:<10} {health.state}: {words}")
