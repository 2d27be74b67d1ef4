"""Indicators that begin anew with each UTC day or week.

A session counts only if the series covers it from its open, as with candles of a higher time frame: a value
is missing rather than dependent on where the series began. A session without candles is passed over.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np

from data.models import FloatArray, IntArray, Ohlcv
from data.timeframes import Timeframe, floor_to
from strategies.indicators.sources import SOURCE_OF_CANDLE, source_parameter, source_series
from strategies.indicators.spec import (
    PRICE_PANE,
    IndicatorParameter,
    IndicatorParams,
    IndicatorSpec,
    IndicatorStream,
    ParameterKind,
)

_SESSIONS = {"day": Timeframe.D1, "week": Timeframe.W1}
# Warm-up and settling are counted in candles and are not told how long one lasts; this is for one minute.
_MINUTES = {"day": 1_440, "week": 10_080}

_Number = TypeVar("_Number", float, FloatArray)
_NOTHING = (math.nan,) * 7


def _starts(opened_at_us: IntArray, session: Timeframe) -> tuple[IntArray, bool]:
    """The first row of each session, and whether the series covers the first session from its open."""
    origin = floor_to(int(opened_at_us[0]), session)
    bucket = (opened_at_us - origin) // session.us
    return np.flatnonzero(np.diff(bucket, prepend=-1)), int(opened_at_us[0]) == origin


def _vwap(ohlcv: Ohlcv, params: IndicatorParams) -> dict[str, FloatArray]:
    values = np.full(len(ohlcv), np.nan)
    if not len(ohlcv):
        return {"value": values}
    starts, is_whole = _starts(ohlcv.opened_at_us, Timeframe.D1)
    price = source_series(ohlcv, params["source"])
    ends = np.append(starts[1:], len(ohlcv))
    for start, end in zip(starts[not is_whole :].tolist(), ends[not is_whole :].tolist(), strict=True):
        volume = np.cumsum(ohlcv.volume[start:end])
        notional = np.cumsum(price[start:end] * ohlcv.volume[start:end])
        np.divide(notional, volume, out=values[start:end], where=volume > 0)
    return {"value": values}


class _VwapStream:
    """The mean price candle by candle: two sums that a new day sets to zero."""

    def __init__(self, params: IndicatorParams) -> None:
        self._pick = SOURCE_OF_CANDLE[params["source"]]
        self._day_us: int | None = None
        self._is_whole = False
        self._notional = self._volume = 0.0

    def update(
        self, opened_at_us: int, open: float, high: float, low: float, close: float, volume: float
    ) -> tuple[float, ...]:
        day_us = floor_to(opened_at_us, Timeframe.D1)
        if day_us != self._day_us:
            self._is_whole = self._day_us is not None or day_us == opened_at_us
            self._day_us = day_us
            self._notional = self._volume = 0.0
        self._notional += self._pick(open, high, low, close, volume) * volume
        self._volume += volume
        return (self._notional / self._volume if self._is_whole and self._volume > 0 else math.nan,)


def _vwap_stream(params: IndicatorParams) -> IndicatorStream:
    return _VwapStream(params)


VWAP_SESSION = IndicatorSpec(
    name="vwap_session",
    title="VWAP day",
    summary="Mean price since midnight UTC weighted by volume, as TA-Lib's VWAP over the day's candles; none "
    "before the day's first volume, nor on a first day that the candles do not cover from midnight.",
    parameters=(source_parameter("hlc3"),),
    outputs=("value",),
    pane=PRICE_PANE,
    warmup=lambda params: 0,
    settling=lambda params: _MINUTES["day"],
    batch=_vwap,
    stream=_vwap_stream,
)


def _levels(formula: str, high: _Number, low: _Number, close: _Number) -> tuple[_Number, ...]:
    """Pivot, three resistances and three supports of a closed session, of numbers or of columns alike."""
    span = high - low
    pivot = (high + low + close) / 3.0
    if formula == "standard":
        return (
            pivot,
            pivot * 2.0 - low,
            pivot + span,
            high + (pivot - low) * 2.0,
            pivot * 2.0 - high,
            pivot - span,
            low - (high - pivot) * 2.0,
        )
    if formula == "fibonacci":
        first, second, third = span * 0.382, span * 0.618, span * 1.0
        return (
            pivot,
            pivot + first,
            pivot + second,
            pivot + third,
            pivot - first,
            pivot - second,
            pivot - third,
        )
    first, second, third = span * (1.1 / 12.0), span * (1.1 / 6.0), span * (1.1 / 4.0)
    return pivot, close + first, close + second, close + third, close - first, close - second, close - third


_LEVELS = ("pivot", "r1", "r2", "r3", "s1", "s2", "s3")


def _pivots(ohlcv: Ohlcv, params: IndicatorParams) -> dict[str, FloatArray]:
    rows = len(ohlcv)
    if not rows:
        return {name: np.full(0, np.nan) for name in _LEVELS}
    starts, is_whole = _starts(ohlcv.opened_at_us, _SESSIONS[params["session"]])
    ends = np.append(starts[1:], rows)
    levels = _levels(
        params["formula"],
        np.maximum.reduceat(ohlcv.high, starts),
        np.minimum.reduceat(ohlcv.low, starts),
        ohlcv.close[ends - 1],
    )
    columns = {}
    for name, of_session in zip(_LEVELS, levels, strict=True):
        before = np.concatenate([[np.nan], of_session[:-1]])
        if not is_whole:
            before[:2] = np.nan
        columns[name] = np.repeat(before, ends - starts)
    return columns


class _PivotStream:
    """The levels of the session before, while the current one is folded."""

    def __init__(self, params: IndicatorParams) -> None:
        self._session = _SESSIONS[params["session"]]
        self._formula = params["formula"]
        self._opened_us: int | None = None
        self._is_whole = False
        self._high = self._low = self._close = math.nan
        self._levels: tuple[float, ...] = _NOTHING

    def update(
        self, opened_at_us: int, open: float, high: float, low: float, close: float, volume: float
    ) -> tuple[float, ...]:
        session_us = floor_to(opened_at_us, self._session)
        if session_us != self._opened_us:
            if self._is_whole:
                self._levels = _levels(self._formula, self._high, self._low, self._close)
            self._is_whole = self._opened_us is not None or session_us == opened_at_us
            self._opened_us = session_us
            self._high, self._low = high, low
        else:
            self._high, self._low = max(self._high, high), min(self._low, low)
        self._close = close
        return self._levels


def _pivot_stream(params: IndicatorParams) -> IndicatorStream:
    return _PivotStream(params)


PIVOTS = IndicatorSpec(
    name="pivots",
    title="Pivots",
    summary="Pivot point, resistances and supports from the high, low and close of the UTC day (or week) "
    "before, which is closed; they hold for all candles of the next one that has any.",
    parameters=(
        IndicatorParameter(
            name="session",
            summary="the closed period they come from; weeks open on Monday",
            kind=ParameterKind.CHOICE,
            default="day",
            choices=tuple(_SESSIONS),
        ),
        IndicatorParameter(
            name="formula",
            summary="standard (floor trader's), fibonacci (0.382, 0.618 and 1 of the range around the pivot) "
            "or camarilla (1.1/12, 1.1/6 and 1.1/4 of the range around the close)",
            kind=ParameterKind.CHOICE,
            default="standard",
            choices=("standard", "fibonacci", "camarilla"),
        ),
    ),
    outputs=_LEVELS,
    pane=PRICE_PANE,
    # A session is one candle at least.
    warmup=lambda params: 1,
    settling=lambda params: 2 * _MINUTES[params["session"]],
    batch=_pivots,
    stream=_pivot_stream,
)

SESSION_INDICATORS = (VWAP_SESSION, PIVOTS)
