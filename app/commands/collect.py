"""`candlewick collect`: the collectors alone, one process per venue under a manager."""

from __future__ import annotations

import asyncio
import sys

import click
import uvloop

from app.installation import Installation, RunningServices
from app.parent_watch import watch_parent
from app.processes.collector import collect
from app.services import services_in_reach
from app.stop_signals import run_until_signalled
from app.supervisor import ChildSpec, Supervisor
from config.logging import configure_logging
from config.settings import load_settings
from data.collectors.collector_manager import CollectorPlan, plan_collectors
from data.collectors.settings import load_collector_settings


@click.command("collect")
@click.option("--venue", help="Collect this venue in this process, without a manager.")
def command(venue: str | None) -> None:
    """Run the collectors alone: a manager with one process per venue of config/collectors.json."""
    supervised = watch_parent()
    settings = load_settings()
    configure_logging(settings.candlewick_log_level, process=f"collect {venue}" if venue else "collect")
    venues = load_collector_settings(settings.candlewick_collectors)
    plans = plan_collectors(venues, (venue,) if venue else ())
    installation = Installation(settings.candlewick_home)
    with services_in_reach(settings, installation, prepared=supervised) as services:
        if venue:
            uvloop.run(run_until_signalled(collect(settings, services, plans[0].settings)))
        else:
            asyncio.run(_manager(installation, services, plans).run())


def _manager(installation: Installation, services: RunningServices, plans: list[CollectorPlan]) -> Supervisor:
    environment = {"DATABASE_URL": services.database_url, "REDIS_URL": services.redis_url}
    children = [
        ChildSpec(
            name=plan.name,
            argv=[sys.executable, "-m", "app", "collect", "--venue", plan.settings.exchange],
            env=environment,
        )
        for plan in plans
    ]
    return Supervisor(children, logs=installation.logs, report_file=installation.collectors_file)
