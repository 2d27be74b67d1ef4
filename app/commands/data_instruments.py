"""`candlewick data instruments`: the rules of markets, now or as they were."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import click

from app.commands.candles import SymbolType
from app.commands.data_options import json_option
from app.commands.moments import Moment
from app.composition import open_store
from config.settings import load_settings
from data.errors import InvalidInput, Problem
from data.exchanges.registry import EXCHANGES
from data.files.candle_files import opened_at_text
from data.models import Instrument, InstrumentVersion, Market
from database.repositories.market_facts_repository import MarketFactsRepository


@click.command("instruments")
@click.option("--venue", "exchange", type=click.Choice(sorted(EXCHANGES)), help="This venue alone.")
@click.option("--symbol", type=SymbolType(), help="This symbol alone.")
@click.option("--at", "at_us", type=Moment(), help="The rules in force at that time alone (UTC).")
@json_option
def instruments(exchange: str | None, symbol: str | None, at_us: int | None, as_json: bool) -> None:
    """Show the order rules of each market, every version with the time it held from.

    A time before the oldest version is answered with the oldest: nothing earlier is known.
    """
    settings = load_settings()
    with open_store(settings) as store, closing(MarketFactsRepository(store.url)) as facts:
        known = facts.known_markets()
        chosen = [
            market
            for market in known
            if exchange in (None, market.exchange) and symbol in (None, market.symbol)
        ]
        if not chosen and (exchange is not None or symbol is not None):
            raise InvalidInput(
                Problem(
                    where="--symbol" if symbol is not None else "--venue",
                    field="",
                    value=symbol or exchange or "",
                    expected="expected a market whose rules are stored: "
                    + (", ".join(map(str, known)) or "none yet"),
                )
            )
        rows = [_market_row(facts, market, at_us) for market in chosen]
    if as_json:
        at = None if at_us is None else opened_at_text(at_us)
        click.echo(json.dumps({"at": at, "markets": rows}, indent=2))
        return
    if not rows:
        click.echo("no rules are stored")
    for row in rows:
        click.echo(row["market"])
        for version in row["versions"]:
            click.echo(
                f"    from {version['valid_from']}: tick {version['tick_size']}, lot {version['lot_size']}, "
                f"at least {version['min_quantity']} and {version['min_notional']} {version['quote']}, "
                f"{version['status']}"
            )


def _market_row(facts: MarketFactsRepository, market: Market, at_us: int | None) -> dict[str, Any]:
    versions = facts.instrument_versions(market)
    if at_us is not None:
        versions = _in_force(versions, at_us)
    return {
        "market": str(market),
        "exchange": market.exchange,
        "symbol": market.symbol,
        "versions": [
            {"valid_from": opened_at_text(version.valid_from_us), **_rules(version.instrument)}
            for version in versions
        ],
    }


def _in_force(versions: list[InstrumentVersion], at_us: int) -> list[InstrumentVersion]:
    """The last of them that had begun by then, or the first of all."""
    begun = [version for version in versions if version.valid_from_us <= at_us]
    return begun[-1:] or versions[:1]


def _rules(instrument: Instrument) -> dict[str, str]:
    return {
        "venue_symbol": instrument.venue_symbol,
        "kind": instrument.kind.value,
        "base": instrument.base,
        "quote": instrument.quote,
        **{
            name: format(getattr(instrument, name), "f")
            for name in ("tick_size", "lot_size", "min_quantity", "min_notional", "contract_size")
        },
        "status": instrument.status.value,
    }
