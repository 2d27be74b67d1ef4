"""Last trades and best bid and ask: what a tab starts from, and what reaches it afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from dashboard.live_hub import LiveHub, Tab
from dashboard.market_day import MarketDays
from dashboard.market_tape import (
    TAPE_ROWS,
    heard_channels,
    parse_tape_topic,
    quantity_decimals,
    read_tape,
    tape_topic,
)
from data.errors import TransientError
from data.models import Market
from data.timeframes import Timeframe
from tests.dashboard.fakes import BTC, ETH, NOW_US, FakeBus, FakeHealth, FakeMarket, walk
from tests.dashboard.fakes_tape import FakeTape, quote_of, say_quote, say_trades, trades_of

TAPE = tape_topic(BTC)


class Bench:
    """A hub over fakes whose store holds three trades and a quote of BTC."""

    def __init__(self, *, recorded: bool | None = True) -> None:
        self.bus, self.market, self.store = FakeBus(), FakeMarket(), FakeTape()
        self.market.add(BTC, walk(Timeframe.M1, 200, end_us=NOW_US, start=64_000.0, seed=9, step=0.001))
        self.store.trades[BTC] = trades_of(BTC, 3)
        self.store.quotes[BTC] = quote_of(BTC, 64_001.0, 64_002.0)
        self.hub = LiveHub(
            self.bus,
            FakeHealth(),
            candles=self.market,
            day=MarketDays(self.market, seconds=lambda: 0.0).remembered,
            overlay_ticks=lambda view, bars: [],
            recent_ticks=lambda view: [],
            known_overlay=lambda name: True,
            tape=partial(read_tape, self.store, self.market, lambda market: recorded),
        )


@asynccontextmanager
async def watching(bench: Bench) -> AsyncIterator[Tab]:
    """A tab that has been told what is stored."""
    running = asyncio.create_task(bench.hub.run())
    await bench.bus.listening.wait()
    async with bench.hub.tab() as tab:
        bench.hub.watch(tab, [TAPE])
        yield tab
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def heard(tab: Tab, kind: str) -> list[dict[str, Any]]:
    """Patches of a kind, waiting up to a second for the first."""
    for _ in range(50):
        await tab.news(0.02)
        if found := [body for body in tab.drain() if body["k"] == kind]:
            return found
    return []


async def everything(tab: Tab) -> list[dict[str, Any]]:
    await asyncio.sleep(0.1)
    return tab.drain()


def test_a_topic_names_a_market_and_nothing_else_does() -> None:
    assert parse_tape_topic(TAPE) == BTC
    assert parse_tape_topic("tape|okx:BTC-USDT-PERP") == Market("okx", "BTC-USDT-PERP")
    assert [parse_tape_topic(text) for text in ("tape", "tape|", "tape|okx", "tape|:X", "chart|a:b")] == [
        None
    ] * 5
    assert parse_tape_topic("tape|okx:" + "X" * 200) is None


@pytest.mark.parametrize(
    ("file", "channels"),
    [
        ({"binance": {"symbols": {"BTC-USDT": ["trades", "quotes"]}}}, ("trades", "quotes")),
        ({"binance": {"symbols": ["BTC-USDT"], "channels": ["trades", "quotes"]}}, ("trades", "quotes")),
        ({"binance": {"symbols": ["BTC-USDT"]}}, ("trades",)),
        ({"binance": {"symbols": ["ETH-USDT"], "channels": ["trades", "quotes"]}}, ()),
        ({"okx": {"symbols": ["BTC-USDT"]}}, ()),
    ],
)
def test_what_is_recorded_of_a_market_is_read_from_both_forms_of_the_file(
    file: dict[str, Any], channels: tuple[str, ...]
) -> None:
    assert tuple(heard_channels(file, BTC)) == channels


def test_quantities_have_the_decimals_of_the_lot_or_those_they_need() -> None:
    market = FakeMarket()
    market.add(BTC, walk(Timeframe.M1, 10, end_us=NOW_US, start=64_000.0, seed=9, step=0.001))
    assert quantity_decimals(market.instrument(BTC), []) == 5
    assert quantity_decimals(None, trades_of(ETH, 3)) == 2
    assert quantity_decimals(None, []) == 2


async def test_a_tab_begins_with_what_is_stored() -> None:
    async with watching(Bench()) as tab:
        told = await everything(tab)
    head = next(one for one in told if one["k"] == "tape")
    assert (head["m"], head["d"], head["l"], head["on"]) == (str(BTC), 2, 5, True)
    assert [one["i"] for one in told if one["k"] == "trade"] == [1, 2, 3]
    (best,) = [one for one in told if one["k"] == "best"]
    assert (best["b"], best["bq"], best["a"], best["aq"]) == (64_001.0, 0.52, 64_002.0, 1.25)


async def test_every_trade_of_a_batch_is_told_with_its_side() -> None:
    bench = Bench()
    async with watching(bench) as tab:
        await everything(tab)
        say_trades(bench.bus, trades_of(BTC, 4, first=4))
        say_trades(bench.bus, trades_of(ETH, 4))
        found = await heard(tab, "trade")
    assert [(one["i"], one["s"]) for one in found] == [(4, "sell"), (5, "buy"), (6, "buy"), (7, "sell")]


async def test_a_tab_that_does_not_read_keeps_the_newest_trades_and_no_more() -> None:
    bench = Bench()
    async with watching(bench) as tab:
        await everything(tab)
        for first in range(4, 504, 50):
            say_trades(bench.bus, trades_of(BTC, 50, first=first))
        told = await everything(tab)
    assert sorted(one["i"] for one in told) == list(range(504 - TAPE_ROWS, 504))


async def test_of_many_quotes_the_newest_is_told_and_known_to_tabs_that_come_later() -> None:
    bench = Bench()
    async with watching(bench) as tab:
        await everything(tab)
        for bid in (64_010.0, 64_011.0, 64_012.0):
            say_quote(bench.bus, quote_of(BTC, bid, bid + 1))
        assert [one["b"] for one in await everything(tab)] == [64_012.0]
        async with bench.hub.tab() as later:
            bench.hub.watch(later, [TAPE])
            assert [one["b"] for one in await everything(later) if one["k"] == "best"] == [64_012.0]


async def test_a_channel_that_is_off_is_said_to_be() -> None:
    bench = Bench(recorded=False)
    del bench.store.quotes[BTC]
    async with watching(bench) as tab:
        told = await everything(tab)
    assert next(one for one in told if one["k"] == "tape")["on"] is False
    assert [one for one in told if one["k"] == "best"] == []


async def test_a_store_that_cannot_be_read_is_said_and_live_trades_come_all_the_same() -> None:
    bench = Bench()
    bench.store.failure = TransientError("the store cannot be reached")
    async with watching(bench) as tab:
        (head,) = await heard(tab, "tape")
        assert head["error"] == "the store cannot be reached"
        say_trades(bench.bus, trades_of(BTC, 1, first=9))
        assert [one["i"] for one in await heard(tab, "trade")] == [9]


async def test_a_tape_nobody_watches_costs_nothing() -> None:
    bench = Bench()
    async with watching(bench) as tab:
        await everything(tab)
        bench.hub.watch(tab, [])
        say_trades(bench.bus, trades_of(BTC, 2, first=4))
        assert await everything(tab) == []


async def test_a_message_that_cannot_be_read_is_counted() -> None:
    bench = Bench()
    async with watching(bench) as tab:
        await everything(tab)
        bench.bus.say("trades.binance.BTC-USDT", b"{")
        bench.bus.say("quotes.binance.BTC-USDT", b'{"type":"quote"}')
        say_trades(bench.bus, trades_of(BTC, 1, first=4))
        assert [one["i"] for one in await heard(tab, "trade")] == [4]
    assert bench.hub.refused >= 2
