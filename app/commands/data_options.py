"""Options that the commands of `candlewick data` share."""

from __future__ import annotations

import click

from app.commands.candles import SymbolType
from app.commands.moments import Moment
from data.errors import InvalidInput, Problem
from data.exchanges.registry import EXCHANGES
from data.models import Market
from data.timeframes import Timeframe, to_datetime
from database.repositories.candle_repository import CandleRepository

SHOWN = 20  # differences and holes printed for people; --json has all


timeframe_choice = click.Choice([timeframe.value for timeframe in Timeframe])
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
from_option = click.option("--from", "start_us", type=Moment(), help="From this time on (UTC).")
to_option = click.option("--to", "end_us", type=Moment(), help="Up to this time, itself left out (UTC).")
some_exchange_option = click.option(
    "--exchange", type=click.Choice(sorted(EXCHANGES)), help="This venue alone."
)
some_symbol_option = click.option("--symbol", type=SymbolType(), help="This symbol alone.")


def chosen_markets(reader: CandleRepository, exchange: str | None, symbol: str | None) -> list[Market]:
    recorded = reader.recorded_markets()
    chosen = [
        market
        for market in recorded
        if exchange in (None, market.exchange) and symbol in (None, market.symbol)
    ]
    if not chosen and (exchange is not None or symbol is not None):
        names = ", ".join(str(market) for market in recorded) or "none yet"
        raise InvalidInput(
            Problem(
                where="--symbol" if symbol is not None else "--exchange",
                field="",
                value=":".join(part for part in (exchange, symbol) if part is not None),
                expected=f"expected a recorded market: {names}",
            )
        )
    return chosen


def refuse_backwards(start_us: int | None, end_us: int | None) -> None:
    """Raises InvalidInput for a time that ends before it begins."""
    if start_us is not None and end_us is not None and start_us >= end_us:
        raise InvalidInput(
            Problem(
                where="--to",
                field="",
                value=to_datetime(end_us).isoformat(),
                expected=f"expected a time after --from, {to_datetime(start_us).isoformat()}",
            )
        )
