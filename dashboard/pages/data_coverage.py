"""Coverage on the Data page: a calendar of days for each symbol, the minutes of one day, and every hole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlencode

from dash import dcc, html
from dash.development.base_component import Component

from dashboard.figures.coverage import DAY_US, DayCover, Shade, ShadedSpan, days_of, hours_of, shaded
from dashboard.market_request import venue_name
from dashboard.number_formats import MISSING, clock, day_and_time, duration, full_time, share
from dashboard.panels import Column, aria, empty_state, icon, link_button, table, tag
from dashboard.store_readers import LedgerReader
from data.coverage import TradeRepair
from data.models import Market
from data.timeframes import Timeframe, floor_to, to_datetime, to_us

PATH = "/data"
DAYS = 35
_MOST_MARKETS = 60
_MOST_HOLES = 200
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


def read_cover(ledger: LedgerReader, until_us: int, now_us: int) -> list[MarketCover]:
    """Every recorded market's coverage of the days up to `until_us`, that day included. Reads the store."""
    start_us, end_us = until_us - (DAYS - 1) * DAY_US, min(until_us + DAY_US, now_us)
    found = []
    for market in ledger.recorded_markets()[:_MOST_MARKETS]:
        spans = shaded(ledger.minute_spans(market, start_us, end_us), now_us)
        found.append(MarketCover(market=market, spans=spans, days=days_of(spans)))
    return found


def calendar_panel(
    covers: Sequence[MarketCover], wanted: Mapping[str, str], until_us: int, now_us: int
) -> Component:
    """Days by symbol, coloured by the worst minute of the day; each day leads to its minutes."""
    if not covers:
        words = "No trades were recorded yet. Coverage begins with the first minute that is wholly stored."
        body: Component = empty_state("calendar", words)
        return html.Section(body, className="panel")
    chosen = (wanted.get("market", ""), wanted.get("day", ""))
    today_us = floor_to(now_us, Timeframe.D1)
    first_us = until_us - (DAYS - 1) * DAY_US
    older = data_href(until=day_name(first_us - DAY_US))
    newer = data_href(until=day_name(min(today_us, until_us + DAYS * DAY_US)))
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
                [_calendar_head(first_us), *(_calendar_row(one, chosen) for one in covers)],
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


def _calendar_row(cover: MarketCover, chosen: tuple[str, str]) -> Component:
    name = str(cover.market)
    cells = []
    for day in cover.days:
        is_chosen = chosen == (name, day_name(day.day_us))
        cells.append(
            dcc.Link(
                html.I(className=f"shade {day.worst}"),
                href=data_href(market=name, day=day_name(day.day_us)),
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
    parts = [f"{day.minutes[shade]:,} {WORDS[shade]}" for shade in WORDS if day.minutes[shade]]
    return ", ".join(parts) + " minutes"


def day_panel(cover: MarketCover, day_us: int) -> Component:
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
                    dcc.Link(icon("x"), href=PATH, className="icon-button end", title="Close the day"),
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
    Column("Minutes, UTC"),
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
            title=f"{clock(one.start_us)[:5]} to {clock(one.end_us)[:5]}: {WORDS[one.shade]}"
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
        f"{clock(one.start_us)[:5]} to {clock(one.end_us)[:5]}",
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


def holes_panel(covers: Sequence[MarketCover], repairs: Mapping[Market, Sequence[TradeRepair]]) -> Component:
    """Every hole of the days shown, then what was fetched later than it came; the newest first."""
    holes = [(cover.market, one) for cover in covers for one in cover.spans if one.shade is Shade.MISSING]
    holes.sort(key=lambda pair: pair[1].start_us, reverse=True)
    mended = [(market, one) for market, found in repairs.items() for one in found]
    mended.sort(key=lambda pair: pair[1].start_us, reverse=True)
    return html.Div(
        [
            html.Section(
                [
                    _head("alert-triangle", "Holes", len(holes), f"in the last {DAYS} days"),
                    table(_HOLE_COLUMNS, [_hole_row(*pair) for pair in holes[:_MOST_HOLES]], label="Holes")
                    if holes
                    else empty_state("circle-check", "No minute is missing of any recorded symbol."),
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


def _head(icon_name: str, title: str, count: int, note: str) -> Component:
    shown = f"{count:,}" if count <= _MOST_HOLES else f"newest {_MOST_HOLES} of {count:,}"
    return html.Div(
        [
            icon(icon_name),
            title,
            html.Span(note, className="muted wide-only"),
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


def market_cell(market: Market) -> Component:
    return html.Span([html.B(market.symbol), html.Small(venue_name(market.exchange))], className="cell-two")


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
        f"{one.last_id - one.first_id + 1:,}",
        one.reason.replace("_", " "),
        tag("lost", "down") if done is None else html.Span(day_and_time(done), className="num"),
    ]
