"""What a venue knows at a moment, and what it can tell in candles."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from simulator.columns import MINUTE, CandleColumns, Width, candles_of
from simulator.generator import SyntheticMarket
from simulator.instruments import inferred_binance, shapes_of
from simulator.tapes import GeneratedTape, RecordedTrade, ReplayedTape, dense_candles

LISTED_AT_MS = 1_732_147_200_000
HOUR_MS = 3_600_000


class ManualClock:
    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


def generated(symbol: str, after_ms: int) -> tuple[GeneratedTape, SyntheticMarket, ManualClock]:
    market = SyntheticMarket(shapes_of([symbol])[0], seed=7, listed_at_ms=LISTED_AT_MS)
    clock = ManualClock(LISTED_AT_MS + after_ms)
    return GeneratedTape(market, clock), market, clock


def assert_same(left: CandleColumns, right: CandleColumns) -> None:
    for field in fields(CandleColumns):
        # Sums of quote volume may be added in another order.
        np.testing.assert_allclose(
            getattr(left, field.name), getattr(right, field.name), rtol=1e-12, err_msg=field.name
        )


def test_trades_to_come_are_unknown() -> None:
    tape, market, clock = generated("BTC-USDT", HOUR_MS)
    for step_ms in (0, 7, 4_000, 30_000, 3 * HOUR_MS):
        clock.now_ms += step_ms
        last = market.count_before(clock.now_ms + 1)
        assert tape.bounds() == (1, last)
        assert tape.trades(last - 2, last + 50).ids.tolist() == [last - 2, last - 1, last]
        assert tape.newest_to(2**62, 3).at_ms.max() <= clock.now_ms


def test_recent_trades_equal_the_markets() -> None:
    tape, market, _ = generated("BTC-USDT", HOUR_MS)
    bounds = tape.bounds()
    assert bounds is not None
    for back in (0, 5, 100, 1_000):
        found, wanted = (
            tape.newest_to(bounds[1] - back, 40),
            market.trades(bounds[1] - back - 39, bounds[1] - back),
        )
        np.testing.assert_array_equal(found.price, wanted.price)
        np.testing.assert_array_equal(found.ids, wanted.ids)


def test_a_market_before_its_first_trade_knows_nothing() -> None:
    tape, _, _ = generated("BTC-USDT", -1)
    assert tape.bounds() is None
    assert tape.candle_span() is None
    assert len(dense_candles(tape, MINUTE, 0, 2**50)) == 0


@pytest.mark.parametrize("width", [Width(1_000), MINUTE, Width(HOUR_MS), Width(24 * HOUR_MS, -8 * HOUR_MS)])
def test_candles_equal_those_of_the_trades_as_time_goes_on(width: Width) -> None:
    tape, market, clock = generated("SOL-USDT", 4 * HOUR_MS - 90_000)
    for _ in range(4):
        clock.now_ms += 61_234
        start = max(width.floor(clock.now_ms - 2 * HOUR_MS), width.floor(LISTED_AT_MS))
        first, last = market.count_before(start) + 1, market.count_before(clock.now_ms + 1)
        wanted = candles_of(market.trades(first, last), width)
        assert_same(tape.candles(width, start, clock.now_ms + 1), wanted)


def test_a_quiet_markets_empty_minutes_are_flat_at_the_close_before() -> None:
    tape, _, clock = generated("ATOM-USDT", 3 * HOUR_MS)
    start = LISTED_AT_MS + HOUR_MS
    dense = dense_candles(tape, MINUTE, start, clock.now_ms + 1)
    traded = tape.candles(MINUTE, start, clock.now_ms + 1)
    assert len(traded) < len(dense)
    np.testing.assert_array_equal(np.diff(dense.opened_at_ms), 60_000)
    empty = dense.trades == 0
    assert empty.any()
    np.testing.assert_array_equal(dense.open[1:][empty[1:]], dense.close[:-1][empty[1:]])
    np.testing.assert_array_equal(dense.high[empty], dense.low[empty])
    assert not dense.volume[empty].any()
    assert_same(traded, candles_of(tape.trades(tape.first_id_at(start), 2**62), MINUTE))


def replayed(*at_ms: int) -> ReplayedTape:
    tape = ReplayedTape(inferred_binance("BTCUSDT", 2, 5))
    for number, moment in enumerate(at_ms, start=100):
        tape.add(RecordedTrade(number, moment, 1_000 + number, 5, True, number, number))
    return tape


def test_a_trade_recorded_thrice_is_known_once() -> None:
    tape = replayed(1, 2)
    trade = RecordedTrade(101, 2, 1_101, 5, True, 101, 101)
    assert not tape.add(trade)
    assert tape.trades(0, 1_000).ids.tolist() == [100, 101]


def test_a_late_row_takes_its_place() -> None:
    tape = ReplayedTape(inferred_binance("BTCUSDT", 2, 5))
    for number in (5, 7, 6):
        assert tape.add(RecordedTrade(number, number, 1, 1, True, number, number))
    assert tape.bounds() == (5, 7)
    assert tape.newest_to(6, 9).ids.tolist() == [5, 6]
    assert tape.oldest_from(6, 9).ids.tolist() == [6, 7]
    assert (tape.first_id_at(6), tape.first_id_at(8)) == (6, 8)


def test_a_recordings_first_and_last_minute_are_never_told() -> None:
    tape = replayed(30_000, 61_000, 130_000, 185_000)
    assert dense_candles(tape, MINUTE, 0, 10**9).opened_at_ms.tolist() == [60_000, 120_000]


def test_a_minute_that_opens_with_the_first_trade_may_lack_an_earlier_one() -> None:
    tape = replayed(60_000, 125_000, 180_000)
    assert dense_candles(tape, MINUTE, 0, 10**9).opened_at_ms.tolist() == [120_000]


def test_aggregates_count_for_the_trades_inside_them() -> None:
    tape = ReplayedTape(inferred_binance("BTCUSDT", 2, 5))
    for number, first, last in ((1, 10, 12), (2, 13, 13), (3, 14, 17)):
        tape.add(RecordedTrade(number, 60_000 + number, 1_000, 5, True, first, last))
    candle = tape.candles(MINUTE, 0, 10**9)
    assert (candle.trades[0], candle.first_id[0], candle.last_id[0]) == (8, 10, 17)
