"""The page that lists all indicators for people, made from what they declare."""

from __future__ import annotations

from collections.abc import Iterable

from strategies.indicators.sources import SOURCES
from strategies.indicators.spec import IndicatorParameter, IndicatorSpec, ParameterKind

_OPENING = """# Indicators

Made by `scripts/indicator_docs.py` from the indicators themselves; do not edit.

In a strategy file an indicator is `{"type": "rsi", "period": 14}`, its outputs are `name.output` (the name
alone where there is one output), and `"timeframe": "1h"` computes it over closed candles of a higher time
frame. On the command line:

```
candlewick indicators rsi --period 20 --candles candles.csv --out rsi.csv
candlewick indicators rsi --help
```

Values are TA-Lib's wherever TA-Lib has the indicator; `ta:` names give the numbers of the Python package `ta`
and are computed over whole series only, so they fit a backtest but not a bot. A value is missing (empty,
never 0) until the indicator has seen enough candles: the column "first" is how many candles pass before all
outputs have a value, with the default parameters (`pivots`: where a candle is a day). A candle's value
depends on that candle and earlier ones alone.

An interval without trades has no candle, and lengths count candles, not time: 20 candles of a sparse market
reach further back than 20 intervals. What hangs on the calendar (`vwap_session`, `pivots`) follows the times
of the candles.
"""


def indicator_page(indicators: Iterable[IndicatorSpec]) -> str:
    """The whole page, in Markdown."""
    specs = list(indicators)
    lines = [_OPENING, f"Where a `source` is named it is one of {_listed(SOURCES)}.", ""]
    lines += ["| name | outputs | drawn on | first |", "|---|---|---|---|"]
    for spec in specs:
        params = {parameter.name: parameter.default for parameter in spec.parameters}
        panes = dict.fromkeys(spec.pane_of(output, params) for output in spec.outputs)
        lines.append(
            f"| [`{spec.name}`](#{_anchor(spec.name)}) | {_listed(spec.outputs)} | {', '.join(panes)} "
            f"| {spec.warmup(params)} |"
        )
    for spec in specs:
        lines += ["", f"## {spec.name}", "", spec.summary]
        if spec.parameters:
            lines += ["", "| parameter | default | allowed | meaning |", "|---|---|---|---|"]
            lines += [_row(parameter) for parameter in spec.parameters]
    return "\n".join(lines) + "\n"


def _row(parameter: IndicatorParameter) -> str:
    is_choice = parameter.kind is ParameterKind.CHOICE
    allowed = ", ".join(parameter.choices) if is_choice else parameter.expected.removeprefix("expected ")
    default = parameter.default if is_choice else f"{parameter.default:g}"
    return f"| `{parameter.name}` | {default} | {allowed} | {parameter.summary} |"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _anchor(heading: str) -> str:
    """The link GitHub makes of a heading."""
    return heading.replace(":", "")
