"""`candlewick collect`: the collectors alone, a process for each shard under a manager."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine

import click
import uvloop

from app.commands.lazy_group import loading
from app.installation import Installation
from app.parent_watch import watch_parent
from app.processes.collector_shards import run_shards, settings_file
from app.services import services_in_reach
from app.stop_signals import run_until_signalled
from app.supervisor import RESTARTS
from config.logging import configure_logging
from config.settings import load_settings
from data.collectors.collector_manager import plan_collectors, plan_named
from data.errors import InvalidInput, Problem


@click.command("collect")
@click.option("--venue", help="Collect this venue's symbols, all its products, in this process, unmanaged.")
@click.option("--shard", help="Collect this part alone in this process, unmanaged: collector-okx, say.")
def command(venue: str | None, shard: str | None) -> None:
    """Run the collectors alone: a manager with a process for each part of config/collectors.json.

    A part is a product of a venue, or some symbols of one that has many. Changes of the file are followed
    while they run.
    """
    if venue and shard:
        raise click.UsageError("--venue and --shard exclude each other")
    supervised = watch_parent()
    settings = load_settings()
    name = shard or (f"collect {venue}" if venue else "collect")
    configure_logging(settings.candlewick_log_level, process=name)
    file = settings_file(settings)
    # What comes back while somebody edits the file goes on with what was recorded; a person is told at once.
    venues = file.load_or_last_good() if shard or supervised else file.load()
    plans = plan_collectors(venues, (venue,) if venue else ())
    plan = plan_named(venues, shard) if shard else None
    if shard and plan is None:
        raise InvalidInput(
            Problem(
                where="--shard",
                field="",
                value=shard,
                expected=f"the collectors' settings make {', '.join(each.name for each in plans)}",
            )
        )
    installation = Installation(settings.candlewick_home)
    with services_in_reach(settings, installation, prepared=supervised) as services:
        if plan is None and not venue:
            asyncio.run(run_shards(file, installation, services, plans))
            return
        with loading():
            # The venues' clients are loaded by the processes that speak to venues, not by their manager.
            from app.processes.collector import collect, collect_venue
        recording: Coroutine[object, object, None]
        if plan is not None:
            restarts = os.environ.get(RESTARTS, "")
            recording = collect(
                settings, services, plan, file, restarts=int(restarts) if restarts.isdigit() else 0
            )
        else:
            assert venue
            recording = collect_venue(settings, services, venue)
        uvloop.run(run_until_signalled(recording))
