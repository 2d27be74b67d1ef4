"""The strategy that a job names: a saved version, else a file of the shelf."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.job_kinds.context import JobContext
from app.strategy_desk import load_any, strategy_service
from data.errors import InvalidInput, Problem
from data.timeframes import Timeframe
from database.repositories.strategy_repository import StrategyRepository
from strategies.base import Strategy
from strategies.loader import read_document
from strategies.service import StrategyService
from strategies.templates import find_strategy_file
from strategies.versions import StrategyKind, StrategyVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedStrategy:
    """What the name stands for just now; a saved version is named by its hash from here on."""

    reference: str  # "trend@4be1c0…" of a saved version, else the path of the file
    saved: StrategyVersion | None
    file: Path | None

    def document(self) -> Mapping[str, Any]:
        """The rules as JSON. Raises InvalidInput for a strategy in Python, which has none."""
        if self.saved is not None and self.saved.kind is StrategyKind.JSON:
            found: Mapping[str, Any] = json.loads(self.saved.content)
            return found
        if self.file is not None and self.file.suffix != ".py":
            document: Mapping[str, Any] = read_document(self.file)
            return document
        expected = "a search varies the parameters of rules in JSON; this strategy is written in Python"
        raise InvalidInput(Problem(where="job", field="strategy", value=self.reference, expected=expected))


class NamedStrategies:
    """Finds and loads strategies for one job. A saved one comes before a file of the same name."""

    def __init__(self, service: StrategyService, shelf: Path) -> None:
        self._service, self._shelf = service, shelf

    def find(self, name: str) -> NamedStrategy:
        """Raises InvalidInput for a name that neither knows."""
        saved_names = {one.name for one in self._service.list_strategies(archived=True)}
        if "@" in name or name in saved_names:
            version = self._service.show(name)
            return NamedStrategy(reference=f"{version.name}@{version.version}", saved=version, file=None)
        file = find_strategy_file(name, self._shelf)
        return NamedStrategy(reference=str(file), saved=None, file=file)

    def load(
        self, named: NamedStrategy, parameters: Mapping[str, float | str], timeframe: Timeframe | None
    ) -> Strategy:
        """Ready to run. Raises InvalidInput."""
        if named.file is not None:
            return load_any(named.file, parameters, timeframe)
        return self._service.load(named.reference, parameters, timeframe)


@contextmanager
def named_strategies(context: JobContext) -> Iterator[NamedStrategies]:
    """The strategies of this installation, for one job."""
    with closing(StrategyRepository(context.database_url)) as repository:
        yield NamedStrategies(strategy_service(repository), context.settings.candlewick_strategies)
