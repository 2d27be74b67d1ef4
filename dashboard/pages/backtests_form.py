"""The forms that start a backtest or a sweep: what they show, and the job arguments they amount to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dash_mantine_components as dmc
from dash import html
from dash.development.base_component import Component

from backtesting.search.spans import Scheme
from backtesting.search.spec import DEFAULT_TRIALS, METRICS, Method
from dashboard.market_request import venue_name
from dashboard.panels import aria, icon
from dashboard.readers import StrategyDesk, StrategyShelf
from data.models import Market
from data.timeframes import Timeframe
from strategies.definition import ParameterRange
from strategies.loader import parse_document, parse_strategy
from strategies.versions import StrategyKind

PARAMETER = "run-parameter"
_SCHEMES = {
    Scheme.WHOLE: "All candles",
    Scheme.SPLIT: "Learn on the first part, test on the rest",
    Scheme.ANCHORED: "Walk forward, from the beginning each time",
    Scheme.ROLLING: "Walk forward, a moving window",
}
_SPANS = {1: "Last day", 7: "Last week", 30: "Last month", 365: "Last year", 0: "All"}
_METHODS = {
    Method.GRID: "Grid: every combination",
    Method.RANDOM: "Random choice",
    Method.GUIDED: "Guided by what went well",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Runnable:
    """A strategy that can be run: its own time frame and what may be varied, where that is known."""

    timeframe: Timeframe | None
    parameters: Mapping[str, ParameterRange]
    python: bool


def runnable(name: str, strategies: StrategyDesk, shelf: StrategyShelf) -> Runnable:
    """The strategy of that name, saved or on the shelf. Raises InvalidInput."""
    saved = {one.name for one in strategies.list_strategies(archived=True)}
    if name.partition("@")[0] in saved:
        version = strategies.show(name)
        text, python = version.content, version.kind is StrategyKind.PYTHON
    else:
        text, python = shelf.text(name), name.endswith(".py")
    if python:
        return Runnable(timeframe=None, parameters={}, python=True)
    definition = parse_strategy(parse_document(text, name), name).definition
    return Runnable(timeframe=definition.timeframe, parameters=definition.parameters, python=False)


def strategy_choices(strategies: StrategyDesk, shelf: StrategyShelf) -> list[dict[str, Any]]:
    """Saved strategies, then the files of the shelf, as a grouped selection."""
    saved = [one.name for one in strategies.list_strategies()]
    files = [name for name in shelf.names() if name not in saved]
    groups = (("Saved", saved), ("Templates", files))
    return [
        {"group": title, "items": [{"value": name, "label": name} for name in names]}
        for title, names in groups
        if names
    ]


def run_form(
    kind: str,
    choices: Sequence[dict[str, Any]],
    markets: Sequence[Market],
    given: Mapping[str, str],
    *,
    parameters_of: Callable[[str | None], Any],
    stored: Callable[[str | None], Any],
) -> Component:
    """The form for a backtest or a sweep, filled with what the address says.

    `parameters_of` gives the fields of a strategy, `stored` what there is of a market ("binance:BTC-USDT"):
    both are there from the start, so that nothing below them moves.
    """
    sweep = kind == "sweep"
    known = [item["value"] for group in choices for item in group["items"]]
    strategy = given.get("strategy") or (known[0] if known else None)
    listed = [{"value": str(one), "label": f"{one.symbol} · {venue_name(one.exchange)}"} for one in markets]
    wanted = [f"{given.get('venue', '')}:{symbol}" for symbol in given.get("symbol", "").split(",")]
    first = next(
        (str(one) for one in markets if one.symbol == "BTC-USDT"), str(markets[0]) if markets else None
    )
    chosen = [one["value"] for one in listed if one["value"] in wanted] or ([first] if first else [])
    pick: Component = (
        dmc.Select(
            id="run-market",
            label="Market",
            data=listed,
            value=chosen[0] if chosen else None,
            searchable=True,
            size="xs",
        )
        if sweep
        else dmc.MultiSelect(
            id="run-market",
            label="Markets of one venue; several share the capital",
            data=listed,
            value=chosen,
            searchable=True,
            size="xs",
        )
    )
    return html.Section(
        [
            html.Div(
                [icon("grid-dots" if sweep else "history"), "New sweep" if sweep else "New backtest"],
                className="panel-head",
            ),
            html.Div(
                [
                    html.Div(
                        [
                            dmc.Select(
                                id="run-strategy",
                                label="Strategy",
                                data=list(choices),
                                value=strategy,
                                searchable=True,
                                allowDeselect=False,
                                size="xs",
                            ),
                            pick,
                            dmc.Select(
                                id="run-timeframe",
                                label="Time frame",
                                data=[{"value": "", "label": "The strategy's own"}]
                                + [{"value": one.value, "label": one.value} for one in Timeframe],
                                value=given.get("timeframe", ""),
                                allowDeselect=False,
                                size="xs",
                            ),
                        ],
                        className="run-row three",
                    ),
                    html.Div(
                        [
                            _text("run-from", "From, UTC", given.get("from", ""), "the first candle"),
                            _text("run-to", "Up to, UTC", given.get("to", ""), "the last candle"),
                            _text("run-capital", "Capital", given.get("capital", "10000"), ""),
                            _text("run-fee", "Taker fee, bps", given.get("fee_bps", "10"), ""),
                            _text("run-maker", "Maker fee, bps", given.get("maker_fee_bps", "10"), ""),
                            _text("run-slippage", "Slippage, bps", given.get("slippage_bps", "0"), ""),
                        ],
                        className="run-row six",
                    ),
                    html.Div(
                        [
                            html.Span(
                                stored(chosen[0] if chosen else None), id="run-stored", className="muted"
                            ),
                            *[
                                html.Button(
                                    words,
                                    id={"type": "run-span", "days": days},
                                    className="button small",
                                    type="button",
                                )
                                for days, words in _SPANS.items()
                            ],
                        ],
                        className="run-spans",
                    ),
                    html.H3("Parameters"),
                    html.Div(parameters_of(strategy), id="run-parameters", className="run-parameters"),
                    _search_fields() if sweep else None,
                    html.Div(
                        [
                            dmc.Switch(
                                id="run-close",
                                label="Close what is open at the end",
                                size="xs",
                                checked="close" in given,
                            ),
                            dmc.Switch(
                                id="run-missing",
                                label="Run over minutes that are missing in the store",
                                size="xs",
                                checked="missing" in given,
                            ),
                        ],
                        className="run-switches",
                    ),
                    html.Div(id="run-problems", role="alert"),
                    html.Div(
                        html.Button(
                            [icon("player-play"), "Search" if sweep else "Run"],
                            id={"type": "run-start", "kind": kind},
                            className="button primary",
                            type="button",
                        ),
                        className="run-start",
                    ),
                ],
                className="run-form",
            ),
        ],
        className="panel",
        **aria(label="New sweep" if sweep else "New backtest"),
    )


def _text(name: str, label: str, value: str, placeholder: str) -> Component:
    field: Component = dmc.TextInput(id=name, label=label, value=value, placeholder=placeholder, size="xs")
    return field


def _choice(name: str, label: str, data: Sequence[Any], value: str) -> Component:
    field: Component = dmc.Select(
        id={"type": "run-search", "name": name},
        label=label,
        data=list(data),
        value=value,
        allowDeselect=False,
        size="xs",
    )
    return field


def _figure(name: str, label: str, value: str) -> Component:
    field: Component = dmc.TextInput(
        id={"type": "run-search", "name": name}, label=label, value=value, size="xs"
    )
    return field


def _search_fields() -> Component:
    return html.Div(
        [
            html.H3("Search"),
            html.Div(
                [
                    _choice(
                        "method",
                        "Method",
                        [{"value": one.value, "label": words} for one, words in _METHODS.items()],
                        Method.GRID.value,
                    ),
                    _choice(
                        "scheme",
                        "Candles",
                        [{"value": one.value, "label": words} for one, words in _SCHEMES.items()],
                        Scheme.SPLIT.value,
                    ),
                    _choice(
                        "metric",
                        "Rank by",
                        [{"value": one, "label": one.replace("_", " ")} for one in METRICS],
                        "sharpe",
                    ),
                ],
                className="run-row three",
            ),
            html.Div(
                [
                    _figure("trials", "Trials (random, guided)", str(DEFAULT_TRIALS)),
                    _figure("folds", "Folds (walk forward)", "5"),
                    _figure("test_fraction", "Share to test on", "0.3"),
                    _figure("seed", "Seed", "0"),
                ],
                className="run-row six",
            ),
        ],
        className="run-search",
    )


def parameter_fields(found: Runnable, kind: str, given: Mapping[str, str]) -> list[Component]:
    """One field for each parameter: a value within its bounds, or for a sweep a range."""
    if found.python:
        return [html.Span("A strategy in Python runs with its own values.", className="muted")]
    if not found.parameters:
        return [html.Span("This strategy declares none.", className="muted")]
    return [
        dmc.TextInput(
            id={"type": PARAMETER, "name": name},
            label=name,
            description=_bounds(one),
            inputWrapperOrder=["label", "input", "error", "description"],
            value=given.get(f"p.{name}") or (_range(one) if kind == "sweep" else f"{one.default:g}"),
            size="xs",
        )
        for name, one in found.parameters.items()
    ]


def _bounds(one: ParameterRange) -> str:
    if one.minimum is None or one.maximum is None:
        return "no bounds"
    step = f" by {one.step:g}" if one.step is not None else ""
    return f"{one.minimum:g} to {one.maximum:g}{step}"


def _range(one: ParameterRange) -> str:
    """The declared range with at most some dozens of values, else the default alone."""
    if one.minimum is None or one.maximum is None:
        return f"{one.default:g}"
    step = one.step or 1.0
    while (one.maximum - one.minimum) / step > 30:
        step *= 2
    return f"{one.minimum:g}:{one.maximum:g}:{step:g}"


def arguments_of(
    kind: str, fields: Mapping[str, Any], parameters: Mapping[str, str], search: Mapping[str, str]
) -> dict[str, Any]:
    """The job's arguments. What is empty is left out; what is no number is left as it is, to be refused."""
    chosen = fields.get("market") or ([] if kind == "backtest" else "")
    listed = chosen if isinstance(chosen, list) else [chosen]
    venues = [one.partition(":")[0] for one in listed] or [""]
    # Another venue's symbol would be looked for at the first one's: it is named with its venue and refused.
    symbols = [one.partition(":")[2] if one.startswith(f"{venues[0]}:") else one for one in listed]
    arguments: dict[str, Any] = {"strategy": fields.get("strategy") or "", "venue": venues[0]}
    arguments |= {"symbols": symbols} if kind == "backtest" else {"symbol": symbols[0]}
    for name in ("timeframe", "from", "to", "capital", "fee_bps", "maker_fee_bps", "slippage_bps"):
        if text := str(fields.get(name) or "").strip():
            arguments[name] = text
    for name in ("close_at_end", "allow_missing"):
        arguments[name] = bool(fields.get(name))
    if kind == "backtest":
        arguments["parameters"] = {name: number_of(text) for name, text in parameters.items()}
    else:
        arguments["parameters"] = {name: text.strip() for name, text in parameters.items()}
        arguments |= {
            name: number_of(text) if name in ("trials", "folds", "test_fraction", "seed") else text
            for name, text in search.items()
            if text
        }
    return arguments


def number_of(text: str) -> int | float | str:
    """A number where the text is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
