"""Runs a search: plans the trials, hands them to an executor, keeps and counts every one, and judges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from backtesting.search.bindings import Bindings
from backtesting.search.executors import Chunk, Executor, Session
from backtesting.search.judge import result_of
from backtesting.search.result import SearchResult
from backtesting.search.space import (
    check_axes,
    grid_points,
    random_points,
    size_of,
    values_at,
)
from backtesting.search.spans import Fold, Scheme, Span, folds_of
from backtesting.search.spec import METRICS, SMALLER_IS_BETTER, Method, SearchData, SearchSpec, TrialLog
from backtesting.search.table import Point, Trials, batches, rows_of
from backtesting.search.trials import Work
from data.errors import InvalidInput, Problem, TradingError
from data.models import IntArray

CHUNK = 128  # parameter sets in one item of work
ENGINE_CHUNK = 4  # where each of them is run by the engine itself
MOST_TRIALS = 5_000_000

# Told how many trials are done, and of how many.
Progress = Callable[[int, int], None]


class SearchStopped(TradingError):
    """Somebody asked the search to stop; what was done is in its log."""

    def __init__(self, done: int, total: int) -> None:
        super().__init__(f"stopped after {done:,} of {total:,} trials")
        self.done, self.total = done, total


def run_search(
    spec: SearchSpec,
    data: SearchData,
    *,
    executor: Executor,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
    log: TrialLog | None = None,
) -> SearchResult:
    """Try the parameter sets that `spec` asks for and say what the best is worth.

    Trials that `log` holds are not run again. Raises InvalidInput for a search that makes no sense, before
    anything runs, and SearchStopped where `should_stop` said so; the trials done until then are in the log.
    """
    bindings = _checked(spec)
    folds = folds_of(spec.split, len(data.ohlcv))
    work = work_of(spec, data, folds)
    trials = Trials(len(work.spans))
    if log is not None:
        trials.restore(log.read())
    total = planned_trials(spec, folds)
    chunk = CHUNK if _is_simple(bindings, work) and not spec.later_rules else ENGINE_CHUNK

    def told(done: int) -> None:
        if progress is not None:
            progress(done, total)
        if should_stop is not None and should_stop():
            raise SearchStopped(done, total)

    with executor.open((work,)) as session:
        runner = _Runner(spec, session, trials, log, told, chunk)
        if spec.method is Method.GUIDED:
            candidates = _run_guided(spec, folds, runner)
        else:
            points: Iterable[IntArray] = (
                grid_points(spec.axes)
                if spec.method is Method.GRID
                else [random_points(spec.axes, spec.trials, spec.seed)]
            )
            asked = runner.run(points)
            candidates = [asked] * max(1, len(folds))
    return result_of(spec, data, work, folds, trials, candidates)


def planned_trials(spec: SearchSpec, folds: Sequence[Fold]) -> int:
    """How many trials will be run at most."""
    if spec.method is Method.GRID:
        return size_of(spec.axes)
    studies = len(folds) if spec.method is Method.GUIDED and _walks(spec) else 1
    return min(spec.trials * studies, size_of(spec.axes))


def work_of(spec: SearchSpec, data: SearchData, folds: Sequence[Fold]) -> Work:
    """The search as an item for executors. The first span describes a trial; the folds' pasts follow."""
    whole = Span(start=0, stop=len(data.ohlcv))
    spans = (whole, *(fold.train for fold in folds)) if _walks(spec) else tuple(fold.train for fold in folds)
    return Work(
        document=spec.document,
        where=spec.where,
        timeframe=spec.timeframe,
        fixed=spec.fixed,
        varied=tuple(axis.name for axis in spec.axes),
        capital=spec.capital,
        costs=spec.costs,
        rules=spec.rules,
        later_rules=spec.later_rules,
        close_at_end=spec.close_at_end,
        spans=spans or (whole,),
        ohlcv=data.ohlcv,
        finer=data.finer,
    )


