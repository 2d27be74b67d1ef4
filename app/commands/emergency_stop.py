"""`candlewick emergency-stop`: nothing new, what waits is cancelled, positions are closed or named."""

from __future__ import annotations

import getpass
import sys
import time
from typing import Any

import click

from app.commands.risk import print_json
from app.composition import now_us, open_store
from app.installation import Installation
from bots.emergency import EmergencyDesk, EmergencyReport, left_over_lines
from config.settings import load_settings
from data.timeframes import to_datetime
from database.repositories.risk_repository import RiskRepository
from messaging.wake_up import RunnerWakeUp

_LOOK_S = 0.1


@click.command("emergency-stop")
@click.option("--flatten/--no-flatten", default=True, help="Close positions too, or leave them as they are.")
@click.option("--release", is_flag=True, help="End the stop: bots enter again from their next signal on.")
@click.option("--status", is_flag=True, help="Only say whether the desk is stopped and what is left.")
@click.option("--why", default="", help="A reason, kept with the stop.")
@click.option("--wait", "wait_s", type=click.FloatRange(0, 600), default=5.0, help="Seconds to wait for it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(flatten: bool, release: bool, status: bool, why: str, wait_s: float, as_json: bool) -> None:
    """Stop every bot of this installation at once.

    When it says that the stop stands, no entry can be stored any more, whatever runs or has died. Then it
    waits for the runners to cancel what waits and, unless --no-flatten, to close every position, and names
    what is left and why (exit status 1 then). The stop stands until --release.
    """
    if release and status:
        raise click.UsageError("Give '--release' or '--status', not both.")
    settings = load_settings()
    with open_store(settings) as store:
        running = Installation(settings.candlewick_home).running()
        risk = RiskRepository(store.url)
        wake_up = RunnerWakeUp(running.redis_url) if running is not None and running.redis_url else None
        try:
            desk = EmergencyDesk(risk, store.bots, clock=now_us, announce=wake_up)
            if release:
                _say_released(desk.release(_who(), why), as_json)
                return
            took_ms = None
            if not status:
                began = time.perf_counter()
                report = desk.engage(_who(), why, flatten=flatten)
                took_ms = (time.perf_counter() - began) * 1_000
                click.echo(f"the stop stands, after {took_ms:.0f} ms: nothing new can be ordered", err=True)
            report = _settled(desk, 0 if status else wait_s)
        finally:
            risk.close()
            if wake_up is not None:
                wake_up.close()
    _say(report, took_ms, as_json)
    if not status and not report.is_done:
        sys.exit(1)


def _settled(desk: EmergencyDesk, wait_s: float) -> EmergencyReport:
    give_up_at = time.monotonic() + wait_s
    while True:
        report = desk.state()
        if report.is_done or time.monotonic() >= give_up_at:
            return report
        time.sleep(_LOOK_S)


def _say(report: EmergencyReport, took_ms: float | None, as_json: bool) -> None:
    state = report.state
    if as_json:
        print_json(_document(report, took_ms))
        return
    if not state.engaged:
        click.echo("no stop is engaged")
        return
    why = f": {state.why}" if state.why else ""
    since = "" if state.since_us is None else f" since {_iso(state.since_us)}"
    click.echo(f"stopped by {state.who}{since}{why}")
    for line in left_over_lines(report):
        click.echo(f"  {line}")
    if report.is_done:
        click.echo("nothing waits" + (", every position is closed" if state.flatten else ""))


def _document(report: EmergencyReport, took_ms: float | None) -> dict[str, Any]:
    state = report.state
    return {
        "engaged": state.engaged,
        "flatten": state.flatten,
        "since": None if state.since_us is None else _iso(state.since_us),
        "who": state.who,
        "why": state.why,
        "took_ms": took_ms,
        "done": report.is_done,
        "orders": [{"bot": one.bot, "what": one.what, "why": one.why} for one in report.orders],
        "positions": [{"bot": one.bot, "what": one.what, "why": one.why} for one in report.positions],
    }


def _say_released(released: bool, as_json: bool) -> None:
    if as_json:
        print_json({"engaged": False, "released": released})
    elif released:
        click.echo("released: bots enter again from their next signal on")
    else:
        click.echo("no stop was engaged")


def _iso(at_us: int) -> str:
    return to_datetime(at_us).isoformat().replace("+00:00", "Z")


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "command line"  # a user id without a name, as in some containers
