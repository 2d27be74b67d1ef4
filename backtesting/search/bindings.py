"""A strategy document with many values of its parameters, read as seldom as possible.

Reading and checking a document takes longer than running it. Each part of it (an indicator, the rules, the
protection) depends on some of the parameters only, and is read once for each of their values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import msgspec

from backtesting.search.signals import BoundRules
from data.errors import InvalidInput
from data.timeframes import Timeframe
from strategies.base import Protection, Sizing, SizingType
from strategies.definition import IndicatorUse, SideRules, StrategyDefinition
from strategies.definition_reader import read_definition

# What the kernel of the search knows; a strategy that says more is run by the engine itself.
_KNOWN_EXITS = ("stop_loss", "take_profit", "trailing_stop")
_KNOWN_SIDE = ("entry", "exit")
_KNOWN_SIZING = ("type", "value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One parameter set's part of a strategy."""

    rules: BoundRules
    protection: Protection
    sizing: Sizing
    is_simple: bool  # the search's kernel can run it


class Bindings:
    """Parameter sets of one document as rules, protection and sizing."""

    def __init__(self, document: Mapping[str, Any], where: str, timeframe: Timeframe | None) -> None:
        self._document, self._where, self._timeframe = document, where, timeframe
        self.base = read_definition(document, where, None, timeframe)
        self._indicator_reads = {
            name: _parameters_in(document.get("indicators", {}).get(name)) for name in self.base.indicators
        }
        self._rule_reads = _parameters_in([document.get("long"), document.get("short")])
        self._term_reads = _parameters_in([document.get("protection"), document.get("sizing")])
        self._indicators: dict[tuple[object, ...], IndicatorUse] = {}
        self._rules: dict[tuple[object, ...], tuple[SideRules | None, SideRules | None]] = {}
        self._terms: dict[tuple[object, ...], tuple[Protection, Sizing, bool]] = {}

    def of(self, values: Mapping[str, float]) -> Bound:
        """The strategy with these values of its parameters. Raises InvalidInput where they do not fit."""
        indicators = {}
        for name, reads in self._indicator_reads.items():
            use = self._indicators.get((name, *(values[read] for read in reads)))
            if use is None:
                return self._read(values)
            indicators[name] = use
        rules = self._rules.get(tuple(values[read] for read in self._rule_reads))
        terms = self._terms.get(tuple(values[read] for read in self._term_reads))
        if rules is None or terms is None:
            return self._read(values)
        protection, sizing, is_simple = terms
        return Bound(
            rules=BoundRules(long=rules[0], short=rules[1], indicators=indicators),
            protection=protection,
            sizing=sizing,
            is_simple=is_simple,
        )

    def definition(self, values: Mapping[str, float]) -> StrategyDefinition:
        """The whole definition with these values in force. Raises InvalidInput where they do not fit."""
        return read_definition(self._document, self._where, dict(values), self._timeframe)

    def defaults(self) -> dict[str, float]:
        """The values that hold where nothing else is given."""
        return dict(self.base.values)

    def _read(self, values: Mapping[str, float]) -> Bound:
        read = self.definition(values)
        for name, reads in self._indicator_reads.items():
            self._indicators[(name, *(values[each] for each in reads))] = read.indicators[name]
        self._rules[tuple(values[each] for each in self._rule_reads)] = read.long, read.short
        is_simple = is_simple_definition(read)
        self._terms[tuple(values[each] for each in self._term_reads)] = (
            read.protection,
            read.sizing,
            is_simple,
        )
        return Bound(
            rules=BoundRules(long=read.long, short=read.short, indicators=read.indicators),
            protection=read.protection,
            sizing=read.sizing,
            is_simple=is_simple,
        )


def is_simple_definition(definition: StrategyDefinition) -> bool:
    """Whether the search's own kernel knows everything that the definition says."""
    protection, sizing = definition.protection, definition.sizing
    if sizing.type is not SizingType.FRACTION_OF_EQUITY or _says_more(sizing, _KNOWN_SIZING):
        return False
    sides = (side for side in (definition.long, definition.short) if side is not None)
    if any(
        getattr(side, field.name) for side in sides for field in fields(side) if field.name not in _KNOWN_SIDE
    ):
        return False
    return not _says_more(protection, _KNOWN_EXITS)


def _says_more(struct: msgspec.Struct, known: Sequence[str]) -> bool:
    return any(
        field.name not in known and getattr(struct, field.name) != _default_of(field)
        for field in msgspec.structs.fields(struct)
    )


def _default_of(field: msgspec.structs.FieldInfo) -> object:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def _parameters_in(part: object) -> tuple[str, ...]:
    """The names of the parameters that a part of a document refers to."""
    found: dict[str, None] = {}

    def walk(node: object) -> None:
        if isinstance(node, Mapping):
            name = node.get("parameter")
            if isinstance(name, str):
                found[name] = None
            for inner in node.values():
                walk(inner)
        elif isinstance(node, list | tuple):
            for inner in node:
                walk(inner)

    walk(part)
    return tuple(found)


def refusal_of(error: InvalidInput) -> str:
    """Why a parameter set cannot be run, on one line."""
    return "; ".join(str(problem) for problem in error.problems)
