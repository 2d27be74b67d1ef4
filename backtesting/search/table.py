"""All trials of a search as columns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from backtesting.search.spec import SMALLER_IS_BETTER, TrialRow
from backtesting.search.trials import BLOCKS, FIGURES, Outcome
from data.models import FloatArray, IntArray

Point = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialTable:
    """Trials in the order of their grid points, whoever ran them in whatever order."""

    points: IntArray  # shape (n, axes)
    values: FloatArray  # shape (n, axes)
    figures: FloatArray  # shape (n, spans, FIGURES)
    blocks: FloatArray  # shape (n, BLOCKS, 2)
    refusals: tuple[str, ...]  # "" for trials that ran

    def __len__(self) -> int:
        return len(self.points)

    def figure(self, name: str, span: int = 0) -> FloatArray:
        """One figure of every trial, shape (n,)."""
        column: FloatArray = self.figures[:, span, FIGURES.index(name)]
        return column

    def score(self, metric: str, span: int = 0) -> FloatArray:
        """The metric turned so that larger is better, shape (n,)."""
        values = self.figure(metric, span)
        return -values if metric in SMALLER_IS_BETTER else values

    def ran(self) -> int:
        """How many trials were not refused."""
        return sum(not refusal for refusal in self.refusals)

    def best(self, metric: str, span: int = 0, among: Sequence[int] | None = None) -> list[int]:
        """Trials from the best to the worst; those whose metric is not defined are left out.

        Of equals the one with the smaller parameters comes first.
        """
        score = self.score(metric, span)
        known = ~np.isnan(score)
        if among is not None:
            chosen = np.zeros(len(score), dtype=np.bool_)
            chosen[list(among)] = True
            known &= chosen
        at = np.flatnonzero(known)
        order: list[int] = at[np.argsort(-score[at], kind="stable")].tolist()
        return order


class Trials:
    """Trials as they come in."""

    def __init__(self, spans: int) -> None:
        self._spans = spans
        self._points: dict[Point, int] = {}
        self._values: list[FloatArray] = []
        self._figures: list[FloatArray] = []
        self._blocks: list[FloatArray] = []
        self._refusals: list[str] = []
        self.by_engine = 0

    def __len__(self) -> int:
        return len(self._points)

    def __contains__(self, point: Point) -> bool:
        return point in self._points

    def add(self, points: IntArray, values: FloatArray, outcome: Outcome) -> None:
        """Take the outcomes of points that are new."""
        refused = dict(outcome.refusals)
        self.by_engine += outcome.by_engine
        for index, point in enumerate(map(tuple, points.tolist())):
            refusal = refused.get(index, "")
            self._put(point, values[index], outcome.figures[index], outcome.blocks[index], refusal)

    def restore(self, rows: Iterable[TrialRow]) -> None:
        """Take trials that were kept by an earlier run of the same search."""
        for row in rows:
            if row.point in self._points:
                continue
            figures = np.full((self._spans, len(FIGURES)), np.nan)
            if row.figures:
                figures[:] = [
                    [math.nan if value is None else value for value in span] for span in row.figures
                ]
            blocks = np.array(row.blocks) if row.blocks else np.zeros((BLOCKS, 2))
            self._put(row.point, np.array(row.values), figures, blocks, row.refusal)

    def _put(
        self, point: Point, values: FloatArray, figures: FloatArray, blocks: FloatArray, refusal: str
    ) -> None:
        self._points[point] = len(self._points)
        self._values.append(values)
        self._figures.append(figures)
        self._blocks.append(blocks)
        self._refusals.append(refusal)

    def figure(self, point: Point, span: int, name: str) -> float:
        """A figure of a trial that is there."""
        return float(self._figures[self._points[point]][span, FIGURES.index(name)])

    def table(self, points: Iterable[Point] | None = None) -> TrialTable:
        """The trials at `points`, all by default, sorted."""
        kept = sorted(self._points if points is None else points)
        at = [self._points[point] for point in kept]
        axes = len(kept[0]) if kept else 0
        return TrialTable(
            points=np.array(kept, dtype=np.int64).reshape(len(kept), axes),
            values=np.array([self._values[i] for i in at]).reshape(len(at), axes),
            figures=np.array([self._figures[i] for i in at]).reshape(len(at), self._spans, len(FIGURES)),
            blocks=np.array([self._blocks[i] for i in at]).reshape(len(at), BLOCKS, 2),
            refusals=tuple(self._refusals[i] for i in at),
        )


def rows_of(points: IntArray, values: FloatArray, outcome: Outcome) -> list[TrialRow]:
    """The outcomes as they are kept."""
    refused = dict(outcome.refusals)
    return [
        TrialRow(
            point=tuple(points[index].tolist()),
            values=tuple(values[index].tolist()),
            figures=() if index in refused else _without_nan(outcome.figures[index]),
            blocks=() if index in refused else tuple(map(tuple, outcome.blocks[index].tolist())),
            refusal=refused.get(index, ""),
        )
        for index in range(len(points))
    ]


def _without_nan(figures: FloatArray) -> tuple[tuple[float | None, ...], ...]:
    return tuple(
        tuple(value if math.isfinite(value) else None for value in span) for span in figures.tolist()
    )


def batches(points: Iterable[IntArray], most: int) -> Iterator[IntArray]:
    """The same points in arrays of at most `most` rows, joined where they are small."""
    waiting: list[IntArray] = []
    count = 0
    for array in points:
        for start in range(0, len(array), most):
            part = array[start : start + most]
            if count + len(part) > most:
                yield np.concatenate(waiting)
                waiting, count = [], 0
            waiting.append(part)
            count += len(part)
    if waiting:
        yield np.concatenate(waiting)
