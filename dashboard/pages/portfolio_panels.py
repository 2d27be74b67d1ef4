"""What the panels of the Portfolio page show, as functions of what was read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

from bots.accounts import AccountView
from bots.risk.desk import TOTAL
from bots.risk.views import DrawdownView, ExposureView, LimitUse, ViolationView
from bots.views import BotView
from dashboard.market_request import bot_href, venue_name
from dashboard.number_formats import (
    MISSING,
    compact,
    day_and_time,
    direction,
    full_time,
    money,
    percent,
    plain,
    share,
    signed,
    whole,
)
from dashboard.pages.bots_panels import new_bot_href, quote_of
from dashboard.panels import Column, amount, aria, change, empty_state, icon, link_button, table, tag

_NEAR = 0.8  # of a limit: from here on it is amber
_FRACTIONS = frozenset({"max_drawdown"})
_COUNTS = frozenset({"max_orders_per_minute", "max_open_orders", "cool_down_minutes"})


def main_quote(bots: Sequence[BotView]) -> str:
    """The quote currency most capital is in; money of several currencies is never added up."""
    capital: dict[str, Decimal] = defaultdict(Decimal)
    for bot in bots:
        if bot.market is not None:
            capital[quote_of(bot)] += bot.capital
    return max(capital, key=lambda one: capital[one], default="")


def portfolio_kpis(
    bots: Sequence[BotView],
    exposures: Sequence[ExposureView],
    falls: Sequence[DrawdownView],
    uses: Sequence[LimitUse],
    violations: Sequence[ViolationView],
) -> list[Component]:
    """The desk's risk in six figures."""
    quote = main_quote(bots)
    ours = [bot for bot in bots if bot.market is not None and quote_of(bot) == quote]
    equity = sum((bot.equity for bot in ours), Decimal(0))
    capital = sum((bot.capital for bot in ours), Decimal(0))
    gain = equity - capital
    others = len({quote_of(bot) for bot in bots if bot.market is not None}) - 1
    unit = quote + (f" · {others} more currencies apart" if others > 0 else "")
    gross = sum((one.gross for one in exposures if _in_quote(one, quote)), Decimal(0))
    net = sum((one.net for one in exposures if _in_quote(one, quote)), Decimal(0))
    total = next((one for one in falls if one.name == TOTAL), None)
    nearest = uses[0] if uses else None

    def card(title: str, figure: Any, note: Any) -> Component:
        return html.Div(
            [html.Span(title), html.Strong(figure, className="num"), html.Small(note)], className="panel kpi"
        )

    lost = None if total is None else -total.drawdown
    return [
        card("Equity of all bots", money(equity) if bots else MISSING, unit or "no bot yet"),
        card(
            "P&L since start",
            amount(gain) if bots else MISSING,
            [change(float(gain / capital) if capital else None), "of capital"],
        ),
        card(
            "Drawdown now",
            html.Span(percent(lost), className=direction((lost or 0.0) * 100)),
            f"below {money(total.peak)}, the sum of the bots' peaks" if total and bots else "no bot yet",
        ),
        card(
            "Exposure",
            money(gross),
            f"{share(float(gross / equity) if equity else None)} of equity · net {signed(net)}",
        ),
        card(
            "Nearest limit",
            html.Span(share(nearest.share, 0), className=limit_kind(nearest.share)) if nearest else MISSING,
            f"{nearest.owner}: {limit_words(nearest.limit)}" if nearest else "no limit is set",
        ),
        card(
            "Kept back by limits",
            whole(len(violations)) if len(violations) < 100 else "100 or more",
            f"last {day_and_time(violations[0].at_us)}" if violations else "nothing so far",
        ),
    ]


def _in_quote(one: ExposureView, quote: str) -> bool:
    return all(
        symbol.partition(":")[2].removesuffix("-PERP").rpartition("-")[2] == quote for symbol in one.symbols
    )


def limit_words(limit: str) -> str:
    return limit.replace("_", " ")


def limit_kind(used: float) -> str:
    """The class of a share of a limit: down at it, warn near it."""
    return "down" if used >= 1 else "warn-text" if used >= _NEAR else ""


def bar(value: float, kind: str, label: str) -> Component:
    """A share from 0 to 1 as a bar, with its figure for those who do not see it."""
    width = max(0.0, min(1.0, value)) * 100
    return html.Div(
        html.I(className=f"fill-{kind}", style={"width": f"{width:.1f}%"}),
        className="meter",
        role="img",
        **aria(label=label),
    )


def exposure_rows(found: Sequence[ExposureView], *, clusters: bool) -> Component:
    """What is held of each symbol, or of each cluster of several that move together."""
    shown = [one for one in found if one.gross and (len(one.symbols) > 1 or not clusters)]
    if not shown:
        return empty_state(
            "wallet",
            "Nothing is held of markets that move together." if clusters else "No position is open.",
        )
    most = max(one.gross for one in shown)
    rows: list[list[Any]] = [
        [
            html.Div(_market_names(one), className="wrap"),
            html.Div(
                [
                    bar(float(one.long / most), "up", f"long {money(one.long)}"),
                    bar(float(one.short / most), "down", f"short {money(one.short)}"),
                ],
                className="two-bars",
            ),
            money(one.long) if one.long else MISSING,
            money(one.short) if one.short else MISSING,
            amount(one.net),
            html.Span(f"{len(one.bots)}", title=", ".join(one.bots)),
        ]
        for one in shown
    ]
    columns = (
        Column("Together" if clusters else "Symbol"),
        Column("Long above short"),
        Column("Long", numeric=True),
        Column("Short", numeric=True),
        Column("Net", numeric=True, narrow=True),
        Column("Bots", numeric=True, narrow=True),
    )
    return table(columns, rows, label="Exposure by cluster" if clusters else "Exposure by symbol")


