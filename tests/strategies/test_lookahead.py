from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import talib

from data.models import BoolArray, Candle, FloatArray, Ohlcv
from data.timeframes import Timeframe
from strategies.base import Decision, Signals, StrategyStream
from strategies.higher_timeframe import fold
from strategies.loader import load_strategy, parse_strategy
from strategies.lookahead import (
    candles_to_try,
    codes_on,
    generated_candles,
    prove_black_box,
    prove_streamed,
)
from strategies.python.api import PythonStrategy
from strategies.rules import RuleStrategy
from strategies.versions import Badge, Fault, ProofStatus
from tests.strategies.clocks import still
from tests.strategies.documents import EXAMPLE

TEMPLATES = sorted((Path(__file__).resolve().parents[2] / "config" / "strategies").glob("[!s]*.json"))
N = 20
WINDOW = 40

Entry = Callable[[Ohlcv], BoolArray]


def trailing(values: FloatArray, n: int = N) -> FloatArray:
    """The mean of the last n values, NaN before there are n; from those n alone, bit by bit."""
    found = np.full(len(values), np.nan)
    if len(values) >= n:
        found[n - 1 :] = np.lib.stride_tricks.sliding_window_view(values, n).mean(axis=1)
    return found


def shifted(values: FloatArray, by: int) -> FloatArray:
    """Positive: the value `by` candles ago. Negative: the one that is yet to come."""
    found = np.full(len(values), np.nan)
    if by >= 0:
        found[by:] = values[: len(values) - by]
    else:
        found[:by] = values[-by:]
    return found


def position(ohlcv: Ohlcv) -> FloatArray:
    """Where the close lies in its own candle."""
    return (ohlcv.close - ohlcv.low) / np.maximum(ohlcv.high - ohlcv.low, 1e-9)


def padded(ohlcv: Ohlcv, made: Callable[[FloatArray], BoolArray]) -> BoolArray:
    return made(ohlcv.close) if len(ohlcv) > 2 * N else np.zeros(len(ohlcv), dtype=np.bool_)


