"""In-memory stand-ins that satisfy the protocols of `dashboard.readers`."""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from bots.config import BotConfig, as_document, parse_bot
from bots.lifecycle import WISHES, BotCommand, BotState, allows
from bots.orders import OrderReason, PositionSide
from bots.views import (
    AuditView,
    BotView,
    DecisionView,
    EquityCurve,
    FillView,
    OrderView,
    PositionView,
    SignalView,
    TradeView,
    VersionView,
)
from data.errors import InvalidInput, Problem
from data.messages import CandleUpdate, CollectorHealth, TradeBatch
from data.models import Candle, Instrument, InstrumentKind, Market, Ohlcv, Side, Trade
from data.timeframes import SECOND_US, Timeframe, floor_to
from strategies.base import Strategy

NOW_US = 1_795_000_000 * SECOND_US  # 18 November 2026, an arbitrary fixed moment
BTC = Market("binance", "BTC-USDT")
ETH = Market("binance", "ETH-USDT")
OKX_BTC = Market("okx", "BTC-USDT")


def walk(timeframe: Timeframe, count: int, *, end_us: int, start: float, seed: int, step: float) -> Ohlcv:
    """A random walk of candles, seeded, whose last one closes at or before `end_us`."""
    rng = np.random.default_rng(seed)
    last = floor_to(end_us, timeframe) - timeframe.us
    opened = last - timeframe.us * np.arange(count - 1, -1, -1, dtype=np.int64)
    moves = rng.normal(0, step, count) * (1 + 1.4 * np.sin(np.arange(count) / 90) ** 2)
    close = start * np.exp(np.cumsum(moves))
    opens = np.concatenate(([start], close[:-1]))
    wick = np.abs(rng.normal(0, step * 0.7, (2, count)))
    high = np.maximum(opens, close) * (1 + wick[0])
    low = np.minimum(opens, close) * (1 - wick[1])
    volume = rng.gamma(2.0, 4.0, count) * (1 + 60 * np.abs(moves) / step / 20)
    columns = [np.round(column, 2) for column in (opens, high, low, close, volume)]
    return Ohlcv(
        timeframe=timeframe,
        opened_at_us=opened,
        open=columns[0],
        high=np.maximum(columns[1], np.maximum(columns[0], columns[3])),
        low=np.minimum(columns[2], np.minimum(columns[0], columns[3])),
        close=columns[3],
        volume=columns[4],
    )


def folded(ohlcv: Ohlcv, timeframe: Timeframe) -> Ohlcv:
    """The same candles in a larger time frame, whole intervals only."""
    bucket = ohlcv.opened_at_us // timeframe.us
    edges = np.flatnonzero(np.diff(bucket, prepend=bucket[0] - 1))
    whole = edges[1:-1] if len(edges) > 2 else edges[:0]
    ends = edges[2:] if len(edges) > 2 else edges[:0]
    spans = list(zip(whole.tolist(), ends.tolist(), strict=True))
    return Ohlcv(
        timeframe=timeframe,
        opened_at_us=ohlcv.opened_at_us[whole] // timeframe.us * timeframe.us,
        open=ohlcv.open[whole],
        high=np.array([ohlcv.high[a:b].max() for a, b in spans]),
        low=np.array([ohlcv.low[a:b].min() for a, b in spans]),
        close=np.array([ohlcv.close[b - 1] for _, b in spans]),
        volume=np.array([ohlcv.volume[a:b].sum() for a, b in spans]),
    )


