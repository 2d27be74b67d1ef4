from __future__ import annotations

import csv
import gzip
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InvalidInput
from data.models import FloatArray, Ohlcv
from data.timeframes import Timeframe
from strategies.indicators.registry import INDICATORS
from strategies.indicators.spec import IndicatorSpec, ParameterKind
from tests.strategies.series import candle_series, candles_of, ohlcv_of_closes, random_walk, recorded_candles

STREAMED = [name for name, spec in INDICATORS.items() if spec.stream is not None]
# Levels that add up from the first candle on.
ADDED_UP = ("obv", "ad")
# Some outputs come earlier than the last one does.
STAGGERED = ("ichimoku", "ta:macd", "ta:stochastic")
# What makes parameters fit each other where drawn ones do not.
FITTING: dict[str, dict[str, Any]] = {
    "macd": {"fast": 3, "slow": 7},
    "ta:macd": {"fast": 3, "slow": 7},
    "ultimate": {"fast": 2, "medium": 4, "slow": 7},
    "psar": {"acceleration": 0.1, "maximum": 0.5},
}

# Reference column: indicator, parameters, output. Computed with TA-Lib by the reference file's author.
REFERENCE: dict[str, tuple[str, dict[str, Any], str]] = {
    "SMA_20": ("sma", {"period": 20}, "value"),
    "EMA_20": ("ema", {"period": 20}, "value"),
    "WMA_14": ("wma", {"period": 14}, "value"),
    "RSI_14": ("rsi", {}, "value"),
    "MACD_12_26_9": ("macd", {}, "macd"),
    "MACD_signal": ("macd", {}, "signal"),
    "MACD_hist": ("macd", {}, "histogram"),
    "BB_upper_20_2": ("bollinger", {}, "upper"),
    "BB_middle": ("bollinger", {}, "middle"),
    "BB_lower": ("bollinger", {}, "lower"),
    "STDDEV_20": ("stdev", {}, "value"),
    "ATR_14": ("atr", {}, "value"),
    "ADX_14": ("adx", {}, "value"),
    "STOCH_slowk_14_3": ("stochastic", {}, "k"),
    "STOCH_slowd_3": ("stochastic", {}, "d"),
    "CCI_20": ("cci", {}, "value"),
    "ROC_10": ("roc", {}, "value"),
    "MOM_10": ("momentum", {}, "value"),
    "OBV": ("obv", {}, "value"),
    "MAX_20": ("highest", {}, "value"),
    "MIN_20": ("lowest", {}, "value"),
    "DEMA_20": ("dema", {}, "value"),
    "TEMA_20": ("tema", {}, "value"),
    "KAMA_30": ("kama", {"period": 30}, "value"),
    "TRANGE": ("true_range", {}, "value"),
    "PLUS_DI_14": ("di", {}, "plus"),
    "MINUS_DI_14": ("di", {}, "minus"),
    "WILLR_14": ("williams_r", {}, "value"),
    "MFI_14": ("mfi", {}, "value"),
    "SAR_002_02": ("psar", {}, "value"),
}


def streamed(spec: IndicatorSpec, ohlcv: Ohlcv, params: dict[str, Any]) -> dict[str, FloatArray]:
    assert spec.stream is not None
    stream = spec.stream(params)
    rows = [
        stream.update(c.opened_at_us, c.open, c.high, c.low, c.close, c.volume) for c in candles_of(ohlcv)
    ]
    table = np.array(rows, dtype=np.float64).reshape(len(rows), len(spec.outputs))
    return {name: table[:, column] for column, name in enumerate(spec.outputs)}


def drawn_params(spec: IndicatorSpec, draw: Any) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for parameter in spec.parameters:
        if parameter.kind is ParameterKind.CHOICE:
            params[parameter.name] = draw(st.sampled_from(parameter.choices))
        elif parameter.kind is ParameterKind.INTEGER:
            params[parameter.name] = draw(st.integers(int(parameter.minimum), 12))
        else:
            fitting = [number for number in (0.5, 1.0, 2.5) if number <= parameter.maximum]
            params[parameter.name] = draw(st.sampled_from(fitting))
    if spec.objection(params):
        params.update(FITTING[spec.name])
    return spec.resolve(params, where="test")


@cache
def reference_rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", newline="") as text:
        return list(csv.DictReader(text))


