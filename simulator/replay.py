"""Plays recorded frames to whoever subscribed, and remembers what it has played."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from simulator.connections import Hub
from simulator.faults import Message
from simulator.instruments import BINANCE, OKX
from simulator.markets import Market, MarketList
from simulator.recordings import Recording, RoutedFrame, okx_single_messages, recorded_trade
from simulator.subscription_keys import okx_key
from simulator.tapes import ReplayedTape

log = logging.getLogger(__name__)

# A client subscribes in several requests; the replay begins when no new one has come for this long.
_SETTLED_S = 0.25
# Recordings of different days follow each other without the nights between.
_LONGEST_PAUSE_S = 5.0
_FRAMES_PER_TURN = 100


@dataclass(slots=True)
class ReplayState:
    """How far the replay of one exchange is."""

    state: str = "waiting"  # "waiting" for a subscriber, "replaying", "finished"
    frames: int = 0


class ReplayClock:
    """The venue's time in a replay: that of the newest trade played, in ms."""

    def __init__(self, start_ms: int) -> None:
        self._now_ms = start_ms

    def __call__(self) -> int:
        return self._now_ms

    def reach(self, at_ms: int) -> None:
        """Move on to a trade's time; never back."""
        self._now_ms = max(self._now_ms, at_ms)


class Replay:
    """One recording on its way to the subscribers. Each exchange begins with its own first subscriber."""

    def __init__(
        self,
        recording: Recording,
        markets: MarketList,
        hub: Hub,
        clocks: Mapping[str, ReplayClock],
        *,
        speed: float | None,
        immediately: bool,
    ) -> None:
        self._recording = recording
        self._markets = markets
        self._hub = hub
        self._clocks = clocks
        self._speed = speed  # times the recorded pace; None as fast as readers take the frames
        self._immediately = immediately
        self.states = {exchange: ReplayState() for exchange, frames in recording.frames.items() if frames}

    @property
    def state(self) -> str:
        """The state of the whole: finished when every exchange has finished."""
        states = {state.state for state in self.states.values()}
        return next(state for state in ("replaying", "waiting", "finished") if state in states)

    async def run(self) -> None:
        """Play everything once."""
        await asyncio.gather(*(self._run(exchange) for exchange in self.states))

    async def _run(self, exchange: str) -> None:
        state = self.states[exchange]
        if not self._immediately:
            await self._first_subscriber(exchange)
        state.state = "replaying"
        log.info("replay_begins exchange=%s frames=%d", exchange, self._recording.frames[exchange])
        pace = _Pace(self._speed)
        for frame in self._recording.replay(exchange):
            await pace.wait(frame.received_at_us)
            self._play(frame)
            state.frames += 1
            if self._speed is None:
                await self._hub.have_room(exchange)
                if state.frames % _FRAMES_PER_TURN == 0:
                    await asyncio.sleep(0)
        await self._hub.drained(exchange)
        state.state = "finished"
        log.info("replay_finished exchange=%s frames=%d", exchange, state.frames)

    async def _first_subscriber(self, exchange: str) -> None:
        loop = asyncio.get_running_loop()
        hub = self._hub
        while True:
            subscribed_at = hub.last_subscription_at.get(exchange)
            if subscribed_at is not None:
                quiet_s = loop.time() - subscribed_at
                if quiet_s >= _SETTLED_S:
                    return
                await asyncio.sleep(_SETTLED_S - quiet_s)
            else:
                hub.subscription_changed.clear()
                await hub.subscription_changed.wait()

    def _play(self, frame: RoutedFrame) -> None:
        market = self._markets.find(frame.exchange, frame.venue_symbol)
        first_id, last_id = 0, 0
        if market is not None and frame.trades:
            self._remember(market, frame)
            first_id, last_id = frame.trades[0].first_match, frame.trades[-1].last_match
        symbol = market.instrument.symbol if market else frame.venue_symbol
        message = Message(frame.exchange, symbol, frame.venue_symbol, frame.channel, first_id, last_id)
        self._hub.publish(message, frame.key, frame.payload)
        if frame.exchange == OKX and frame.channel == "trades" and market is not None:
            self._play_singly(frame, market)

    def _play_singly(self, frame: RoutedFrame, market: Market) -> None:
        recorded = self._recording.markets[OKX, frame.venue_symbol].channels
        key = okx_key("trades-all", frame.venue_symbol)
        if "trades-all" in recorded or not self._hub.wanted(OKX, key):
            return
        for trade_id, text in okx_single_messages(frame):
            message = Message(
                OKX, market.instrument.symbol, frame.venue_symbol, "trades-all", trade_id, trade_id
            )
            self._hub.publish(message, key, text)

    def _remember(self, market: Market, frame: RoutedFrame) -> None:
        aggregated = frame.exchange == BINANCE and frame.channel == "aggTrade"
        tape = market.recorded_aggregates if aggregated else market.tape
        assert isinstance(tape, ReplayedTape)
        for trade in frame.trades:
            tape.add(recorded_trade(trade, market.instrument))
            self._clocks[frame.exchange].reach(trade.at_ms)


class _Pace:
    """Keeps frames as far apart as they were recorded, or that many times closer."""

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._due_at = 0.0
        self._previous_us: int | None = None

    async def wait(self, received_at_us: int | None) -> None:
        if self._speed is None or received_at_us is None:
            return
        now = asyncio.get_running_loop().time()
        if self._previous_us is None:
            self._due_at = now
        else:
            pause_s = max(received_at_us - self._previous_us, 0) / 1e6
            self._due_at += min(pause_s, _LONGEST_PAUSE_S) / self._speed
        self._previous_us = max(received_at_us, self._previous_us or 0)
        if self._due_at > now:
            await asyncio.sleep(self._due_at - now)


def replayed_markets(recording: Recording) -> MarketList:
    """The markets of a recording, before its first frame."""
    markets = []
    for (exchange, _), recorded in recording.markets.items():
        aggregates = (
            ReplayedTape(recorded.instrument)
            if exchange == BINANCE and "aggTrade" in recorded.channels
            else None
        )
        single = exchange != BINANCE or "trade" in recorded.channels
        tape = ReplayedTape(recorded.instrument) if single or aggregates is None else aggregates
        markets.append(
            Market(
                instrument=recorded.instrument,
                tape=tape,
                recorded_aggregates=aggregates,
                single_trades=single,
            )
        )
    return MarketList(markets)
