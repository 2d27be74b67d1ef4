"""The Portfolio page: all bots as one account, what they are exposed to, and how near the limits are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dash_mantine_components as dmc
from dash import Dash, Input, Output, dcc, html, no_update
from dash.development.base_component import Component

from bots.views import EquityCurve
from dashboard.figures.equity import equity_figure
from dashboard.figures.portfolio import correlation_figure, total_curve
from dashboard.live_views import BOTS
from dashboard.page import Page
from dashboard.pages.bots_panels import quote_of
from dashboard.pages.portfolio_panels import (
    account_rows,
    drawdown_rows,
    exposure_rows,
    limit_rows,
    main_quote,
    portfolio_kpis,
    violation_rows,
)
from dashboard.panels import (
    aria,
    chart_skeleton,
    empty_state,
    error_state,
    icon,
    link_button,
    read_or_error,
    skeleton_rows,
)
from dashboard.readers import BotDesk, RiskReader
from dashboard.theme import theme_named
from dashboard.timed_cache import TimedCache
from data.errors import TradingError

_SLOW_MS = 30_000  # between two looks at curves and correlations
_CURVE_MAX_AGE_S = 20.0
_CURVE_POINTS = 600  # of each bot
_VIOLATIONS = 100
_SHOWN_VIOLATIONS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioSources:
    """What the page reads. `seconds` is a clock that never steps back."""

    bots: BotDesk
    risk: RiskReader
    seconds: Callable[[], float]


def portfolio_page(sources: PortfolioSources) -> Page:
    return Page(
        path="/portfolio",
        title="Portfolio",
        icon="chart-pie",
        layout=portfolio_layout,
        register=lambda app: register_portfolio(app, sources),
        topics=(BOTS,),
        key="p",
    )


def portfolio_layout() -> Component:
    """The page before anything was read: every panel has its final size."""
    return html.Div(
        [
            dcc.Interval(id="portfolio-timer", interval=_SLOW_MS),
            html.Div(
                [
                    html.H1("Portfolio and risk"),
                    html.Span(className="spacer"),
                    link_button("All bots", "/bots", "robot"),
                ],
                className="title-row",
            ),
            html.Section(
                [html.Div(dmc.Skeleton(height=40), className="panel kpi") for _ in range(6)],
                id="portfolio-kpis",
                className="kpis",
                **aria(label="Key figures"),
            ),
            html.Div(
                [
                    _graph("Equity and drawdown of all bots", "chart-line", "portfolio-equity"),
                    _graph("How markets move together", "grid-dots", "portfolio-correlations"),
                ],
                className="portfolio-pictures",
            ),
            html.Div(id="portfolio-accounts"),
            html.Div(
                [
                    _panel("How near limits are", "shield-half", "portfolio-limits"),
                    _panel("Kept back by limits", "hand-stop", "portfolio-violations"),
                    _panel("Exposure by symbol", "chart-bar", "portfolio-exposure"),
                    _panel("Exposure by cluster", "sitemap", "portfolio-clusters"),
                    _panel("Drawdowns", "trending-down", "portfolio-drawdowns"),
                ],
                className="portfolio-panels",
            ),
        ],
        className="page portfolio",
    )


def _graph(title: str, icon_name: str, component: str) -> Component:
    return html.Section(
        [
            html.Div(
                [icon(icon_name), title, html.Span(id=f"{component}-note", className="muted")],
                className="panel-head",
            ),
            html.Div(
                [
                    dcc.Graph(
                        id=component,
                        config={"displayModeBar": False},
                        style={"height": "100%", "width": "100%"},
                        responsive=True,
                    ),
                    html.Div(chart_skeleton(), id=f"{component}-cover", className="chart-cover"),
                ],
                className="bot-canvas equity-box",
                role="img",
                **aria(label=title),
            ),
        ],
        className="panel",
        **aria(label=title),
    )


def _panel(title: str, icon_name: str, component: str) -> Component:
    return html.Section(
        [
            html.Div([icon(icon_name), title], className="panel-head"),
            html.Div(skeleton_rows(5), id=component, className="portfolio-body"),
        ],
        className="panel",
        **aria(label=title),
    )


def register_portfolio(app: Dash, sources: PortfolioSources) -> None:
    """The page's callbacks."""
    _register_figures(app, sources)
    _register_pictures(app, sources)


