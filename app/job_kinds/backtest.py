"""A backtest as a job: the run is kept in the database, its files in a folder of its own."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from app.backtest_inputs import read_inputs, rules_for, span_texts
from app.commands.backtest_portfolio import LegRequest, run_legs_asked
from app.job_kinds.context import RUNS, JobContext
from app.job_kinds.strategies import NamedStrategies, NamedStrategy, named_strategies
from app.run_files import portfolio_files, run_files, write_folder
from backtesting.document import (
    ambiguity_document,
    encoded,
    metrics_document,
    open_trade_document,
    order_document,
    trade_documents,
)
from backtesting.engine import BacktestResult, run_backtest
from backtesting.insides import run_with_insides
from backtesting.manifest import Manifest, Source, manifest_of
from backtesting.metrics import Metrics
from backtesting.portfolio_document import PortfolioManifest, portfolio_document
from backtesting.prepared import Prepared
from bots.finest_data import FinestRows
from bots.orders import Costs
from database.repositories.research_repository import ResearchRepository
from jobs.arguments import BacktestArguments
from jobs.model import JobResult, ResultKind
from jobs.research import EQUITY_FILE, EquityColumns

_TOLD = ("total_return", "sharpe", "max_drawdown", "trades", "win_rate", "final_equity")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """What a run leaves behind."""

    manifest: Manifest | PortfolioManifest
    metrics: Metrics
    equity: EquityColumns
    files: dict[str, bytes]
    document: dict[str, Any]  # what is kept in the database beside metrics and manifest


def run(arguments: BacktestArguments, context: JobContext) -> JobResult:
    """Run it and keep it; the same run is kept once. Raises InvalidInput."""
    context.tell(0, 3, "reading candles and running")
    with named_strategies(context) as strategies:
        named = strategies.find(arguments.strategy)
        run_it = _single if len(arguments.symbols) == 1 else _portfolio
        made = run_it(arguments, strategies, named)
    context.tell(1, 3, "storing the run")
    metrics = metrics_document(made.metrics)
    document = {**made.document, "equity": made.equity.thinned().as_document()}
    with closing(ResearchRepository(context.database_url)) as research:
        number = research.save_run(
            made.manifest,
            metrics,
            saved_at_us=context.now_us(),
            document=encoded(document),
        )
    context.tell(2, 3, "writing its files")
    files = {**made.files, EQUITY_FILE: equity_file(made.equity)}
    write_folder(context.folder(RUNS) / str(number), files, where="CANDLEWICK_HOME")
    context.tell(3, 3, "writing its files")
    return JobResult(
        kind=ResultKind.RUN, reference=str(number), summary={name: metrics[name] for name in _TOLD}
    )


def _single(arguments: BacktestArguments, strategies: NamedStrategies, named: NamedStrategy) -> _Made:
    strategy = strategies.load(named, arguments.parameters, arguments.timeframe)
    source = _source(arguments, named, arguments.symbols[0])
    inputs = read_inputs(source, strategy, allow_missing=arguments.allow_missing)
    rules, later_rules = rules_for(inputs, None, arguments.overrides, rounding=arguments.rounding)
    prepared = Prepared(strategy, strategy.signals(inputs.ohlcv))

    def run_with(finer: FinestRows | None) -> BacktestResult:
        return run_backtest(
            prepared,
            inputs.ohlcv,
            capital=arguments.capital,
            costs=_costs(arguments),
            rules=rules,
            later_rules=later_rules,
            close_at_end=arguments.close_at_end,
            finer=finer,
        )

    result = run_with_insides(run_with, inputs.ohlcv, inputs.inside)
    manifest = manifest_of(result, source, span_texts(inputs.missing))
    document = {
        "trades": trade_documents(result.trades),
        "open_trade": open_trade_document(result),
        "refused_orders": [order_document(order) for order in result.refused],
        "ambiguity": ambiguity_document(result),
    }
    return _Made(
        manifest=manifest,
        metrics=result.metrics,
        equity=EquityColumns(
            at_us=result.ohlcv.opened_at_us + result.ohlcv.timeframe.us, equity=result.equity
        ),
        files=run_files(result, manifest),
        document=document,
    )


def _portfolio(arguments: BacktestArguments, strategies: NamedStrategies, named: NamedStrategy) -> _Made:
    legs = [
        LegRequest(
            symbol=symbol,
            source=_source(arguments, named, symbol),
            parameters=arguments.parameters,
            timeframe=arguments.timeframe,
            rules=None,
            allow_missing=arguments.allow_missing,
        )
        for symbol in arguments.symbols
    ]
    result, manifest = run_legs_asked(
        legs,
        capital=arguments.capital,
        costs=_costs(arguments),
        overrides=arguments.overrides,
        rounding=arguments.rounding,
        close_at_end=arguments.close_at_end,
        load=lambda _, parameters, timeframe: strategies.load(named, parameters, timeframe),
    )
    whole = portfolio_document(result, manifest)
    apart = ("metrics", "equity", "equity_best_case", "manifest")
    document = {name: part for name, part in whole.items() if name not in apart}
    for leg in document.get("legs", []):
        # The single legs' curves are in the files.
        leg.pop("equity", None)
    return _Made(
        manifest=manifest,
        metrics=result.metrics,
        equity=EquityColumns(at_us=result.at_us, equity=result.equity),
        files=portfolio_files(result, manifest),
        document=document,
    )


def _source(arguments: BacktestArguments, named: NamedStrategy, symbol: str) -> Source:
    return Source(
        strategy=named.reference,
        venue=arguments.venue,
        symbol=symbol,
        start=arguments.start,
        end=arguments.end,
    )


def _costs(arguments: BacktestArguments) -> Costs:
    return Costs(
        fee_bps=arguments.fee_bps,
        maker_fee_bps=arguments.maker_fee_bps,
        slippage_bps=arguments.slippage_bps,
    )


def equity_file(columns: EquityColumns) -> bytes:
    """The curve as Parquet, every point of it: what `jobs.research.EQUITY_FILE` holds."""
    sink = pa.BufferOutputStream()
    table = pa.table(
        {
            "at_us": pa.array(np.ascontiguousarray(columns.at_us)),
            "equity": pa.array(np.ascontiguousarray(columns.equity)),
        }
    )
    pq.write_table(table, sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content
