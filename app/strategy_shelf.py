"""The strategy files of an installation, as pages want them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from app.processes.strategy_check import python_strategies
from data.errors import InvalidInput, Problem
from data.timeframes import Timeframe
from strategies.base import Strategy
from strategies.loader import load_strategy, read_document
from strategies.python.source import read_source
from strategies.templates import find_strategy_file, python_files, templates


class StrategyShelf:
    """Satisfies `dashboard.readers.StrategyShelf`; reads the folder anew each time, so that an edit shows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._python = python_strategies()

    def names(self) -> Sequence[str]:
        """Files that can be used, by name; what is wrong with the others `strategy validate` tells.

        Those in Python are named whole ("breakout.py") and are not run for a list: what is refused says so
        when it is chosen.
        """
        rules = [template.name for template in templates(self._folder) if template.strategy is not None]
        return rules + [path.name for path in python_files(self._folder)]

    def strategy(self, name: str, timeframe: Timeframe) -> Strategy:
        """The strategy with its default parameters on that time frame. Raises InvalidInput.

        A Python strategy takes seconds the first time, while it is checked.
        """
        path = find_strategy_file(name, self._folder)
        if path.suffix == ".py":
            return self._python.load(path, timeframe=timeframe)
        return load_strategy(path, timeframe=timeframe)

    def text(self, name: str) -> str:
        """The file of that name as it is written. Raises InvalidInput."""
        path = find_strategy_file(name, self._folder)
        if path.parent.resolve() not in (self._folder.resolve(), (self._folder / "python").resolve()):
            # The name comes from a browser and is no path.
            expected = "give the name of a file on the shelf"
            raise InvalidInput(Problem(where="strategy", field="", value=name[:100], expected=expected))
        if path.suffix == ".py":
            return read_source(path)
        read_document(path)
        return path.read_text(encoding="utf-8-sig")
