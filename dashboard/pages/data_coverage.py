"""Coverage on the Data page: a calendar of days for each symbol, and the minutes of one day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlencode

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from dashboard.figures.coverage import DAY_US, DayCover, Shade, ShadedSpan, days_of, hours_of, shaded
from dashboard.market_request import venue_name
from dashboard.number_formats import MISSING, duration, share, utc_clock, whole
from dashboard.panels import Column, aria, data, empty_state, icon, link_button, table, tag
from dashboard.store_readers import LedgerReader
from data.models import Market
from data.timeframes import Timeframe, floor_to, to_datetime, to_us

PATH = "/data"
DAYS = 35
_FEW_MARKETS = 8  # that are seen at one look, without a search
MARKETS_A_PAGE = 40
WORDS = {
    Shade.COMPLETE: "complete",
    Shade.REPAIRED: "repaired",
    Shade.VENUE_DOWN: "venue down",
    Shade.MISSING: "missing",
    Shade.NONE: "not recorded",
}
_KINDS = {
    Shade.COMPLETE: "up",
    Shade.REPAIRED: "accent",
    Shade.VENUE_DOWN: "warn",
    Shade.MISSING: "down",
    Shade.NONE: "flat",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketCover:
    """One market's coverage of the days shown."""

    market: Market
    spans: list[ShadedSpan]
    days: list[DayCover]


def day_name(day_us: int) -> str:
    """2026-11-21, as it stands in an address."""
    return f"{to_datetime(day_us):%Y-%m-%d}"


def day_of(text: str | None, now_us: int) -> int:
    """The day that an address names, in microseconds; today where it names none that is past."""
    today_us = floor_to(now_us, Timeframe.D1)
    try:
        named = date.fromisoformat(text or "")
    except ValueError:
        return today_us
    return min(today_us, to_us(datetime(named.year, named.month, named.day, tzinfo=UTC)))


