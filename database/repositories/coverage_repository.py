"""Which minutes of a market the store can answer for; blocking, for any thread."""

from __future__ import annotations

import numpy as np

from data.coverage import NEVER_RECORDED, MinuteState, Span, StateSpan, minute_states, union_of, without
from data.models import IntArray, Market
from data.timeframes import Timeframe, floor_to
from database.market_queries import MarketReads

_MINUTE = Timeframe.M1


class CoverageRepository:
    """Satisfies `data.stores.CoverageReader`. Every read raises TransientError while the database is away."""

    def __init__(self, url: str) -> None:
        self._reads = MarketReads(url)

    def close(self) -> None:
        self._reads.close()

    def minute_spans(self, market: Market, start_us: int, end_us: int) -> list[StateSpan]:
        """The state of every minute of `[start_us, end_us)`, ascending, without a hole; equals are merged.

        A market whose trades were never recorded is missing throughout. Bounds inside a minute widen to it.
        """
        if start_us >= end_us:
            return []
        spans = minute_states(
            self._reads.runs(market),
            self._reads.gaps(market),
            self._reads.repairs(market),
            self._reads.outages(market),
            start_us=start_us,
            end_us=end_us,
        )
        if spans:
            return spans
        whole = floor_to(start_us, _MINUTE), -floor_to(-end_us, _MINUTE)
        return [
            StateSpan(start_us=whole[0], end_us=whole[1], state=MinuteState.MISSING, reason=NEVER_RECORDED)
        ]

    def missing_minutes(self, market: Market, start_us: int, end_us: int) -> list[Span]:
        """Minutes of `[start_us, end_us)` that are `missing` and that the venue's own candles do not tell.

        A stored one-minute candle tells of its minute, and so does a span whose candles were fetched from the
        venue: where that has none, nothing was traded. Ascending and apart.
        """
        missing = union_of(
            (span.start_us, span.end_us)
            for span in self.minute_spans(market, start_us, end_us)
            if span.state is MinuteState.MISSING
        )
        if not missing:
            return []
        fetched = self._reads.fetched_klines(market, _MINUTE)
        missing = _without_all(missing, fetched)
        if not missing:
            return []
        opened_at_us = self._reads.candle_times(market, _MINUTE, missing[0][0], missing[-1][1])
        return _without_all(missing, minutes_in_a_row(opened_at_us))


def minutes_in_a_row(opened_at_us: IntArray) -> list[Span]:
    """The ascending minutes as spans that are apart."""
    if len(opened_at_us) == 0:
        return []
    breaks = np.flatnonzero(np.diff(opened_at_us) != _MINUTE.us)
    starts = opened_at_us[np.concatenate(([0], breaks + 1))]
    ends = opened_at_us[np.concatenate((breaks, [len(opened_at_us) - 1]))] + _MINUTE.us
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def _without_all(spans: list[Span], taken: list[Span]) -> list[Span]:
    """What `taken` leaves of the spans; both ascending and apart."""
    left: list[Span] = []
    first = 0
    for span in spans:
        while first < len(taken) and taken[first][1] <= span[0]:
            first += 1
        last = first
        while last < len(taken) and taken[last][0] < span[1]:
            last += 1
        left += without(span, taken[first:last])
    return left
