from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count

import numpy as np
import pytest
import pytest_asyncio

from data.coverage import MinuteState, StateSpan
from data.models import Market, TradeGap, TradeRun
from data.stores import MarketBatch
from data.timeframes import Timeframe
from database.repositories.coverage_repository import CoverageRepository, minutes_in_a_row
from database.repositories.history_repository import HistoryRepository
from tests.database.market_builders import candle_of

pytestmark = pytest.mark.integration

MINUTE_US = 60_000_000
START_US = 1_723_161_300_000_000
_names = count(1)


@pytest.fixture
def market() -> Market:
    return Market("okx", f"COVER{next(_names)}-USDT")


@pytest_asyncio.fixture
async def writer(store_url: str) -> AsyncIterator[HistoryRepository]:
    repository = HistoryRepository(store_url, clock_us=lambda: START_US)
    yield repository
    await repository.close()


@pytest.fixture
def coverage(store_url: str) -> Iterator[CoverageRepository]:
    repository = CoverageRepository(store_url)
    yield repository
    repository.close()


def at(minute: float) -> int:
    return START_US + round(minute * MINUTE_US)


def run_of(first_id: int, last_id: int, first_minute: float, last_minute: float) -> TradeRun:
    return TradeRun(
        first_id=first_id, last_id=last_id, first_at_us=at(first_minute), last_at_us=at(last_minute)
    )


def span(first: int, last: int, state: MinuteState, reason: str = "") -> StateSpan:
    return StateSpan(start_us=at(first), end_us=at(last), state=state, reason=reason)


async def test_every_minute_of_a_time_has_one_state_with_its_reason(
    writer: HistoryRepository, coverage: CoverageRepository, market: Market
) -> None:
    runs = [run_of(1, 9, 0.5, 10.5), run_of(20, 29, 14.5, 20.5)]
    gap = TradeGap(first_id=10, last_id=19, reason="history_unavailable", found_at_us=START_US)
    await writer.save(
        MarketBatch(trades=[], candles=[], runs=[(market, run) for run in runs], gaps=[(market, gap)])
    )

    found = coverage.minute_spans(market, at(-2), at(30))

    assert found == [
        span(-2, 1, MinuteState.MISSING, "before_recording"),
        span(1, 10, MinuteState.COMPLETE),
        span(10, 15, MinuteState.MISSING, "history_unavailable"),
        span(15, 20, MinuteState.COMPLETE),
        span(20, 30, MinuteState.MISSING, "not_yet_recorded"),
    ]
    assert coverage.minute_spans(market, at(5), at(5)) == []


async def test_minutes_that_the_venues_own_candles_tell_are_not_missing(
    writer: HistoryRepository, coverage: CoverageRepository, market: Market
) -> None:
    await writer.save(MarketBatch(trades=[], candles=[], runs=[(market, run_of(1, 9, 0.5, 5.5))]))
    assert coverage.missing_minutes(market, at(0), at(12)) == [(at(0), at(1)), (at(5), at(12))]

    await writer.save_fetched_klines(market, Timeframe.M1, (at(7), at(9)))
    await writer.save_history([candle_of(market, at(minute)) for minute in (0, 9, 10)])

    assert coverage.missing_minutes(market, at(0), at(12)) == [(at(5), at(7)), (at(11), at(12))]
    assert coverage.missing_minutes(market, at(1), at(5)) == []


def test_a_market_that_was_never_recorded_is_missing_throughout(
    coverage: CoverageRepository, market: Market
) -> None:
    assert coverage.minute_spans(market, at(0.5), at(3)) == [
        span(0, 3, MinuteState.MISSING, "never_recorded")
    ]
    assert coverage.missing_minutes(market, at(0.5), at(3)) == [(at(0), at(3))]


def test_minutes_in_a_row_are_one_span() -> None:
    minutes = np.array([at(0), at(1), at(2), at(5), at(7), at(8)])

    assert minutes_in_a_row(minutes) == [(at(0), at(3)), (at(5), at(6)), (at(7), at(9))]
    assert minutes_in_a_row(minutes[:0]) == []
