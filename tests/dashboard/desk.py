"""A whole desk of fakes, for browser tests and to look at the pages: `python -m tests.dashboard.desk`."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import uvicorn
from fastapi import FastAPI

from app.strategy_shelf import StrategyShelf
from bots.bot_manager import strategies_in
from bots.lifecycle import BotState
from bots.orders import OrderReason, PositionSide
from bots.views import AuditView, DecisionView, EquityCurve, FillView, SignalView, TradeView
from dashboard.desk_pages import DeskRooms
from dashboard.readers import ResearchDesk, SafetyDesk
from dashboard.web import build_web
from data.models import Candle, Market, Ohlcv, Side
from data.timeframes import SECOND_US, Timeframe, floor_to
from tests.dashboard.fakes import (
    BTC,
    ETH,
    NOW_US,
    OKX_BTC,
    FakeBots,
    FakeBus,
    FakeHealth,
    FakeMarket,
    bot_view,
    fill,
    health,
    position,
    walk,
)
from tests.dashboard.fakes_research import research_desk
from tests.dashboard.fakes_rooms import desk_rooms
from tests.dashboard.fakes_safety import safety_desk
from tests.dashboard.fakes_tape import FakeTape, trades_of
from tests.dashboard.fakes_views import FakeViews

STRATEGIES = Path(__file__).resolve().parents[2] / "config" / "strategies"
_OTHERS = (
    (ETH, 3_482.6, "0.01"),
    (Market("binance", "SOL-USDT"), 171.28, "0.01"),
    (Market("binance", "XRP-USDT"), 2.134, "0.0001"),
    (Market("binance", "DOGE-USDT"), 0.1294, "0.00001"),
    (OKX_BTC, 66_318.0, "0.1"),
    (Market("okx", "ETH-USDT"), 3_481.9, "0.01"),
)


def _record(up: bool, down: bool) -> dict[str, object]:
    """A decision's record: the averages crossed up, or down, or not at all."""
    now, before = (66_020.4, 65_998.1) if up else (65_990.2, 66_010.7) if down else (66_040.9, 66_031.4)
    return {
        "rules": {
            "long.entry": [up, "all", [up, "crosses_above", "fast", "slow"], [True, "lt", "rsi", 70]],
            "long.exit": [down, "crosses_below", "fast", "slow"],
        },
        "values": {"fast": now, "slow": 66_001.9, "fast@1": before, "slow@1": 66_003.2, "rsi": 56.2},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Everything a page can read, and the application over it."""

    market: FakeMarket
    bots: FakeBots
    bus: FakeBus
    health: FakeHealth
    lab: ResearchDesk
    rooms: DeskRooms
    safety: SafetyDesk
    tape: FakeTape
    views: FakeViews
    app: FastAPI


def build_desk(*, now_us: int = NOW_US, empty: bool = False) -> Desk:
    """A desk with a day of data and five bots, or one on which nothing has happened yet."""
    market, bus, tape, views = FakeMarket(), FakeBus(), FakeTape(), FakeViews()
    bots = FakeBots()
    known = FakeHealth()
    lab = research_desk(*([] if empty else ["ema_crossover", "rsi_reversion", "supertrend_trend"]))
    if not empty:
        _fill_markets(market, now_us)
        _fill_bots(bots, market)
        for one in market.markets():
            last = float(market.series[one, Timeframe.M1].close[-1])
            tape.trades[one] = trades_of(one, 30, price=last, at_us=now_us)
        known.known = [
            msgspec.structs.replace(health(name), sent_at_us=now_us) for name in ("binance", "okx")
        ]
    safety = safety_desk(bots, empty=empty)
    rooms = desk_rooms(lab.jobs, now_us, empty=empty)
    app = build_web(
        market=market,
        bots=bots,
        safety=safety,
        strategies=StrategyShelf(STRATEGIES),
        load_strategy=strategies_in(STRATEGIES),
        health=known,
        bus=bus,
        lab=lab,
        rooms=rooms,
        tape=tape,
        views=views,
        now_us=lambda: int(time.time() * SECOND_US),
    )
    return Desk(
        market=market,
        bots=bots,
        bus=bus,
        health=known,
        lab=lab,
        rooms=rooms,
        safety=safety,
        tape=tape,
        views=views,
        app=app,
    )


def _fill_markets(market: FakeMarket, now_us: int) -> None:
    minutes = walk(Timeframe.M1, 9_000, end_us=now_us, start=64_000.0, seed=11, step=0.0006)
    market.add(BTC, minutes)
    seconds = walk(Timeframe.S1, 2_000, end_us=now_us, start=float(minutes.close[-1]), seed=4, step=0.00008)
    market.series[BTC, Timeframe.S1] = seconds
    for seed, (one, start, tick) in enumerate(_OTHERS):
        series = walk(Timeframe.M1, 3_000, end_us=now_us, start=start, seed=seed + 20, step=0.0008)
        decimals = -int(Decimal(tick).as_tuple().exponent)
        if decimals > 2:
            columns = {
                name: np.round(getattr(series, name) * 1.0, decimals)
                for name in ("open", "high", "low", "close")
            }
            rng = np.random.default_rng(seed)
            path = np.round(start * np.exp(np.cumsum(rng.normal(0, 0.0008, len(series)))), decimals)
            columns = {
                "open": path,
                "high": path + 2 * float(tick),
                "low": path - 2 * float(tick),
                "close": path,
            }
            series = Ohlcv(
                timeframe=Timeframe.M1, opened_at_us=series.opened_at_us, volume=series.volume, **columns
            )
        market.add(one, series, tick=tick)


def _curve(ohlcv: Ohlcv, seed: int, drift: float) -> EquityCurve:
    rng = np.random.default_rng(seed)
    equity = 10_000 * np.exp(np.cumsum(rng.normal(drift, 0.0009, len(ohlcv))))
    return EquityCurve(
        at_us=ohlcv.opened_at_us + ohlcv.timeframe.us,
        equity=equity,
        cash=equity,
        position=np.zeros(len(ohlcv)),
    )


def _fill_bots(bots: FakeBots, market: FakeMarket) -> None:
    minutes = market.series[BTC, Timeframe.M1]
    last = float(minutes.close[-1])
    entry = round(float(minutes.close[-130]), 1)
    pnl = round((last - entry) * 0.1482, 2)
    held = position(entry=str(entry), pnl=str(pnl))
    views = [
        bot_view("trend_btc", equity="12843.55", position=held, trades=214, wins=124),
        bot_view(
            "swing_eth",
            market=ETH,
            timeframe=Timeframe.M5,
            equity="11420.18",
            trades=88,
            wins=45,
            strategy="donchian-breakout",
            position=position(PositionSide.SHORT, entry="3521.5", quantity="2.35", pnl="-43.59"),
        ),
        bot_view(
            "revert_sol",
            market=Market("binance", "SOL-USDT"),
            timeframe=Timeframe.M5,
            state=BotState.PAUSED,
            equity="9644.31",
            trades=612,
            wins=375,
            strategy="rsi-reversion",
        ),
        bot_view(
            "broken",
            state=BotState.FAILED,
            health_text='config/strategies/my_idea.json: long.entry.all[1].gt[0] is "bands.uper"; '
            "did you mean bands.upper?",
        ),
        bot_view("lab_clone", state=BotState.CREATED, market=OKX_BTC, timeframe=Timeframe.M15),
    ]
    bots.bots = {view.name: msgspec.structs.replace(view, last_price=last) for view in views}
    for index, (name, drift) in enumerate(
        (("trend_btc", 0.00003), ("swing_eth", 0.000015), ("revert_sol", -0.00001))
    ):
        bots.curves[name] = _curve(minutes, index, drift)
        fitted = bots.curves[name].equity
        target = float(bots.bots[name].equity)
        ramp = np.linspace(1.0, target / fitted[-1], len(fitted))
        bots.curves[name] = EquityCurve(
            at_us=minutes.opened_at_us + minutes.timeframe.us,
            equity=fitted * ramp,
            cash=fitted * ramp,
            position=np.zeros(len(minutes)),
        )
    times = minutes.opened_at_us
    fills: list[FillView] = []
    trades: list[TradeView] = []
    signals, decisions = [], []
    for number, row in enumerate(range(len(minutes) - 1_200, len(minutes) - 100, 120)):
        side = Side.BUY if number % 2 == 0 else Side.SELL
        action = "long_entry" if side is Side.BUY else "long_exit"
        signals.append(
            SignalView(
                strategy="ema-crossover",
                version="3f9a",
                market=BTC,
                timeframe=Timeframe.M1,
                opened_at_us=int(times[row]),
                action=action,
                close=float(minutes.close[row]),
                record=_record(side is Side.BUY, side is Side.SELL),
            )
        )
        fills.insert(
            0, fill("trend_btc", side, int(times[row + 1]), float(minutes.open[row + 1]), sequence=number + 1)
        )
        if side is Side.SELL:
            bought, sold = fills[1], fills[0]
            profit = (sold.price - bought.price) * sold.quantity
            trades.insert(
                0,
                TradeView(
                    bot="trend_btc",
                    market=BTC,
                    sequence=number,
                    side=PositionSide.LONG,
                    entry_at_us=bought.filled_at_us,
                    entry_price=bought.price,
                    exit_at_us=sold.filled_at_us,
                    exit_price=sold.price,
                    quantity=sold.quantity,
                    fees=bought.fee + sold.fee,
                    pnl=profit,
                    return_rate=profit / (bought.price * sold.quantity),
                    exit_reason=OrderReason.EXIT_SIGNAL,
                ),
            )
    for row in range(len(minutes) - 1, len(minutes) - 30, -1):
        spoke = row == len(minutes) - 4
        decisions.append(
            DecisionView(
                bot="trend_btc",
                strategy_version="3f9a",
                opened_at_us=int(times[row]),
                close=float(minutes.close[row]),
                long_entry=spoke,
                long_exit=False,
                short_entry=False,
                short_exit=False,
                outcome="entry ordered" if spoke else "",
                record=_record(spoke, False),
            )
        )
    bots.fills_of["trend_btc"], bots.trades_of["trend_btc"] = fills, trades
    bots.signals_said, bots.decisions_of["trend_btc"] = signals, decisions
    bots.events = [
        AuditView(bot="trend_btc", at_us=NOW_US - 60 * SECOND_US * ago, who=who, what=what, why=why)
        for ago, who, what, why in (
            (90, "runner", "running", ""),
            (91, "anna", "asked to start", "new version of the file"),
            (180, "runner", "paused", ""),
            (181, "anna", "asked to pause", ""),
            (1500, "manager", "created", "config/bots/trend_btc.json"),
        )
    ]


class Serving:
    """uvicorn in a thread on a free port of the loopback interface."""

    def __init__(self, app: FastAPI, port: int = 0) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(app, log_level="warning", lifespan="on", ws="websockets-sansio")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._server.serve([self._socket])), daemon=True
        )

    def __enter__(self) -> Serving:
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise RuntimeError("the server did not start")
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()


def live_minute(desk: Desk, at_us: int, second: int) -> None:
    """One second of a living market: a trade per symbol, the forming candles, the collectors' health."""
    for index, market in enumerate(desk.market.markets()):
        series = desk.market.series[market, Timeframe.M1]
        price = float(series.close[-1]) * (1 + 0.0006 * math.sin(second / 7 + index))
        digits = -int(desk.market.ticks[market].as_tuple().exponent)
        price = round(price, digits)
        desk.bus.trade(market, price, at_us=at_us, trade_id=second)
        opened = floor_to(at_us, Timeframe.M1)
        before = float(series.close[-1])
        desk.bus.candle(
            Candle(
                exchange=market.exchange,
                symbol=market.symbol,
                timeframe=Timeframe.M1,
                opened_at_us=opened,
                open=before,
                high=max(before, price),
                low=min(before, price),
                close=price,
                volume=second % 60 / 5,
                trades=second % 60,
            ),
            closed=False,
        )
    for name in ("binance", "okx"):
        one = health(name, sent_at_us=at_us)
        desk.bus.say(f"health.{name}", one)


def main() -> None:
    """Serve a living desk on port 8051 until interrupted."""
    now_us = int(time.time() * SECOND_US)
    desk = build_desk(now_us=now_us)
    with Serving(desk.app, 8051):
        for second in range(1_000_000):
            live_minute(desk, int(time.time() * SECOND_US), second)
            time.sleep(0.5)


if __name__ == "__main__":
    main()
