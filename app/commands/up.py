"""`candlewick up`: everything, under one supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path

import click
import msgspec

from app.composition import bus_at
from app.installation import Installation, Mode, RunningServices
from app.page_address import page_url, require_free_port
from app.services import own_services
from app.supervisor import ChildSpec, Supervisor
from app.venue_addresses import simulated_hosts
from config.logging import configure_logging
from config.settings import load_settings
from data.messages import CollectorHealth
from data.topics import ALL_HEALTH
from embedded.service_files import free_port, remembered_port
from messaging.redis_bus import RedisBus


@click.command("up")
@click.option("--demo", is_flag=True, help="Use the simulated venue: no network needed, its data kept apart.")
@click.option("--host", help="Address the page listens on; 127.0.0.1 unless told otherwise.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the page; 8050 unless told otherwise.")
@click.option("--verbose", is_flag=True, help="Show the processes' own log lines as well.")
def command(demo: bool, host: str | None, port: int | None, verbose: bool) -> None:
    """Start everything: services, migrations, collectors, bots and the web page.

    PostgreSQL and Redis are started here unless DATABASE_URL and REDIS_URL name others. Ctrl-C stops all.
    """
    settings = load_settings()
    # The supervisor's own events matter to a person only when something dies.
    configure_logging("INFO" if verbose else "WARNING", process="up")
    host = host or settings.candlewick_host
    port = port or settings.candlewick_port
    mode = Mode.SIMULATED if demo else Mode.REAL
    installation = Installation(settings.candlewick_home)
    with installation.services_lock(timeout_s=0):
        require_free_port(host, port)
        click.echo(
            f"Candlewick, {'demo with a simulated venue' if demo else 'live market data, paper trading'}"
        )
        with own_services(settings, installation, mode, tell=_tell) as services:
            installation.remember_mode(mode)
            venue_port = _venue_port(installation.run / "simulator.port") if demo else None
            urls = msgspec.structs.replace(
                services.urls,
                web_url=page_url(host, port),
                venue_url=None if venue_port is None else f"http://127.0.0.1:{venue_port}",
            )
            installation.announce(urls)
            try:
                supervisor = Supervisor(
                    _children(
                        installation,
                        urls,
                        collectors=settings.candlewick_collectors,
                        host=host,
                        port=port,
                        venue_port=venue_port,
                    ),
                    logs=installation.logs,
                    report_file=installation.processes_file,
                    services=services.own,
                    echo=_echo if verbose else None,
                )
                asyncio.run(_run(supervisor, installation, urls))
            finally:
                installation.withdraw()
    click.echo("stopped; the data stays in " + str(installation.home))


def _tell(line: str) -> None:
    click.echo(f"  {line}")


def _echo(name: str, line: str) -> None:
    click.echo(f"{name:<9} {line}", err=True)


def _children(
    installation: Installation,
    urls: RunningServices,
    *,
    collectors: Path,
    host: str,
    port: int,
    venue_port: int | None,
) -> list[ChildSpec]:
    environment = {
        "CANDLEWICK_HOME": str(installation.home),
        "CANDLEWICK_VENUE_SOURCE": urls.mode.value,
        "DATABASE_URL": urls.database_url,
        "REDIS_URL": urls.redis_url,
    }
    children = []
    if venue_port is not None and urls.venue_url is not None:
        children.append(_simulator(installation, venue_port))
        hosts = simulated_hosts(urls.venue_url)
        environment |= {name.upper(): address for name, address in hosts.items()}
    children += [
        # A manager: it gives each collector its own time to store what it still holds.
        ChildSpec(
            name="collect",
            argv=_program("collect"),
            env=environment,
            grace_s=30,
            settings_file=collectors,
        ),
        ChildSpec(name="maintain", argv=_program("data", "maintain"), env=environment),
        ChildSpec(name="alerts", argv=_program("alerts", "run"), env=environment),
        # A manager as well.
        ChildSpec(name="bots", argv=_program("bots", "run"), env=environment, grace_s=15),
        ChildSpec(name="jobs", argv=_program("jobs", "run"), env=environment),
        ChildSpec(
            name="web",
            argv=_program("web", "--host", host, "--port", str(port)),
            env=environment,
            ready=_answers(f"{urls.web_url}/healthz"),
        ),
    ]
    return children


def _venue_port(note: Path) -> int:
    port = free_port(remembered_port(note))
    note.write_text(str(port))
    return port


def _simulator(installation: Installation, port: int) -> ChildSpec:
    state = installation.home / "simulator.json"
    return ChildSpec(
        name="simulate",
        argv=_program("simulate", "--port", str(port), "--state", str(state)),
        ready=_answers(f"http://127.0.0.1:{port}/sim/state"),
    )


def _program(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "app", *arguments]


def _answers(url: str) -> Callable[[], Awaitable[bool]]:
    """Whether an HTTP server there says 200."""

    def ask() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    return lambda: asyncio.to_thread(ask)


async def _run(supervisor: Supervisor, installation: Installation, urls: RunningServices) -> None:
    def started() -> None:
        for process in supervisor.status():
            if process.name not in ("postgres", "valkey"):
                shown = f"process {process.pid}" if process.pid else f"{process.state}: {process.detail}"
                _tell(f"{process.name:<11} {shown}")
        click.echo(f"\nOpen {urls.web_url}   (Ctrl-C stops everything; logs are in {installation.logs})\n")

    async with bus_at(urls.redis_url) as bus:
        news = asyncio.create_task(_tell_venues(bus))

        def stopping() -> None:
            news.cancel()
            click.echo("stopping")

        try:
            await supervisor.run(started=started, stopping=stopping)
        finally:
            news.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await news


async def _tell_venues(bus: RedisBus) -> None:
    """Print what each collector says of its venue, whenever that changes."""
    told: dict[str, str] = {}
    async for _topic, payload in bus.subscribe([ALL_HEALTH]):
        health = msgspec.json.decode(payload, type=CollectorHealth)
        name = (health.shard or health.exchange).removeprefix("collector-")
        line = health.detail or f"{name} is {health.state}, {health.symbols} symbols"
        # The wait until the next attempt changes each time; the news is that it cannot be reached.
        if told.get(health.shard) != health.state:
            told[health.shard] = health.state
            click.echo(line)
