"""A strategy as plain values, so that another process can make it anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data.timeframes import Timeframe
from strategies.base import Strategy
from strategies.loader import parse_strategy
from strategies.rules import RuleStrategy


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a strategy is made of: rules in a document, or the text of a Python file that passed its check."""

    name: str
    version: str
    parameters: Mapping[str, float]
    timeframe: Timeframe
    document: Mapping[str, Any] | None
    source: str = ""


def recipe_of(strategy: Strategy) -> Recipe:
    """How to make the strategy again. Raises TypeError for what is neither rules nor a Python file's."""
    source, document = "", None
    if isinstance(strategy, RuleStrategy):
        document = strategy.definition.document
    else:
        from strategies.python.strategy import LoadedPythonStrategy

        if not isinstance(strategy, LoadedPythonStrategy):
            raise TypeError(f"{type(strategy).__name__} cannot be made anew in another process")
        source = strategy.source
    return Recipe(
        name=strategy.name,
        version=strategy.version,
        parameters=dict(strategy.parameters),
        timeframe=strategy.timeframe,
        document=document,
        source=source,
    )


def made_from(recipe: Recipe) -> Strategy:
    """The strategy. Raises RuntimeError where this program makes another one of it than its sender did."""
    strategy: Strategy
    if recipe.document is not None:
        strategy = parse_strategy(recipe.document, recipe.name, recipe.parameters, recipe.timeframe)
    else:
        from strategies.python.source import load_source

        strategy = load_source(
            recipe.source,
            recipe.name,
            name=recipe.name,
            parameters=recipe.parameters,
            timeframe=recipe.timeframe.value,
        )
    if strategy.version != recipe.version:
        raise RuntimeError(f"{recipe.name} is version {strategy.version} here and {recipe.version} elsewhere")
    return strategy
