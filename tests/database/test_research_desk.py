"""`app.research_desk` over a real database and a folder of runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from app.job_kinds.backtest import equity_file
from app.research_desk import ResearchService
from backtesting.document import encoded, metrics_document, trade_documents
from backtesting.engine import BacktestResult, run_backtest
from backtesting.manifest import Source, manifest_of
from backtesting.portfolio import Leg, run_portfolio
from backtesting.portfolio_document import portfolio_manifest
from backtesting.search.executors import SerialExecutor
from backtesting.search.run import run_search
from backtesting.search.space import axis_of
from backtesting.search.spec import SearchData, SearchSpec, search_id
from bots.orders import Costs, TradingRules
from data.errors import InvalidInput
from database.repositories.research_repository import ResearchRepository
from jobs.research import EQUITY_FILE, EquityColumns
from strategies.loader import parse_strategy
from tests.backtesting.search.documents import crossover, walk

pytestmark = pytest.mark.integration

T0 = 1_700_000_000_123_456
OHLCV = walk(6_000)
SOURCE = Source(strategy="crossover@1", venue="okx", symbol="BTC-USDT")


@pytest.fixture
def repository(store_url: str) -> Iterator[ResearchRepository]:
    with closing(ResearchRepository(store_url)) as found:
        yield found


@pytest.fixture
def research(repository: ResearchRepository, tmp_path: Path) -> ResearchService:
    return ResearchService(repository, tmp_path)


def some_run() -> BacktestResult:
    return run_backtest(
        parse_strategy(crossover(), "test"),
        OHLCV,
        capital=Decimal(1_000),
        costs=Costs(),
        rules=TradingRules(),
    )


def curve_of(result: BacktestResult) -> EquityColumns:
    return EquityColumns(at_us=result.ohlcv.opened_at_us + result.ohlcv.timeframe.us, equity=result.equity)


def kept(repository: ResearchRepository, result: BacktestResult, source: Source = SOURCE) -> int:
    document = {
        "trades": trade_documents(result.trades),
        "equity": curve_of(result).thinned(300).as_document(),
    }
    return repository.save_run(
        manifest_of(result, source),
        metrics_document(result.metrics),
        saved_at_us=T0,
        document=encoded(document),
    )


def test_a_run_comes_with_trades_and_a_curve_that_shows_every_extreme(
    repository: ResearchRepository, research: ResearchService
) -> None:
    result = some_run()
    view = research.run(kept(repository, result))

    assert view.summary.markets == ("okx:BTC-USDT",)
    assert view.metrics["trades"] == len(view.trades) == result.metrics.trades > 0
    assert len(view.equity) <= 310
    assert view.equity.equity.min() == result.equity.min()
    assert view.equity.equity.max() == result.equity.max()
    assert view.equity.equity[-1] == result.equity[-1]
    assert view.equity.drawdown().max() == pytest.approx(
        (1 - result.equity / np.maximum.accumulate(result.equity)).max()
    )
    assert view.folder is None


def test_a_narrow_span_of_the_curve_shows_every_candle_from_the_runs_file(
    repository: ResearchRepository, research: ResearchService, tmp_path: Path
) -> None:
    result = some_run()
    number = kept(repository, result)
    curve = curve_of(result)
    folder = tmp_path / "runs" / str(number)
    folder.mkdir(parents=True)
    (folder / EQUITY_FILE).write_bytes(equity_file(curve))

    start_us, end_us = int(curve.at_us[100]), int(curve.at_us[160])
    found = research.equity(number, start_us=start_us, end_us=end_us)

    np.testing.assert_array_equal(found.at_us, curve.at_us[100:160])
    np.testing.assert_array_equal(found.equity, curve.equity[100:160])
    assert len(research.equity(number, max_points=500)) <= 510


def test_a_run_over_several_symbols_is_kept_and_found_by_its_words(
    repository: ResearchRepository, research: ResearchService
) -> None:
    strategy = parse_strategy({**crossover(), "name": "pair"}, "test")
    legs = [
        Leg(symbol=symbol, strategy=strategy, ohlcv=OHLCV, rules=TradingRules())
        for symbol in ("BTC-USDT", "ETH-USDT")
    ]
    result = run_portfolio(legs, capital=Decimal(1_000), costs=Costs())
    sources = [Source(strategy="pair", venue="okx", symbol=leg.symbol) for leg in legs]
    manifest = portfolio_manifest(result, sources, [(), ()], rounding=True)
    number = repository.save_run(manifest, metrics_document(result.metrics), saved_at_us=T0)

    [found] = research.runs("PAIR eth-usdt")

    assert (found.id, found.strategy, found.markets) == (number, "pair", ("okx:BTC-USDT", "okx:ETH-USDT"))
    assert research.runs("pair doge-usdt") == []


def test_a_search_comes_with_its_trials_and_everything_it_found(
    repository: ResearchRepository, research: ResearchService
) -> None:
    data = SearchData(ohlcv=OHLCV)
    spec = SearchSpec(
        document=crossover(), where="test", axes=(axis_of("fast=2:6:1"), axis_of("slow=10:20:5"))
    )
    search = search_id(spec, data)
    repository.begin(search, SOURCE, spec, begun_at_us=T0)
    assert research.search(search).result is None
    result = run_search(spec, data, executor=SerialExecutor(), log=repository.log(search))
    repository.finish(search, result, finished_at_us=T0 + 5)

    view = research.search(search)

    assert view.result == result
    assert len(view.trials) == 15
    assert view.summary.verdict == result.verdict.sentence
    assert [one.id for one in research.searches()] == [search]


def test_what_is_deleted_is_gone_with_its_files(
    repository: ResearchRepository, research: ResearchService, tmp_path: Path
) -> None:
    number = kept(repository, some_run(), Source(strategy="gone", venue="okx", symbol="SOL-USDT"))
    folder = tmp_path / "runs" / str(number)
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("<!doctype html>")
    assert research.run(number).report == str(folder / "report.html")

    research.delete(number)

    assert not folder.exists()
    for call in (lambda: research.run(number), lambda: research.delete(number), lambda: research.delete("x")):
        with pytest.raises(InvalidInput):
            call()
