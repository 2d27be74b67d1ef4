"""Runs and searches as the store keeps them, made by the engine itself over candles of the fakes."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import msgspec

from backtesting.document import document_of
from backtesting.engine import run_backtest
from backtesting.manifest import Source, manifest_of
from backtesting.search.executors import SerialExecutor
from backtesting.search.run import run_search
from backtesting.search.space import axis_of
from backtesting.search.spans import Scheme, Split
from backtesting.search.spec import SearchData, SearchSpec
from bots.orders import Costs, TradingRules
from data.models import Market, Ohlcv
from jobs.research import EquityColumns, RunSummary, RunView, SearchSummary, SearchView
from strategies.loader import parse_strategy
from tests.dashboard.fakes import NOW_US
from tests.dashboard.fakes_research import STRATEGIES

CROSSOVER: dict[str, Any] = json.loads((STRATEGIES / "ema_crossover.json").read_text())


def kept_run(id: int, market: Market, ohlcv: Ohlcv, **parameters: float) -> RunView:
    """A backtest of the EMA crossover on the time frame of the candles, with these parameters."""
    result = run_backtest(
        parse_strategy(CROSSOVER, "test", parameters, ohlcv.timeframe),
        ohlcv,
        capital=Decimal(10_000),
        costs=Costs(fee_bps=Decimal(10), maker_fee_bps=Decimal(10), slippage_bps=Decimal(2)),
        rules=TradingRules(),
    )
    source = Source(
        strategy=f"ema-crossover@{result.strategy.version}", venue=market.exchange, symbol=market.symbol
    )
    manifest = manifest_of(result, source)
    document = {name: part for name, part in document_of(result, manifest).items() if name != "equity"}
    whole = msgspec.json.decode(msgspec.json.encode(document))
    return RunView(
        summary=RunSummary(
            id=id,
            saved_at_us=NOW_US,
            strategy=manifest.strategy,
            strategy_hash=manifest.strategy_hash,
            markets=(str(market),),
            timeframes=(manifest.timeframe.value,),
            starts_at=manifest.starts_at,
            ends_at=manifest.ends_at,
            parameters=manifest.parameters,
            metrics=whole["metrics"],
        ),
        manifest=whole["manifest"],
        metrics=whole["metrics"],
        trades=whole["trades"],
        open_trade=whole.get("open_trade"),
        refused_orders=whole.get("refused_orders", []),
        ambiguity=whole.get("ambiguity", {}),
        legs=[],
        equity=EquityColumns(at_us=ohlcv.opened_at_us + ohlcv.timeframe.us, equity=result.equity),
        folder=None,
        report=None,
    )


def kept_search(market: Market, ohlcv: Ohlcv) -> SearchView:
    """A walk-forward grid search of the EMA crossover over the candles."""
    spec = SearchSpec(
        document=CROSSOVER,
        where="test",
        timeframe=ohlcv.timeframe,
        axes=(axis_of("fast=4:16:4"), axis_of("slow=20:50:10")),
        split=Split(scheme=Scheme.ROLLING, folds=3),
        costs=Costs(fee_bps=Decimal(10)),
    )
    result = run_search(spec, SearchData(ohlcv=ohlcv), executor=SerialExecutor())
    return SearchView(
        summary=SearchSummary(
            id=result.search,
            strategy=result.strategy,
            market=str(market),
            method=result.method,
            scheme=result.scheme.value,
            metric=result.metric,
            begun_at_us=NOW_US,
            finished_at_us=NOW_US + 1,
            trials=result.trials,
            verdict=result.verdict.sentence,
        ),
        spec=spec,
        source={"strategy": "ema-crossover"},
        result=result,
        trials=[],
    )