class FakeMarket:
    """Candles in memory: `MarketReader`."""

    def __init__(self) -> None:
        self.series: dict[tuple[Market, Timeframe], Ohlcv] = {}
        self.ticks: dict[Market, Decimal] = {}
        self.failure: Exception | None = None
        self.reads = 0

    def add(self, market: Market, series: Ohlcv, *, tick: str = "0.01") -> None:
        """Store minutes and everything larger that folds from them."""
        self.ticks[market] = Decimal(tick)
        self.series[market, series.timeframe] = series
        for timeframe in Timeframe:
            if timeframe.us > series.timeframe.us and timeframe is not Timeframe.W1:
                self.series[market, timeframe] = folded(series, timeframe)

    def append(self, candle: Candle) -> None:
        """Store one more closed candle."""
        key = (Market(candle.exchange, candle.symbol), candle.timeframe)
        old = self.series[key]
        self.series[key] = Ohlcv(
            timeframe=candle.timeframe,
            opened_at_us=np.append(old.opened_at_us, candle.opened_at_us),
            open=np.append(old.open, candle.open),
            high=np.append(old.high, candle.high),
            low=np.append(old.low, candle.low),
            close=np.append(old.close, candle.close),
            volume=np.append(old.volume, candle.volume),
        )

    def candles(
        self,
        market: Market,
        timeframe: Timeframe,
        *,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int | None = None,
    ) -> Ohlcv:
        self._check()
        series = self.series.get((market, timeframe))
        if series is None:
            empty = np.array([], dtype=np.float64)
            return Ohlcv(
                timeframe=timeframe,
                opened_at_us=np.array([], dtype=np.int64),
                open=empty,
                high=empty,
                low=empty,
                close=empty,
                volume=empty,
            )
        times = series.opened_at_us
        start = 0 if start_us is None else int(np.searchsorted(times, start_us))
        stop = len(series) if end_us is None else int(np.searchsorted(times, end_us))
        if limit is not None:
            start = max(start, stop - limit)
        return series.rows(start, max(start, stop))

    def instrument(self, market: Market) -> Instrument | None:
        tick = self.ticks.get(market)
        if tick is None:
            return None
        base, quote = market.symbol.split("-")[:2]
        return Instrument(
            exchange=market.exchange,
            symbol=market.symbol,
            venue_symbol=base + quote,
            kind=InstrumentKind.SPOT,
            base=base,
            quote=quote,
            tick_size=tick,
            lot_size=Decimal("0.00001"),
            min_quantity=Decimal(0),
            min_notional=Decimal(5),
        )

    def markets(self) -> list[Market]:
        self._check()
        return sorted({market for market, _ in self.series})

    def _check(self) -> None:
        self.reads += 1
        if self.failure is not None:
            raise self.failure


class FakeBus:
    """A bus in memory: `LiveBus`. `say` may be called from any thread."""

    def __init__(self) -> None:
        self._listeners: list[tuple[asyncio.AbstractEventLoop, asyncio.Queue[tuple[str, bytes]]]] = []
        self.listening = asyncio.Event()

    async def subscribe(self, patterns: Sequence[str]) -> AsyncIterator[tuple[str, bytes]]:
        queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self._listeners.append((asyncio.get_running_loop(), queue))
        self.listening.set()
        while True:
            topic, payload = await queue.get()
            if any(fnmatch.fnmatchcase(topic, pattern) for pattern in patterns):
                yield topic, payload

    def say(self, topic: str, message: msgspec.Struct | bytes) -> None:
        payload = message if isinstance(message, bytes) else msgspec.json.encode(message)
        for loop, queue in self._listeners:
            loop.call_soon_threadsafe(queue.put_nowait, (topic, payload))

    def trade(self, market: Market, price: float, *, at_us: int = NOW_US, trade_id: int = 1) -> None:
        trade = Trade(
            exchange=market.exchange,
            symbol=market.symbol,
            trade_id=trade_id,
            price=price,
            quantity=0.1,
            taker_side=Side.BUY,
            traded_at_us=at_us,
        )
        self.say(f"trades.{market.exchange}.{market.symbol}", TradeBatch(trades=[trade]))

    def candle(self, candle: Candle, *, closed: bool, covered: bool = True) -> None:
        update = CandleUpdate(candle=candle, closed=closed, covered=covered)
        self.say(f"candles.{candle.exchange}.{candle.symbol}.{candle.timeframe}", update)


class FakeHealth:
    """`HealthReader` with fixed answers."""

    def __init__(self, *known: CollectorHealth) -> None:
        self.known = list(known)

    async def last_health(self) -> list[CollectorHealth]:
        return self.known


class FakeShelf:
    """`StrategyShelf` over strategies in memory."""

    def __init__(self, **strategies: Strategy) -> None:
        self._strategies = strategies

    def names(self) -> list[str]:
        return list(self._strategies)

    def strategy(self, name: str, timeframe: Timeframe) -> Strategy:
        return self._strategies[name]

    def text(self, name: str) -> str:
        return f'{{"name": "{name}"}}'


def health(
    exchange: str, state: str = "live", detail: str = "", *, sent_at_us: int = NOW_US
) -> CollectorHealth:
    """What a collector says of itself."""
    return CollectorHealth(
        exchange=exchange,
        state=state,
        detail=detail,
        symbols=6,
        trades_stored=184_233,
        trades_per_s=41.3,
        duplicates=0,
        malformed=0,
        gaps_open=0,
        lag_ms=38.0,
        sent_at_us=sent_at_us,
    )


def forming(market: Market, after: Ohlcv, close: float, *, steps: int = 1) -> Candle:
    """A candle that opens `steps` intervals after the last one of a series."""
    return Candle(
        exchange=market.exchange,
        symbol=market.symbol,
        timeframe=after.timeframe,
        opened_at_us=int(after.opened_at_us[-1]) + steps * after.timeframe.us,
        open=float(after.close[-1]),
        high=max(close, float(after.close[-1])),
        low=min(close, float(after.close[-1])),
        close=close,
        volume=3.2,
        trades=7,
    )


