"""Settings in a strategy's clothes: what runner, backtest and pages ask of any strategy."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from bots.ladders.settings import AnySettings, LadderSettings, RebalanceSettings, type_of
from data.models import Candle, Ohlcv
from data.timeframes import Timeframe
from strategies.base import Decision, Overlay, Protection, Signals, Sizing, Strategy, StrategyStream


class SettingsStrategy:
    """Settings in the place of a strategy, with one that begins rounds, if any."""

    def __init__(self, settings: AnySettings, timeframe: Timeframe, entry: Strategy | None = None) -> None:
        self._timeframe = timeframe
        self._entry = entry
        self._kind = type_of(settings)
        content = msgspec.json.encode((settings, timeframe, None if entry is None else entry.version))
        self._version = hashlib.sha256(content).hexdigest()

    @property
    def name(self) -> str:
        kind = str(self._kind)
        return kind if self._entry is None else f"{kind} on {self._entry.name}"

    @property
    def version(self) -> str:
        """Hash of the settings, the time frame and the entry strategy's version."""
        return self._version

    @property
    def timeframe(self) -> Timeframe:
        return self._timeframe

    @property
    def parameters(self) -> Mapping[str, float]:
        return {} if self._entry is None else self._entry.parameters

    @property
    def protection(self) -> Protection:
        """None of the usual kind: a ladder has stops and exits of its own."""
        return Protection()

    @property
    def sizing(self) -> Sizing:
        return Sizing()

    @property
    def warmup(self) -> int:
        return 0 if self._entry is None else self._entry.warmup

    def signals(self, ohlcv: Ohlcv) -> Signals:
        if self._entry is not None:
            return self._entry.signals(ohlcv)
        never = np.zeros(len(ohlcv), dtype=np.bool_)
        return Signals(long_entry=never, long_exit=never, short_entry=never, short_exit=never)

    def stream(self) -> StrategyStream:
        return _Silent(self) if self._entry is None else self._entry.stream()

    def silence(self, opened_at_us: int, close: float) -> Decision:
        """Nothing is said of the candle that opened then."""
        return Decision(
            strategy=self.name,
            version=self.version,
            opened_at_us=opened_at_us,
            close=close,
            long_entry=False,
            long_exit=False,
            short_entry=False,
            short_exit=False,
            record={},
        )

    def overlays(self, ohlcv: Ohlcv) -> Sequence[Overlay]:
        return () if self._entry is None else self._entry.overlays(ohlcv)


class LadderStrategy(SettingsStrategy):
    """A grid, a DCA bot or a pyramid on one market."""

    def __init__(self, settings: LadderSettings, timeframe: Timeframe, entry: Strategy | None = None) -> None:
        super().__init__(settings, timeframe, entry)
        self.settings = settings


class BasketStrategy(SettingsStrategy):
    """A basket over several markets."""

    def __init__(self, settings: RebalanceSettings, timeframe: Timeframe) -> None:
        super().__init__(settings, timeframe)
        self.settings = settings


class _Silent:
    """Says nothing of any candle: the ladder acts by itself."""

    def __init__(self, strategy: SettingsStrategy) -> None:
        self._strategy = strategy

    def update(self, candle: Candle) -> Decision:
        return self._strategy.silence(candle.opened_at_us, candle.close)
