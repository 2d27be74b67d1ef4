"""Values of other libraries on the same candles, and where and why ours differ."""

from __future__ import annotations

import csv
import gzip
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.models import FloatArray, Ohlcv
from data.timeframes import Timeframe
from strategies.indicators.registry import INDICATORS
from tests.strategies.series import MONDAY_US, ohlcv_of

GOLDEN = Path(__file__).parent / "golden"
STOCK_INDICATORS = "reference/indicators/stock_indicators"


@cache
def _rows(path: Path) -> list[dict[str, str]]:
    content = path.read_bytes()
    plain = gzip.decompress(content) if path.suffix == ".gz" else content
    return list(csv.DictReader(plain.decode().splitlines()))


def _column(path: Path, name: str) -> FloatArray:
    return np.array([float(row[name] or "nan") for row in _rows(path)])


def _candles(path: Path, opens_us: list[int], timeframe: Timeframe) -> Ohlcv:
    prices = [
        (float(r["open"]), float(r["high"]), float(r["low"]), float(r["close"]), float(r["volume"]))
        for r in _rows(path)
    ]
    return ohlcv_of(opens_us, prices, timeframe)


def _spy(shared_data: Path) -> Ohlcv:
    """The input of Stock.Indicators, put on consecutive days."""
    path = shared_data / STOCK_INDICATORS / "input_default_502_daily.csv"
    days = [MONDAY_US + i * Timeframe.D1.us for i in range(len(_rows(path)))]
    return _candles(path, days, Timeframe.D1)


def _values(name: str, output: str, ohlcv: Ohlcv, given: dict[str, Any]) -> FloatArray:
    spec = INDICATORS[name]
    return spec.batch(ohlcv, spec.resolve(given, where="test"))[output]


# File, column, indicator, parameters, output, and the first row from which both agree to 1e-9. It is the row
# of our first value unless a comment says why not.
STOCK_INDICATORS_VALUES: list[tuple[str, str, str, dict[str, Any], str, int]] = [
    ("rsi", "rsi", "rsi", {}, "value", 14),
    ("stoch", "k", "stochastic", {}, "k", 17),
    ("cci", "cci", "cci", {}, "value", 19),
    ("supertrend", "superTrend", "supertrend", {}, "line", 10),
    ("bb", "zScore", "zscore", {"period": 20}, "value", 19),
    ("stdev", "zScore", "zscore", {"period": 14}, "value", 13),
    ("tr", "tr", "true_range", {}, "value", 1),
    ("chaikin-osc", "adl", "ad", {}, "value", 0),
    ("cmf", "cmf", "cmf", {}, "value", 19),
    ("mfi", "mfi", "mfi", {}, "value", 14),
    ("force", "forceIndex", "force_index", {"period": 2}, "value", 2),
    ("uo", "ultimate", "ultimate", {}, "value", 28),
    ("slope", "slope", "linreg_slope", {"period": 14}, "value", 13),
    ("ichimoku", "tenkanSen", "ichimoku", {}, "conversion", 8),
    ("ichimoku", "kijunSen", "ichimoku", {}, "base", 25),
    ("ichimoku", "senkouSpanA", "ichimoku", {}, "span_a", 51),
    ("ichimoku", "senkouSpanB", "ichimoku", {}, "span_b", 77),
    # They start their EMAs from the first value on, TA-Lib one after the other.
    ("dema", "dema", "dema", {"period": 14}, "value", 130),
    ("tema", "tema", "tema", {"period": 20}, "value", 230),
    ("trix", "trix", "trix", {"period": 14}, "value", 210),
    # TA-Lib's Wilder sums start from one candle less.
    ("adx", "pdi", "di", {}, "plus", 300),
    ("adx", "mdi", "di", {}, "minus", 300),
    ("adx", "adx", "adx", {}, "value", 400),
    # Of equal extremes TA-Lib takes the latest, they the earliest; none are equal in the last rows.
    ("aroon", "aroonUp", "aroon", {"period": 25}, "up", 240),
    ("aroon", "aroonDown", "aroon", {"period": 25}, "down", 240),
    ("aroon", "oscillator", "aroon", {"period": 25}, "oscillator", 240),
    # They begin rising, TA-Lib in the direction of the first move; reversals make them meet.
    ("psar", "sar", "psar", {}, "value", 260),
]


@pytest.mark.parametrize(
    ("file", "column", "name", "given", "output", "first"),
    STOCK_INDICATORS_VALUES,
    ids=[f"{line[0]}-{line[1]}" for line in STOCK_INDICATORS_VALUES],
)
def test_values_are_those_of_stock_indicators(
    file: str, column: str, name: str, given: dict[str, Any], output: str, first: int, shared_data: Path
) -> None:
    expected = _column(shared_data / STOCK_INDICATORS / f"{file}.csv.gz", column)
    values = _values(name, output, _spy(shared_data), given)
    assert not np.isnan(values[first:]).any()
    np.testing.assert_allclose(values[first:], expected[first:], rtol=1e-9, atol=1e-9)


