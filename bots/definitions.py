"""What a strategy is made of, as text that makes it again: kept with every version that a bot ran."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from strategies.base import Strategy
from strategies.loader import parse_document, parse_strategy
from strategies.rules import RuleStrategy


class RuleText(msgspec.Struct, frozen=True, kw_only=True):
    """A strategy of rules: its document and the parameter values that replaced defaults."""

    name: str
    document: str  # JSON, with the time frame in force
    parameters: dict[str, float]


def definition_of(strategy: Strategy) -> str | None:
    """The strategy as text; None for one in Python, which is a file and stays one."""
    if not isinstance(strategy, RuleStrategy):
        return None
    text = RuleText(
        name=strategy.name,
        document=msgspec.json.encode(dict(strategy.definition.document)).decode(),
        parameters={name: float(value) for name, value in strategy.parameters.items()},
    )
    return msgspec.json.encode(text).decode()


def strategy_of(text: str, parameters: Mapping[str, float | str] | None = None) -> Strategy:
    """The strategy that `definition_of` was given; `parameters` replace some. Raises InvalidInput."""
    kept = msgspec.json.decode(text, type=RuleText)
    where = f"the stored strategy {kept.name}"
    return parse_strategy(
        parse_document(kept.document, where), where, {**kept.parameters, **(parameters or {})}
    )
