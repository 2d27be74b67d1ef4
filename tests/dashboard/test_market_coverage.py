from __future__ import annotations

from collections.abc import Sequence

import pytest

from dashboard.chart_data import ChartData
from dashboard.live_hub import LiveHub
from dashboard.market_coverage import coverage_body
from dashboard.market_day import MarketDays
from dashboard.market_sources import MarketSources
from data.coverage import MinuteState, Span, StateSpan
from data.errors import InvalidInput
from data.models import Market
from data.timeframes import SECOND_US, Timeframe
from tests.dashboard.fakes import (
    BTC,
    NOW_US,
    FakeBots,
    FakeBus,
    FakeHealth,
    FakeMarket,
    FakeShelf,
    walk,
)

NOW = NOW_US // SECOND_US
ASKED = {"venue": "binance", "symbol": "BTC-USDT", "tf": "1m", "first": NOW - 600, "last": NOW}


class FakeCoverage:
    """`CoverageReader` with fixed spans."""

    def __init__(self, spans: Sequence[StateSpan]) -> None:
        self._spans = spans

    def minute_spans(self, market: Market, start_us: int, end_us: int) -> list[StateSpan]:
        assert (market, start_us, end_us) == (BTC, (NOW - 600) * SECOND_US, NOW * SECOND_US)
        return list(self._spans)

    def missing_minutes(self, market: Market, start_us: int, end_us: int) -> list[Span]:
        return []


def _sources(coverage: FakeCoverage | None) -> MarketSources:
    market = FakeMarket()
    market.add(BTC, walk(Timeframe.M1, 100, end_us=NOW_US, start=64_000.0, seed=7, step=0.001))
    chart = ChartData(market, FakeShelf())
    days = MarketDays(market, seconds=lambda: 0.0)
    hub = LiveHub(
        FakeBus(),
        FakeHealth(),
        candles=market,
        day=days.remembered,
        overlay_ticks=chart.overlay_ticks,
        recent_ticks=chart.recent_ticks,
        known_overlay=chart.knows_overlay,
    )
    return MarketSources(
        market=market,
        chart=chart,
        days=days,
        bots=FakeBots(),
        hub=hub,
        now_us=lambda: NOW_US,
        coverage=coverage,
    )


def _span(start: int, end: int, state: MinuteState, reason: str = "") -> StateSpan:
    return StateSpan(
        start_us=(NOW + start) * SECOND_US, end_us=(NOW + end) * SECOND_US, state=state, reason=reason
    )


def test_what_is_not_complete_is_told_with_its_reason() -> None:
    spans = [
        _span(-600, -300, MinuteState.COMPLETE),
        _span(-300, -240, MinuteState.MISSING, "too old to be fetched"),
        _span(-240, 0, MinuteState.REPAIRED),
    ]
    body = coverage_body(_sources(FakeCoverage(spans)), ASKED)
    assert body["known"] is True
    assert body["spans"] == [
        [NOW - 300, NOW - 240, "missing", "too old to be fetched"],
        [NOW - 240, NOW, "repaired", ""],
    ]


def test_what_nobody_recorded_yet_is_no_hole() -> None:
    spans = [
        _span(-600, -300, MinuteState.MISSING, "before_recording"),
        _span(-300, -60, MinuteState.COMPLETE),
        _span(-60, 0, MinuteState.MISSING, "not_yet_recorded"),
    ]
    body = coverage_body(_sources(FakeCoverage(spans)), ASKED)
    assert [shade for _, _, shade, _ in body["spans"]] == ["none", "none"]


def test_without_a_ledger_nothing_is_said() -> None:
    assert coverage_body(_sources(None), ASKED)["known"] is False


def test_an_end_before_its_beginning_is_refused() -> None:
    with pytest.raises(InvalidInput, match="last"):
        coverage_body(_sources(None), {**ASKED, "last": NOW - 601})
