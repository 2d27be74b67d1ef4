"""A strategy whose signals on one series are known: a run that is repeated need not ask for them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data.models import Ohlcv
from data.timeframes import Timeframe
from strategies.base import Overlay, Protection, Signals, Sizing, Strategy, StrategyStream


@dataclass(frozen=True, slots=True)
class Prepared:
    """The strategy `of`, with what it said on the series that it will be run on."""

    of: Strategy
    said: Signals

    @property
    def name(self) -> str:
        return self.of.name

    @property
    def version(self) -> str:
        return self.of.version

    @property
    def timeframe(self) -> Timeframe:
        return self.of.timeframe

    @property
    def parameters(self) -> Mapping[str, float]:
        return self.of.parameters

    @property
    def protection(self) -> Protection:
        return self.of.protection

    @property
    def sizing(self) -> Sizing:
        return self.of.sizing

    @property
    def warmup(self) -> int:
        return self.of.warmup

    def signals(self, ohlcv: Ohlcv) -> Signals:
        """What was said on these very candles."""
        return self.said

    def stream(self) -> StrategyStream:
        return self.of.stream()

    def overlays(self, ohlcv: Ohlcv) -> Sequence[Overlay]:
        return self.of.overlays(ohlcv)
