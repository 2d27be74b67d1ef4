"""What the Market page's chart and watchlist read, as JSON: the browser draws them without Dash.

Dash looks through every component of a page at each change and needs a second to start. The chart of 1,500
candles is therefore asked for while the scripts still load, drawn by `assets/26-chart.js`, and kept by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dashboard.chart_data import FIRST_BARS, HISTORY_BARS, MOST_HISTORY_BARS, ChartRows
from dashboard.figures.drawings import drawing_items, indicator_choices, parse_indicator
from dashboard.figures.price_chart import (
    chart_columns,
    chart_options,
    overlay_colours,
    overlay_id,
    pane_options,
    series_specs,
)
from dashboard.figures.price_plot import price_plot
from dashboard.figures.sparkline import sparkline_image
from dashboard.market_day import MarketDay
from dashboard.market_request import MarketRequest, market_href, venue_name
from dashboard.market_sources import MarketSources
from dashboard.number_formats import MISSING, arrow, compact, direction, percent, price
from dashboard.saved_views import default_layout, shares_of
from dashboard.theme import Theme, scheme_in, theme_named
from data.errors import InvalidInput, Problem
from data.models import Market
from data.timeframes import SECOND_US, Timeframe

Body = dict[str, Any]

PLOTLY = "plotly"

_LAST_SECOND = 2**40


def chart_body(sources: MarketSources, request: Mapping[str, Any]) -> Body:
    """The chart of an address with everything around it, or what to say in its place.

    An address that says nothing of its chart gets the layout that was saved as the default; `address` tells
    the browser what to put into it.
    """
    layout = default_layout(sources.views, request)
    if layout is not None:
        request = {**request, **layout.words(), "scheme": scheme_in(layout.palette, request.get("scheme"))}
    resolved = sources.resolve(request)
    market = resolved.market
    if market is None:
        return {"view": None, "cover": _no_market(sources, resolved), "address": None}
    rows = sources.chart.rows(market, resolved.timeframe, resolved.overlay, bars=FIRST_BARS)
    theme = theme_named(resolved.scheme)
    day = sources.days.day(market)
    decimals = day.decimals if day else 2
    return {
        "view": _view(resolved, market, rows, theme, decimals, sources.now_us()),
        "specs": series_specs(
            rows.overlays, theme=theme, decimals=decimals, scale=str(request.get("scale", ""))
        ),
        "panes": pane_options(rows.overlays, shares_of(request.get("panes"))),
        "options": chart_options(theme, resolved.timeframe),
        "columns": chart_columns(rows.ohlcv, rows.overlays, decimals),
        "cover": None if len(rows.ohlcv) else _no_candles(market, resolved.timeframe),
        "strip": strip_body(day, market, sources.hub.last_price(market)),
        "address": None if layout is None else layout.words(),
        **({"plot": _plot(rows, request, theme, decimals)} if request.get("chart") == PLOTLY else {}),
    }


def history_body(sources: MarketSources, request: Mapping[str, Any]) -> Body:
    """Older candles, `bars` of them and one more: those that open at `before` (seconds) or earlier.

    The last one the chart has already.

    Raises InvalidInput without a market or a time, and for more bars than are answered at once.
    """
    before = whole_number(request, "before", least=1, most=_LAST_SECOND)
    bars = HISTORY_BARS
    if "bars" in request:
        bars = whole_number(request, "bars", least=1, most=MOST_HISTORY_BARS)
    resolved = sources.resolve(request)
    if resolved.market is None:
        raise _wrong("symbol", request.get("symbol"), "expected a market that has candles")
    rows = sources.chart.rows(
        resolved.market,
        resolved.timeframe,
        resolved.overlay,
        bars=bars + 1,
        end_us=before * SECOND_US + 1,
    )
    return {
        "key": resolved.view(resolved.market).key,
        "before": before,
        "more": rows.more,
        "columns": chart_columns(rows.ohlcv, rows.overlays, sources.decimals(resolved.market)),
    }


def watch_body(sources: MarketSources, request: Mapping[str, Any]) -> Body:
    """A row per market, to be filtered, ordered and kept fresh by the browser."""
    theme = theme_named(request.get("scheme"))
    return {"rows": [_watch_row(sources, day, theme) for day in sources.days.all()]}


def choices_body(sources: MarketSources, _request: Mapping[str, Any]) -> Body:
    """What can be drawn over a chart."""
    return {"indicators": indicator_choices(), "strategies": sources.chart.overlay_choices()}


def strip_body(day: MarketDay | None, market: Market, last: float | None) -> Body:
    """Last price with its change, then high, low and volume of 24 hours, as they are written."""
    decimals = day.decimals if day else 2
    newest = last if last is not None else day.last if day else None
    rate = day.change_rate(newest) if day and newest is not None else None
    way = direction(None if rate is None else rate * 100)
    base = market.symbol.partition("-")[0]
    return {
        "last": price(newest, decimals),
        "change": f"{arrow(way)} {percent(rate)}".strip(),
        "way": way,
        "high": price(day.high if day else None, decimals),
        "low": price(day.low if day else None, decimals),
        "volume": MISSING if day is None or day.volume is None else f"{compact(day.volume)} {base}",
    }


def _watch_row(sources: MarketSources, day: MarketDay, theme: Theme) -> Body:
    last = sources.hub.last_price(day.market)
    newest = day.last if last is None else last
    rate = day.change_rate(newest)
    way = direction(None if rate is None else rate * 100)
    base, _, quote = day.market.symbol.partition("-")
    perpetual = day.market.is_perpetual
    return {
        "market": str(day.market),
        "venue": day.market.exchange,
        "symbol": day.market.symbol,
        "base": base,
        "quote": quote.removesuffix("-PERP"),
        "where": venue_name(day.market.exchange) + (" perpetual" if perpetual else ""),
        "spark": sparkline_image(day.closes, theme.up if rate is None or rate >= 0 else theme.down),
        "last": price(newest, day.decimals),
        "change": f"{arrow(way)} {percent(rate)}".strip(),
        "way": way,
    }


def _view(
    resolved: MarketRequest, market: Market, rows: ChartRows, theme: Theme, decimals: int, at_us: int
) -> Body:
    """What the browser needs to know of the chart: its identity, its topic, and what its lines are."""
    view = resolved.view(market)
    colours = overlay_colours(rows.overlays, theme)
    cumulative = {
        drawn.text
        for item in drawing_items(resolved.overlay)
        if (drawn := parse_indicator(item)) is not None and drawn.cumulative
    }
    return {
        "key": view.key,
        "at": at_us,
        "topic": view.topic,
        "market": str(market),
        "exchange": market.exchange,
        "symbol": market.symbol,
        "timeframe": resolved.timeframe.value,
        "seconds": resolved.timeframe.seconds,
        "overlay": resolved.overlay,
        "items": drawing_items(resolved.overlay),
        "decimals": decimals,
        "more": rows.more,
        "up": theme.up_soft,
        "down": theme.down_soft,
        "overlays": [
            {
                "id": overlay_id(line),
                "label": line.label,
                "colour": colour,
                "pane": line.pane,
                "cumulative": line.name.rpartition(".")[0] in cumulative,
            }
            for line, colour in zip(rows.overlays, colours, strict=True)
        ],
    }


def _plot(rows: ChartRows, request: Mapping[str, Any], theme: Theme, decimals: int) -> Body:
    """The figure of the chart without its data, which the browser has in the columns and windows itself."""
    figure: Body = price_plot(
        rows.ohlcv.rows(0, 0),
        [replace(line, values=line.values[:0]) for line in rows.overlays],
        theme=theme,
        decimals=decimals,
        scale=str(request.get("scale", "")),
        shares=shares_of(request.get("panes")),
    ).to_plotly_json()
    return figure


def _no_market(sources: MarketSources, resolved: MarketRequest) -> Body:
    """The chart's place while there is nothing to draw: why, and what to do about it."""
    if resolved.unknown:
        known = sources.market.markets()
        same = [one for one in known if one.symbol in resolved.unknown.split()]
        offered = [*same, *(one for one in known if one not in same)][:6]
        return {
            "icon": "search",
            "text": f"{resolved.unknown} has no candles here. Choose one of these, or let a collector "
            "record it.",
            "links": [
                {
                    "text": f"{one.symbol} · {venue_name(one.exchange)}",
                    "href": market_href(one, resolved.timeframe, resolved.overlay),
                }
                for one in offered
            ]
            or [{"text": "Show the first market", "href": "/market"}],
        }
    troubles = [one.detail for one in sources.hub.health().values() if one.detail]
    if troubles:
        return {"icon": "plug-connected-x", "text": " ".join(troubles), "links": []}
    return {
        "icon": "chart-candle",
        "text": "No candles are stored yet. They appear within seconds once a collector runs; "
        "candlewick up --demo starts one with a simulated venue, without a network.",
        "links": [],
    }


def _no_candles(market: Market, timeframe: Timeframe) -> Body:
    return {
        "icon": "clock",
        "text": f"{market.symbol} has no closed {timeframe} candle yet. The first appears when it closes.",
        "links": [{"text": "Show 1m", "href": market_href(market, Timeframe.M1)}],
    }


def whole_number(request: Mapping[str, Any], name: str, *, least: int, most: int) -> int:
    """A number of a query. Raises InvalidInput."""
    value = request.get(name)
    try:
        number = int(str(value))
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise _wrong(name, value, f"expected a whole number from {least} to {most}")
    return number


def _wrong(field: str, value: object, expected: str) -> InvalidInput:
    return InvalidInput(Problem(where="address", field=field, value=str(value)[:100], expected=expected))