def _register_figures(app: Dash, sources: PortfolioSources) -> None:
    risk = sources.risk

    @app.callback(
        Output("portfolio-kpis", "children"),
        Output("portfolio-limits", "children"),
        Output("portfolio-violations", "children"),
        Output("portfolio-exposure", "children"),
        Output("portfolio-drawdowns", "children"),
        Output("portfolio-accounts", "children"),
        Input("nudge-bots", "data"),
        Input("live-epoch", "data"),
        Input("portfolio-timer", "n_intervals"),
    )
    async def show_figures(_nudge: int | None, _epoch: int | None, _ticks: int | None) -> tuple[Any, ...]:
        def read() -> tuple[Any, ...]:
            uses, violations = risk.uses(), risk.violations(limit=_VIOLATIONS)
            exposures, falls = risk.exposures(), risk.drawdowns()
            bots = sources.bots.list_bots()
            return (
                portfolio_kpis(bots, exposures, falls, uses, violations),
                limit_rows(uses),
                violation_rows(violations[:_SHOWN_VIOLATIONS]),
                exposure_rows(exposures, clusters=False),
                drawdown_rows(falls),
                account_rows(risk.accounts()),
            )

        try:
            return await asyncio.to_thread(read)
        except TradingError as error:
            return no_update, error_state("Limits and risk", error), *[None] * 3, no_update


def _register_pictures(app: Dash, sources: PortfolioSources) -> None:
    def read_total(_: str) -> tuple[EquityCurve, float, str, int]:
        bots = sources.bots.list_bots()
        quote = main_quote(bots)
        ours = [bot for bot in bots if bot.market is not None and quote_of(bot) == quote]
        curves = [
            (sources.bots.equity(bot.name, max_points=_CURVE_POINTS), float(bot.capital)) for bot in ours
        ]
        return total_curve(curves), sum(capital for _, capital in curves), quote, len(ours)

    totals = TimedCache(read_total, seconds=sources.seconds, max_age_s=_CURVE_MAX_AGE_S)

    @app.callback(
        Output("portfolio-equity", "figure"),
        Output("portfolio-equity-cover", "children"),
        Output("portfolio-equity-note", "children"),
        Input("portfolio-timer", "n_intervals"),
        Input("live-epoch", "data"),
        Input("scheme", "data"),
    )
    async def draw_equity(_ticks: int | None, _epoch: int | None, scheme: str | None) -> tuple[Any, ...]:
        try:
            curve, capital, quote, bots = await asyncio.to_thread(totals.get, "")
        except TradingError as error:
            return no_update, error_state("The equity", error), no_update
        if len(curve) < 2:
            words = "The curve begins with the second candle that a bot processes."
            return no_update, empty_state("chart-line", words), None
        figure = equity_figure(curve, capital=capital, identity="portfolio", theme=theme_named(scheme))
        return figure, None, f"{bots} bots in {quote}"

    @app.callback(
        Output("portfolio-correlations", "figure"),
        Output("portfolio-correlations-cover", "children"),
        Output("portfolio-correlations-note", "children"),
        Output("portfolio-clusters", "children"),
        Input("portfolio-timer", "n_intervals"),
        Input("live-epoch", "data"),
        Input("scheme", "data"),
    )
    async def draw_correlations(
        _ticks: int | None, _epoch: int | None, scheme: str | None
    ) -> tuple[Any, ...]:
        clusters = await read_or_error(
            "Exposure by cluster", lambda: exposure_rows(sources.risk.cluster_exposures(), clusters=True)
        )
        try:
            found = await asyncio.to_thread(sources.risk.correlations)
        except TradingError as error:
            return no_update, error_state("Correlations", error), no_update, clusters
        if not found.markets:
            words = "Correlations are of the markets that bots trade; there is no bot yet."
            return no_update, empty_state("grid-dots", words), None, clusters
        figure = correlation_figure(found, theme=theme_named(scheme))
        return figure, None, "hourly closes of the last 30 days", clusters