def centred(ohlcv: Ohlcv) -> BoolArray:
    mean = shifted(trailing(ohlcv.close), -(N // 2))
    return ohlcv.close > mean * 1.01


def extremum(ohlcv: Ohlcv) -> BoolArray:
    """A local low among three candles on either side."""
    low, found = ohlcv.low, np.ones(len(ohlcv), dtype=np.bool_)
    for by in (-3, -2, -1, 1, 2, 3):
        found &= low < shifted(low, by)
    return found


def forming(ohlcv: Ohlcv) -> BoolArray:
    """The close of the hour that has not closed yet."""
    hour = ohlcv.opened_at_us // Timeframe.H1.us
    last = np.searchsorted(hour, hour, side="right") - 1
    return ohlcv.close < ohlcv.close[last] * 0.999


def resampled(ohlcv: Ohlcv) -> BoolArray:
    """The day's high, labelled with the day's open, used from midnight on."""
    day = ohlcv.opened_at_us // Timeframe.D1.us
    high = np.array([ohlcv.high[day == one].max() for one in np.unique(day)])
    return ohlcv.close < high[np.searchsorted(np.unique(day), day)] * 0.99


def backfilled(ohlcv: Ohlcv) -> BoolArray:
    marks = np.where(position(ohlcv) > 0.98, ohlcv.close, np.nan)
    for row in range(len(marks) - 2, -1, -1):
        if np.isnan(marks[row]):
            marks[row] = marks[row + 1]
    return marks > ohlcv.close * 1.01


def interpolated(ohlcv: Ohlcv) -> BoolArray:
    rows = np.arange(len(ohlcv))
    known = rows[rows % 7 == 0]
    line: FloatArray = np.interp(rows, known, ohlcv.close[known])
    return ohlcv.close < line * 0.995


def reversed_ewm(ohlcv: Ohlcv) -> BoolArray:
    found, value = np.empty(len(ohlcv)), ohlcv.close[-1] if len(ohlcv) else 0.0
    for row in range(len(ohlcv) - 1, -1, -1):
        value += 0.2 * (ohlcv.close[row] - value)
        found[row] = value
    return ohlcv.close < found * 0.995


def smoothed(close: FloatArray) -> BoolArray:
    spectrum = np.fft.rfft(close)
    spectrum[len(spectrum) // 10 :] = 0
    return close < np.fft.irfft(spectrum, len(close)) * 0.995


def fitted(close: FloatArray) -> BoolArray:
    rows = np.arange(len(close))
    return close < np.polyval(np.polyfit(rows, close, 3), rows)


def unwrapped_filter(close: FloatArray) -> BoolArray:
    """Forth and back, as filters without a lag do."""
    kernel = np.ones(5) / 5
    return close < np.convolve(np.convolve(close, kernel)[::-1], kernel)[::-1][4:-4] * 0.998


def triple_label(ohlcv: Ohlcv) -> BoolArray:
    """In where the target comes before the stop, as training labels are made."""
    found = np.zeros(len(ohlcv), dtype=np.bool_)
    for row in range(len(ohlcv)):
        up = np.flatnonzero(ohlcv.high[row + 1 : row + 30] > ohlcv.close[row] * 1.02)
        down = np.flatnonzero(ohlcv.low[row + 1 : row + 30] < ohlcv.close[row] * 0.98)
        found[row] = len(up) > 0 and (len(down) == 0 or up[0] < down[0])
    return found


def zigzag(ohlcv: Ohlcv) -> BoolArray:
    """The pivot is marked where it was, not where it was known."""
    found = np.zeros(len(ohlcv), dtype=np.bool_)
    pivot = 0
    for row in range(len(ohlcv)):
        if ohlcv.low[row] < ohlcv.low[pivot]:
            pivot = row
        elif ohlcv.high[row] > ohlcv.low[pivot] * 1.03:
            found[pivot], pivot = True, row
    return found


def ranked(ohlcv: Ohlcv) -> BoolArray:
    """The place of each close among all closes."""
    return np.argsort(np.argsort(ohlcv.close)) < len(ohlcv) // 5


PLANTED: dict[str, Entry] = {
    "the next close": lambda o: shifted(o.close, -1) > o.close * 1.002,
    "the next open": lambda o: shifted(o.open, -1) > o.close,
    "the high three candles on": lambda o: shifted(o.high, -3) > o.close * 1.01,
    "the close 300 candles on": lambda o: shifted(o.close, -300) > o.close * 0.99,
    "a centred mean": centred,
    "normalised by all": lambda o: (o.close - o.close.mean()) / (o.close.std() + 1e-9) < -1,
    "scaled between all extremes": lambda o: o.close < o.close.min() + (np.ptp(o.close) + 1e-9) * 0.2,
    "the highest yet to come": lambda o: np.maximum.accumulate(o.high[::-1])[::-1] > o.close * 1.02,
    "labels of the day": resampled,
    "the hour still forming": forming,
    "the last close of all": lambda o: o.close < o.close[-1:] if len(o) else np.zeros(0, dtype=np.bool_),
    "filled backwards": backfilled,
    "interpolated between marks": interpolated,
    "local extremes": extremum,
    "sorted": lambda o: np.sort(o.close) < o.close,
    "ranked among all": ranked,
    "summed from the end": lambda o: np.cumsum((o.close - o.open)[::-1])[::-1] > 500,
    "smoothed by Fourier": lambda o: padded(o, smoothed),
    "a polynomial through all": lambda o: padded(o, fitted),
    "a quantile of all": lambda o: o.close < (np.quantile(o.close, 0.1) if len(o) else 0),
    "averaged from the end": reversed_ewm,
    "filtered forth and back": lambda o: padded(o, unwrapped_filter),
    "by place in the series": lambda o: np.arange(len(o)) >= len(o) - 50,
    "by share of the series": lambda o: np.arange(len(o)) % max(2, len(o) // 9) == 1,
    "wrapped around": lambda o: np.roll(o.close, -2) > o.close * 1.003,
    "labels for training": triple_label,
    "pivots where they were": zigzag,
    "gradient over neighbours": lambda o: (
        np.gradient(o.close) > 30 if len(o) > 2 else np.zeros(len(o), dtype=np.bool_)
    ),
    "the gap to the next candle": lambda o: (
        np.diff(o.opened_at_us, append=o.opened_at_us[-1:] + o.timeframe.us) > o.timeframe.us
    ),
    "a threshold from all volumes": lambda o: o.volume > 2 * (o.volume.mean() if len(o) else 0),
}

CLEAN: dict[str, Entry] = {
    "above its mean": lambda o: o.close > trailing(o.close) * 1.005,
    "the close before": lambda o: o.close > shifted(o.close, 1) * 1.005,
    "inside the candle": lambda o: position(o) > 0.95,
    "by hour of the day": lambda o: (
        (o.opened_at_us // Timeframe.H1.us % 24 == 9) & (o.close > shifted(o.close, 3))
    ),
    "after a pause": lambda o: np.diff(o.opened_at_us, prepend=o.opened_at_us[:1]) > o.timeframe.us,
    "the last closed hour": lambda o: closed_hour(o),
    "on every candle": lambda o: np.ones(len(o), dtype=np.bool_),
}


def closed_hour(ohlcv: Ohlcv) -> BoolArray:
    higher = fold(ohlcv, Timeframe.H1)
    joined = np.full(len(ohlcv), np.nan)
    seen = higher.visible >= 0
    joined[seen] = higher.candles.close[higher.visible[seen]]
    return ohlcv.close > joined * 1.003


def spoken(entry: Entry) -> Callable[[Ohlcv], Signals]:
    return lambda ohlcv: PythonStrategy.say(ohlcv, long_entry=entry(ohlcv))


def proof(entry: Entry, candles: Ohlcv, window: int = WINDOW) -> Badge:
    return prove_black_box(lambda: spoken(entry), candles, window=window, clock=still, budget_s=30.0)


@pytest.fixture(scope="module")
def candles() -> Ohlcv:
    return generated_candles(Timeframe.M15, 900, gaps=0.02)


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_look_ahead_is_found(name: str, candles: Ohlcv) -> None:
    entry = PLANTED[name]
    badge = proof(entry, candles)
    assert badge.status is ProofStatus.REFUTED
    first = badge.counterexample
    assert first is not None
    assert first.fault is Fault.LOOK_AHEAD
    # The counterexample is one: said over all, not said with fewer of the later candles.
    assert codes_on(spoken(entry), candles)[first.bar] == first.on_all
    fewer = (codes_on(spoken(entry), candles.rows(0, stop)) for stop in range(first.bar + 1, len(candles)))
    assert any(bool(codes[first.bar]) is first.on_past is not first.on_all for codes in fewer)
    assert first.opened_at_us == candles.opened_at_us[first.bar]


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_strategy_raises_no_alarm(name: str, candles: Ohlcv) -> None:
    badge = proof(CLEAN[name], candles)
    assert badge.status is ProofStatus.PROVEN, badge.words
    assert badge.covered == badge.bars == len(candles)
    assert badge.signals == np.count_nonzero(codes_on(spoken(CLEAN[name]), candles))


def test_how_far_ahead_it_reads_is_told(candles: Ohlcv) -> None:
    def ahead(name: str) -> int | None:
        counterexample = proof(PLANTED[name], candles).counterexample
        assert counterexample is not None
        return counterexample.reads_ahead

    assert ahead("the next close") == 1
    assert ahead("the high three candles on") == 3
    assert ahead("the close 300 candles on") == 300


def test_the_first_bar_that_differs_is_the_first(candles: Ohlcv) -> None:
    for name in ("the next close", "the high three candles on", "local extremes", "the hour still forming"):
        found = codes_on(spoken(PLANTED[name]), candles)
        until = [
            int(codes_on(spoken(PLANTED[name]), candles.rows(0, row + 1))[row]) for row in range(len(candles))
        ]
        counterexample = proof(PLANTED[name], candles).counterexample
        assert counterexample is not None
        assert counterexample.bar == np.flatnonzero(found != until)[0]


def test_one_leaking_bar_among_all_is_enough(candles: Ohlcv) -> None:
    """Every bar is covered: a leak on a single one, whichever, is found."""
    nexts = candles.close[1:] / candles.close[:-1]
    for bar in (0, 17, 433, 874):
        at_us, rises = int(candles.opened_at_us[bar]), bool(nexts[bar] > 1)

        def leaks_once(ohlcv: Ohlcv, at_us: int = at_us, rises: bool = rises) -> BoolArray:
            later = shifted(ohlcv.close, -1)
            leak: BoolArray = later > ohlcv.close if rises else later < ohlcv.close
            leak &= ohlcv.opened_at_us == at_us
            return leak

        counterexample = proof(leaks_once, candles).counterexample
        assert counterexample is not None
        assert (counterexample.bar, counterexample.reads_ahead) == (bar, 1)


def test_memory_beyond_the_declared_window_is_found(candles: Ohlcv) -> None:
    counterexample = proof(CLEAN["above its mean"], candles, window=N - 1).counterexample
    assert counterexample is not None
    assert counterexample.fault is Fault.WINDOW
    assert proof(CLEAN["above its mean"], candles, window=N).status is ProofStatus.PROVEN


class Hoarder:
    """Remembers every candle it was ever given, across calls and instances."""

    def __init__(self) -> None:
        self.closes: dict[int, float] = {}

    def signals(self, ohlcv: Ohlcv) -> Signals:
        self.closes.update(zip(ohlcv.opened_at_us.tolist(), ohlcv.close.tolist(), strict=True))
        step = ohlcv.timeframe.us
        entry = [
            self.closes.get(at + step, 0.0) > close
            for at, close in zip(ohlcv.opened_at_us.tolist(), ohlcv.close.tolist(), strict=True)
        ]
        return PythonStrategy.say(ohlcv, long_entry=np.array(entry, dtype=np.bool_))


class Moody:
    """Says other things from the hundredth call on."""

    def __init__(self) -> None:
        self.calls = 0

    def signals(self, ohlcv: Ohlcv) -> Signals:
        self.calls += 1
        return PythonStrategy.say(ohlcv, long_entry=position(ohlcv) > (0.95 if self.calls < 100 else 0.9))


def test_state_between_calls_is_found(candles: Ohlcv) -> None:
    hoarder, moody = Hoarder(), Moody()
    for fresh in (lambda: hoarder.signals, lambda: moody.signals):
        badge = prove_black_box(fresh, candles, window=WINDOW, clock=still, budget_s=30.0)
        assert badge.status is ProofStatus.REFUTED, badge.words


def test_silence_proves_nothing(candles: Ohlcv) -> None:
    badge = proof(lambda ohlcv: ohlcv.close < 0, candles)
    assert badge.status is ProofStatus.NOT_PROVEN
    assert "said nothing" in badge.words


def test_a_proof_that_ran_out_of_time_says_how_far_it_came(candles: Ohlcv) -> None:
    ticks = iter(range(10_000))
    badge = prove_black_box(
        lambda: spoken(CLEAN["inside the candle"]),
        candles,
        window=WINDOW,
        clock=lambda: next(ticks),
        budget_s=80.0,
    )
    assert badge.status is ProofStatus.NOT_PROVEN
    assert 0 < badge.covered < badge.bars
    assert f"{badge.covered:,} of {badge.bars:,}" in badge.words


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_the_templates_are_proven(path: Path) -> None:
    strategy = load_strategy(path)
    tried = candles_to_try(strategy)
    badge = prove_streamed(strategy, tried.rows(0, 4_000), clock=still, budget_s=30.0)
    assert badge.status is not ProofStatus.REFUTED, badge.words
    assert badge.covered == badge.bars


class Leaky(RuleStrategy):
    """Rules whose batch run sees one candle too many."""

    def signals(self, ohlcv: Ohlcv) -> Signals:
        found = super().signals(ohlcv)
        return PythonStrategy.say(ohlcv, long_entry=np.roll(found.long_entry, -1), long_exit=found.long_exit)


class SlowStream:
    """A stream that answers one candle late."""

    def __init__(self, stream: StrategyStream) -> None:
        self._stream = stream
        self._before: Decision | None = None

    def update(self, candle: Candle) -> Decision:
        decision = self._stream.update(candle)
        self._before, late = decision, self._before
        return decision if late is None else late


class Late(RuleStrategy):
    def stream(self) -> StrategyStream:
        return SlowStream(super().stream())


def test_rules_that_looked_ahead_or_streamed_otherwise_would_be_found() -> None:
    definition = parse_strategy(EXAMPLE, "f").definition
    tried = generated_candles(Timeframe.M5, 3_000)
    for made, fault in ((Leaky, {Fault.STREAM, Fault.LOOK_AHEAD}), (Late, {Fault.STREAM})):
        badge = prove_streamed(made(definition), tried, clock=still, budget_s=30.0)
        assert badge.counterexample is not None
        assert badge.counterexample.fault in fault


def test_a_recursive_average_passes_with_a_window_long_enough(candles: Ohlcv) -> None:
    def crossing(ohlcv: Ohlcv) -> BoolArray:
        return ohlcv.close > talib.EMA(ohlcv.close, 5) * 1.004

    assert proof(crossing, candles, window=150).status is ProofStatus.PROVEN
    assert proof(crossing, candles, window=6).status is ProofStatus.REFUTED


def test_generated_candles_are_candles_and_always_the_same() -> None:
    one, two = (generated_candles(Timeframe.H1, 2_000) for _ in range(2))
    assert np.array_equal(one.close, two.close)
    assert np.all(one.low <= np.minimum(one.open, one.close))
    assert np.all(one.high >= np.maximum(one.open, one.close))
    assert np.all(one.low > 0)
    assert np.all(np.diff(one.opened_at_us) > 0)
    assert len(generated_candles(Timeframe.M5, 1)) == 1
