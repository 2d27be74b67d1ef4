"""One kept backtest: key figures, curves, candles with its trades, months, and what it was made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dash import dcc, html
from dash.development.base_component import Component
from dash_tvlwc import Tvlwc

from backtesting.calendar_returns import monthly_returns
from dashboard.figures.backtest import backtest_figure, time_us, trade_markers
from dashboard.figures.price_chart import chart_options, pane_options, price_chart_series
from dashboard.number_formats import price_decimals, whole
from dashboard.pages.runs_panels import (
    ambiguity_panel,
    exits_panel,
    kpis,
    legs_panel,
    manifest_panel,
    months_table,
    run_head,
)
from dashboard.pages.runs_trades import trades_grid
from dashboard.panels import aria, data, empty_state, icon
from dashboard.readers import MarketReader
from dashboard.theme import Theme
from data.models import Market, Ohlcv
from data.timeframes import Timeframe
from jobs.research import ResearchReader, RunView

_CURVE_POINTS = 2_000
_EVERY_POINT = 5_000_000
_MOST_BARS = 5_000  # of the price chart; a longer run is shown in larger candles


@dataclass(frozen=True, slots=True)
class RunMarket:
    """The market a run's chart shows and the candles of its span, few enough to be drawn."""

    market: Market
    ohlcv: Ohlcv


def run_report(id: int, research: ResearchReader, reader: MarketReader, theme: Theme) -> Component:
    """Everything that is kept of a run. Reads the store. Raises InvalidInput for an unknown one."""
    run = research.run(id)
    curve = research.equity(id, max_points=_CURVE_POINTS)
    shown = run_market(run, reader)
    capital = float(run.metrics["initial_equity"])
    every = research.equity(id, max_points=_EVERY_POINT)
    months = monthly_returns(capital, every.equity, every.at_us) if len(every) else None
    return html.Div(
        [
            run_head(run),
            kpis(run.metrics),
            html.Div(
                [
                    _curves(run, curve.at_us, curve.equity, shown, capital, theme),
                    html.Div(
                        [exits_panel(run.trades), ambiguity_panel(run.ambiguity, run.metrics)],
                        className="run-side",
                    ),
                ],
                className="run-top",
            ),
            _prices(run, shown, theme),
            months_table(months) if months is not None else None,
            legs_panel(run.legs) if run.legs else None,
            trades_grid(run.trades, run.open_trade),
            manifest_panel(run),
        ],
        className="run-report",
    )


def _curves(
    run: RunView, at_us: Any, equity: Any, shown: RunMarket | None, capital: float, theme: Theme
) -> Component:
    held = shown.ohlcv if shown is not None and len(run.summary.markets) == 1 else None
    figure = backtest_figure(
        at_us, equity, held, capital=capital, identity=f"run {run.summary.id}", theme=theme
    )
    keys = [html.Span([html.I(style={"background": theme.accent}), "Equity"], className="key")]
    if held is not None:
        keys.append(html.Span([html.I(style={"background": theme.tx3}), "Buy and hold"], className="key"))
    keys.append(html.Span([html.I(style={"background": theme.down}), "Drawdown"], className="key"))
    body: Component = (
        graph(figure, "run-curves", "Equity beside buy-and-hold, drawdown below")
        if len(at_us)
        else empty_state("chart-line", "No curve was kept with this run.")
    )
    return html.Section(
        [
            html.Div(
                [icon("chart-line"), "Equity", html.Span(keys, className="end keys")], className="panel-head"
            ),
            body,
        ],
        className="panel run-curves",
        **aria(label="Equity"),
    )


def graph(figure: Any, name: str, label: str) -> Component:
    """A Plotly figure that fills its panel, with words for those who do not see it."""
    return html.Div(
        dcc.Graph(
            id=name,
            figure=figure,
            config={"displayModeBar": False, "scrollZoom": True},
            style={"height": "100%", "width": "100%"},
            responsive=True,
        ),
        className="equity-box",
        role="img",
        **aria(label=label),
    )


def run_market(run: RunView, reader: MarketReader) -> RunMarket | None:
    """The first market of a run with its candles, or None for a run over files. Reads the store."""
    venue, _, symbol = run.summary.markets[0].partition(":")
    market = Market(venue, symbol)
    if not symbol or market not in reader.markets():
        return None
    start_us, end_us = time_us(run.summary.starts_at), time_us(run.summary.ends_at)
    timeframe = drawn_timeframe(Timeframe(run.summary.timeframes[0]), end_us - start_us)
    ohlcv = reader.candles(market, timeframe, start_us=start_us, end_us=end_us, limit=_MOST_BARS)
    return RunMarket(market, ohlcv) if len(ohlcv) else None


def drawn_timeframe(own: Timeframe, span_us: int) -> Timeframe:
    """The run's own time frame, or the next one in which the span has few enough candles."""
    frames = [one for one in Timeframe if one.us >= own.us]
    return next((one for one in frames if span_us // one.us <= _MOST_BARS), frames[-1])


def _prices(run: RunView, shown: RunMarket | None, theme: Theme) -> Component:
    if shown is None:
        body: Component = empty_state("chart-candle", "The candles of this run are not in the store.")
        title = "Trades on the chart"
    else:
        ohlcv, market = shown.ohlcv, shown.market
        trades = trades_of(run.trades, market.symbol)
        markers = trade_markers(trades, ohlcv.timeframe, theme)
        series = price_chart_series(
            ohlcv, [], theme=theme, decimals=price_decimals(None, ohlcv.close), markers=markers
        )
        title = f"{market.symbol} · {ohlcv.timeframe}"
        body = html.Div(
            Tvlwc(
                id="run-prices",
                width="100%",
                height="100%",
                series=series,
                chartOptions=chart_options(theme, ohlcv.timeframe),
                paneOptions=pane_options([]),
            ),
            className="run-canvas",
            role="img",
            **data(symbol=market.symbol),
            **aria(
                label=f"Candles of {market.symbol} with {whole(len(trades))} trades, "
                "which are in the table below"
            ),
        )
    note = (
        "blue: entry, green and red: exit with gain and loss; a click on a trade in the table shows it here"
    )
    return html.Section(
        [
            html.Div(
                [icon("chart-candle"), title, html.Span(note, className="muted")], className="panel-head"
            ),
            body,
        ],
        className="panel run-prices",
        **aria(label="Trades on the chart"),
    )


def trades_of(trades: Sequence[Mapping[str, Any]], symbol: str) -> list[Mapping[str, Any]]:
    """Those of one symbol, where a run had several."""
    return [one for one in trades if one.get("symbol", symbol) == symbol]
