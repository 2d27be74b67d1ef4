from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.settings import PROJECT
from data.errors import InvalidInput
from data.models import Ohlcv
from data.timeframes import Timeframe
from strategies.base import Decision, Signals, Strategy
from strategies.loader import load_strategy, parse_strategy
from strategies.rules import RuleStrategy
from tests.strategies.naive import naive_signals, outcome_of_record
from tests.strategies.series import candle_series, candles_of, ohlcv_of_closes, random_walk, recorded_candles

RULES = ("long_entry", "long_exit", "short_entry", "short_exit")
TEMPLATES = sorted(path for path in (PROJECT / "config/strategies").glob("*.json") if path.stem != "schema")

INDICATORS: dict[str, Any] = {
    "fast": {"type": "sma", "period": 2},
    "slow": {"type": "ema", "period": 4},
    "bands": {"type": "bollinger", "period": 3, "deviations": 1},
    "flow": {"type": "vwap", "period": 3},
    "turn": {"type": "supertrend", "period": 2, "multiplier": 0.5},
    "hourly": {"type": "sma", "period": 2, "timeframe": "30m"},
    "quarter": {"type": "obv", "timeframe": "15m"},
    "volume15": {"type": "vwap", "period": 2, "timeframe": "15m"},
}
NAMES = [
    "open",
    "high",
    "close",
    "volume",
    "fast",
    "slow",
    "bands.upper",
    "bands.lower",
    "flow",
    "turn.line",
    "turn.direction",
    "hourly",
    "quarter",
    "volume15",
]
SERIES = st.one_of(
    st.sampled_from(NAMES),
    st.builds(lambda of, shift: {"of": of, "shift": shift}, st.sampled_from(NAMES), st.integers(0, 4)),
)
OPERANDS = st.one_of(SERIES, st.sampled_from([0, 1, 4.5, 5, -1]))
LEAVES = st.one_of(
    st.builds(
        lambda operator, left, right: {operator: [left, right]},
        st.sampled_from(["gt", "gte", "lt", "lte", "crosses_above", "crosses_below"]),
        SERIES,
        OPERANDS,
    ),
    st.builds(
        lambda operator, of, over: {operator: [of, over]},
        st.sampled_from(["rising", "falling"]),
        SERIES,
        st.integers(1, 4),
    ),
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(
            lambda operator, parts: {operator: parts},
            st.sampled_from(["all", "any"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
        st.builds(lambda only: {"not": only}, inner),
    ),
    max_leaves=6,
)


def document(**parts: Any) -> dict[str, Any]:
    return {"name": "test", "timeframe": "5m", "indicators": INDICATORS, **parts}


def entry_strategy(entry: dict[str, Any], indicators: dict[str, Any] | None = None) -> RuleStrategy:
    return parse_strategy(
        {"name": "test", "timeframe": "5m", "indicators": indicators or {}, "long": {"entry": entry}}, "test"
    )


def entries(
    entry: dict[str, Any], closes: list[float], indicators: dict[str, Any] | None = None
) -> list[int]:
    """Rows on which the entry rule holds, the same from the array and from the stream."""
    strategy = entry_strategy(entry, indicators)
    ohlcv = ohlcv_of_closes(closes)
    found = strategy.signals(ohlcv).long_entry
    assert found.tolist() == [decision.long_entry for decision in decisions(strategy, ohlcv)]
    return [int(row) for row in np.flatnonzero(found)]


def decisions(strategy: Strategy, ohlcv: Ohlcv) -> list[Decision]:
    stream = strategy.stream()
    return [stream.update(candle) for candle in candles_of(ohlcv)]


def assert_same(signals: Signals, made: list[Decision]) -> None:
    for rule in RULES:
        np.testing.assert_array_equal(getattr(signals, rule), [getattr(decision, rule) for decision in made])


@given(entry=CONDITIONS, leave=CONDITIONS, short=CONDITIONS, ohlcv=candle_series())
@settings(max_examples=50, deadline=None)
def test_arrays_streams_and_a_naive_reading_agree(
    entry: dict[str, Any], leave: dict[str, Any], short: dict[str, Any], ohlcv: Ohlcv
) -> None:
    written = document(long={"entry": entry, "exit": leave}, short={"entry": short})
    strategy = parse_strategy(written, "test")
    signals = strategy.signals(ohlcv)
    made = decisions(strategy, ohlcv)
    assert_same(signals, made)
    for rule, expected in naive_signals(written, ohlcv).items():
        assert getattr(signals, rule).tolist() == expected
    for decision in made:
        record = json.loads(msgspec.json.encode(decision.record))
        for rule, node in record["rules"].items():
            assert node[0] == outcome_of_record(node, record["values"])
            assert getattr(decision, rule.replace(".", "_")) is (node[0] is True)


@given(entry=CONDITIONS, ohlcv=candle_series(max_size=40))
@settings(max_examples=20, deadline=None)
def test_signals_do_not_change_when_later_candles_arrive(entry: dict[str, Any], ohlcv: Ohlcv) -> None:
    strategy = parse_strategy(document(long={"entry": entry}), "test")
    full = strategy.signals(ohlcv).long_entry
    for seen in range(len(ohlcv) + 1):
        np.testing.assert_array_equal(strategy.signals(ohlcv.rows(0, seen)).long_entry, full[:seen])


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_templates_say_the_same_over_recorded_candles_at_once_and_one_by_one(
    path: Path, shared_data: Path
) -> None:
    strategy = load_strategy(path)
    files = {"5m": "BTCUSDT_5m_2024", "1h": "BTCUSDT_1h_2024", "4h": "BTCUSDT_4h_2024"}
    file = shared_data / f"candles/binance_spot/{files[strategy.timeframe]}.csv.gz"
    ohlcv = recorded_candles(file, strategy.timeframe, rows=12_000)
    signals = strategy.signals(ohlcv)
    assert_same(signals, decisions(strategy, ohlcv))
    assert signals.long_entry.any()
    assert signals.long_exit.any()
    for seen in (strategy.lookback, len(ohlcv) // 2, len(ohlcv) - 1):
        part = strategy.signals(ohlcv.rows(0, seen))
        for rule in RULES:
            np.testing.assert_array_equal(getattr(part, rule), getattr(signals, rule)[:seen])


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_nothing_is_said_before_the_lookback_and_everything_is_known_after(path: Path) -> None:
    strategy = load_strategy(path)
    ohlcv = random_walk(strategy.lookback + 30, seed=2, timeframe=strategy.timeframe)
    made = decisions(strategy, ohlcv)
    assert not any(decision.long_entry or decision.short_entry for decision in made[: strategy.lookback // 2])
    assert all(value is not None for value in made[strategy.lookback].record["values"].values())
    assert strategy.warmup >= strategy.lookback


def test_a_cross_needs_to_have_been_on_or_below_the_candle_before() -> None:
    assert entries({"crosses_above": ["close", 10]}, [9, 10, 11, 12, 10, 11]) == [2, 5]
    assert entries({"crosses_below": ["close", 10]}, [11, 10, 9, 8, 10, 9]) == [2, 5]


def test_a_cross_out_of_warmup_is_none() -> None:
    sma = {"mean": {"type": "sma", "period": 3}}
    assert entries({"crosses_above": ["close", "mean"]}, [1, 2, 9, 10, 1, 20], sma) == [5]


def test_a_shift_looks_back_that_many_candles() -> None:
    assert entries({"gt": ["close", {"of": "close", "shift": 2}]}, [5, 4, 6, 4, 5, 9]) == [2, 5]


def test_rising_compares_with_the_value_so_many_candles_ago_whatever_lay_between() -> None:
    assert entries({"rising": ["close", 2]}, [5, 9, 6, 6, 6, 7]) == [2, 5]
    assert entries({"falling": {"of": "close", "over": 2}}, [5, 9, 4, 6, 3]) == [2, 3, 4]


def test_a_rule_that_reads_a_missing_value_is_false_and_so_is_its_negation() -> None:
    sma = {"mean": {"type": "sma", "period": 3}}
    closes = [1.0, 1.0, 1.0, 1.0]
    assert entries({"gt": ["mean", 0]}, closes, sma) == [2, 3]
    assert entries({"not": {"gt": ["mean", 5]}}, closes, sma) == [2, 3]
    assert entries({"not": {"crosses_above": ["mean", 5]}}, closes, sma) == [3]
    assert entries({"not": {"rising": ["mean", 1]}}, closes, sma) == [3]


def test_what_is_known_decides_a_group_whose_other_part_is_missing() -> None:
    sma = {"mean": {"type": "sma", "period": 3}}
    closes = [1.0, 1.0, 1.0]
    assert entries({"any": [{"gt": ["mean", 0]}, {"gt": ["close", 0]}]}, closes, sma) == [0, 1, 2]
    assert entries({"not": {"all": [{"gt": ["mean", 0]}, {"gt": ["close", 5]}]}}, closes, sma) == [0, 1, 2]
    assert entries({"not": {"any": [{"gt": ["mean", 9]}, {"gt": ["close", 5]}]}}, closes, sma) == [2]


def test_numbers_alone_may_be_compared() -> None:
    assert entries({"gt": [2, 1]}, [1.0, 1.0]) == [0, 1]
    assert entries({"not": {"gt": [2, 1]}}, [1.0, 1.0]) == []


def test_signals_are_arrays_a_caller_may_keep_and_change() -> None:
    signals = entry_strategy({"gt": [2, 1]}).signals(ohlcv_of_closes([1.0, 2.0]))
    arrays = [getattr(signals, rule) for rule in RULES]
    assert all(array.flags.writeable and array.flags.c_contiguous for array in arrays)
    assert all(array.dtype == np.bool_ for array in arrays)
    arrays[1][:] = True
    assert not arrays[2].any()


def test_candles_of_another_time_frame_are_refused() -> None:
    strategy = entry_strategy({"gt": ["close", 1]})
    hourly = ohlcv_of_closes([1.0, 2.0], Timeframe.H1)
    with pytest.raises(InvalidInput, match="1h"):
        strategy.signals(hourly)
    with pytest.raises(ValueError, match="1h"):
        strategy.stream().update(next(candles_of(hourly)))


def test_a_stream_refuses_a_candle_out_of_order() -> None:
    stream = entry_strategy({"gt": ["close", 1]}).stream()
    first, second = candles_of(ohlcv_of_closes([1.0, 2.0]))
    stream.update(second)
    for late in (first, second):
        with pytest.raises(ValueError, match="does not follow"):
            stream.update(late)


def test_a_decision_carries_plain_values_even_from_a_candle_of_numpy_scalars() -> None:
    strategy = entry_strategy({"gt": ["close", 1.5]})
    candle = msgspec.structs.replace(next(candles_of(ohlcv_of_closes([2.0]))), close=np.float64(2.0))
    decision = strategy.stream().update(candle)
    assert decision.long_entry is True
    assert json.loads(msgspec.json.encode(decision)) == {
        "strategy": "test",
        "version": strategy.version,
        "opened_at_us": candle.opened_at_us,
        "close": 2.0,
        "long_entry": True,
        "long_exit": False,
        "short_entry": False,
        "short_exit": False,
        "long_add": False,
        "short_add": False,
        "record": {"values": {"close": 2.0}, "rules": {"long.entry": [True, "gt", "close", 1.5]}},
    }


def test_an_indicator_for_whole_series_only_runs_in_batch_and_is_refused_as_a_stream() -> None:
    strategy = entry_strategy({"gt": ["mean", 1]}, {"mean": {"type": "sma", "period": 1}})
    use = strategy.definition.indicators["mean"]
    batch_only = replace(use, spec=replace(use.spec, stream=None))
    alone = RuleStrategy(replace(strategy.definition, indicators={"mean": batch_only}))
    assert alone.signals(ohlcv_of_closes([2.0])).long_entry.tolist() == [True]
    with pytest.raises(InvalidInput, match=r"indicators\.mean\.type"):
        alone.stream()


def test_overlays_are_every_output_with_its_label_and_pane() -> None:
    strategy = parse_strategy(document(long={"entry": {"gt": ["close", 1]}}), "test")
    ohlcv = random_walk(60, seed=4)
    overlays = {overlay.name: overlay for overlay in strategy.overlays(ohlcv)}
    assert overlays["fast"].label == "SMA 2"
    assert overlays["bands.upper"].label == "BB 3 1 upper"
    assert overlays["hourly"].label == "SMA 2 30m"
    assert overlays["quarter"].pane == "obv"
    assert overlays["bands.upper"].pane == "price"
    assert overlays["turn.direction"].pane == "supertrend"
    assert all(len(overlay.values) == len(ohlcv) for overlay in overlays.values())
    # Two half hours have closed with the twelfth candle of five minutes.
    assert math.isnan(overlays["hourly"].values[10])
    assert overlays["hourly"].values[11] == pytest.approx((ohlcv.close[5] + ohlcv.close[11]) / 2)


def test_warmup_counts_higher_candles_in_our_own() -> None:
    use = {"trend": {"type": "sma", "period": 3, "timeframe": "1h"}}
    strategy = entry_strategy({"gt": [{"of": "trend", "shift": 5}, 1]}, use)
    assert strategy.lookback == strategy.warmup == 4 * 12 - 1 + 5
