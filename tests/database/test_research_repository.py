from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from backtesting.engine import run_backtest
from backtesting.manifest import Source, manifest_of
from backtesting.search.executors import SerialExecutor
from backtesting.search.run import run_search
from backtesting.search.space import axis_of
from backtesting.search.spec import SearchData, SearchSpec, TrialRow, search_id
from bots.orders import Costs, TradingRules
from database.repositories.research_repository import ResearchRepository
from strategies.loader import parse_strategy
from tests.backtesting.search.documents import crossover, walk

pytestmark = pytest.mark.integration

T0 = 1_700_000_000_123_456
DATA = SearchData(ohlcv=walk(800))
SPEC = SearchSpec(
    document=crossover(),
    where="test",
    axes=(axis_of("fast=2:6:1"), axis_of("slow=10:20:5")),
    costs=Costs(fee_bps=Decimal("7.5")),
)
SOURCE = Source(strategy="test", candles="candles.csv")


@pytest.fixture(scope="module")
def research(store_url: str) -> Iterator[ResearchRepository]:
    repository = ResearchRepository(store_url)
    yield repository
    repository.close()


def test_a_search_its_trials_and_its_result_come_back_as_they_went(research: ResearchRepository) -> None:
    search = search_id(SPEC, DATA)
    research.begin(search, SOURCE, SPEC, begun_at_us=T0)
    begun = research.search(search)
    assert begun is not None
    assert (begun.spec, begun.source, begun.result, begun.trials) == (SPEC, SOURCE, None, 0)
    result = run_search(SPEC, DATA, executor=SerialExecutor(), log=research.log(search))
    research.finish(search, result, finished_at_us=T0 + 5)
    kept = research.search(search)
    assert kept is not None
    assert (kept.trials, kept.begun_at_us, kept.finished_at_us) == (15, T0, T0 + 5)
    assert kept.result is not None
    assert kept.result["verdict"]["sentence"] == result.verdict.sentence
    assert [each.search for each in research.searches()] == [search]
    # What is kept is enough for the same result without running anything.
    before = research.trials(search)
    again = run_search(SPEC, DATA, executor=SerialExecutor(), log=research.log(search))
    assert again == result
    assert research.trials(search) == before


def test_a_point_that_is_there_stays_as_it_is(research: ResearchRepository) -> None:
    research.begin("twice", SOURCE, SPEC, begun_at_us=T0)
    first = TrialRow(point=(0, 1), values=(2.0, 15.0), figures=((1.0, None),), blocks=((0.5, 0.25),))
    research.add_trials("twice", [first])
    research.add_trials("twice", [TrialRow(point=(0, 1), values=(9.0, 9.0), refusal="no")])
    assert research.trials("twice") == [first]
    assert research.forget_search("twice")
    assert not research.forget_search("twice")
    assert research.trials("twice") == []


def test_a_backtest_is_kept_once(research: ResearchRepository) -> None:
    run = run_backtest(
        parse_strategy(crossover(), "test"),
        DATA.ohlcv,
        capital=Decimal(1_000),
        costs=SPEC.costs,
        rules=TradingRules(),
    )
    manifest = manifest_of(run, SOURCE)
    number = research.save_run(manifest, {"sharpe": 1.5}, saved_at_us=T0)
    assert research.save_run(manifest, {"sharpe": 1.5}, saved_at_us=T0 + 9, document=b'{"a": 1}') == number
    [listed] = research.runs()
    assert (listed.run_id, listed.manifest, listed.document) == (number, manifest, None)
    kept = research.run(number)
    assert kept is not None
    assert (kept.metrics, kept.document, kept.saved_at_us) == ({"sharpe": 1.5}, {"a": 1}, T0)
    assert research.run(number + 1) is None