def _walks(spec: SearchSpec) -> bool:
    return spec.split.scheme in (Scheme.ANCHORED, Scheme.ROLLING)


def _checked(spec: SearchSpec) -> Bindings:
    problems = []
    if spec.metric not in METRICS:
        expected = f"give one of {', '.join(METRICS)}"
        problems.append(Problem(where="search", field="metric", value=spec.metric, expected=expected))
    for field, least, most in (("trials", 1, MOST_TRIALS), ("top", 1, 1_000), ("seed", 0, 2**32 - 1)):
        value = getattr(spec, field)
        if not least <= value <= most:
            expected = f"give a whole number from {least} to {most}"
            problems.append(Problem(where="search", field=field, value=str(value), expected=expected))
    if problems:
        raise InvalidInput(*problems)
    bindings = Bindings(spec.document, spec.where, spec.timeframe)
    check_axes(spec.axes, spec.document, spec.where)
    if spec.method is Method.GRID and size_of(spec.axes) > MOST_TRIALS:
        expected = f"a grid has at most {MOST_TRIALS:,} points: give fewer, or --method random or guided"
        value = f"{size_of(spec.axes):,}"
        raise InvalidInput(Problem(where="search", field="grid", value=value, expected=expected))
    return bindings


def _is_simple(bindings: Bindings, work: Work) -> bool:
    """Whether the search's kernel can run the strategy with its default values, as far as they fit."""
    try:
        return bindings.of(bindings.defaults() | dict(work.fixed)).is_simple
    except InvalidInput:
        return True


class _Runner:
    """Runs points that were not run before, and keeps them."""

    def __init__(
        self,
        spec: SearchSpec,
        session: Session,
        trials: Trials,
        log: TrialLog | None,
        told: Callable[[int], None],
        chunk: int,
    ) -> None:
        self._spec, self._session, self._trials, self._log = spec, session, trials, log
        self._told, self._chunk = told, chunk
        self._done = 0

    def run(self, points: Iterable[IntArray]) -> list[Point]:
        """Run what is new of `points` and return all of them."""
        asked: list[Point] = []
        for done in self._session.run(self._chunks(points, asked)):
            chunk, outcome = done.chunk, done.outcome
            at = self._waiting.pop(chunk.number)
            self._trials.add(at, chunk.values, outcome)
            if self._log is not None:
                self._log.add(rows_of(at, chunk.values, outcome))
            self._told(len(self._trials))
        return asked

    def _chunks(self, points: Iterable[IntArray], asked: list[Point]) -> Iterator[Chunk]:
        self._waiting: dict[int, IntArray] = {}
        for number, array in enumerate(batches(points, self._chunk)):
            tuples = list(map(tuple, array.tolist()))
            asked.extend(tuples)
            fresh = array[[point not in self._trials for point in tuples]]
            if len(fresh):
                self._waiting[number] = fresh
                yield Chunk(number=number, work=0, values=values_at(self._spec.axes, fresh))

    def scores(self, points: IntArray, span: int) -> list[float]:
        """The metric of points over a span, larger being better; runs those that are new."""
        sign = -1.0 if self._spec.metric in SMALLER_IS_BETTER else 1.0
        return [sign * self._trials.figure(point, span, self._spec.metric) for point in self.run([points])]


def _run_guided(spec: SearchSpec, folds: Sequence[Fold], runner: _Runner) -> list[list[Point]]:
    """One study for each past that something is picked on: none may learn from what lies after it."""
    # Optuna takes a second to import.
    from backtesting.search.guided import guided_points

    spans = range(1, len(folds) + 1) if _walks(spec) else range(1)
    return [
        list(
            guided_points(
                spec.axes,
                trials=spec.trials,
                seed=spec.seed + number,
                run=lambda points, span=span: runner.scores(points, span),  # type: ignore[misc]
            )
        )
        for number, span in enumerate(spans)
    ]