@pytest.mark.parametrize("column", REFERENCE)
def test_values_are_those_of_the_reference_file(column: str, shared_data: Path) -> None:
    name, given_params, output = REFERENCE[column]
    spec = INDICATORS[name]
    ohlcv = recorded_candles(shared_data / "candles/binance_spot/BTCUSDT_1h_2024.csv.gz", Timeframe.H1)
    reference = reference_rows(shared_data / "reference/indicators/talib_BTCUSDT_1h_2024.csv.gz")
    expected = np.array([float(row[column] or "nan") for row in reference])
    values = spec.batch(ohlcv, spec.resolve(given_params, where="test"))[output]
    np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", INDICATORS)
@given(data=st.data(), ohlcv=candle_series())
@settings(max_examples=8, deadline=None)
def test_a_stream_and_a_shorter_array_give_the_bits_of_the_array(
    name: str, data: st.DataObject, ohlcv: Ohlcv
) -> None:
    spec = INDICATORS[name]
    params = drawn_params(spec, data.draw)
    batch = spec.batch(ohlcv, params)
    assert tuple(batch) == spec.outputs
    seen = data.draw(st.integers(0, len(ohlcv)))
    shorter = spec.batch(ohlcv.rows(0, seen), params)
    stream = batch if spec.stream is None else streamed(spec, ohlcv, params)
    for output in spec.outputs:
        assert batch[output].dtype == np.float64
        np.testing.assert_array_equal(stream[output], batch[output])
        np.testing.assert_array_equal(shorter[output], batch[output][:seen])


@pytest.mark.parametrize("name", STREAMED)
def test_a_stream_gives_the_bits_of_the_array_over_many_candles(name: str) -> None:
    spec = INDICATORS[name]
    params = spec.resolve({}, where="test")
    ohlcv = random_walk(3000, seed=7, gaps=0.2)
    batch, stream = spec.batch(ohlcv, params), streamed(spec, ohlcv, params)
    for output in spec.outputs:
        np.testing.assert_array_equal(stream[output], batch[output])


@pytest.mark.parametrize("name", INDICATORS)
def test_warmup_is_the_number_of_candles_without_a_value(name: str) -> None:
    spec = INDICATORS[name]
    params = spec.resolve({}, where="test")
    # Candles of a day, so that sessions are as short as they can be.
    ohlcv = random_walk(200, seed=3, timeframe=Timeframe.D1)
    positive = Ohlcv(
        timeframe=ohlcv.timeframe,
        opened_at_us=ohlcv.opened_at_us,
        open=ohlcv.open,
        high=ohlcv.high,
        low=ohlcv.low,
        close=ohlcv.close,
        volume=ohlcv.volume + 1.0,
    )
    missing = {output: np.isnan(values) for output, values in spec.batch(positive, params).items()}
    warmup = spec.warmup(params)
    for output, absent in missing.items():
        assert not absent[warmup:].any()
        assert absent[:warmup].all() or name in STAGGERED, output
    assert any(absent[:warmup].all() for absent in missing.values())
    assert spec.settling(params) >= spec.warmup(params)


