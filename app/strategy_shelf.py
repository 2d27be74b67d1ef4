"""The strategy files of an installation, as pages want them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data.timeframes import Timeframe
from strategies.base import Strategy
from strategies.loader import load_strategy
from strategies.templates import find_strategy_file, templates


class StrategyShelf:
    """Satisfies `dashboard.readers.StrategyShelf`; reads the folder anew each time, so that an edit shows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> Sequence[str]:
        """Files that can be used, by name; what is wrong with the others `strategy validate` tells."""
        return [template.name for template in templates(self._folder) if template.strategy is not None]

    def strategy(self, name: str, timeframe: Timeframe) -> Strategy:
        """The strategy with its default parameters on that time frame. Raises InvalidInput."""
        return load_strategy(find_strategy_file(name, self._folder), timeframe=timeframe)
