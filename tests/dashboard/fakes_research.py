"""In-memory stand-ins for saved strategies, jobs and kept research."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from dashboard.readers import ResearchDesk
from data.errors import InvalidInput, Problem
from jobs.arguments import as_document, parse_arguments
from jobs.model import JobKind, JobProgress, JobState, JobView
from jobs.research import MOST_POINTS, EquityColumns, RunSummary, RunView, SearchSummary, SearchView
from strategies.loader import LARGEST_FILE
from strategies.python.check import CheckReport, CheckRequest
from strategies.python.checker import PythonStrategyFactory
from strategies.service import StrategyService
from strategies.versions import StrategyKind
from tests.dashboard.fakes import NOW_US
from tests.strategies.test_service import MemoryStrategyStore

STRATEGIES = Path(__file__).resolve().parents[2] / "config" / "strategies"


def strategy_service(*names: str) -> StrategyService:
    """The real service over memory, with these templates saved. It refuses all Python."""

    def refuse(request: CheckRequest) -> CheckReport:
        problem = Problem(where=request.where, field="", value="", expected="no Python here")
        raise InvalidInput(problem)

    ticks = itertools.count()
    service = StrategyService(
        MemoryStrategyStore(),
        PythonStrategyFactory(refuse),
        clock=lambda: NOW_US + next(ticks) * 1_000_000,
        stopwatch=time.perf_counter,
        proof_candles=1_500,
    )
    for name in names:
        text = (STRATEGIES / f"{name}.json").read_text()
        assert len(text) < LARGEST_FILE
        service.save(msgspec.json.decode(text)["name"], text, StrategyKind.JSON, who="anna", why="first idea")
    return service


class FakeJobs:
    """`JobDesk` in memory; nothing runs."""

    def __init__(self) -> None:
        self.known: dict[int, JobView] = {}

    def start(self, kind: JobKind | str, arguments: Mapping[str, Any], who: str) -> JobView:
        parsed = parse_arguments(JobKind(kind), arguments)
        job = JobView(
            id=len(self.known) + 1,
            kind=JobKind(kind),
            title=parsed.title(),
            arguments=as_document(parsed),
            who=who,
            state=JobState.QUEUED,
            attempts=0,
            progress=None,
            result=None,
            error="",
            cancelled_by="",
            asked_at_us=NOW_US,
            started_at_us=None,
            finished_at_us=None,
        )
        self.known[job.id] = job
        return job

    def jobs(
        self, limit: int = 100, kind: JobKind | str | None = None, state: JobState | str | None = None
    ) -> list[JobView]:
        found = [
            one for one in self.known.values() if kind in (None, one.kind) and state in (None, one.state)
        ]
        return found[::-1][:limit]

    def job(self, id: int) -> JobView:
        if id not in self.known:
            raise InvalidInput(Problem(where="job", field="", value=str(id), expected="there is no such job"))
        return self.known[id]

    def cancel(self, id: int, who: str) -> JobView:
        return self.change(id, state=JobState.CANCELLED, cancelled_by=who)

    def retry(self, id: int, who: str = "") -> JobView:
        return self.change(id, state=JobState.QUEUED)

    def change(self, id: int, **changes: Any) -> JobView:
        self.known[id] = msgspec.structs.replace(self.job(id), **changes)
        return self.known[id]


class FakeResearch:
    """`ResearchReader` in memory."""

    def __init__(self) -> None:
        self.kept: dict[int, RunView] = {}
        self.found: dict[str, SearchView] = {}

    def runs(self, search: str = "", limit: int = 100) -> list[RunSummary]:
        summaries = [one.summary for one in self.kept.values()]
        return [one for one in summaries if search.casefold() in str(one).casefold()][::-1][:limit]

    def run(self, id: int) -> RunView:
        if id not in self.kept:
            raise InvalidInput(Problem(where="run", field="", value=str(id), expected="there is no such run"))
        return self.kept[id]

    def equity(
        self,
        id: int,
        *,
        start_us: int | None = None,
        end_us: int | None = None,
        max_points: int = MOST_POINTS,
    ) -> EquityColumns:
        return self.run(id).equity.between(start_us, end_us)

    def searches(self, limit: int = 100) -> list[SearchSummary]:
        return [one.summary for one in self.found.values()][::-1][:limit]

    def search(self, id: str) -> SearchView:
        if id not in self.found:
            raise InvalidInput(
                Problem(where="search", field="", value=id, expected="there is no such search")
            )
        return self.found[id]

    def delete(self, id: int | str) -> None:
        if isinstance(id, int):
            del self.kept[id]
        else:
            del self.found[id]


def research_desk(*templates: str) -> ResearchDesk:
    """Saved templates, no jobs and no runs."""
    return ResearchDesk(strategies=strategy_service(*templates), jobs=FakeJobs(), research=FakeResearch())


def progress(done: int, total: int) -> JobProgress:
    """A job half way."""
    return JobProgress(done=done, total=total, rate=20.0, left_s=15.0, message="trials", at_us=NOW_US)


def rising(points: int, step_us: int) -> EquityColumns:
    """Equity that rises from 10,000 with waves in it."""
    rows = np.arange(points)
    return EquityColumns(
        at_us=NOW_US - step_us * (points - rows),
        equity=10_000 * (1 + 0.12 * rows / points + 0.02 * np.sin(rows / 20)),
    )
