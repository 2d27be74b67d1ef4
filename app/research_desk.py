"""Stored research for pages and commands: what the database keeps, and the files that belong to it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from app.job_kinds.context import RUNS
from app.run_files import REPORT_FILE
from backtesting.manifest import Manifest, Source
from backtesting.portfolio_document import LegManifest, PortfolioManifest
from backtesting.search.result import SearchResult
from data.errors import InvalidInput, Problem
from database.repositories.research_repository import KeptRun, KeptSearch, ResearchRepository
from jobs.research import (
    EQUITY_FILE,
    MOST_POINTS,
    EquityColumns,
    RunSummary,
    RunView,
    SearchSummary,
    SearchView,
    columns_of,
)

_MOST_LISTED = 1_000


class ResearchService:
    """Satisfies `jobs.research.ResearchReader`. Synchronous: a page calls it in a thread.

    A method that takes a number or an id raises InvalidInput for an unknown one; every method raises
    TransientError while the database cannot answer.
    """

    def __init__(self, repository: ResearchRepository, home: Path) -> None:
        """`home` is CANDLEWICK_HOME, below which the files of runs lie."""
        self._repository, self._runs = repository, home / RUNS

    def runs(self, search: str = "", limit: int = 100) -> list[RunSummary]:
        """The newest kept backtests first.

        Each word of `search` must stand in the strategy's name or hash, or in what the run was made of: its
        market, its time frame, a parameter.
        """
        _check_limit(limit)
        return [_run_summary(kept) for kept in self._repository.runs(most=limit, words=search.split())]

    def run(self, id: int) -> RunView:
        """A kept backtest with its trades and a thinned equity curve."""
        kept = self._kept(id)
        document = kept.document or {}
        folder = self._runs / str(id)
        report = folder / REPORT_FILE
        equity = document.get("equity")
        return RunView(
            summary=_run_summary(kept),
            manifest=msgspec.to_builtins(kept.manifest),
            metrics=kept.metrics,
            trades=document.get("trades", []),
            open_trade=document.get("open_trade"),
            refused_orders=document.get("refused_orders", []),
            ambiguity=document.get("ambiguity", {}),
            legs=document.get("legs", []),
            # A run that the command line kept has the whole document, with a row for each point.
            equity=columns_of(equity if isinstance(equity, dict) else {"at_us": [], "equity": []}),
            folder=str(folder) if folder.is_dir() else None,
            report=str(report) if report.is_file() else None,
        )

    def equity(
        self,
        id: int,
        *,
        start_us: int | None = None,
        end_us: int | None = None,
        max_points: int = MOST_POINTS,
    ) -> EquityColumns:
        """The equity in `[start_us, end_us)`, every point of it unless there are more than `max_points`.

        Read from the run's own file, so that a narrow span shows every candle; where that file is gone, what
        the database keeps.
        """
        path = self._runs / str(id) / EQUITY_FILE
        if path.is_file():
            # Arrow takes a moment to import, and lists of runs need none of it.
            import pyarrow.parquet as pq

            table = pq.read_table(path)
            columns = EquityColumns(at_us=table["at_us"].to_numpy(), equity=table["equity"].to_numpy())
        else:
            columns = self.run(id).equity
        return columns.between(start_us, end_us).thinned(max_points)

    def searches(self, limit: int = 100) -> list[SearchSummary]:
        """The newest kept searches first."""
        _check_limit(limit)
        return [_search_summary(kept) for kept in self._repository.searches(most=limit)]

    def search(self, id: str) -> SearchView:
        """A kept search: its question, every trial, and once it is finished what it found.

        `result` holds the heat map, the rows for parallel coordinates, the walk-forward segments with their
        joined equity, the statistics and the verdict.
        """
        kept = self._repository.search(id)
        if kept is None:
            raise _unknown(id, "search")
        return SearchView(
            summary=_search_summary(kept),
            spec=kept.spec,
            source=msgspec.to_builtins(kept.source),
            result=None if kept.result is None else msgspec.convert(kept.result, SearchResult),
            trials=self._repository.trials(id),
        )

    def delete(self, id: int | str) -> None:
        """Remove a backtest (by its number) with its files, or a search (by its id) with its trials."""
        if isinstance(id, str):
            if not self._repository.forget_search(id):
                raise _unknown(id, "search")
            return
        if not self._repository.forget_run(id):
            raise _unknown(str(id), "run")
        folder = self._runs / str(id)
        if folder.is_dir():
            shutil.rmtree(folder)

    def _kept(self, id: int) -> KeptRun:
        kept = self._repository.run(id)
        if kept is None:
            raise _unknown(str(id), "run")
        return kept


@contextmanager
def open_research(database_url: str, home: Path) -> Iterator[ResearchService]:
    """The stored research of one installation, for a process or a command."""
    with closing(ResearchRepository(database_url)) as repository:
        yield ResearchService(repository, home)


def _run_summary(kept: KeptRun) -> RunSummary:
    manifest = kept.manifest
    legs: tuple[Manifest | LegManifest, ...] = (
        manifest.legs if isinstance(manifest, PortfolioManifest) else (manifest,)
    )
    return RunSummary(
        id=kept.run_id,
        saved_at_us=kept.saved_at_us,
        strategy=", ".join(dict.fromkeys(leg.strategy for leg in legs)),
        strategy_hash=legs[0].strategy_hash,
        markets=tuple(dict.fromkeys(_market(leg.source) for leg in legs)),
        timeframes=tuple(dict.fromkeys(leg.timeframe.value for leg in legs)),
        starts_at=min(leg.starts_at for leg in legs),
        ends_at=max(leg.ends_at for leg in legs),
        parameters=dict(legs[0].parameters),
        metrics=kept.metrics,
    )


def _search_summary(kept: KeptSearch) -> SearchSummary:
    verdict: dict[str, Any] = (kept.result or {}).get("verdict", {})
    return SearchSummary(
        id=kept.search,
        strategy=kept.strategy,
        market=_market(kept.source),
        method=kept.spec.method.value,
        scheme=kept.spec.split.scheme.value,
        metric=kept.spec.metric,
        begun_at_us=kept.begun_at_us,
        finished_at_us=kept.finished_at_us,
        trials=kept.trials,
        verdict=verdict.get("sentence", ""),
    )


def _market(source: Source) -> str:
    return Path(source.candles).name if source.candles is not None else f"{source.venue}:{source.symbol}"


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= _MOST_LISTED:
        expected = f"give a whole number from 1 to {_MOST_LISTED:,}"
        raise InvalidInput(Problem(where="research", field="limit", value=str(limit), expected=expected))


def _unknown(id: str, what: str) -> InvalidInput:
    return InvalidInput(Problem(where="research", field="", value=id, expected=f"there is no {what} of it"))
