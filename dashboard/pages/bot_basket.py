"""What the page of a basket shows beside that of other bots: each symbol with its weight and its worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

from bots.views import BotView, Holding
from dashboard.market_request import market_href
from dashboard.number_formats import MISSING, money, price, quantity, share
from dashboard.panels import Column, amount, change, table
from data.models import Market
from data.timeframes import Timeframe

EXAMPLE = "BTC-USDT 50%, ETH-USDT 30%"
_PREFERRED = ("BTC", "ETH", "SOL", "BNB", "XRP")
_SHARES = ("50%", "30%", "10%")


def weights_of(settings: Mapping[str, Any]) -> dict[str, Decimal]:
    """The weights in a basket's stored settings; none where they cannot be read."""
    found: dict[str, Decimal] = {}
    stored = settings.get("weights") or ()
    pairs = stored.items() if isinstance(stored, Mapping) else stored
    for symbol, weight in pairs:
        try:
            found[str(symbol)] = Decimal(str(weight))
        except InvalidOperation:
            return {}
    return found


def weights_text(weights: Mapping[str, Decimal]) -> str:
    """Weights as people write them into the form."""
    return ", ".join(f"{symbol} {_plain(weight * 100)}%" for symbol, weight in weights.items())


def read_weights(text: str) -> list[list[str]]:
    """Pairs of symbol and weight as a bot's file has them; what is no number stays to be refused by name."""
    pairs = []
    for part in text.replace(";", ",").replace("\n", ",").split(","):
        symbol, _, weight = part.strip().replace(":", " ").partition(" ")
        if symbol:
            pairs.append([symbol.upper(), _fraction(weight.strip())])
    return pairs


def _fraction(text: str) -> str:
    if not text.endswith("%"):
        return text
    try:
        return _plain(Decimal(text[:-1].strip()) / 100)
    except InvalidOperation:
        return text


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def suggested_weights(markets: Sequence[Market]) -> tuple[str, str]:
    """A venue and weights to begin with: of the venue with most spot markets, well-known ones first."""
    by_venue: dict[str, list[str]] = {}
    for market in markets:
        if market.symbol.count("-") == 1 and market.symbol.endswith("-USDT"):
            by_venue.setdefault(market.exchange, []).append(market.symbol)
    if not by_venue:
        return (markets[0].exchange if markets else "binance"), ""
    venue = max(sorted(by_venue), key=lambda one: len(by_venue[one]))
    known = [f"{base}-USDT" for base in _PREFERRED]
    symbols = sorted(by_venue[venue], key=lambda one: (known.index(one) if one in known else 99, one))
    pairs = zip(symbols, _SHARES, strict=False)
    return venue, ", ".join(f"{symbol} {part}" for symbol, part in pairs)


def position_words(bot: BotView) -> str:
    """What a basket holds, in two words."""
    count = len(bot.holdings)
    return "▲ 1 symbol" if count == 1 else f"▲ {count} symbols"


def parts_table(bot: BotView, weights: Mapping[str, Decimal], decimals: Mapping[Market, int]) -> Component:
    """Each symbol of a basket: its weight, what is held of it, what that is worth and has gained."""
    held = {one.market: one for one in bot.holdings}
    rows = [
        _row(bot, market, held.get(market), weights.get(market.symbol), decimals.get(market, 2))
        for market in bot.markets
    ]
    cash = share(float(bot.cash / bot.equity)) if bot.equity else MISSING
    kept = 1 - sum(weights.values(), Decimal(0)) if weights else None
    # The cash stands in the same columns, so that the shares add up before one's eyes.
    rows.append(
        [
            html.Span("Cash", className="muted"),
            share(None if kept is None else float(kept)),
            cash,
            MISSING,
            MISSING,
            MISSING,
            money(bot.cash),
            MISSING,
            MISSING,
        ]
    )
    columns = (
        Column("Symbol"),
        Column("Weight", numeric=True),
        Column("Share now", numeric=True),
        Column("Size", numeric=True),
        Column("Entry", numeric=True, narrow=True),
        Column("Mark", numeric=True, narrow=True),
        Column("Worth", numeric=True),
        Column("P&L", numeric=True),
        Column("P&L, %", numeric=True, narrow=True),
    )
    return html.Div(table(columns, rows, label="Positions by symbol"), className="basket-parts")


def _row(
    bot: BotView, market: Market, held: Holding | None, weight: Decimal | None, decimals: int
) -> list[Any]:
    symbol = dcc.Link(html.Strong(market.symbol), href=market_href(market, bot.timeframe or Timeframe.M1))
    wanted = share(None if weight is None else float(weight))
    if held is None:
        return [symbol, wanted, share(0.0), "0", MISSING, MISSING, money(Decimal(0)), MISSING, MISSING]
    position = held.position
    cost = position.entry_price * position.quantity
    return [
        symbol,
        wanted,
        share(float(held.value / bot.equity)) if bot.equity else MISSING,
        quantity(position.quantity),
        price(position.entry_price, decimals),
        price(held.price, decimals),
        money(held.value),
        amount(position.unrealised_pnl),
        change(float(position.unrealised_pnl / cost) if cost else None),
    ]


def weight_rows(weights: Mapping[str, Decimal], capital: Decimal) -> Component:
    """What each weight of the capital amounts to, before a start."""
    rows: list[list[Any]] = [
        [symbol, share(float(weight)), money(capital * weight)] for symbol, weight in weights.items()
    ]
    rest = 1 - sum(weights.values(), Decimal(0))
    rows.append([html.Span("Cash", className="muted"), share(float(rest)), money(capital * rest)])
    columns = (Column("Symbol"), Column("Weight", numeric=True), Column("Amount", numeric=True))
    return html.Div(table(columns, rows, label="Weights of the basket"), className="cost-steps")
