"""What every indicator declares: parameters, outputs and how it is computed, at once or candle by candle."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from data.errors import InvalidInput, Problem
from data.models import FloatArray, Ohlcv

# Values by parameter name: int, float or str as the parameter declares. Complete and checked, by `resolve`.
IndicatorParams = Mapping[str, Any]

PRICE_PANE = "price"
MAX_PERIOD = 10_000  # candles


class ParameterKind(StrEnum):
    INTEGER = "integer"
    NUMBER = "number"
    CHOICE = "choice"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndicatorParameter:
    """One knob of an indicator. `minimum` and `maximum` are inclusive; `choices` belong to CHOICE alone."""

    name: str
    summary: str
    kind: ParameterKind
    default: int | float | str
    minimum: float = -math.inf
    maximum: float = math.inf
    choices: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """What a person may write here, in words."""
        if self.kind is ParameterKind.CHOICE:
            return f"expected one of {', '.join(self.choices)}"
        noun = "a whole number" if self.kind is ParameterKind.INTEGER else "a number"
        if math.isinf(self.maximum):
            return (
                f"expected {noun}, {self.minimum:g} or more"
                if self.minimum > -math.inf
                else f"expected {noun}"
            )
        return f"expected {noun} from {self.minimum:g} to {self.maximum:g}"

    def checked(self, value: object) -> int | float | str | None:
        """`value` as this parameter's own type, None if it does not fit: 14.0 is a whole number, "14" not."""
        if self.kind is ParameterKind.CHOICE:
            return value if isinstance(value, str) and value in self.choices else None
        number = finite_number(value)
        if number is None or not self.minimum <= number <= self.maximum:
            return None
        if self.kind is ParameterKind.INTEGER:
            return int(number) if number.is_integer() else None
        return number


class IndicatorStream(Protocol):
    """An indicator fed closed candles in ascending order; the same values as over the whole array."""

    def update(
        self, opened_at_us: int, open: float, high: float, low: float, close: float, volume: float
    ) -> tuple[float, ...]:
        """The outputs on this candle, in the spec's order; NaN while warming up."""
        ...


def _no_objection(params: IndicatorParams) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndicatorSpec:
    """One indicator. `batch` and `stream` agree bit for bit; row i depends on rows up to i alone.

    `warmup` is the number of leading candles before every output has a value (of a session that is one
    candle long, where it hangs on sessions). `settling` is the number of candles after which a value no
    longer depends (to about 1e-9) on where the series began: `warmup` where there is no recursion.
    `objection` says what is wrong between parameters that are each fine ("" when nothing is).
    `stream` is None for what can only be computed over a whole array.
    """

    name: str  # as strategy files write it: "ema"
    title: str  # as charts show it: "EMA"
    summary: str  # one line for a person
    parameters: tuple[IndicatorParameter, ...]
    outputs: tuple[str, ...]  # ("value",) where there is one
    pane: str  # "price" when it is drawn over the candles, else the name of a pane of its own
    warmup: Callable[[IndicatorParams], int]
    settling: Callable[[IndicatorParams], int]
    batch: Callable[[Ohlcv, IndicatorParams], dict[str, FloatArray]]
    stream: Callable[[IndicatorParams], IndicatorStream] | None
    objection: Callable[[IndicatorParams], str] = _no_objection
    output_panes: Mapping[str, str] = field(default_factory=dict)  # for outputs that are not drawn on `pane`

    def resolve(
        self, given: Mapping[str, object], *, where: str, at: str = ""
    ) -> dict[str, int | float | str]:
        """`given` checked and completed with defaults. Raises InvalidInput naming every wrong parameter.

        `where` is the file or command, `at` the path of the parameters inside it ("indicators.fast").
        """
        problems: list[Problem] = []
        known = {parameter.name: parameter for parameter in self.parameters}
        resolved: dict[str, int | float | str] = {p.name: p.default for p in self.parameters}
        for name, value in given.items():
            field_path = f"{at}.{name}" if at else name
            if name not in known:
                expected = f"{self.name} has no such parameter{meant(name, known)}"
                problems.append(_problem(where, field_path, value, expected))
                continue
            checked = known[name].checked(value)
            if checked is None:
                problems.append(_problem(where, field_path, value, known[name].expected))
            else:
                resolved[name] = checked
        if not problems and (objection := self.objection(resolved)):
            values = ", ".join(f"{name} {value}" for name, value in resolved.items())
            problems.append(Problem(where=where, field=at, value=values, expected=objection))
        if problems:
            raise InvalidInput(*problems)
        return resolved

    def label(self, params: IndicatorParams) -> str:
        """What a legend says: "EMA 12", "RSI 14 hl2"; a choice is named only when it is not the default."""
        words = [self.title]
        for parameter in self.parameters:
            value = params[parameter.name]
            if parameter.kind is not ParameterKind.CHOICE or value != parameter.default:
                words.append(f"{value:g}" if isinstance(value, float) else str(value))
        return " ".join(words)

    def pane_of(self, output: str, params: IndicatorParams) -> str:
        """The pane `output` is drawn on. An average of the volume is not drawn on the prices."""
        pane = self.output_panes.get(output, self.pane)
        return "volume" if pane == PRICE_PANE and params.get("source") == "volume" else pane


def period_parameter(
    default: int, *, name: str = "period", minimum: int = 2, summary: str = "candles"
) -> IndicatorParameter:
    """A length in candles."""
    return IndicatorParameter(
        name=name,
        summary=summary,
        kind=ParameterKind.INTEGER,
        default=default,
        minimum=minimum,
        maximum=MAX_PERIOD,
    )


def _problem(where: str, at: str, value: object, expected: str) -> Problem:
    return Problem(where=where, field=at, value=shown(value), expected=expected)


def finite_number(value: object) -> float | None:
    """`value` as a float if it is a finite number; booleans and strings are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def shown(value: object) -> str:
    """`value` as JSON, shortened for a message."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def meant(name: str, known: Iterable[str]) -> str:
    """`; did you mean "ema"? known: ema, sma`: the end of a message about a name that is not known."""
    names = list(known)
    close = difflib.get_close_matches(name.lower(), names, n=1)
    guess = f'; did you mean "{close[0]}"?' if close else ";"
    return f"{guess} known: {', '.join(names)}" if names else "; there are none"
