from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest

from data.collectors.gap_filler import GapFiller
from data.collectors.market_recorder import MarketRecorder
from data.collectors.rest import VenueRest
from data.collectors.tuning import CollectorTuning
from data.collectors.unsaved import UnsavedBatches
from data.errors import BadDataError, RateLimited, VenueUnreachable
from data.exchanges.base import RestRequest
from data.exchanges.binance import BinanceAdapter
from data.models import Instrument, InstrumentKind, Market, Side, Trade, TradeRun
from data.timeframes import Timeframe
from tests.data.collectors.fakes import BinanceHistory
from tests.data.trade_series import SECOND_US, START_US

MARKET = Market("binance", "BTC-USDT")
FAST = CollectorTuning(
    fill_settle_s=0.0,
    fill_retry_s=0.0,
    fill_attempts=3,
    backoff_first_s=0.0,
    backoff_longest_s=0.0,
)
PAGE = 10


def made(trade_id: int) -> Trade:
    return Trade(
        exchange="binance",
        symbol="BTC-USDT",
        trade_id=trade_id,
        price=100.0 + trade_id,
        quantity=0.5,
        taker_side=Side.SELL,
        traded_at_us=START_US + trade_id * SECOND_US,
    )


class Bench:
    """A market that has ids 1 to 9 stored, and a venue that has `at_venue`."""

    def __init__(self, at_venue: Sequence[int], tuning: CollectorTuning = FAST) -> None:
        adapter = BinanceAdapter()
        adapter.use(
            [
                Instrument(
                    exchange="binance",
                    symbol="BTC-USDT",
                    venue_symbol="BTCUSDT",
                    kind=InstrumentKind.SPOT,
                    base="BTC",
                    quote="USDT",
                    tick_size=Decimal("0.01"),
                    lot_size=Decimal("0.00001"),
                    min_quantity=Decimal("0.00001"),
                    min_notional=Decimal(5),
                )
            ]
        )
        self.history = BinanceHistory([made(number) for number in at_venue], page=PAGE)
        self.unsaved = UnsavedBatches()
        run = TradeRun(
            first_id=1, last_id=9, first_at_us=START_US + SECOND_US, last_at_us=START_US + 9 * SECOND_US
        )
        self.recorder = MarketRecorder(MARKET, [Timeframe.S1], self.unsaved, run=run)
        self.filler = GapFiller(
            VenueRest(adapter, self.history), PAGE, lambda: 42, tuning, on_recorded=lambda: None
        )

    async def fill_after(self, *live: int) -> None:
        self.recorder.accept([made(number) for number in live])
        await self.filler.fill(self.recorder)

    def recorded(self) -> list[int]:
        batch = self.unsaved.first()
        return [] if batch is None else [each.trade_id for each in batch.trades]

    def gaps(self) -> list[tuple[int, int, str]]:
        batch = self.unsaved.first()
        assert batch is not None
        return [(gap.first_id, gap.last_id, gap.reason) for _, gap in batch.gaps]


async def test_a_hole_is_filled_by_pages_in_order() -> None:
    bench = Bench(range(1, 60))
    await bench.fill_after(47)
    assert bench.recorded()[:38] == list(range(10, 48))
    assert bench.gaps() == []
    assert [request.params["fromId"] for request in bench.history.requests] == [10, 20, 30, 40]


async def test_ids_the_venue_lacks_are_a_gap_and_the_rest_is_kept() -> None:
    bench = Bench([*range(1, 13), *range(16, 60)])
    await bench.fill_after(30)
    assert bench.recorded()[:18] == [10, 11, 12, *range(16, 31)]
    assert bench.gaps() == [(13, 15, "history_unavailable")]
    # The venue was asked again before it was believed.
    assert [request.params["fromId"] for request in bench.history.requests].count(13) == 3


async def test_a_hole_longer_than_a_page_is_given_up_page_by_page() -> None:
    bench = Bench([*range(1, 10), *range(40, 60)])
    bench.history.trades = [trade for trade in bench.history.trades if trade.trade_id < 10]
    await bench.fill_after(40)
    assert bench.gaps() == [
        (10, 19, "history_unavailable"),
        (20, 29, "history_unavailable"),
        (30, 39, "history_unavailable"),
    ]
    # Three times for the first page, once for each behind it.
    assert [request.params["fromId"] for request in bench.history.requests] == [10, 10, 10, 20, 30]


async def test_a_venue_whose_rest_lags_behind_its_stream_is_waited_for() -> None:
    bench = Bench(range(1, 15))
    bench.recorder.accept([made(20)])
    filling = asyncio.create_task(bench.filler.fill(bench.recorder))
    await bench.history.asked(2)
    bench.history.trades += [made(number) for number in range(15, 21)]
    await filling
    assert bench.recorded() == list(range(10, 21))


@pytest.mark.parametrize(
    "failure", [VenueUnreachable("binance", "http://x", "refused"), BadDataError("half a page")]
)
async def test_failures_are_retried(failure: Exception) -> None:
    bench = Bench(range(1, 20))
    bench.history.failures = [failure, failure]
    await bench.fill_after(15)
    assert bench.recorded()[:6] == list(range(10, 16))
    assert bench.gaps() == []


async def test_a_limit_is_respected_and_the_fill_goes_on() -> None:
    bench = Bench(range(1, 20))
    bench.history.failures = [RateLimited("binance", 0.05)]
    started = asyncio.get_running_loop().time()
    await bench.fill_after(15)
    assert asyncio.get_running_loop().time() - started >= 0.05
    assert bench.recorded()[:6] == list(range(10, 16))


async def test_a_venue_that_cannot_be_reached_for_too_long_leaves_a_gap() -> None:
    bench = Bench(
        [],
        CollectorTuning(fill_settle_s=0.0, fill_patience_s=-1.0, backoff_first_s=0.0, backoff_longest_s=0.0),
    )
    bench.history.failures = [VenueUnreachable("binance", "http://x", "refused")] * 5
    await bench.fill_after(15)
    assert bench.gaps() == [(10, 14, "venue_unreachable")]
    assert bench.recorded() == [15]


async def test_a_hole_too_long_for_a_collector_is_left_to_the_backfill() -> None:
    bench = Bench(range(1, 60), CollectorTuning(fill_settle_s=0.0, max_fill=20))
    await bench.fill_after(47)
    assert bench.gaps() == [(10, 46, "too_long_for_collector")]
    assert bench.history.requests == []
    assert bench.filler.given_up == 1


async def test_pages_that_begin_below_the_hole_count_no_duplicates() -> None:
    bench = Bench(range(1, 60))
    get = bench.history.get

    async def get_from_below(request: RestRequest) -> object:
        params = {**request.params, "fromId": int(request.params["fromId"]) - 3}
        return await get(replace(request, params=params))

    bench.history.get = get_from_below  # type: ignore[method-assign]
    await bench.fill_after(25)
    assert bench.recorded()[:16] == list(range(10, 26))
    assert bench.recorder.sequencer.before_run == 0
    # The live trade came once more with the last page.
    assert bench.recorder.sequencer.duplicates == 1


async def test_missing_ids_that_were_only_out_of_order_are_not_fetched() -> None:
    bench = Bench(range(1, 60), CollectorTuning(fill_settle_s=0.01))
    bench.recorder.accept([made(11)])
    filling = asyncio.create_task(bench.filler.fill(bench.recorder))
    await asyncio.sleep(0)
    assert bench.filler.is_filling(bench.recorder)
    bench.recorder.accept([made(10)])
    await filling
    assert bench.recorded() == [10, 11]
    assert bench.history.requests == []
    assert bench.filler.under_way == 0
