"""`candlewick simulate`: the simulated venue as a process of its own."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click

from data.errors import InvalidInput, Problem
from simulator.fault_plans import FAULT_HELP, read_fault_plan
from simulator.faults import Fault
from simulator.instruments import DEFAULT_SYMBOLS, KNOWN_SYMBOLS
from simulator.recordings import read_recording
from simulator.venue import (
    DEFAULT_HISTORY_DAYS,
    DEFAULT_RATE,
    DEFAULT_SEED,
    SimulatedVenue,
    VenueOptions,
    default_state,
    kept_state,
)

_EPILOG = f"""\
\b
One port serves all:
  OKX      /ws/v5/public, /ws/v5/business, /api/v5/...
  Binance  /ws, /ws/<stream>, /stream?streams=..., /api/v3/...
  futures  /fstream/{{public,market}}/..., /fapi/v1/...
  truth    /sim/state, /sim/truth/{{trades,candles,marks}}, /sim/faults

{FAULT_HELP}
\b
Symbols: {", ".join(KNOWN_SYMBOLS[:6])},
  {", ".join(KNOWN_SYMBOLS[6:])}
"""

_FRAMES_ONLY = ("speed", "start", "instruments")
_MADE_UP_ONLY = ("seed", "symbols", "rate", "state", "history_days")


@click.command(epilog=_EPILOG)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8700, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one."
)
@click.option("--seed", type=int, help=f"Another seed makes other markets.  [default: {DEFAULT_SEED}]")
@click.option(
    "--symbols",
    help=f"Markets to make up, with commas.  [default: {','.join(DEFAULT_SYMBOLS)}]",
)
@click.option(
    "--rate", type=click.FloatRange(0.01, 1000), help=f"Trades times this.  [default: {DEFAULT_RATE:g}]"
)
@click.option(
    "--history-days",
    type=click.IntRange(0, 3650),
    help=f"First listing that many days before today (UTC).  [default: {DEFAULT_HISTORY_DAYS}]",
)
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep seed, rate and listing time here, so that the next start goes on with the same markets.",
)
@click.option(
    "--frames",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Replay recorded frames, a file or a folder, instead of making markets up. May be given again; "
    "files are merged by receive time.",
)
@click.option(
    "--speed",
    default="recorded",
    show_default=True,
    help="Of the replay: recorded, a number of times faster, or max (as fast as clients read).",
)
@click.option(
    "--start",
    type=click.Choice(["subscribed", "immediately"]),
    default="subscribed",
    show_default=True,
    help="Begin the replay with an exchange's first subscriber, or at once.",
)
@click.option(
    "--instruments",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    help="A recorded exchangeInfo or OKX instruments body for the replay.",
)
@click.option(
    "--faults", type=click.Path(dir_okay=False, path_type=Path), help="A plan of faults, see below."
)
@click.option("--no-limits", is_flag=True, help="Do not keep the venues' rate limits.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line with the URL, then go on.")
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Run the simulated venue: OKX's and Binance's public protocols on one port, made up or replayed.

    Collectors differ from the real thing by the base URL alone. Ctrl-C ends it.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    _refuse_misfits(ctx, options)
    faults = read_fault_plan(options["faults"], started_at=0.0) if options["faults"] else []
    venue = _venue(options)
    asyncio.run(_run(venue, options, faults))


def _refuse_misfits(ctx: click.Context, options: dict[str, Any]) -> None:
    """An option that would have no effect is a misunderstanding."""
    unfit, reason = (
        (_MADE_UP_ONLY, "left out with --frames, which bring their own markets")
        if options["frames"]
        else (_FRAMES_ONLY, "given together with --frames only")
    )
    for name in unfit:
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            option = "--" + name.replace("_", "-")
            raise InvalidInput(
                Problem(where=option, field="", value=str(options[name]), expected=f"to be {reason}")
            )


def _venue(options: dict[str, Any]) -> SimulatedVenue:
    behaviour = VenueOptions(limited=not options["no_limits"])
    if options["frames"]:
        speed = _speed(options["speed"])
        recording = read_recording(options["frames"], options["instruments"])
        return SimulatedVenue.replaying(
            recording, speed=speed, immediately=options["start"] == "immediately", options=behaviour
        )
    given = {name: options[name] for name in ("seed", "rate") if options[name] is not None}
    days = DEFAULT_HISTORY_DAYS if options["history_days"] is None else options["history_days"]
    state = default_state(**given, days=days, now_ms=time.time_ns() // 1_000_000)
    if options["state"] is not None:
        state = kept_state(options["state"], state, given)
    symbols = _symbols(options["symbols"])
    return SimulatedVenue.made_up(state, symbols=symbols, options=behaviour)


def _symbols(text: str | None) -> tuple[str, ...]:
    if text is None:
        return DEFAULT_SYMBOLS
    symbols = tuple(symbol.strip().upper() for symbol in text.split(",") if symbol.strip())
    if not symbols:
        raise InvalidInput(
            Problem(
                where="--symbols", field="", value=repr(text), expected="symbols such as BTC-USDT,ETH-USDT"
            )
        )
    return symbols


def _speed(text: str) -> float | None:
    """Times the recorded pace; None for as fast as clients read."""
    if text in ("recorded", "max"):
        return 1.0 if text == "recorded" else None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        expected = 'give "recorded", "max" or a number above 0'
        raise InvalidInput(Problem(where="--speed", field="", value=text, expected=expected))
    return speed


async def _run(venue: SimulatedVenue, options: dict[str, Any], faults: list[Fault]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    url = await venue.start(options["host"], options["port"], faults)
    click.echo(json.dumps({"url": url}) if options["as_json"] else f"The simulated venue listens on {url}")
    sys.stdout.flush()
    try:
        await venue.serve(stop)
    finally:
        await venue.stop()
