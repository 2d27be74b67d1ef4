"""What a search found, as values that are written as JSON."""

from __future__ import annotations

import msgspec

from backtesting.search.space import Axis
from backtesting.search.spans import Scheme
from backtesting.statistics.bootstrap import Bootstrap
from backtesting.statistics.gate import Evidence, Verdict


class TopTrial(msgspec.Struct, frozen=True, kw_only=True):
    """One of the best trials. `figures` are the engine's own; undefined ones are null."""

    rank: int
    parameters: dict[str, float]
    figures: dict[str, float | None]
    difference: float  # of the ranking's final equity from the engine's, as a fraction
    same_trades: bool  # ranking and engine count the same trades


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """One fold: what was picked on its past, and what that made of its future. Times are ISO 8601."""

    train_from: str
    train_to: str
    test_from: str
    test_to: str
    parameters: dict[str, float]
    train_metric: float | None
    test_metric: float | None
    test_figures: dict[str, float | None]


class EquityPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Equity at a time."""

    time: str
    equity: float


class OutOfSample(msgspec.Struct, frozen=True, kw_only=True):
    """The tests one after the other on one account: candles that nothing was picked on."""

    segments: tuple[Segment, ...]
    untested: int  # folds in whose past no trial could be judged; the account stood still
    total_return: float
    cagr: float | None
    sharpe: float | None
    max_drawdown: float
    trades: int
    efficiency: float | None  # yearly return of the tests over that of the training spans
    bootstrap: Bootstrap | None
    equity: tuple[EquityPoint, ...]  # at UTC midnights and at the end, or thinned out


class HeatMap(msgspec.Struct, frozen=True, kw_only=True):
    """The metric over two parameters; null where nothing ran. Over further ones the best and the median."""

    x: str
    y: str
    x_values: tuple[float, ...]
    y_values: tuple[float, ...]
    best: tuple[tuple[float | None, ...], ...]  # one row for each value of y
    median: tuple[tuple[float | None, ...], ...]


class ParallelCoordinates(msgspec.Struct, frozen=True, kw_only=True):
    """One row a trial: its parameters, then its figures; the best first, at most some hundreds."""

    columns: tuple[str, ...]
    rows: tuple[tuple[float | None, ...], ...]


class SearchResult(msgspec.Struct, frozen=True, kw_only=True):
    """Everything but the single trials, which are in their log."""

    search: str
    strategy: str
    method: str
    metric: str
    scheme: Scheme
    seed: int
    axes: tuple[Axis, ...]
    candles: int
    timeframe: str
    starts_at: str  # ISO 8601, of the candles that trials are described by
    ends_at: str
    data_hash: str
    trials: int  # parameter sets that were tried, all of them
    refused: int  # of those, how many do not go together
    refusals: tuple[str, ...]  # the first reasons
    by_engine: int  # run by the engine itself, not by the search's kernel
    undefined: int  # ran, but their metric is not defined, mostly for want of a trade
    top: tuple[TopTrial, ...]
    out_of_sample: OutOfSample | None
    heat_map: HeatMap | None
    parallel: ParallelCoordinates
    evidence: Evidence | None  # None where no trial could be judged
    verdict: Verdict
