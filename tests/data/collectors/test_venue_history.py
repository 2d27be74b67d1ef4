from __future__ import annotations

import asyncio

from data.collectors.rest import VenueRest
from data.collectors.tuning import CollectorTuning
from data.collectors.venue_history import HistoryKeeper
from data.errors import BadDataError, VenueUnreachable
from data.exchanges.base import RestRequest
from data.exchanges.binance import BinanceAdapter
from data.messages import RepairNews
from data.timeframes import Timeframe
from tests.data.collectors.fakes import MemoryPublisher, MemoryStore
from tests.data.exchanges.test_binance import INSTRUMENT

NOW_MS = 1_704_070_830_000  # 2024-01-01 01:00:30
FAST = CollectorTuning(history_settle_s=0.0, backoff_first_s=0.0, backoff_longest_s=0.0)


class BinanceKlines:
    """Satisfies `RestTransport`: candles of every interval up to now."""

    def __init__(self) -> None:
        self.requests: list[RestRequest] = []
        self.failures: list[Exception] = []

    async def get(self, request: RestRequest) -> object:
        if request.path == "time":
            return {"serverTime": NOW_MS}
        self.requests.append(request)
        if self.failures:
            raise self.failures.pop(0)
        step_ms = Timeframe(str(request.params["interval"])).us // 1_000
        newest_ms = min(NOW_MS, int(request.params.get("endTime", NOW_MS))) // step_ms * step_ms
        openings = range(newest_ms - 999 * step_ms, newest_ms + 1, step_ms)
        return [
            [opened, "1", "2", "1", "2", "3", opened + step_ms - 1, "3", 4, "1", "1", "0"]
            for opened in openings
        ]

    async def close(self) -> None:
        return


class Bench:
    def __init__(self, count: int) -> None:
        adapter = BinanceAdapter()
        adapter.use([INSTRUMENT])
        self.venue, self.store, self.told = BinanceKlines(), MemoryStore(), MemoryPublisher()
        rest = VenueRest(adapter, self.venue)
        self.keeper = HistoryKeeper(rest, self.store, count, FAST, publisher=self.told)

    async def served(self, requests: int) -> list[int]:
        """The openings (seconds before now) of what was saved once so many requests were made."""
        task = asyncio.create_task(self.keeper.run())
        for _ in range(200):
            await asyncio.sleep(0.001)
            if len(self.venue.requests) >= requests:
                break
        await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.wait([task])
        return [
            (NOW_MS * 1_000 - candle.opened_at_us) // 1_000_000
            for candle in sorted(self.store.history.values(), key=lambda candle: candle.opened_at_us)
        ]


async def test_a_market_without_candles_gets_as_many_as_wanted_and_never_the_forming_one() -> None:
    bench = Bench(count=5)
    bench.keeper.ask("BNB-BTC", Timeframe.M1, 0)
    assert await bench.served(1) == [330, 270, 210, 150, 90]
    [(topic, news)] = bench.told.news
    assert topic == "repairs.binance.BNB-BTC"
    assert isinstance(news, RepairNews)
    assert [(NOW_MS * 1_000 - at_us) // 1_000_000 for at_us in (news.start_us, news.end_us)] == [330, 30]


async def test_a_market_that_was_away_gets_what_ended_meanwhile() -> None:
    bench = Bench(count=1_000)
    bench.keeper.ask("BNB-BTC", Timeframe.M1, (NOW_MS - 150_000) * 1_000)
    # Two minutes ended since, and a few more do no harm.
    assert await bench.served(1) == [330, 270, 210, 150, 90]


async def test_candles_that_could_not_be_built_are_asked_for_once_although_noticed_twice() -> None:
    bench = Bench(count=1_000)
    for _ in range(3):
        bench.keeper.ask_newest("BNB-BTC", Timeframe.M1)
    assert await bench.served(1) == [210, 150, 90]
    assert len(bench.venue.requests) == 1


async def test_failures_are_retried_and_refusals_skipped() -> None:
    bench = Bench(count=2)
    bench.venue.failures = [VenueUnreachable("binance", "http://x", "refused")]
    bench.keeper.ask("BNB-BTC", Timeframe.M1, 0)
    assert await bench.served(2) == [150, 90]

    bench = Bench(count=2)
    bench.venue.failures = [BadDataError("no such symbol")]
    bench.keeper.ask("BNB-BTC", Timeframe.H1, 0)
    bench.keeper.ask("BNB-BTC", Timeframe.M1, 0)
    await bench.served(2)
    assert {frame for _, frame, _ in bench.store.history} == {Timeframe.M1}


async def test_seconds_and_weeks_are_not_fetched_and_nothing_is_where_nothing_is_wanted() -> None:
    bench = Bench(count=5)
    bench.keeper.ask("BNB-BTC", Timeframe.S1, 0)
    bench.keeper.ask_newest("BNB-BTC", Timeframe.W1)
    unwanted = Bench(count=0)
    unwanted.keeper.ask("BNB-BTC", Timeframe.M1, 0)
    assert await bench.served(1) == await unwanted.served(1) == []
