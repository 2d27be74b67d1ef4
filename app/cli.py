"""The `candlewick` program. A command's module is imported only when that command runs."""

from __future__ import annotations

import atexit
import errno
import gc
import os
import sys
from typing import Any

import click

from app.commands.lazy_group import LazyGroup
from data.errors import InstallationError, InvalidInput, TradingError

# name: (module, one line for `candlewick --help`)
COMMANDS = {
    "up": ("app.commands.up", "Start everything: services, collectors, bots and the web page."),
    "collect": ("app.commands.collect", "Run the collectors alone."),
    "bots": ("app.commands.bots", "Run, list, create, start, pause, stop and show bots."),
    "web": ("app.commands.web", "Run the web server alone."),
    "simulate": ("app.commands.simulate", "Run the simulated venue: OKX's and Binance's protocols."),
    "status": ("app.commands.status", "Show what runs and how it is."),
    "doctor": ("app.commands.doctor", "Say what is wrong with this installation and how to mend it."),
    "candles": ("app.commands.candles", "Build candles from a trade or frame file, without a database."),
    "indicators": ("app.commands.indicators", "Compute one indicator over a candle file."),
    "data": ("app.commands.data", "Look into, load, dump, backfill, repair and verify the store."),
    "strategy": ("app.commands.strategy", "Check strategy files, list templates, explain decisions."),
    "risk": ("app.commands.risk", "Show limits, how near they are and what they kept back; reload them."),
    "emergency-stop": ("app.commands.emergency_stop", "Stop every bot at once: nothing new, then flat."),
    "alerts": ("app.commands.alerts", "Tell people what happens; show and test the channels."),
    "backtest": ("app.commands.backtest", "Run a strategy over candles of a file or the store."),
    "parity": ("app.commands.parity", "Run a bot's day again as a backtest and list every difference."),
    "sweep": ("app.commands.sweep", "Search a strategy's parameters, and say how much of the best is luck."),
    "jobs": ("app.commands.jobs", "Start, follow and end work in the background; run the workers."),
}

_FULL = (errno.ENOSPC, errno.EDQUOT)


@click.group(cls=LazyGroup, parts=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="candlewick")
def cli() -> None:
    """Candlewick, a self-hosted crypto trading desk.

    State lives in the folder CANDLEWICK_HOME (.candlewick by default). Every command has --help.
    Exit status: 0 done, 1 ran and failed, 2 wrong use or bad input.
    """


def main(arguments: list[str] | None = None) -> Any:
    """Run the program; errors we know become one clear message on standard error and an exit status."""
    # The interpreter's last look for garbage, through all that was loaded, took most of a second.
    atexit.register(gc.freeze)
    try:
        cli.main(args=arguments, prog_name="candlewick", standalone_mode=True)
    except (InvalidInput, InstallationError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    except TradingError as error:
        click.echo(f"failed: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        click.echo(f"failed: {error.filename or 'the output'} cannot be written: {error.strerror}", err=True)
        # What is left in the buffer of a full output would fail again on the way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
