"""Trades and quotes in memory, and what is said of them on the bus."""

from __future__ import annotations

from collections.abc import Sequence

from data.messages import QuoteUpdate, TradeBatch
from data.models import Market, Quote, Side, Trade
from data.timeframes import SECOND_US
from data.topics import quotes_topic, trades_topic
from tests.dashboard.fakes import NOW_US, FakeBus


class FakeTape:
    """`TapeReader` in memory."""

    def __init__(self) -> None:
        self.trades: dict[Market, list[Trade]] = {}
        self.quotes: dict[Market, Quote] = {}
        self.failure: Exception | None = None

    def newest_trades(self, market: Market, limit: int) -> Sequence[Trade]:
        if self.failure is not None:
            raise self.failure
        return self.trades.get(market, [])[-limit:]

    def latest_quote(self, market: Market) -> Quote | None:
        return self.quotes.get(market)


def trades_of(
    market: Market, count: int, *, first: int = 1, price: float = 64_000.0, at_us: int = NOW_US
) -> list[Trade]:
    """Trades with ids from `first` on, a second apart up to `at_us`, each one unit of quote dearer."""
    return [
        Trade(
            exchange=market.exchange,
            symbol=market.symbol,
            trade_id=first + number,
            price=price + number,
            quantity=0.01 * (1 + number % 7),
            taker_side=Side.BUY if number % 3 else Side.SELL,
            traded_at_us=at_us - (count - 1 - number) * SECOND_US,
        )
        for number in range(count)
    ]


def quote_of(market: Market, bid: float, ask: float, *, at_us: int = NOW_US) -> Quote:
    return Quote(
        exchange=market.exchange,
        symbol=market.symbol,
        at_us=at_us,
        bid_price=bid,
        bid_quantity=0.52,
        ask_price=ask,
        ask_quantity=1.25,
    )


def say_trades(bus: FakeBus, trades: Sequence[Trade]) -> None:
    market = Market(trades[0].exchange, trades[0].symbol)
    bus.say(trades_topic(market), TradeBatch(trades=list(trades)))


def say_quote(bus: FakeBus, quote: Quote) -> None:
    bus.say(quotes_topic(Market(quote.exchange, quote.symbol)), QuoteUpdate(quote=quote))
