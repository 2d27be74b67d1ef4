from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from dashboard.live_hub import MAX_PATCHES, LiveHub, Tab
from dashboard.live_views import ChartView, Patch
from dashboard.market_day import MarketDays
from data.errors import BadDataError, TransientError
from data.messages import CollectorHealth
from data.timeframes import Timeframe, floor_to
from jobs.messages import JobUpdate
from jobs.model import JobKind, JobProgress, JobState
from tests.dashboard.fakes import BTC, ETH, NOW_US, FakeBus, FakeHealth, FakeMarket, forming, health, walk

CHART = ChartView(BTC, Timeframe.M1, "ema", "dark")


class Bench:
    """A hub over fakes."""

    def __init__(self, *known: CollectorHealth) -> None:
        self.bus = FakeBus()
        self.market = FakeMarket()
        for market, price in ((BTC, 64_000.0), (ETH, 3_000.0)):
            self.market.add(market, walk(Timeframe.M1, 1_600, end_us=NOW_US, start=price, seed=9, step=0.001))
        days = MarketDays(self.market, seconds=lambda: 0.0)
        days.all()
        self.extended: list[tuple[str, int]] = []
        self.recent: list[dict[str, Any]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.hub = LiveHub(
            self.bus,
            FakeHealth(*known),
            candles=self.market,
            day=days.remembered,
            overlay_ticks=self.overlay_ticks,
            recent_ticks=lambda view: self.recent,
            known_overlay=lambda name: name == "ema",
        )

    def overlay_ticks(self, view: ChartView, bars: int) -> list[dict[str, Any]]:
        self.extended.append((view.topic, bars))
        self.may_answer.wait(5)
        return [{"id": "overlay-ema-12", "bar": {"time": 60, "value": 1.0}}]


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[LiveHub]:
    task = asyncio.create_task(bench.hub.run())
    await bench.bus.listening.wait()
    try:
        yield bench.hub
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def heard(tab: Tab, kind: str) -> list[dict[str, Any]]:
    """Patches of a kind, waiting up to a second for the first."""
    found: list[dict[str, Any]] = []
    for _ in range(50):
        await tab.news(0.02)
        found += [body for body in tab.drain() if body["k"] == kind]
        if found:
            return found
    return found


async def test_a_trade_reaches_the_tabs_that_watch_quotes_and_no_other() -> None:
    bench = Bench()
    async with running(bench) as hub, hub.tab() as watching, hub.tab() as elsewhere:
        hub.watch(watching, ["quotes"])
        hub.watch(elsewhere, ["bots"])
        bench.bus.trade(BTC, 65_000.0)
        (quote,) = await heard(watching, "quote")
        assert (quote["m"], quote["p"]) == ("binance:BTC-USDT", "65,000.00")
        assert hub.last_price(BTC) == 65_000.0
        assert elsewhere.drain() == []


async def test_of_many_trades_a_tab_gets_the_newest() -> None:
    bench = Bench()
    async with running(bench) as hub, hub.tab() as tab:
        hub.watch(tab, ["quotes"])
        for price in range(500):
            bench.bus.trade(BTC, 60_000.0 + price)
        await asyncio.sleep(0.1)
        quotes = [body for body in tab.drain() if body["k"] == "quote"]
        assert [quote["p"] for quote in quotes] == ["60,499.00"]


async def test_a_tab_that_comes_later_begins_with_the_last_known_values() -> None:
    bench = Bench(health("okx"))
    async with running(bench) as hub, hub.tab() as tab:
        bench.bus.trade(ETH, 3_100.0)
        bench.bus.candle(forming(BTC, bench.market.series[BTC, Timeframe.M1], 65_000.0), closed=False)
        await asyncio.sleep(0.08)
        hub.watch(tab, ["quotes", "health", CHART.topic])
        kinds = {(body["k"], body.get("m") or body.get("e") or body.get("id")) for body in tab.drain()}
        assert kinds == {
            ("quote", "binance:ETH-USDT"),
            ("health", "okx"),
            ("tick", "price"),
            ("tick", "volume"),
        }


async def test_a_closed_candle_extends_the_overlays_of_its_chart() -> None:
    bench = Bench()
    async with running(bench) as hub, hub.tab() as tab:
        hub.watch(tab, [CHART.topic])
        bench.bus.candle(forming(BTC, bench.market.series[BTC, Timeframe.M1], 65_000.0), closed=True)
        ids: set[str] = set()
        for _ in range(20):
            ids |= {body["id"] for body in await heard(tab, "tick")}
            if "overlay-ema-12" in ids:
                break
        assert ids == {"price", "volume", "overlay-ema-12"}
        assert bench.extended == [(CHART.topic, 3)]


async def test_candles_that_close_while_overlays_are_computed_are_made_up_for() -> None:
    bench = Bench()
    bench.may_answer.clear()
    series = bench.market.series[BTC, Timeframe.M1]
    async with running(bench) as hub, hub.tab() as tab:
        hub.watch(tab, [CHART.topic])
        for steps in (1, 2, 3, 4, 5):
            bench.bus.candle(forming(BTC, series, 65_000.0, steps=steps), closed=True)
            await asyncio.sleep(0.05)
        assert bench.extended == [(CHART.topic, 3)]
        bench.may_answer.set()
        await asyncio.sleep(0.1)
        assert bench.extended == [(CHART.topic, 3), (CHART.topic, 6)]


async def test_a_tab_hears_of_the_candles_that_closed_before_it_watched_the_chart() -> None:
    bench = Bench()
    bench.recent = [{"id": "price", "bar": {"time": time, "close": 1.0}} for time in (60, 120)]
    async with running(bench) as hub, hub.tab() as tab:
        hub.watch(tab, [CHART.topic])
        assert [body["bar"]["time"] for body in await heard(tab, "tick")] == [60, 120]


async def test_a_forming_candle_does_not() -> None:
    bench = Bench()
    async with running(bench) as hub, hub.tab() as tab:
        hub.watch(tab, [CHART.topic])
        bench.bus.candle(forming(BTC, bench.market.series[BTC, Timeframe.M1], 65_000.0), closed=False)
        assert len(await heard(tab, "tick")) == 2
        assert bench.extended == []


async def test_a_candle_that_began_before_the_collector_is_drawn_whole() -> None:
    bench = Bench()
    minutes = bench.market.series[BTC, Timeframe.M1]
    minute = forming(BTC, minutes, 65_000.0)
    begin_us = floor_to(minute.opened_at_us, Timeframe.D1)
    seen = msgspec.structs.replace(minute, timeframe=Timeframe.D1, opened_at_us=begin_us)
    of_day = minutes.rows(int((minutes.opened_at_us < begin_us).sum()), len(minutes))
    assert of_day.opened_at_us[0] == begin_us
    daily = ChartView(BTC, Timeframe.D1, "ema", "dark")
    async with running(bench) as hub, hub.tab() as tab:
        bench.bus.candle(minute, closed=False)
        bench.bus.candle(seen, closed=False, covered=False)
        await asyncio.sleep(0.08)
        hub.watch(tab, [daily.topic])
        assert tab.drain() == []  # nothing rather than something wrong
        ticks = {body["id"]: body["bar"] for body in await heard(tab, "tick")}
        assert ticks["price"]["open"] == of_day.open[0]
        assert ticks["price"]["high"] == max(of_day.high.max(), minute.high)
        assert ticks["price"]["close"] == 65_000.0
        assert ticks["volume"]["value"] == pytest.approx(of_day.volume.sum() + minute.volume)
        reads = bench.market.reads
        bench.bus.candle(msgspec.structs.replace(seen, close=65_001.0), closed=False, covered=False)
        again = {body["id"]: body for body in await heard(tab, "tick")}
        assert again["price"]["bar"]["open"] == of_day.open[0]
        assert again["price"]["bar"]["close"] == 65_001.0
        assert "note" not in again["price"]
        assert bench.market.reads == reads  # not more often than once a minute


async def test_a_store_that_fails_is_asked_again_with_the_next_minute() -> None:
    bench = Bench()
    minutes = bench.market.series[BTC, Timeframe.M1]
    minute = forming(BTC, minutes, 65_000.0)
    begin_us = floor_to(minute.opened_at_us, Timeframe.D1)
    seen = msgspec.structs.replace(minute, timeframe=Timeframe.D1, opened_at_us=begin_us)
    bench.market.failure = TransientError("the store cannot be reached")
    async with running(bench) as hub, hub.tab() as tab:
        hub.watch(tab, [ChartView(BTC, Timeframe.D1, "ema", "dark").topic])
        bench.bus.candle(minute, closed=False)
        bench.bus.candle(seen, closed=False, covered=False)
        await asyncio.sleep(0.1)
        assert tab.drain() == []
        bench.market.failure = None
        bench.bus.candle(forming(BTC, minutes, 65_000.0, steps=2), closed=False)
        bench.bus.candle(seen, closed=False, covered=False)
        assert await heard(tab, "tick")


async def test_news_of_bots_and_signals_ask_pages_to_read_again() -> None:
    bench = Bench()
    async with running(bench) as hub, hub.tab() as tab:
        hub.watch(tab, ["bots", "signals"])
        bench.bus.say("bots.trend", b"{}")
        bench.bus.say("signals.binance.BTC-USDT", b"{}")
        found = await heard(tab, "nudge")
        assert {body["n"] for body in found} == {"bots", "signals"}


async def test_a_chart_whose_stored_candles_changed_is_read_again() -> None:
    bench = Bench()
    async with running(bench) as hub, hub.tab() as tab, hub.tab() as other:
        hub.watch(tab, [ChartView(BTC, Timeframe.M1, "ema", "dark").topic])
        hub.watch(other, [ChartView(ETH, Timeframe.M1, "ema", "dark").topic, "bots"])
        bench.bus.say(f"repairs.{BTC.exchange}.{BTC.symbol}", b"{}")
        assert [body["n"] for body in await heard(tab, "nudge")] == ["chart"]
        bench.bus.say("bots.trend", b"{}")
        assert [body["n"] for body in await heard(other, "nudge")] == ["bots"]


async def test_a_collectors_words_are_kept_and_a_change_asks_pages_to_read_again() -> None:
    bench = Bench(health("okx"))
    async with running(bench) as hub, hub.tab() as tab:
        hub.watch(tab, ["health"])
        tab.drain()
        bench.bus.say("health.okx", health("okx", sent_at_us=NOW_US + 1))
        assert len(await heard(tab, "health")) == 1
        bench.bus.say("health.okx", health("okx", "unreachable", "okx cannot be reached"))
        assert [body["n"] for body in await heard(tab, "nudge")] == ["health"]
        assert hub.health()["okx"].detail == "okx cannot be reached"


async def test_a_message_that_does_not_parse_is_counted_and_the_hub_goes_on() -> None:
    bench = Bench()
    async with running(bench) as hub, hub.tab() as tab:
        hub.watch(tab, ["quotes", CHART.topic])
        bench.bus.say("trades.binance.BTC-USDT", b"not json")
        bench.bus.say("candles.binance.BTC-USDT.1m", b'{"type":"other"}')
        bench.bus.say("health.okx", b"{}")
        await asyncio.sleep(0.08)
        bench.bus.trade(ETH, 3_200.0)
        (quote,) = await heard(tab, "quote")
        assert quote["m"] == "binance:ETH-USDT"
        assert hub.refused == 3


async def test_topics_a_browser_makes_up_are_ignored() -> None:
    bench = Bench()
    async with running(bench) as hub, hub.tab() as tab:
        stranger = ChartView(BTC, Timeframe.M1, "no-such-strategy", "dark")
        hub.watch(tab, ["quotes", "secrets", stranger.topic, *[f"x{number}" for number in range(50)]])
        assert tab.topics == {"quotes"}


async def test_a_tab_that_left_is_forgotten() -> None:
    bench = Bench()
    async with running(bench) as hub:
        async with hub.tab() as tab:
            hub.watch(tab, ["quotes", CHART.topic])
        bench.bus.trade(BTC, 65_000.0)
        await asyncio.sleep(0.06)
        assert tab.drain() == []


class UnreadableHealth(BadDataError):
    pass


@pytest.mark.parametrize("error", [TransientError("the bus cannot be reached"), UnreadableHealth("no JSON")])
async def test_unknown_health_at_the_start_does_not_keep_the_hub_from_running(error: Exception) -> None:
    class Down(FakeHealth):
        async def last_health(self) -> list[CollectorHealth]:
            raise error

    bench = Bench()
    bench.hub._health_reader = Down()
    async with running(bench) as hub, hub.tab() as tab:
        hub.watch(tab, ["quotes"])
        bench.bus.trade(BTC, 65_000.0)
        assert await heard(tab, "quote")


async def test_a_tab_that_does_not_read_loses_its_oldest_patches_and_counts_them() -> None:
    tab = Tab()
    tab.offer([Patch((number,), {"n": number}) for number in range(MAX_PATCHES + 10)])
    assert tab.dropped == 10
    bodies = tab.drain()
    assert len(bodies) == MAX_PATCHES
    assert bodies[0] == {"n": 10}


def _job(state: JobState, done: int) -> JobUpdate:
    progress = JobProgress(done=done, total=400, rate=20.0, left_s=15.0, message="trials", at_us=NOW_US)
    return JobUpdate(
        id=7,
        kind=JobKind.SWEEP,
        title="grid search",
        state=state,
        progress=progress,
        result=None,
        error="",
        sent_at_us=NOW_US,
    )


async def test_a_job_is_told_to_those_who_watch_it_and_panels_are_read_again_when_its_state_changes() -> None:
    bench = Bench()
    async with running(bench) as hub, hub.tab() as one, hub.tab() as every, hub.tab() as other:
        hub.watch(one, ["jobs.7"])
        hub.watch(every, ["jobs"])
        hub.watch(other, ["jobs.8"])
        bench.bus.say("jobs.7", _job(JobState.RUNNING, 100))
        told = await heard(one, "job")
        words = "100 of 400 · 20 a second · 15s left · trials"
        assert told == [{"k": "job", "i": 7, "s": "running", "p": 25.0, "w": words}]
        assert (await heard(every, "job")) == told
        assert not other.drain()
        bench.bus.say("jobs.7", _job(JobState.RUNNING, 200))
        await one.news(1)
        assert [body["k"] for body in one.drain()] == ["job"]
        bench.bus.say("jobs.7", _job(JobState.DONE, 400))
        assert await heard(one, "nudge") == [{"k": "nudge", "n": "jobs"}]
        async with hub.tab() as late:
            hub.watch(late, ["jobs.7"])
            assert [body["p"] for body in late.drain()] == [100.0]


async def test_a_job_message_that_does_not_parse_is_counted_and_told_to_nobody() -> None:
    bench = Bench()
    async with running(bench) as hub, hub.tab() as tab:
        hub.watch(tab, ["jobs"])
        bench.bus.say("jobs.7", b"{}")
        bench.bus.say("jobs.7", _job(JobState.RUNNING, 1))
        assert await heard(tab, "job")
        assert hub.refused == 1