def bot_view(
    name: str,
    *,
    state: BotState = BotState.RUNNING,
    market: Market = BTC,
    timeframe: Timeframe = Timeframe.M1,
    equity: str = "10000",
    position: PositionView | None = None,
    trades: int = 0,
    wins: int = 0,
    health_text: str = "",
    strategy: str = "ema-crossover",
) -> BotView:
    """A bot with 10,000 of capital."""
    unrealised = position.unrealised_pnl if position else Decimal(0)
    held = position.quantity * position.entry_price + unrealised if position else Decimal(0)
    return BotView(
        name=name,
        strategy=strategy,
        strategy_version="3f9a1c77d0e2" * 5,
        market=market,
        timeframe=timeframe,
        mode="paper",
        state=state,
        desired_state=BotState.STOPPED if state is BotState.FAILED else state,
        capital=Decimal(10_000),
        equity=Decimal(equity),
        cash=Decimal(equity) - held,
        position=position,
        realised_pnl=Decimal(equity) - 10_000 - unrealised,
        unrealised_pnl=unrealised,
        fees_paid=Decimal("12.34") if trades else Decimal(0),
        trades=trades,
        wins=wins,
        last_candle_us=NOW_US - 60 * SECOND_US,
        last_price=66_322.0,
        last_signal="long_entry" if trades or position else "",
        last_signal_us=NOW_US - 8_220 * SECOND_US if trades or position else None,
        health=health_text,
        created_at_us=NOW_US - 90_000 * SECOND_US,
        started_at_us=None if state is BotState.CREATED else NOW_US - 86_000 * SECOND_US,
        updated_at_us=NOW_US,
    )


