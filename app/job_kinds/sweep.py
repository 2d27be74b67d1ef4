"""A search over parameters as a job; every trial is kept, so that one that was stopped goes on."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from app.job_kinds.context import JobContext
from app.job_kinds.strategies import named_strategies
from app.search_request import asked_search, local_executor
from backtesting.manifest import Source
from backtesting.search.result import SearchResult
from backtesting.search.run import run_search
from backtesting.search.spans import Split
from backtesting.search.spec import SearchSpec, search_id
from bots.orders import Costs
from database.repositories.research_repository import ResearchRepository
from jobs.arguments import SweepArguments
from jobs.model import JobResult, ResultKind


def run(arguments: SweepArguments, context: JobContext) -> JobResult:
    """Search and keep what was found. Raises InvalidInput for a search that makes no sense."""
    context.tell(0, 0, "reading candles")
    with named_strategies(context) as strategies:
        named = strategies.find(arguments.strategy)
        document = named.document()
    source = Source(
        strategy=named.reference,
        venue=arguments.venue,
        symbol=arguments.symbol,
        start=arguments.start,
        end=arguments.end,
    )
    spec, data = asked_search(
        document,
        named.reference,
        source,
        arguments.timeframe,
        [f"{name}={text}" for name, text in arguments.parameters.items()],
        _options(arguments),
        arguments.overrides,
        rounding=arguments.rounding,
        allow_missing=arguments.allow_missing,
    )
    search = search_id(spec, data)
    with closing(ResearchRepository(context.database_url)) as research:
        research.begin(search, source, spec, begun_at_us=context.now_us())
        result = run_search(
            spec,
            data,
            executor=local_executor(spec, None),
            progress=lambda done, total: context.tell(done, total, "trials"),
            log=research.log(search),
        )
        research.finish(search, result, finished_at_us=context.now_us())
    return JobResult(kind=ResultKind.SEARCH, reference=search, summary=_summary(result))


def _options(arguments: SweepArguments) -> SearchSpec:
    return SearchSpec(
        document={},
        where="",
        axes=(),
        method=arguments.method,
        trials=arguments.trials,
        seed=arguments.seed,
        metric=arguments.metric,
        top=arguments.top,
        split=Split(scheme=arguments.scheme, folds=arguments.folds, test_fraction=arguments.test_fraction),
        capital=arguments.capital,
        costs=Costs(
            fee_bps=arguments.fee_bps,
            maker_fee_bps=arguments.maker_fee_bps,
            slippage_bps=arguments.slippage_bps,
        ),
        close_at_end=arguments.close_at_end,
    )


def _summary(result: SearchResult) -> dict[str, Any]:
    best = result.top[0] if result.top else None
    return {
        "trials": result.trials,
        "refused": result.refused,
        "parameters": None if best is None else best.parameters,
        result.metric: None if best is None else best.figures.get(result.metric),
        "verdict": result.verdict.sentence,
    }
