"""`candlewick data`: look into, load, dump, complete and prove the store."""

from __future__ import annotations

import click

from app.commands.lazy_group import LazyGroup

_PARTS = {
    "markets": (
        "app.commands.data_coverage:markets",
        "List the markets in the store, and what there is of each.",
    ),
    "coverage": (
        "app.commands.data_coverage:coverage",
        "Show the state of each minute of each recorded market.",
    ),
    "verify": ("app.commands.data_verify:verify", "Prove ids, trades and candles; list every difference."),
    "repair": (
        "app.commands.data_history:repair",
        "Fetch every trade that the store lacks and the venue has.",
    ),
    "backfill": ("app.commands.data_history:backfill", "Fetch a market's history from the venue."),
    "maintain": ("app.commands.data_history:maintain_command", "Keep the store whole until ended."),
    "import": ("app.commands.data_files:import_", "Load candles, trades or raw frames of one market."),
    "export": ("app.commands.data_files:export", "Write stored candles or trades of one market to a file."),
    "instruments": (
        "app.commands.data_instruments:instruments",
        "Show each market's order rules, every version.",
    ),
}


@click.group(cls=LazyGroup, parts=_PARTS)
def command() -> None:
    """Look into, load, dump, complete and prove the store."""
