from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest

from backtesting.engine import run_backtest
from backtesting.search.executors import Executor, ProcessExecutor, SerialExecutor, ThreadExecutor
from backtesting.search.run import SearchStopped, run_search
from backtesting.search.space import axis_of
from backtesting.search.spans import Scheme, Split
from backtesting.search.spec import Method, SearchData, SearchSpec, TrialRow, search_id
from bots.orders import Costs
from data.errors import InvalidInput
from data.models import Ohlcv
from strategies.loader import parse_strategy
from tests.backtesting.search.documents import SHORT_TOO, crossover, walk

DATA = SearchData(ohlcv=walk(1_500))
# More than one item of work holds, so that there is something left when the first is done.
TRIALS = {Method.GRID: 1, Method.RANDOM: 200, Method.GUIDED: 24}
SCHEMES = [
    Split(),
    Split(scheme=Scheme.SPLIT),
    Split(scheme=Scheme.ANCHORED, folds=2),
    Split(scheme=Scheme.ROLLING, folds=2),
]


def spec_of(**changes: Any) -> SearchSpec:
    settings: dict[str, Any] = {
        "document": crossover(short=SHORT_TOO),
        "where": "test",
        "axes": (axis_of("fast=2:9:1"), axis_of("slow=10:30:4")),
        "costs": Costs(fee_bps=Decimal(2)),
        "top": 3,
        "trials": 18,
        "seed": 5,
    }
    return SearchSpec(**(settings | changes))


class Memory:
    """Keeps trials in a list."""

    def __init__(self, rows: Iterable[TrialRow] = ()) -> None:
        self.rows = list(rows)

    def read(self) -> Iterable[TrialRow]:
        return list(self.rows)

    def add(self, rows: Sequence[TrialRow]) -> None:
        self.rows.extend(rows)


@pytest.mark.parametrize("split", SCHEMES, ids=lambda split: split.scheme)
@pytest.mark.parametrize("method", list(Method))
def test_one_thread_and_two_find_the_same(method: Method, split: Split) -> None:
    spec = spec_of(method=method, split=split)
    found = [
        msgspec.json.encode(run_search(spec, DATA, executor=executor))
        for executor in (SerialExecutor(), ThreadExecutor(2))
    ]
    assert found[0] == found[1]


@pytest.mark.integration
@pytest.mark.parametrize("executor", [ProcessExecutor(1), ProcessExecutor(2)])
def test_processes_find_the_same(executor: Executor) -> None:
    spec = spec_of(split=SCHEMES[2])
    alone = run_search(spec, DATA, executor=SerialExecutor())
    assert run_search(spec, DATA, executor=executor) == alone


def test_the_best_are_the_best_of_plain_backtests() -> None:
    spec = spec_of()
    result = run_search(spec, DATA, executor=SerialExecutor())
    sharpes = {}
    for fast in range(2, 10):
        for slow in range(10, 31, 4):
            strategy = parse_strategy(spec.document, "test", {"fast": fast, "slow": slow})
            run = run_backtest(strategy, DATA.ohlcv, capital=spec.capital, costs=spec.costs, rules=spec.rules)
            sharpes[fast, slow] = run.metrics.sharpe
    best = sorted(sharpes, key=lambda pair: -sharpes[pair])[:3]
    assert [(trial.parameters["fast"], trial.parameters["slow"]) for trial in result.top] == best
    assert [trial.figures["sharpe"] for trial in result.top] == [sharpes[pair] for pair in best]
    assert all(trial.difference < 1e-9 and trial.same_trades for trial in result.top)
    assert result.trials == len(sharpes)
    assert result.heat_map is not None
    assert result.heat_map.best[0][0] == pytest.approx(sharpes[2, 10])


def test_every_trial_is_kept_and_counted_also_those_that_are_refused() -> None:
    document = crossover(
        indicators={
            "macd": {"type": "macd", "fast": {"parameter": "fast"}, "slow": {"parameter": "slow"}},
        },
        long={"entry": {"gt": ["macd.macd", 0]}, "exit": {"lt": ["macd.macd", 0]}},
    )
    log = Memory()
    axes = (axis_of("fast=10:20:5"), axis_of("slow=12:22:5"))
    result = run_search(spec_of(document=document, axes=axes), DATA, executor=SerialExecutor(), log=log)
    assert (result.trials, result.refused) == (9, 3)
    assert len(log.rows) == 9
    assert sum(bool(row.refusal) for row in log.rows) == 3
    assert result.evidence is not None
    assert result.evidence.deflated_sharpe.trials == 6


