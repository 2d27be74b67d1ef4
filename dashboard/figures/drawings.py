"""What is drawn over a price chart, as its address says it: averages, strategies' lines, indicators. Pure.

An address holds items in order, joined by commas: `ema` (the two averages every chart begins with), the name
of a strategy, or an indicator with its parameters in the registry's order, `bollinger(20,2,close)`. `none`
draws nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data.errors import InvalidInput
from data.models import Ohlcv
from strategies.base import Overlay
from strategies.indicators.registry import INDICATORS
from strategies.indicators.spec import IndicatorSpec, ParameterKind

DEFAULT_DRAWING = "ema"
NO_DRAWING = "none"
MAX_DRAWINGS = 10
MAX_TEXT = 400
# Sums since the first candle that is loaded: where they begin says nothing, only how they move.
_CUMULATIVE = frozenset({"obv", "ad"})


@dataclass(frozen=True, slots=True)
class IndicatorDrawing:
    """An indicator of the registry with every parameter in force."""

    spec: IndicatorSpec
    params: Mapping[str, int | float | str]

    @property
    def text(self) -> str:
        """As an address holds it; parsing it gives the same drawing."""
        values = (self.params[parameter.name] for parameter in self.spec.parameters)
        words = (f"{value:g}" if isinstance(value, float) else str(value) for value in values)
        return f"{self.spec.name}({','.join(words)})"

    @property
    def cumulative(self) -> bool:
        return self.spec.name in _CUMULATIVE

    def overlays(self, ohlcv: Ohlcv) -> list[Overlay]:
        """A line per output."""
        found = self.spec.batch(ohlcv, self.params)
        label = self.spec.label(self.params)
        one = len(self.spec.outputs) == 1
        return [
            Overlay(
                name=f"{self.text}.{output}",
                label=label if one else f"{label} {output}",
                pane=self.spec.pane_of(output, self.params),
                values=found[output],
            )
            for output in self.spec.outputs
        ]


def drawing_items(text: str) -> list[str]:
    """The items of an address, each once, in order; commas inside parentheses do not part them."""
    items, depth, item = [], 0, ""
    for letter in text[:MAX_TEXT]:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth <= 0:
            items.append(item)
            item = ""
        else:
            item += letter
    return [one for one in dict.fromkeys(part.strip() for part in (*items, item)) if one]


def parse_indicator(item: str) -> IndicatorDrawing | None:
    """The indicator an item names, or None where it names none or its parameters do not fit.

    Parameters that are left out have their defaults: `rsi()` is `rsi(14,close)`.
    """
    name, opening, rest = item.partition("(")
    spec = INDICATORS.get(name)
    if spec is None or not opening or not rest.endswith(")"):
        return None
    words = [word.strip() for word in rest[:-1].split(",") if word.strip()]
    if len(words) > len(spec.parameters):
        return None
    given: dict[str, object] = {}
    for parameter, word in zip(spec.parameters, words, strict=False):
        try:
            given[parameter.name] = word if parameter.kind is ParameterKind.CHOICE else float(word)
        except ValueError:
            return None
    try:
        return IndicatorDrawing(spec, spec.resolve(given, where="the address"))
    except InvalidInput:
        return None


def known_drawings(text: str, strategies: Sequence[str]) -> str:
    """`text` with what exists of it, in its canonical form; the default where nothing does."""
    if text == NO_DRAWING:
        return NO_DRAWING
    found = []
    for item in drawing_items(text):
        indicator = parse_indicator(item)
        if indicator is not None:
            found.append(indicator.text)
        elif item == DEFAULT_DRAWING or item in strategies:
            found.append(item)
    return ",".join(dict.fromkeys(found[:MAX_DRAWINGS])) or DEFAULT_DRAWING


def indicator_choices() -> list[dict[str, object]]:
    """Every indicator with its parameters, for a list a person searches."""
    return [
        {
            "name": spec.name,
            "title": spec.title,
            "summary": spec.summary,
            "pane": spec.pane,
            "parameters": [
                {
                    "name": parameter.name,
                    "summary": parameter.summary,
                    "kind": parameter.kind.value,
                    "default": parameter.default,
                    "choices": list(parameter.choices),
                    "expected": parameter.expected,
                    "minimum": parameter.minimum if math.isfinite(parameter.minimum) else None,
                    "maximum": parameter.maximum if math.isfinite(parameter.maximum) else None,
                }
                for parameter in spec.parameters
            ],
        }
        for spec in INDICATORS.values()
    ]
