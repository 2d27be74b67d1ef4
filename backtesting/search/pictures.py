"""What a search looks like: a heat map of two parameters, and parallel coordinates of all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from backtesting.search.result import HeatMap, ParallelCoordinates
from backtesting.search.spec import SMALLER_IS_BETTER, SearchSpec
from backtesting.search.table import TrialTable
from data.models import FloatArray

_MOST_CELLS = 40_000
_MOST_ROWS = 500
_COORDINATES = ("total_return", "sharpe", "max_drawdown", "trades", "win_rate")


def heat_map_of(spec: SearchSpec, table: TrialTable) -> HeatMap | None:
    """The metric over the first two parameters that vary; None where fewer vary or cells are too many."""
    varied = [column for column, axis in enumerate(spec.axes) if len(axis.values) > 1]
    if len(varied) < 2:
        return None
    across, up = varied[:2]
    x, y = spec.axes[across], spec.axes[up]
    width, height = len(x.values), len(y.values)
    if width * height > _MOST_CELLS:
        return None
    metric = table.figure(spec.metric)
    known = ~np.isnan(metric)
    cell = (table.points[:, up] * width + table.points[:, across])[known]
    order = np.lexsort((metric[known], cell))
    cells, values = cell[order], metric[known][order]
    best, median = np.full(width * height, np.nan), np.full(width * height, np.nan)
    starts = np.flatnonzero(np.diff(cells, prepend=-1))
    ends = np.append(starts[1:], len(cells))[: len(starts)]
    for start, stop in zip(starts, ends, strict=True):
        best[cells[start]] = values[start] if spec.metric in SMALLER_IS_BETTER else values[stop - 1]
        median[cells[start]] = np.median(values[start:stop])
    return HeatMap(
        x=x.name,
        y=y.name,
        x_values=x.values,
        y_values=y.values,
        best=_rows(best.reshape(height, width)),
        median=_rows(median.reshape(height, width)),
    )


def parallel_of(spec: SearchSpec, table: TrialTable, best: Sequence[int]) -> ParallelCoordinates:
    """The best trials, and below them an even choice of the rest."""
    chosen = list(best)
    if len(chosen) > _MOST_ROWS:
        half = _MOST_ROWS // 2
        rest = np.linspace(half, len(chosen) - 1, _MOST_ROWS - half).astype(int).tolist()
        chosen = chosen[:half] + [chosen[rank] for rank in rest]
    names = [axis.name for axis in spec.axes]
    figures = [spec.metric, *(name for name in _COORDINATES if name != spec.metric)]
    columns = np.concatenate(
        [table.values, np.stack([table.figure(name) for name in figures], axis=1)], axis=1
    )
    return ParallelCoordinates(columns=(*names, *figures), rows=_rows(columns[chosen]))


def _rows(values: FloatArray) -> tuple[tuple[float | None, ...], ...]:
    return tuple(tuple(None if math.isnan(value) else value for value in row) for row in values.tolist())
