"""`candlewick alerts`: what people were told, through which channels, and whether those work."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import click
import msgspec

from alerts.desk import AlertDesk
from alerts.model import DeliveryState, StoredAlert
from app.installation import Installation
from app.parent_watch import watch_parent
from app.processes.alerts import alert_desk, tell_forever
from app.services import database_in_reach, services_in_reach
from app.stop_signals import run_until_signalled
from config.logging import configure_logging
from config.settings import load_settings
from data.errors import TradingError
from data.timeframes import to_datetime


@click.group("alerts")
def command() -> None:
    """Tell people what happens: rules and channels are in config/notifications.json."""


@command.command("run")
def run() -> None:
    """Deliver alerts until stopped. `candlewick up` does this too."""
    supervised = watch_parent()
    settings = load_settings()
    configure_logging(settings.candlewick_log_level, process="alerts")
    installation = Installation(settings.candlewick_home)
    with (
        services_in_reach(settings, installation, prepared=supervised) as services,
        alert_desk(settings, services.database_url, patient=True) as desk,
    ):
        asyncio.run(run_until_signalled(tell_forever(desk)))


@command.command("list")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_alerts(limit: int, as_json: bool) -> None:
    """The newest alerts, and how telling them went."""
    with _desk() as desk:
        found = desk.newest(limit)
    if as_json:
        click.echo(msgspec.json.encode([_document(one) for one in found]))
        return
    if not found:
        click.echo("Nothing has happened that is worth telling.")
    for one in found:
        click.echo(
            f"{to_datetime(one.alert.at_us):%Y-%m-%d %H:%M:%S}  {one.alert.kind:<14} {one.alert.title}"
        )
        for delivery in one.deliveries:
            click.echo(
                f"    {delivery.channel}: {delivery.state}{': ' if delivery.error else ''}{delivery.error}"
            )


@command.command("channels")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def channels(as_json: bool) -> None:
    """Every channel, how it did in the last seven days, and what is wrong with it."""
    with _desk() as desk:
        found = desk.channels()
    if as_json:
        click.echo(
            msgspec.json.encode(
                [{**msgspec.structs.asdict(health), "problem": problem} for health, problem in found]
            )
        )
        return
    if not found:
        click.echo("No channel is configured; config/notifications.example.json shows how.")
    for health, problem in found:
        state = problem or health.last_error or "well"
        click.echo(
            f"{health.channel}: {health.sent} sent, {health.failed} failed, {health.waiting} waiting; {state}"
        )


@command.command("test")
@click.argument("channel")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def test(channel: str, as_json: bool) -> None:
    """Send a test message to CHANNEL now."""
    with _desk() as desk:
        told = desk.test(channel, who="candlewick alerts test")
    if as_json:
        click.echo(msgspec.json.encode(_document(told)))
    (delivery,) = told.deliveries
    if delivery.state is not DeliveryState.SENT:
        raise TradingError(f"{channel} did not take the message: {delivery.error}")
    if not as_json:
        click.echo(f"{channel} took the message.")


@contextmanager
def _desk() -> Iterator[AlertDesk]:
    settings = load_settings()
    configure_logging("ERROR", process="alerts")
    with (
        database_in_reach(settings, Installation(settings.candlewick_home)) as url,
        alert_desk(settings, url) as desk,
    ):
        yield desk


def _document(stored: StoredAlert) -> dict[str, object]:
    alert = stored.alert
    return {
        "id": stored.alert_id,
        "kind": alert.kind,
        "at": to_datetime(alert.at_us),
        "title": alert.title,
        "body": alert.body,
        "bot": alert.bot,
        "market": alert.market,
        "deliveries": [
            {"channel": one.channel, "state": one.state, "attempts": one.attempts, "error": one.error}
            for one in stored.deliveries
        ],
    }