@pytest.mark.parametrize("method", list(Method))
def test_a_search_that_was_stopped_goes_on_to_the_same_result(method: Method) -> None:
    spec = spec_of(
        method=method, axes=(axis_of("fast=2:40:1"), axis_of("slow=10:50:4")), trials=TRIALS[method]
    )
    whole = run_search(spec, DATA, executor=SerialExecutor())
    log = Memory()
    with pytest.raises(SearchStopped) as stopped:
        run_search(spec, DATA, executor=SerialExecutor(), log=log, should_stop=lambda: bool(log.rows))
    assert 0 < len(log.rows) == stopped.value.done < whole.trials
    again = Memory(msgspec.json.decode(msgspec.json.encode(log.rows), type=list[TrialRow]))
    assert run_search(spec, DATA, executor=SerialExecutor(), log=again) == whole
    points = [row.point for row in again.rows]
    assert len(points) == len(set(points)) == whole.trials


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize("scheme", [Scheme.SPLIT, Scheme.ANCHORED, Scheme.ROLLING])
def test_what_is_picked_for_a_test_does_not_depend_on_what_comes_after(
    method: Method, scheme: Scheme
) -> None:
    split = Split(scheme=scheme, folds=2)
    spec = spec_of(method=method, split=split)
    ohlcv = DATA.ohlcv
    before = run_search(spec, DATA, executor=SerialExecutor()).out_of_sample
    # The second half of what is tested last becomes another market.
    changed = ohlcv.close.copy()
    changed[-100:] *= np.linspace(1, 3, 100)
    other = Ohlcv(
        timeframe=ohlcv.timeframe,
        opened_at_us=ohlcv.opened_at_us,
        open=ohlcv.open,
        high=np.maximum(ohlcv.high, changed),
        low=ohlcv.low,
        close=changed,
        volume=ohlcv.volume,
    )
    after = run_search(spec, SearchData(ohlcv=other), executor=SerialExecutor()).out_of_sample
    assert before is not None
    assert after is not None
    assert [segment.parameters for segment in before.segments] == [
        segment.parameters for segment in after.segments
    ]
    assert before.segments[:-1] == after.segments[:-1]
    assert before.total_return != after.total_return


def test_the_tests_together_are_one_account() -> None:
    result = run_search(spec_of(split=SCHEMES[3]), DATA, executor=SerialExecutor())
    tests = result.out_of_sample
    assert tests is not None
    growth = np.prod([1 + (segment.test_figures["total_return"] or 0) for segment in tests.segments])
    assert tests.total_return == pytest.approx(float(growth) - 1)
    assert tests.equity[-1].equity == pytest.approx(10_000 * float(growth))
    assert tests.trades == sum(int(segment.test_figures["trades"] or 0) for segment in tests.segments)
    for before, after in zip(tests.segments, tests.segments[1:], strict=False):
        assert before.test_to == after.test_from


def test_a_fixed_parameter_is_in_force() -> None:
    spec = spec_of(axes=(axis_of("fast=2:9:1"),), fixed={"slow": 44.0})
    result = run_search(spec, DATA, executor=SerialExecutor())
    strategy = parse_strategy(spec.document, "test", result.top[0].parameters)
    assert strategy.parameters["slow"] == 44.0
    run = run_backtest(strategy, DATA.ohlcv, capital=spec.capital, costs=spec.costs, rules=spec.rules)
    assert result.top[0].figures["sharpe"] == run.metrics.sharpe


def test_what_the_kernel_does_not_know_is_run_by_the_engine() -> None:
    targets = [{"at": 0.01, "fraction": 0.5}, {"at": 0.02, "fraction": 0.5}]
    document = crossover(protection={"stop_loss": 0.02, "take_profit": targets})
    try:
        parse_strategy(document, "test")
    except InvalidInput:
        pytest.skip("strategy files have no targets for parts yet")
    result = run_search(
        spec_of(document=document, axes=(axis_of("fast=2:5:1"),)), DATA, executor=SerialExecutor()
    )
    assert result.by_engine == result.trials == 4


def test_strategies_that_never_trade_pass_nothing() -> None:
    document = crossover(long={"entry": {"gt": ["fast", 1e9]}, "exit": {"lt": ["fast", "slow"]}})
    result = run_search(spec_of(document=document), DATA, executor=SerialExecutor())
    assert (result.trials, result.undefined, result.top) == (48, 48, ())
    assert not result.verdict.passes


@pytest.mark.parametrize("changes", [{"metric": "luck"}, {"trials": 0}, {"top": 0}, {"seed": -1}])
def test_a_search_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        run_search(spec_of(**changes), DATA, executor=SerialExecutor())


def test_a_search_is_known_by_what_its_trials_depend_on() -> None:
    known = search_id(spec_of(), DATA)
    assert known == search_id(spec_of(trials=99, seed=1, top=7, metric="calmar", method=Method.RANDOM), DATA)
    assert known != search_id(spec_of(costs=Costs()), DATA)
    assert known != search_id(spec_of(split=SCHEMES[1]), DATA)
    assert known != search_id(spec_of(), SearchData(ohlcv=DATA.ohlcv.rows(0, 1_499)))
