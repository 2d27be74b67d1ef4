"""Made-up trades reach the venue's server as time passes: each once, none early, none left out."""

from __future__ import annotations

import asyncio

import pytest

from simulator.columns import TradeColumns
from simulator.generator import SyntheticMarket
from simulator.instruments import shapes_of
from simulator.live import LiveFeed
from simulator.markets import Market, MarketList, generated_market
from simulator.tapes import GeneratedTape
from tests.simulator.venues import LISTED_AT_MS, ManualClock


class Listener:
    """Stands for a venue's server with one subscriber, who may leave."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock, self.listens, self.ids = clock, True, list[int]()

    def wants_trades(self, market: Market) -> bool:
        # Time runs a good second each time the feed looks, so stretches of made trades end often.
        self.clock.now_ms += 1_300
        return self.listens

    def push_trades(self, market: Market, trades: TradeColumns) -> None:
        assert trades.at_ms.max() <= self.clock.now_ms
        self.ids += trades.ids.tolist()

    async def push_quotes(self, market: Market) -> None: ...

    async def push_candles(self, market: Market) -> None: ...

    def push_instrument(self, market: Market) -> None: ...


async def run_briefly(feed: LiveFeed) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(feed.run(), 0.5)


async def test_every_trade_is_pushed_once_from_the_first_listener_on() -> None:
    clock = ManualClock(LISTED_AT_MS + 3_600_000)
    synthetic = SyntheticMarket(shapes_of(["BTC-USDT"])[0], seed=7, listed_at_ms=LISTED_AT_MS)
    market = generated_market(synthetic, GeneratedTape(synthetic, clock))
    listener = Listener(clock)
    feed = LiveFeed(MarketList([market]), {market.instrument.venue: listener}, clock)
    await run_briefly(feed)
    pushed = listener.ids
    assert len(pushed) > 60
    assert pushed == list(range(pushed[0], pushed[0] + len(pushed)))
    listener.listens, listener.ids = False, []
    await run_briefly(feed)
    assert listener.ids == []
    listener.listens = True
    await run_briefly(feed)
    assert listener.ids[0] > pushed[-1] + 1
