"""A made-up market that rests, goes on, and changes its price step when it is told to."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from data.models import IntArray
from simulator.columns import TradeColumns
from simulator.generator import SyntheticMarket
from simulator.instruments import MarketShape

_NEVER_MS = 2**60


@dataclass(slots=True)
class _Rest:
    """Nothing trades in `[start_ms, end_ms)`."""

    start_ms: int
    end_ms: int = _NEVER_MS


class ScriptedMarket(SyntheticMarket):
    """While the market rests its own time stands still: ids follow each other across the rest without a hole.

    Only what is to come may change: `halt`, `resume` and `coarsen` take a moment no answer has reached yet.
    """

    def __init__(
        self, shape: MarketShape, *, seed: int, listed_at_ms: int, rate_multiplier: float = 1.0
    ) -> None:
        super().__init__(shape, seed=seed, listed_at_ms=listed_at_ms, rate_multiplier=rate_multiplier)
        self._rests: list[_Rest] = []
        self._steps: list[tuple[int, int]] = []  # from when, price units

    def halt(self, at_ms: int) -> None:
        """Rest from `at_ms` on; nothing where it rests already."""
        if not self._resting:
            self._rests.append(_Rest(at_ms))

    def resume(self, at_ms: int) -> None:
        """Go on at `at_ms`; nothing where it does not rest."""
        if self._resting:
            self._rests[-1].end_ms = at_ms

    def coarsen(self, at_ms: int, tick: int) -> None:
        """From `at_ms` on prices are multiples of `tick` units, itself a multiple of the step before."""
        self._steps.append((at_ms, tick))

    @property
    def _resting(self) -> bool:
        return bool(self._rests) and self._rests[-1].end_ms == _NEVER_MS

    def count_before(self, at_ms: int) -> int:
        rested_ms = sum(max(min(rest.end_ms, at_ms) - rest.start_ms, 0) for rest in self._rests)
        return super().count_before(at_ms - rested_ms)

    def trades(self, first_id: int, last_id: int) -> TradeColumns:
        columns = super().trades(first_id, last_id)
        if self._rests:
            columns = replace(columns, at_ms=self._on_the_clock(columns.at_ms))
        for from_ms, tick in self._steps:
            rounded = np.maximum(columns.price // tick, 1) * tick
            columns = replace(columns, price=np.where(columns.at_ms >= from_ms, rounded, columns.price))
        return columns

    def _on_the_clock(self, own_ms: IntArray) -> IntArray:
        """The venue's time of moments in the market's own."""
        at_ms = own_ms
        for rest in self._rests:
            at_ms = np.where(at_ms >= rest.start_ms, at_ms + (rest.end_ms - rest.start_ms), at_ms)
        return at_ms
