"""A store and a bus in memory that keep the protocols' promises, and a venue's history to ask."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from data.errors import TransientError
from data.exchanges.base import RestRequest
from data.messages import CandleUpdate, CollectorHealth, News
from data.models import Candle, Instrument, Market, Trade, TradeGap, TradeRun
from data.stores import MarketBatch
from data.timeframes import Timeframe

CandleKey = tuple[Market, Timeframe, int]


def market_of(item: Trade | Candle) -> Market:
    return Market(item.exchange, item.symbol)


class MemoryStore:
    """Satisfies `MarketWriter`; while `fails` is set every call raises TransientError."""

    def __init__(self) -> None:
        self.instruments: dict[Market, Instrument] = {}
        self.trades: dict[Market, dict[int, Trade]] = {}
        self.candles: dict[CandleKey, Candle] = {}
        self.history: dict[CandleKey, Candle] = {}
        self.runs: dict[Market, dict[int, TradeRun]] = {}
        self.gaps: list[tuple[Market, TradeGap]] = []
        self.batches: list[MarketBatch] = []
        self.fails = False

    async def save_instruments(self, instruments: Sequence[Instrument]) -> None:
        self._answer()
        self.instruments.update({instrument.market: instrument for instrument in instruments})

    async def save(self, batch: MarketBatch) -> None:
        self._answer()
        self.batches.append(batch)
        for trade in batch.trades:
            self.trades.setdefault(market_of(trade), {}).setdefault(trade.trade_id, trade)
        for candle in batch.candles:
            self.candles[market_of(candle), candle.timeframe, candle.opened_at_us] = candle
        for market, run in batch.runs:
            known = self.trades[market]
            assert all(trade_id in known for trade_id in (run.first_id, run.last_id)), run
            self.runs.setdefault(market, {})[run.first_id] = run
        self.gaps += batch.gaps

    async def save_history(self, candles: Sequence[Candle]) -> None:
        self._answer()
        for candle in candles:
            self.history[market_of(candle), candle.timeframe, candle.opened_at_us] = candle

    async def last_run(self, market: Market) -> TradeRun | None:
        self._answer()
        runs = self.runs.get(market)
        return runs[max(runs)] if runs else None

    async def trades_between(self, market: Market, start_us: int, end_us: int) -> list[Trade]:
        self._answer()
        rows = sorted(self.trades.get(market, {}).items())
        return [trade for _, trade in rows if start_us <= trade.traded_at_us < end_us]

    async def candles_between(
        self, market: Market, timeframe: Timeframe, start_us: int, end_us: int
    ) -> list[Candle]:
        self._answer()
        rows = [
            candle
            for (of, frame, opened_at_us), candle in self.candles.items()
            if of == market and frame is timeframe and start_us <= opened_at_us < end_us
        ]
        return sorted(rows, key=lambda candle: candle.opened_at_us)

    def _answer(self) -> None:
        if self.fails:
            raise TransientError("the database is away")


class MemoryPublisher:
    """Satisfies `MarketPublisher`."""

    def __init__(self) -> None:
        self.trades: list[Trade] = []
        self.updates: list[CandleUpdate] = []
        self.health: list[CollectorHealth] = []
        self.news: list[tuple[str, News]] = []  # topic and message

    async def publish_trades(self, trades: Sequence[Trade]) -> None:
        assert len({market_of(trade) for trade in trades}) == 1
        self.trades += trades

    async def publish_candles(self, updates: Sequence[CandleUpdate]) -> None:
        self.updates += updates

    async def publish_health(self, health: CollectorHealth) -> None:
        self.health.append(health)

    async def publish(self, topic: str, news: News) -> None:
        self.news.append((topic, news))


class BinanceHistory:
    """Satisfies `RestTransport`: what Binance's `historicalTrades` and `trades` would answer."""

    def __init__(self, trades: Sequence[Trade], *, page: int = 1_000) -> None:
        self.trades = list(trades)
        self.page = page
        self.requests: list[RestRequest] = []
        self.failures: list[Exception] = []  # raised by the next requests, first to last
        self._asked = asyncio.Condition()

    async def asked(self, times: int) -> None:
        """Wait for so many requests."""
        async with self._asked:
            await self._asked.wait_for(lambda: len(self.requests) >= times)

    async def get(self, request: RestRequest) -> object:
        async with self._asked:
            self.requests.append(request)
            self._asked.notify_all()
        if self.failures:
            raise self.failures.pop(0)
        first_id = int(request.params.get("fromId", 0))
        rows = [trade for trade in self.trades if trade.trade_id >= first_id]
        part = rows[: self.page] if "fromId" in request.params else rows[-self.page :]
        return [
            {
                "id": trade.trade_id,
                "price": repr(trade.price),
                "qty": repr(trade.quantity),
                "time": trade.traded_at_us // 1_000,
                "isBuyerMaker": trade.taker_side == "sell",
            }
            for trade in part
        ]

    async def close(self) -> None:
        return