class FakeBots:
    """`BotDesk` in memory. Obeys at once and notes what was asked."""

    def __init__(self, *bots: BotView) -> None:
        self.bots = {bot.name: bot for bot in bots}
        self.asked: list[tuple[str, str, bool]] = []  # what, bot, flatten
        self.created: list[BotConfig] = []
        self.documents: dict[str, list[dict[str, Any]]] = {}  # settings, the first version first
        self.orders_of_bot: dict[str, list[OrderView]] = {}
        self.fills_of: dict[str, list[FillView]] = {}
        self.trades_of: dict[str, list[TradeView]] = {}
        self.curves: dict[str, EquityCurve] = {}
        self.decisions_of: dict[str, list[DecisionView]] = {}
        self.signals_said: list[SignalView] = []
        self.events: list[AuditView] = []
        self.failure: Exception | None = None

    def list_bots(self) -> list[BotView]:
        if self.failure is not None:
            raise self.failure
        return [self.bots[name] for name in sorted(self.bots)]

    def bot(self, name: str) -> BotView:
        if name not in self.bots:
            raise InvalidInput(
                Problem(where="bot", field="", value=f'unknown: "{name}"', expected="known bots are ...")
            )
        return self.bots[name]

    def create(
        self, config: BotConfig, *, who: str, why: str = "", start: bool = False, source: str = ""
    ) -> BotView:
        if config.name in self.bots:
            raise InvalidInput(
                Problem(where="bot", field="name", value=config.name, expected="is taken by another bot")
            )
        self.created.append(config)
        self.bots[config.name] = bot_view(config.name, state=BotState.CREATED, market=config.market)
        self.documents[config.name] = [as_document(config)]
        return self.bots[config.name]

    def clone(
        self,
        name: str,
        to: str,
        *,
        changes: Mapping[str, Any] | None = None,
        who: str,
        why: str = "",
        start: bool = False,
    ) -> BotView:
        document = {**self.settings(name)[1], **(changes or {}), "name": to}
        return self.create(parse_bot(document, where=f"clone of {name}"), who=who, start=start)

    def settings(self, name: str) -> tuple[str, dict[str, Any]]:
        bot = self.bot(name)
        if name not in self.documents:
            assert bot.market is not None
            document: dict[str, Any] = {
                "name": name,
                "venue": bot.market.exchange,
                "symbol": bot.market.symbol,
            }
            document |= {
                "name": name,
                "strategy": "ema_crossover",
                "capital": "10000",
                "parameters": {"fast": 12.0},
            }
            self.documents[name] = [as_document(parse_bot(document, where=name))]
        return "", self.documents[name][-1]

    def edit(self, name: str, config: BotConfig, *, who: str, why: str = "") -> BotView:
        self.settings(name)
        self.documents[name].append(as_document(config))
        return self.bot(name)

    def revert(self, name: str, *, to: int | None = None, who: str, why: str = "") -> BotView:
        self.settings(name)
        known = self.documents[name]
        known.append(known[(to or len(known) - 1) - 1])
        return self.bot(name)

    def versions(self, name: str) -> list[VersionView]:
        self.settings(name)
        return [
            VersionView(
                bot=name,
                version=number,
                at_us=NOW_US,
                who="anna",
                why="",
                from_file=number == 1,
                reverts_to=None,
                applied_at_us=NOW_US,
                config=document,
            )
            for number, document in reversed(list(enumerate(self.documents[name], start=1)))
        ]

    def delete(self, name: str, *, who: str, why: str = "") -> None:
        self.asked.append(("delete", name, False))
        del self.bots[name]

    def orders(self, name: str | None = None, limit: int = 100) -> list[OrderView]:
        return self.orders_of_bot.get(name or "", [])[:limit]

    def start(self, name: str, *, who: str, why: str = "") -> BotView:
        return self._ask(BotCommand.START, name, who)

    def pause(self, name: str, *, who: str, why: str = "") -> BotView:
        return self._ask(BotCommand.PAUSE, name, who)

    def stop(self, name: str, *, who: str, why: str = "", flatten: bool = False) -> BotView:
        return self._ask(BotCommand.STOP, name, who, flatten)

    def fills(self, name: str | None = None, limit: int = 100) -> list[FillView]:
        if name is None:
            return [fill for fills in self.fills_of.values() for fill in fills][:limit]
        return self.fills_of.get(name, [])[:limit]

    def trades(self, name: str | None = None, limit: int = 100) -> list[TradeView]:
        return self.trades_of.get(name or "", [])[:limit]

    def audit(self, name: str | None = None, limit: int = 100) -> list[AuditView]:
        return [event for event in self.events if name in (None, event.bot)][:limit]

    def decisions(self, name: str, limit: int = 100, *, saying_something: bool = False) -> list[DecisionView]:
        found = self.decisions_of.get(name, [])
        said = [one for one in found if one.long_entry or one.long_exit or one.short_entry or one.short_exit]
        return (said if saying_something else found)[:limit]

    def equity(
        self, name: str, *, start_us: int | None = None, end_us: int | None = None, max_points: int = 2_000
    ) -> EquityCurve:
        curve = self.curves.get(name)
        if curve is None:
            none = np.array([], dtype=np.float64)
            return EquityCurve(at_us=np.array([], dtype=np.int64), equity=none, cash=none, position=none)
        stride = max(1, len(curve) // max_points)
        return EquityCurve(
            at_us=curve.at_us[::stride],
            equity=curve.equity[::stride],
            cash=curve.cash[::stride],
            position=curve.position[::stride],
        )

    def signals(
        self,
        market: Market,
        timeframe: Timeframe,
        *,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int = 2_000,
    ) -> list[SignalView]:
        said = [one for one in self.signals_said if one.market == market and one.timeframe is timeframe]
        return said[-limit:]

    def _ask(self, command: BotCommand, name: str, who: str, flatten: bool = False) -> BotView:
        bot = self.bot(name)
        if not allows(command, bot.state, bot.desired_state):
            raise InvalidInput(
                Problem(
                    where=f"bot {name}", field="", value=bot.state.value, expected=f"cannot {command} now"
                )
            )
        self.asked.append((command.value, name, flatten))
        wish = WISHES[command]
        position = None if flatten else bot.position
        self.bots[name] = msgspec.structs.replace(bot, state=wish, desired_state=wish, position=position)
        self.events.insert(0, AuditView(bot=name, at_us=NOW_US, who=who, what=f"asked to {command}", why=""))
        return self.bots[name]


def position(
    side: PositionSide = PositionSide.LONG,
    *,
    entry: str = "65890.9",
    quantity: str = "0.1482",
    pnl: str = "63.89",
) -> PositionView:
    """An open position with a stop and a target."""
    price = Decimal(entry)
    away = price / 100 if side is PositionSide.LONG else -price / 100
    return PositionView(
        side=side,
        quantity=Decimal(quantity),
        entry_price=price,
        entry_at_us=NOW_US - 8_220 * SECOND_US,
        stop_price=(price - away).quantize(Decimal("0.1")),
        target_price=(price + 2 * away).quantize(Decimal("0.1")),
        unrealised_pnl=Decimal(pnl),
    )


def fill(
    bot: str, side: Side, at_us: int, price: float, *, market: Market = BTC, sequence: int = 1
) -> FillView:
    """A fill of 0.1482."""
    quantity = Decimal("0.1482")
    return FillView(
        bot=bot,
        market=market,
        order_sequence=sequence,
        side=side,
        position_side=PositionSide.LONG,
        reason=OrderReason.ENTRY if side is Side.BUY else OrderReason.EXIT_SIGNAL,
        price=Decimal(str(price)),
        quantity=quantity,
        fee=(quantity * Decimal(str(price)) / 1000).quantize(Decimal("0.0001")),
        slippage=Decimal(0),
        filled_at_us=at_us,
        ambiguous=False,
    )
