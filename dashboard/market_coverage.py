"""Which minutes under the chart are whole: what the strip below its time axis shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dashboard.figures.coverage import Shade, shaded
from dashboard.market_feed import whole_number
from dashboard.market_sources import MarketSources
from data.timeframes import SECOND_US

MAX_SPANS = 2_000

_LAST_SECOND = 2**40


def coverage_body(sources: MarketSources, request: Mapping[str, Any]) -> dict[str, Any]:
    """The spans of `[first, last)` (seconds) that are anything but complete, the newest MAX_SPANS of them.

    Each is its start, its end (seconds), its shade and its reason in words: what nobody recorded yet, or what
    is in the making, is no hole. `known` is False where nothing can be said. Raises InvalidInput without a
    time.
    """
    first = whole_number(request, "first", least=0, most=_LAST_SECOND)
    last = whole_number(request, "last", least=first, most=_LAST_SECOND)
    resolved = sources.resolve(request)
    if resolved.market is None or sources.coverage is None or first == last:
        return {"key": "", "known": False, "spans": []}
    spans = sources.coverage.minute_spans(resolved.market, first * SECOND_US, last * SECOND_US)
    told = [
        [span.start_us // SECOND_US, span.end_us // SECOND_US, span.shade.value, span.reason]
        for span in shaded(spans, sources.now_us())
        if span.shade is not Shade.COMPLETE
    ]
    return {"key": resolved.view(resolved.market).key, "known": True, "spans": told[-MAX_SPANS:]}
