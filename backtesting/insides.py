"""Reads what lies inside candles only where a run turns out to need it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from backtesting.engine import BacktestResult
from bots.finest_data import FinestReader, FinestRows, merged
from data.models import IntArray, Ohlcv

if TYPE_CHECKING:
    from backtesting.portfolio import PortfolioResult


@dataclass(slots=True)
class InsideOf:
    """What is known of the inside of one series' candles."""

    ohlcv: Ohlcv
    inside: FinestReader | None
    found: list[FinestRows] = field(default_factory=list)
    asked: set[int] = field(default_factory=set)

    @property
    def finer(self) -> FinestRows | None:
        return merged(self.found)

    def ask(self, undecided: IntArray) -> bool:
        """Read for those rows that were never asked for. Whether that found anything."""
        rows = np.array(sorted(set(undecided.tolist()) - self.asked), dtype=np.int64)
        if self.inside is None or len(rows) == 0:
            return False
        self.asked.update(rows.tolist())
        found = self.inside(self.ohlcv.taken(rows))
        if found is None:
            return False
        self.found.append(found)
        return True


def run_with_insides(
    run: Callable[[FinestRows | None], BacktestResult], ohlcv: Ohlcv, inside: FinestReader | None
) -> BacktestResult:
    """Run without finer data, read it for the candles that hold stop and target, and run again with it.

    `run` takes the finer data. Since a candle that was decided otherwise can lead to other trades, this goes
    on until no new candle needs any. Each that ever needed it is asked for once, so the last run had the same
    data at hand as a bot that asks candle by candle. Without `inside` it runs once.
    """
    series = InsideOf(ohlcv, inside)
    result = run(None)
    while series.ask(result.undecided):
        result = run(series.finer)
    return result


def run_legs_with_insides(
    run: Callable[[Sequence[FinestRows | None]], PortfolioResult],
    legs: Sequence[tuple[Ohlcv, FinestReader | None]],
) -> PortfolioResult:
    """The same for several legs with one capital; `run` takes the finer data of each."""
    series = [InsideOf(ohlcv, inside) for ohlcv, inside in legs]
    result = run([None] * len(series))
    # Every leg is asked, not only those before the first that finds something.
    while any([one.ask(leg.undecided) for one, leg in zip(series, result.legs, strict=True)]):  # noqa: C419
        result = run([one.finer for one in series])
    return result