def test_pivots_of_closed_periods_are_those_of_stock_indicators(shared_data: Path) -> None:
    # Theirs are of the month before, so a month plays the day here.
    folder = shared_data / STOCK_INDICATORS
    months: dict[str, list[dict[str, str]]] = {}
    for row in _rows(folder / "input_default_502_daily.csv"):
        months.setdefault(row["date"][:7], []).append(row)
    prices = [
        (
            float(rows[0]["open"]),
            max(float(row["high"]) for row in rows),
            min(float(row["low"]) for row in rows),
            float(rows[-1]["close"]),
            1.0,
        )
        for rows in months.values()
    ]
    days = ohlcv_of([MONDAY_US + i * Timeframe.D1.us for i in range(len(prices))], prices, Timeframe.D1)
    expected = {row["timestamp"][:7]: row for row in _rows(folder / "pivot-points.csv.gz")}
    for output, column in (("pivot", "pp"), *((name, name) for name in ("r1", "r2", "r3", "s1", "s2", "s3"))):
        theirs = [float(expected[month][column] or "nan") for month in months]
        np.testing.assert_allclose(_values("pivots", output, days, {}), theirs, rtol=1e-12)


# Column of the stored file: indicator, parameters, output.
TA_BTCUSDT: dict[str, tuple[str, dict[str, Any], str]] = {
    "rsi_14": ("ta:rsi", {}, "value"),
    "rsi_5": ("ta:rsi", {"period": 5}, "value"),
    "macd_12_26_9": ("ta:macd", {}, "macd"),
    "macd_signal": ("ta:macd", {}, "signal"),
    "macd_diff": ("ta:macd", {}, "histogram"),
    "atr_14": ("ta:atr", {}, "value"),
    "atr_3": ("ta:atr", {"period": 3}, "value"),
    "adx_14": ("ta:adx", {}, "value"),
    "adx_4": ("ta:adx", {"period": 4}, "value"),
    "bb_hband_20_2": ("ta:bollinger", {}, "upper"),
    "bb_mavg": ("ta:bollinger", {}, "middle"),
    "bb_lband": ("ta:bollinger", {}, "lower"),
    "ema_14": ("ta:ema", {}, "value"),
    "stoch_14_3": ("ta:stochastic", {}, "k"),
    "stoch_signal": ("ta:stochastic", {}, "d"),
}
TA_COARSE: dict[str, tuple[str, dict[str, Any], str]] = {
    "rsi_5": ("ta:rsi", {"period": 5}, "value"),
    "macd_3_7_4": ("ta:macd", {"fast": 3, "slow": 7, "signal": 4}, "macd"),
    "macd_signal_3_7_4": ("ta:macd", {"fast": 3, "slow": 7, "signal": 4}, "signal"),
    "atr_3": ("ta:atr", {"period": 3}, "value"),
    "adx_4": ("ta:adx", {"period": 4}, "value"),
    "bb_hband_5_2": ("ta:bollinger", {"period": 5}, "upper"),
    "bb_lband_5_2": ("ta:bollinger", {"period": 5}, "lower"),
    "ema_5": ("ta:ema", {"period": 5}, "value"),
    "stoch_5_3": ("ta:stochastic", {"period": 5}, "k"),
    "stoch_signal_5_3": ("ta:stochastic", {"period": 5}, "d"),
}


@pytest.mark.parametrize(
    ("file", "column", "name", "given", "output"),
    [
        (file, column, *line)
        for file, lines in (("btcusdt_1h", TA_BTCUSDT), ("coarse", TA_COARSE))
        for column, line in lines.items()
    ],
)
def test_values_by_name_are_those_of_the_package_ta(
    file: str, column: str, name: str, given: dict[str, Any], output: str
) -> None:
    path = GOLDEN / f"ta_0_11_0_{file}.csv"
    opens_us = [int(row["ts_ms"]) * 1000 for row in _rows(path)]
    ohlcv = _candles(path, opens_us, Timeframe.H1)
    expected = _column(path, column)
    if name in ("ta:atr", "ta:adx"):
        # The package answers 0 before its first value.
        warmup = INDICATORS[name].warmup(INDICATORS[name].resolve(given, where="test"))
        assert not expected[:warmup].any()
        expected[:warmup] = np.nan
    np.testing.assert_allclose(_values(name, output, ohlcv, given), expected, rtol=1e-12, atol=1e-12)


def test_names_of_the_package_ta_are_for_whole_series_alone() -> None:
    assert {name for name, spec in INDICATORS.items() if spec.stream is None} == {
        name for name in INDICATORS if name.startswith("ta:")
    }