@pytest.mark.parametrize("name", [name for name in INDICATORS if name not in ADDED_UP])
def test_a_settled_value_does_not_depend_on_where_the_series_began(name: str) -> None:
    spec = INDICATORS[name]
    params = spec.resolve({}, where="test")
    settling = spec.settling(params)
    ohlcv = random_walk(settling + 700, seed=11)
    late = ohlcv.rows(500, len(ohlcv))
    full = spec.batch(ohlcv, params)
    for output, values in spec.batch(late, params).items():
        np.testing.assert_allclose(values[settling:], full[output][500 + settling :], rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize("name", INDICATORS)
def test_later_candles_change_no_value(name: str) -> None:
    spec = INDICATORS[name]
    params = spec.resolve({}, where="test")
    ohlcv = random_walk(120, seed=5)
    full = spec.batch(ohlcv, params)
    for seen in range(0, 121, 7):
        for output, values in spec.batch(ohlcv.rows(0, seen), params).items():
            np.testing.assert_array_equal(values, full[output][:seen])


@pytest.mark.parametrize("name", INDICATORS)
def test_columns_that_only_can_be_read_or_have_strides_do_as_well(name: str) -> None:
    spec = INDICATORS[name]
    params = spec.resolve({}, where="test")
    ohlcv = random_walk(200, seed=1)
    names = ("opened_at_us", "open", "high", "low", "close", "volume")
    every_other: dict[str, Any] = {column: getattr(ohlcv, column)[::2] for column in names}
    for column in every_other.values():
        column.flags.writeable = False
    plain: dict[str, Any] = {column: values.copy() for column, values in every_other.items()}
    found = spec.batch(Ohlcv(timeframe=ohlcv.timeframe, **every_other), params)
    for output, values in spec.batch(Ohlcv(timeframe=ohlcv.timeframe, **plain), params).items():
        np.testing.assert_array_equal(found[output], values)


def test_read_only_and_strided_columns_are_read() -> None:
    ohlcv = random_walk(100, seed=1)
    for column in (ohlcv.high, ohlcv.low, ohlcv.close):
        column.flags.writeable = False
    strided = Ohlcv(
        timeframe=ohlcv.timeframe,
        opened_at_us=ohlcv.opened_at_us[::2],
        open=ohlcv.open[::2],
        high=ohlcv.high[::2],
        low=ohlcv.low[::2],
        close=ohlcv.close[::2],
        volume=ohlcv.volume[::2],
    )
    values = INDICATORS["sma"].batch(strided, {"period": 2, "source": "close"})["value"]
    assert values[1] == pytest.approx((ohlcv.close[0] + ohlcv.close[2]) / 2)


def test_a_mean_by_volume_has_no_value_where_nothing_was_traded() -> None:
    ohlcv = ohlcv_of_closes([10.0, 11.0, 12.0, 13.0])
    ohlcv.volume[1:3] = 0.0
    values = INDICATORS["vwap"].batch(ohlcv, {"period": 2, "source": "close"})["value"]
    assert math.isnan(values[2])
    assert values[1] == 10.0
    assert values[3] == 13.0


def test_wrong_parameters_are_named_all_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        INDICATORS["ema"].resolve({"perod": 3, "period": 2.5, "source": "clse"}, where="f.json", at="x")
    assert [problem.field for problem in caught.value.problems] == ["x.perod", "x.period", "x.source"]
    assert 'did you mean "period"?' in caught.value.problems[0].expected


@pytest.mark.parametrize("value", [0, 10_001, True, "14", None, math.nan, math.inf, 10**400, 2.5])
def test_a_period_is_a_whole_number_within_bounds(value: object) -> None:
    with pytest.raises(InvalidInput):
        INDICATORS["ema"].resolve({"period": value}, where="f.json")


def test_a_macd_needs_its_fast_average_to_be_the_faster() -> None:
    with pytest.raises(InvalidInput, match="fast must be below slow"):
        INDICATORS["macd"].resolve({"fast": 26, "slow": 12}, where="f.json")


@pytest.mark.parametrize(
    ("name", "given_params", "message"),
    [
        ("ultimate", {"fast": 14}, "fast must be below medium"),
        ("ultimate", {"medium": 28}, "medium below slow"),
        ("psar", {"acceleration": 0.3}, "acceleration must not be above maximum"),
        ("zscore", {"period": 1001}, "from 2 to 1000"),
        ("pivots", {"formula": "woodie"}, "standard, fibonacci, camarilla"),
    ],
)
def test_parameters_that_do_not_fit_each_other_are_refused(
    name: str, given_params: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        INDICATORS[name].resolve(given_params, where="f.json")


@pytest.mark.parametrize("name", ["vwap", "vwma", "cmf", "mfi"])
def test_nothing_traded_is_no_value_rather_than_an_extreme_one(name: str) -> None:
    ohlcv = random_walk(300, seed=2)
    ohlcv.volume[100:200] = 0.0
    spec = INDICATORS[name]
    params = spec.resolve({"period": 10}, where="test")
    values = spec.batch(ohlcv, params)["value"]
    assert np.isnan(values[110:200]).all()
    assert not np.isnan(values[[90, 210]]).any()


def test_a_money_flow_needs_a_price_that_moves() -> None:
    ohlcv = ohlcv_of_closes([10.0, 11.0, 11.0, 11.0, 11.0, 12.0])
    values = INDICATORS["mfi"].batch(ohlcv, {"period": 2})["value"]
    # The candle after a rise still opens lower, so its typical price moves once more.
    np.testing.assert_array_equal(np.isnan(values), [True, True, False, False, True, False])


def test_labels_and_panes() -> None:
    bollinger, ema = INDICATORS["bollinger"], INDICATORS["ema"]
    assert bollinger.label(bollinger.resolve({"deviations": 2.5}, where="t")) == "BB 20 2.5"
    volume_average = ema.resolve({"period": 9, "source": "volume"}, where="t")
    assert ema.label(volume_average) == "EMA 9 volume"
    assert ema.pane_of("value", volume_average) == "volume"
    supertrend = INDICATORS["supertrend"]
    params = supertrend.resolve({}, where="t")
    assert [supertrend.pane_of(output, params) for output in supertrend.outputs] == ["price", "supertrend"]
