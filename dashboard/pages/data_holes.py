"""Every hole and every repair of the days shown, on the Data page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

from dashboard.figures.coverage import Shade, ShadedSpan
from dashboard.number_formats import day_and_time, duration, full_time, whole
from dashboard.pages.data_coverage import (
    DAYS,
    MarketCover,
    MarketPage,
    data_href,
    day_name,
    fetch_link,
    market_cell,
    market_tools,
    no_match,
)
from dashboard.panels import Column, aria, empty_state, icon, table, tag
from data.coverage import TradeRepair
from data.models import Market
from data.timeframes import Timeframe, floor_to

_MOST_HOLES = 200


def holes_panel(
    covers: Sequence[MarketCover],
    page: MarketPage,
    repairs: Mapping[Market, Sequence[TradeRepair]],
    wanted: Mapping[str, str],
) -> Component:
    """Every hole of the days shown, then what was fetched later than it came; the newest first."""
    if page.recorded and not covers:
        tools = html.Div(
            [icon("alert-triangle"), "Holes", *market_tools(page, wanted)], className="panel-head"
        )
        return html.Section([tools, no_match(wanted)], className="panel", **aria(label="Holes"))
    holes = [(cover.market, one) for cover in covers for one in cover.spans if one.shade is Shade.MISSING]
    holes.sort(key=lambda pair: pair[1].start_us, reverse=True)
    mended = [(market, one) for market, found in repairs.items() for one in found]
    mended.sort(key=lambda pair: pair[1].start_us, reverse=True)
    return html.Div(
        [
            html.Section(
                [
                    _head(
                        "alert-triangle",
                        "Holes",
                        len(holes),
                        f"in the last {DAYS} days",
                        market_tools(page, wanted),
                    ),
                    table(_HOLE_COLUMNS, [_hole_row(*pair) for pair in holes[:_MOST_HOLES]], label="Holes")
                    if holes
                    else empty_state("circle-check", f"No minute is missing {_of_which(page)}."),
                ],
                className="panel",
                **aria(label="Holes"),
            ),
            html.Section(
                [
                    _head(
                        "refresh",
                        "Repairs",
                        len(mended),
                        "trades fetched later than they came, or found lost",
                        (),
                    ),
                    table(
                        _REPAIR_COLUMNS,
                        [_repair_row(*pair) for pair in mended[:_MOST_HOLES]],
                        label="Repairs",
                    )
                    if mended
                    else empty_state(
                        "circle-check", "Nothing had to be repaired: every trade came when it happened."
                    ),
                ],
                className="panel",
                **aria(label="Repairs"),
            ),
        ],
        className="stack",
    )


def _of_which(page: MarketPage) -> str:
    if len(page.markets) == page.recorded:
        return "of any recorded symbol"
    return "of the symbols shown" if len(page.markets) > 1 else f"of {page.markets[0].symbol}"


def _head(icon_name: str, title: str, count: int, note: str, tools: Sequence[Component | None]) -> Component:
    shown = whole(count) if count <= _MOST_HOLES else f"newest {_MOST_HOLES} of {whole(count)}"
    return html.Div(
        [
            icon(icon_name),
            title,
            html.Span(note, className="muted wide-only"),
            *tools,
            html.Span(shown, className="count"),
        ],
        className="panel-head",
    )


_HOLE_COLUMNS = (
    Column("Symbol"),
    Column("From, UTC"),
    Column("Length", numeric=True),
    Column("Why", narrow=True),
    Column("", numeric=True),
)
_REPAIR_COLUMNS = (
    Column("Symbol"),
    Column("Trades between, UTC"),
    Column("Ids", numeric=True),
    Column("Why", narrow=True),
    Column("Fetched"),
)


def _hole_row(market: Market, one: ShadedSpan) -> list[Any]:
    day = data_href(market=str(market), day=day_name(floor_to(one.start_us, Timeframe.D1)))
    return [
        market_cell(market),
        dcc.Link(day_and_time(one.start_us), href=day, className="link num", title=full_time(one.start_us)),
        duration(one.end_us - one.start_us),
        one.reason.replace("_", " "),
        fetch_link(market, one),
    ]


def _repair_row(market: Market, one: TradeRepair) -> list[Any]:
    done = one.repaired_at_us
    return [
        market_cell(market),
        html.Span(day_and_time(one.start_us), className="num", title=full_time(one.start_us)),
        whole(one.last_id - one.first_id + 1),
        one.reason.replace("_", " "),
        tag("lost", "down") if done is None else html.Span(day_and_time(done), className="num"),
    ]