def data_href(**query: str) -> str:
    """An address of this page."""
    return f"{PATH}?{urlencode(query)}" if query else PATH


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketPage:
    """Those of the recorded markets that are shown: they match what is searched for, one page of them."""

    markets: Sequence[Market]
    first: int  # place of the first one among those that match, from 0
    matching: int
    recorded: int

    @property
    def number(self) -> int:
        return self.first // MARKETS_A_PAGE + 1

    @property
    def pages(self) -> int:
        return max(1, -(-self.matching // MARKETS_A_PAGE))


def market_page_of(recorded: Sequence[Market], wanted: Mapping[str, str]) -> MarketPage:
    """What an address shows of the markets; the last page where it asks for one beyond it."""
    words = wanted.get("q", "").casefold().split()
    found = [one for one in recorded if all(word in f"{one} {_label(one)}" for word in words)]
    asked = wanted.get("page", "")
    number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 6 else 1
    last = max(0, len(found) - 1) // MARKETS_A_PAGE
    first = min(max(number - 1, 0), last) * MARKETS_A_PAGE
    return MarketPage(
        markets=found[first : first + MARKETS_A_PAGE],
        first=first,
        matching=len(found),
        recorded=len(recorded),
    )


def _label(market: Market) -> str:
    return f"{market} {venue_name(market.exchange)}".casefold()


def kept(wanted: Mapping[str, str], **changes: str) -> dict[str, str]:
    """What of an address stays when a day is opened or a page turned, with changes; empty ones go."""
    query = {name: wanted.get(name, "") for name in ("view", "q", "page", "until")} | changes
    return {name: value for name, value in query.items() if value}


def read_cover(
    ledger: LedgerReader, markets: Sequence[Market], until_us: int, now_us: int
) -> list[MarketCover]:
    """The markets' coverage of the days up to `until_us`, that day included. Reads the store."""
    start_us, end_us = until_us - (DAYS - 1) * DAY_US, min(until_us + DAY_US, now_us)
    found = []
    for market in markets:
        spans = shaded(ledger.minute_spans(market, start_us, end_us), now_us)
        found.append(MarketCover(market=market, spans=spans, days=days_of(spans)))
    return found


def market_tools(page: MarketPage, wanted: Mapping[str, str]) -> list[Component | None]:
    """The search among markets and, where they fill more than one page, what turns it."""
    turns = None
    if page.pages > 1:
        end = page.first + len(page.markets)
        before, after = (data_href(**kept(wanted, page=str(page.number + step))) for step in (-1, 1))
        turns = html.Span(
            [
                _step("chevron-down flip", before if page.number > 1 else None, "Markets before these"),
                html.Span(f"{page.first + 1} to {end} of {whole(page.matching)}", className="num muted"),
                _step("chevron-down", after if page.number < page.pages else None, "Markets after these"),
            ],
            className="steps",
        )
    find = None
    if page.recorded > _FEW_MARKETS:
        find = dmc.TextInput(
            id="data-filter",
            value=wanted.get("q", ""),
            placeholder=f"Find among {whole(page.recorded)} markets",
            size="xs",
            debounce=300,
            leftSection=icon("search"),
            **aria(label="Find a market"),
            **data(filter="markets"),
        )
    return [find, turns]


def calendar_panel(
    covers: Sequence[MarketCover],
    page: MarketPage,
    wanted: Mapping[str, str],
    until_us: int,
    now_us: int,
) -> Component:
    """Days by symbol, coloured by the worst minute of the day; each day leads to its minutes."""
    if not page.recorded:
        words = "No trades were recorded yet. Coverage begins with the first minute that is wholly stored."
        body: Component = empty_state(
            "calendar", words, link_button("See the market", "/market", "chart-candle")
        )
        return html.Section(body, className="panel")
    chosen = (wanted.get("market", ""), wanted.get("day", ""))
    today_us = floor_to(now_us, Timeframe.D1)
    first_us = until_us - (DAYS - 1) * DAY_US
    older = data_href(**kept(wanted, until=day_name(first_us - DAY_US)))
    newer = data_href(**kept(wanted, until=day_name(min(today_us, until_us + DAYS * DAY_US))))
    return html.Section(
        [
            html.Div(
                [
                    icon("calendar"),
                    "Coverage",
                    html.Span(
                        f"{to_datetime(first_us):%d %b} to {to_datetime(until_us):%d %b %Y}, UTC",
                        className="muted",
                    ),
                    *market_tools(page, wanted),
                    html.Span([_key(shade) for shade in WORDS], className="end keys wide-only"),
                    html.Span(
                        [
                            _step("chevron-left", older, "Earlier days"),
                            _step("chevron-right", newer if until_us < today_us else None, "Later days"),
                        ],
                        className="steps",
                    ),
                ],
                className="panel-head",
            ),
            html.Div(
                [_calendar_head(first_us), *(_calendar_row(one, chosen, wanted) for one in covers)]
                if covers
                else no_match(wanted),
                className="calendar",
                tabIndex=0,
                role="region",
                **aria(label="Coverage of each symbol by day"),
            ),
            html.Div([_key(shade) for shade in WORDS], className="keys phone-keys"),
        ],
        className="panel",
        **aria(label="Coverage"),
    )


def _step(icon_name: str, href: str | None, label: str) -> Component:
    if href is None:
        return html.Span(icon(icon_name), className="icon-button off", **aria(hidden="true"))
    return dcc.Link(icon(icon_name), href=href, className="icon-button", title=label)


def _key(shade: Shade) -> Component:
    return html.Span([html.I(className=f"shade {shade}"), WORDS[shade]], className="key")


def _calendar_head(first_us: int) -> Component:
    days = [to_datetime(first_us + number * DAY_US) for number in range(DAYS)]
    marks = [html.Span(_mark(number, day)) for number, day in enumerate(days)]
    return html.Div(
        [html.Span(), html.Div(marks, className="days"), html.Span()], className="calendar-row head-row"
    )


def _mark(number: int, day: datetime) -> str:
    """The first day and each first of a month with its name, Mondays by their number where there is room."""
    if day.day == 1 or (number == 0 and day.day <= 28):
        return f"{day:%d %b}"
    return f"{day:%d}" if day.weekday() == 0 and number > 2 and 3 < day.day < 29 else ""


def no_match(wanted: Mapping[str, str]) -> Component:
    """No market has the name that is searched for."""
    words = f"No recorded market matches “{wanted.get('q', '')[:40]}”."
    return empty_state("search", words, link_button("Show all markets", data_href(**kept(wanted, q=""))))


def _calendar_row(cover: MarketCover, chosen: tuple[str, str], wanted: Mapping[str, str]) -> Component:
    name = str(cover.market)
    cells = []
    for day in cover.days:
        is_chosen = chosen == (name, day_name(day.day_us))
        cells.append(
            dcc.Link(
                html.I(className=f"shade {day.worst}"),
                href=data_href(**kept(wanted, market=name, day=day_name(day.day_us))),
                className="day chosen" if is_chosen else "day",
                title=f"{cover.market.symbol} {to_datetime(day.day_us):%d %b %Y}: {day_words(day)}",
            )
        )
    minutes = {shade: sum(day.minutes[shade] for day in cover.days) for shade in Shade}
    recorded = sum(minutes.values()) - minutes[Shade.NONE]
    good = minutes[Shade.COMPLETE] + minutes[Shade.REPAIRED] + minutes[Shade.VENUE_DOWN]
    return html.Div(
        [
            html.Span(
                [html.B(cover.market.symbol), html.Small(venue_name(cover.market.exchange))],
                className="cell-two",
            ),
            html.Div(cells, className="days"),
            html.Span(
                share(good / recorded, 2) if recorded else MISSING,
                className="num",
                title="Minutes that are complete, repaired, or in which the venue was down",
            ),
        ],
        className="calendar-row",
    )


def day_words(day: DayCover) -> str:
    """`1,436 complete, 4 missing minutes`."""
    parts = [f"{whole(day.minutes[shade])} {WORDS[shade]}" for shade in WORDS if day.minutes[shade]]
    return ", ".join(parts) + " minutes"


def day_panel(cover: MarketCover, wanted: Mapping[str, str], day_us: int) -> Component:
    """Every minute of a day: one line for each hour, and what was not simply complete in words."""
    hours = hours_of(cover.spans, day_us)
    inside = [
        ShadedSpan(
            start_us=max(one.start_us, day_us),
            end_us=min(one.end_us, day_us + DAY_US),
            shade=one.shade,
            reason=one.reason,
        )
        for one in cover.spans
        if one.start_us < day_us + DAY_US and one.end_us > day_us
    ]
    told = [one for one in inside if one.shade not in (Shade.COMPLETE, Shade.NONE)]
    summary = next(
        (day_words(one) for one in cover.days if one.day_us == day_us), "nothing is known of this day"
    )
    return html.Section(
        [
            html.Div(
                [
                    icon("clock"),
                    f"{cover.market.symbol} on {to_datetime(day_us):%d %B %Y}",
                    html.Span(summary, className="muted"),
                    dcc.Link(
                        icon("x"),
                        href=data_href(**kept(wanted)),
                        className="icon-button end",
                        title="Close the day",
                    ),
                ],
                className="panel-head",
            ),
            html.Div(
                [
                    html.Div([_hour(number, parts) for number, parts in enumerate(hours)], className="hours"),
                    html.Div(
                        table(
                            _DAY_COLUMNS,
                            [_span_row(cover.market, one) for one in told],
                            label="Minutes told apart",
                        )
                        if told
                        else empty_state(
                            "circle-check", "Nothing to tell: no minute of this day is missing or was mended."
                        ),
                        className="day-table",
                    ),
                ],
                className="day-body",
            ),
        ],
        className="panel",
        id="data-day",
        **aria(label=f"Minutes of {day_name(day_us)}"),
    )


_DAY_COLUMNS = (
    Column("Minutes (UTC)"),
    Column("State"),
    Column("Length", numeric=True),
    Column("Why"),
    Column(""),
)


def _hour(number: int, parts: Sequence[ShadedSpan]) -> Component:
    drawn = [
        html.I(
            className=f"shade {one.shade}",
            style={"flexGrow": one.minutes},
            title=f"{utc_clock(one.start_us)[:5]} to {utc_clock(one.end_us)[:5]}: {WORDS[one.shade]}"
            + (f", {one.reason}" if one.reason else ""),
        )
        for one in parts
    ]
    rest = 60 - sum(one.minutes for one in parts)
    if rest:
        drawn.append(html.I(className="shade none", style={"flexGrow": rest}))
    return html.Div([html.Span(f"{number:02d}", className="num"), html.Div(drawn, className="hour")])


def _span_row(market: Market, one: ShadedSpan) -> list[Any]:
    return [
        f"{utc_clock(one.start_us)[:5]} to {utc_clock(one.end_us)[:5]}",
        tag(WORDS[one.shade], _KINDS[one.shade]),
        duration(one.end_us - one.start_us),
        one.reason.replace("_", " "),
        fetch_link(market, one) if one.shade is Shade.MISSING else None,
    ]


def fetch_link(market: Market, span: ShadedSpan) -> Component:
    """Leads to the form that fetches the trades of this hole."""
    query = {
        "view": "history",
        "market": str(market),
        "from": f"{to_datetime(span.start_us):%Y-%m-%dT%H:%M}",
        "to": f"{to_datetime(span.end_us):%Y-%m-%dT%H:%M}",
        "trades": "1",
    }
    return link_button("Fetch", data_href(**query), "database-import")


def market_cell(market: Market) -> Component:
    return html.Span([html.B(market.symbol), html.Small(venue_name(market.exchange))], className="cell-two")