def _market_names(one: ExposureView) -> list[Component]:
    return [
        html.Span(
            [html.B(symbol.partition(":")[2]), f" {venue_name(symbol.partition(':')[0])} "],
            className="market-name",
        )
        for symbol in one.symbols
    ]


def drawdown_rows(falls: Sequence[DrawdownView]) -> Component:
    """How far each bot is below its peak, the deepest first; all of them together on top."""
    if len(falls) < 2:
        return empty_state(
            "trending-down", "There are no bots yet.", link_button("New bot", new_bot_href(), "plus")
        )
    total = [one for one in falls if one.name == TOTAL]
    each = sorted((one for one in falls if one.name != TOTAL), key=lambda one: one.drawdown, reverse=True)
    deepest = max((one.drawdown for one in falls), default=0.0) or 1.0
    rows: list[list[Any]] = [
        [
            html.B("All bots")
            if one.name == TOTAL
            else dcc.Link(html.Strong(one.name), href=bot_href(one.name)),
            bar(one.drawdown / deepest, "down", f"drawdown {percent(-one.drawdown)}"),
            html.Span(percent(-one.drawdown), className="down" if one.drawdown > 0 else "flat"),
            money(one.equity),
            money(one.peak),
        ]
        for one in (*total, *each)
    ]
    columns = (
        Column("Bot"),
        Column("Below its peak"),
        Column("Drawdown", numeric=True),
        Column("Equity", numeric=True),
        Column("Peak", numeric=True, narrow=True),
    )
    return table(columns, rows, label="Drawdowns")


def limit_rows(uses: Sequence[LimitUse]) -> Component:
    """How near each limit is, the nearest first."""
    if not uses:
        return empty_state(
            "shield-half",
            "No bot has a limit. Give one a profile of the risk file, or limits of its own, in its settings.",
            link_button("See bots", "/bots", "robot"),
        )
    rows: list[list[Any]] = []
    for use in uses:
        kind = "down" if use.share >= 1 else "warn" if use.share >= _NEAR else "accent"
        owner = (
            html.Span([html.B(use.owner), " account"])
            if use.is_account
            else dcc.Link(html.Strong(use.owner), href=f"{bot_href(use.owner)}&tab=settings")
        )
        words = f"{use.owner}: {limit_words(use.limit)} at {share(use.share, 0)}"
        rows.append(
            [
                owner,
                limit_words(use.limit),
                bar(use.share, kind, words),
                html.Span(share(use.share, 0), className=limit_kind(use.share)),
                f"{limit_value(use.limit, use.used)} of {limit_value(use.limit, use.allowed)}",
            ]
        )
    columns = (
        Column("Whose"),
        Column("Limit"),
        Column("How near"),
        Column("Share", numeric=True),
        Column("Used", numeric=True),
    )
    return table(columns, rows, label="Limits")


def limit_value(limit: str, value: Decimal) -> str:
    """A limit's figure in its own unit."""
    if limit in _FRACTIONS:
        return share(value)
    if limit in _COUNTS:
        return plain(value, 0)
    return money(value) if abs(value) < 1_000_000 else compact(value)


def violation_rows(violations: Sequence[ViolationView]) -> Component:
    """Entries that a limit kept back, newest first."""
    if not violations:
        return empty_state("shield-check", "No limit has kept anything back.")
    rows: list[list[Any]] = [
        [
            html.Span(day_and_time(one.at_us), title=full_time(one.at_us)),
            dcc.Link(html.Strong(one.bot), href=f"{bot_href(one.bot)}&tab=decisions"),
            tag(limit_words(one.violation.limit), "warn"),
            f"{limit_value(one.violation.limit, one.violation.used)} of "
            f"{limit_value(one.violation.limit, one.violation.allowed)}",
            html.Span(one.violation.detail, className="wrap"),
        ]
        for one in violations
    ]
    columns = (
        Column("Candle's close, UTC"),
        Column("Bot"),
        Column("Limit"),
        Column("Would be", numeric=True, narrow=True),
        Column("Why", narrow=True),
    )
    return table(columns, rows, label="Violations")


def account_rows(accounts: Sequence[AccountView]) -> Component | None:
    """Accounts that several bots share; None where there are none."""
    if not accounts:
        return None
    rows: list[list[Any]] = [
        [
            html.Strong(one.terms.name),
            html.Span(f"{len(one.shares)}", title=", ".join(part.bot for part in one.shares)),
            bar(
                float(one.in_use / one.budget) if one.budget else 0.0,
                "accent",
                f"{money(one.in_use)} of {money(one.budget)} in use",
            ),
            f"{money(one.in_use)} of {money(one.budget)}",
            money(one.equity),
            one.terms.quote,
        ]
        for one in accounts
    ]
    columns = (
        Column("Account"),
        Column("Bots", numeric=True),
        Column("In use"),
        Column("Of its budget", numeric=True),
        Column("Equity", numeric=True),
        Column("Currency", narrow=True),
    )
    return html.Section(
        [
            html.Div([icon("wallet"), "Shared accounts"], className="panel-head"),
            table(columns, rows, label="Shared accounts"),
        ],
        className="panel",
        **aria(label="Shared accounts"),
    )
