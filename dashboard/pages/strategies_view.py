"""The preview tab of the Strategies page: the strategy as it is written, on a market's stored candles."""

from __future__ import annotations

import asyncio
from typing import Any

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, html, no_update
from dash.development.base_component import Component
from dash_tvlwc import Tvlwc

from dashboard.market_request import venue_name
from dashboard.number_formats import whole
from dashboard.pages.strategies_preview import Preview, preview
from dashboard.panels import aria, empty_state, error_state, tag
from dashboard.readers import MarketReader
from dashboard.theme import theme_named
from data.errors import InvalidInput, TradingError
from data.models import Market
from strategies.loader import parse_document, parse_strategy
from strategies.versions import StrategyKind


def register_view(app: Dash, reader: MarketReader) -> None:
    """The callbacks of the preview."""
    app.clientside_callback(  # type: ignore[no-untyped-call]  # Dash leaves it untyped
        ClientsideFunction("strategies", "scheme"),
        Output("strategy-scheme", "data"),
        Input("scheme", "data"),
    )

    @app.callback(
        Output("strategy-preview-pane", "children"),
        Input("strategy-tab", "value"),
        Input("strategy-text", "data"),
        Input("strategy-scheme", "data"),
        State("strategy-opened", "data"),
        State("url", "search"),
        prevent_initial_call=True,
    )
    async def show_pane(
        tab: str, text: str | None, _scheme: str | None, opened: dict[str, Any] | None, _search: str | None
    ) -> Any:
        if tab != "preview" or text is None or not opened:
            return no_update
        if opened["kind"] == StrategyKind.PYTHON:
            return empty_state("chart-candle", "Only rules in JSON are drawn before they are saved.")
        try:
            markets = await asyncio.to_thread(reader.markets)
        except TradingError as error:
            return error_state("The preview", error)
        if not markets:
            return empty_state("chart-candle", "No candles are stored yet; the collectors fetch them.")
        bitcoin = next((one for one in markets if one.symbol == "BTC-USDT"), markets[0])
        return _pane(markets, bitcoin)

    @app.callback(
        Output("preview-chart", "children"),
        Output("preview-legend", "children"),
        Input("preview-market", "value"),
        State("strategy-text", "data"),
        State("strategy-scheme", "data"),
    )
    async def draw(market: str | None, text: str | None, scheme: str | None) -> tuple[Any, Any]:
        if not market or text is None:
            return no_update, no_update
        venue, _, symbol = market.partition(":")

        def read() -> tuple[Any, Any]:
            strategy = parse_strategy(parse_document(text, "strategy"), "strategy")
            made = preview(strategy, Market(venue, symbol), reader, theme_named(scheme))
            if not made.bars:
                words = f"No {strategy.timeframe} candles of {symbol} are stored yet."
                return empty_state("chart-candle", words), None
            return _chart(made), _legend(made)

        try:
            return await asyncio.to_thread(read)
        except InvalidInput:
            return empty_state(
                "alert-triangle", "What is wrong stands below; a valid strategy is drawn."
            ), None
        except TradingError as error:
            return error_state("The preview", error), None


def _pane(markets: list[Market], chosen: Market) -> Component:
    return html.Div(
        [
            html.Div(
                [
                    dmc.Select(
                        id="preview-market",
                        data=[
                            {"value": str(one), "label": f"{one.symbol} · {venue_name(one.exchange)}"}
                            for one in markets
                        ],
                        value=str(chosen),
                        searchable=True,
                        allowDeselect=False,
                        size="xs",
                        **aria(label="Market"),
                    ),
                    html.Div(id="preview-legend", className="preview-legend"),
                ],
                className="preview-head",
            ),
            html.Div(id="preview-chart", className="preview-chart"),
        ],
        className="preview",
    )


def _chart(made: Preview) -> Component:
    said = ", ".join(f"{count} times {name}" for name, count in made.counts.items()) or "no signal"
    return html.Div(
        Tvlwc(
            id="preview-canvas",
            width="100%",
            height="100%",
            series=made.series,
            chartOptions=made.options,
            paneOptions=made.panes,
        ),
        className="canvas-box",
        role="img",
        **aria(label=f"The newest {whole(made.bars)} candles with the strategy's signals: {said}"),
    )


def _legend(made: Preview) -> list[Component]:
    lines = [
        html.Span([html.I(style={"background": colour}), label], className="key")
        for colour, label in made.legend
    ]
    said = [
        html.Span(
            tag(f"{name}: {count}", "up" if "entry" in name else "flat"),
            title="Candles that say so; the arrow stands at the first of each row of them",
        )
        for name, count in made.counts.items()
    ]
    return [*lines, *(said or [tag(f"No signal on {whole(made.bars)} candles", "warn")])]
