"""What the forms of the Backtests page do: show a strategy's parameters, and queue what was filled in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from dash import ALL, ClientsideFunction, Dash, Input, Output, State, ctx, html, no_update
from dash.development.base_component import Component

from dashboard.number_formats import day_and_time, zone_name
from dashboard.pages.backtests_form import PARAMETER, arguments_of, parameter_fields, runnable
from dashboard.pages.strategies import asked
from dashboard.panels import error_state, icon
from dashboard.readers import JobDesk, MarketReader, StrategyDesk, StrategyShelf
from data.errors import InvalidInput, Problem, TradingError
from data.models import Market
from data.timeframes import Timeframe
from jobs.model import JobKind

WHO = "web page"
_FIELDS = (
    ("strategy", "run-strategy"),
    ("market", "run-market"),
    ("timeframe", "run-timeframe"),
    ("from", "run-from"),
    ("to", "run-to"),
    ("capital", "run-capital"),
    ("fee_bps", "run-fee"),
    ("maker_fee_bps", "run-maker"),
    ("slippage_bps", "run-slippage"),
)


def stored_words(market: str, reader: MarketReader) -> str:
    """From when on a market's candles are stored, and until when. Reads the store."""
    venue, _, symbol = market.partition(":")
    one = Market(venue, symbol)
    hours, minute = reader.candles(one, Timeframe.H1), reader.candles(one, Timeframe.M1, limit=1)
    if not len(hours) or not len(minute):
        return f"No full hour of {symbol} is stored yet"
    first, last = day_and_time(int(hours.opened_at_us[0])), day_and_time(int(minute.opened_at_us[-1]))
    return f"Stored of {symbol}: {first} to {last} {zone_name()}"


def stored_or_nothing(market: str | None, reader: MarketReader) -> str | None:
    """`stored_words`; None where nothing can be read, which the run itself says when it is asked for."""
    try:
        return stored_words(market, reader) if market else None
    except TradingError:
        return None


def parameters_of(
    name: str | None, wanted: Mapping[str, str], strategies: StrategyDesk, shelf: StrategyShelf
) -> Any:
    """The fields of a strategy's parameters, filled with what the address says of them. Reads the store."""
    if not name:
        return html.Span("Choose a strategy.", className="muted")
    kind = "sweep" if wanted.get("new") == "sweep" else "backtest"
    given = wanted if wanted.get("strategy", name) == name else {}
    try:
        return parameter_fields(runnable(name, strategies, shelf), kind, given)
    except TradingError as error:
        return error_state("The strategy", error)


def register_start(
    app: Dash, strategies: StrategyDesk, shelf: StrategyShelf, jobs: JobDesk, market: MarketReader
) -> None:
    """The callbacks of both forms."""
    app.clientside_callback(  # type: ignore[no-untyped-call]  # Dash leaves it untyped
        ClientsideFunction("backtests", "span"),
        Output("run-from", "value"),
        Output("run-to", "value"),
        Input({"type": "run-span", "days": ALL}, "n_clicks"),
        prevent_initial_call=True,
    )

    @app.callback(Output("run-stored", "children"), Input("run-market", "value"))
    async def show_stored(chosen: str | list[str] | None) -> Any:
        first = chosen[0] if isinstance(chosen, list) and chosen else chosen
        return await asyncio.to_thread(stored_or_nothing, first if isinstance(first, str) else None, market)

    @app.callback(
        Output("run-parameters", "children"),
        Input("run-strategy", "value"),
        State("url", "search"),
        # The form arrives filled: filled again by a late answer, it would lose what was typed meanwhile.
        prevent_initial_call=True,
    )
    async def show_parameters(name: str | None, search: str | None) -> Any:
        return await asyncio.to_thread(parameters_of, name, asked(search), strategies, shelf)

    @app.callback(
        output=(
            Output("url", "search", allow_duplicate=True),
            Output("run-problems", "children"),
            Output({"type": PARAMETER, "name": ALL}, "error"),
            [Output(component, "error") for _, component in _FIELDS],
        ),
        inputs={"clicks": Input({"type": "run-start", "kind": ALL}, "n_clicks")},
        state={
            "filled": [State(component, "value") for _, component in _FIELDS],
            "close": State("run-close", "checked"),
            "missing": State("run-missing", "checked"),
            "values": State({"type": PARAMETER, "name": ALL}, "value"),
            "names": State({"type": PARAMETER, "name": ALL}, "id"),
            "searched": State({"type": "run-search", "name": ALL}, "value"),
            "search_names": State({"type": "run-search", "name": ALL}, "id"),
        },
        prevent_initial_call=True,
    )
    async def start(
        *,
        clicks: Sequence[int | None],
        filled: Sequence[Any],
        close: bool | None,
        missing: bool | None,
        values: Sequence[str | None],
        names: Sequence[dict[str, str]],
        searched: Sequence[str | None],
        search_names: Sequence[dict[str, str]],
    ) -> tuple[Any, Any, Any, Any]:
        quiet: tuple[Any, Any, Any, Any] = (
            no_update,
            no_update,
            [no_update] * len(names),
            [no_update] * len(_FIELDS),
        )
        if not any(clicks) or not isinstance(ctx.triggered_id, dict):
            return quiet
        kind = ctx.triggered_id["kind"]
        fields = {name: value for (name, _), value in zip(_FIELDS, filled, strict=True)}
        fields |= {"close_at_end": close, "allow_missing": missing}
        parameters = {
            one["name"]: (value or "").strip() for one, value in zip(names, values, strict=True) if value
        }
        search = {one["name"]: value or "" for one, value in zip(search_names, searched, strict=True)}
        arguments = arguments_of(kind, fields, parameters, search)
        try:
            job = await asyncio.to_thread(jobs.start, JobKind(kind), arguments, WHO)
        except InvalidInput as invalid:
            return no_update, *_told(invalid.problems, [one["name"] for one in names])
        except TradingError as error:
            return no_update, error_state("The job", error), quiet[2], quiet[3]
        return f"?job={job.id}", None, [None] * len(names), [None] * len(_FIELDS)


def _told(
    problems: Sequence[Problem], parameters: Sequence[str]
) -> tuple[list[Component], list[str | None], list[str | None]]:
    """Each problem at its field, and all of them above the button for those that have none."""
    by_field: dict[str, str] = {}
    for one in problems:
        by_field.setdefault(_field(one), f"{one.value}: {one.expected}" if one.value else one.expected)
    shown = {name for name, _ in _FIELDS} | {f"parameters.{name}" for name in parameters}
    marked = sum(field in shown for field in by_field)
    words = "One field above needs" if marked == 1 else f"{marked} fields above need"
    lines: list[Component] = (
        [_line(f"{words} another value; it says beside each what would be right.")] if marked else []
    )
    lines += [
        _line([html.B(one.field.replace("_", " ")), f" {one.value} ", one.expected])
        for one in problems
        if _field(one) not in shown
    ]
    return (
        lines,
        [by_field.get(f"parameters.{name}") for name in parameters],
        [by_field.get(name) for name, _ in _FIELDS],
    )


def _field(problem: Problem) -> str:
    """The field of the form that a problem of the job's arguments belongs to."""
    return "market" if problem.field in ("symbols", "symbol", "venue") else problem.field


def _line(words: Any) -> Component:
    return html.P([icon("alert-triangle"), html.Span(words)], className="run-problem")
