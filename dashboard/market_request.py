"""The address of the Market page, checked: what comes from a browser is resolved to what exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from dashboard.figures.drawings import known_drawings
from dashboard.live_views import DEFAULT_OVERLAY, ChartView
from dashboard.theme import THEMES
from data.models import Market
from data.timeframes import Timeframe

DEFAULT_TIMEFRAME = Timeframe.M1
VENUES = {"binance": "Binance", "okx": "OKX"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketRequest:
    """What the page was asked for, resolved. `market` is None while nothing is stored at all."""

    market: Market | None
    timeframe: Timeframe
    overlay: str
    scheme: str
    unknown: str = ""  # the market that was asked for, if it is none of ours

    def view(self, market: Market) -> ChartView:
        return ChartView(market, self.timeframe, self.overlay, self.scheme)


def resolve(
    request: Mapping[str, object], markets: Sequence[Market], overlays: Sequence[str]
) -> MarketRequest:
    """The nearest thing that exists: an unknown time frame becomes 1m, no market becomes the first one.

    A market that was named but does not exist is not replaced by another: it is reported in `unknown`.
    """

    def text(name: str) -> str:
        value = request.get(name)
        return value if isinstance(value, str) else ""

    venue, symbol = text("venue"), text("symbol")
    market = next((known for known in markets if known == Market(venue, symbol)), None)
    unknown = ""
    if market is None and symbol:
        unknown = f"{symbol} on {venue_name(venue)}" if venue else symbol
        market = next((known for known in markets if not venue and known.symbol == symbol), None)
        unknown = "" if market else unknown
    elif market is None:
        on_venue = [known for known in markets if not venue or known.exchange == venue]
        bitcoin = [known for known in on_venue if known.symbol == "BTC-USDT"]
        market = next(iter((*bitcoin, *on_venue)), None)
    try:
        timeframe = Timeframe(text("tf"))
    except ValueError:
        timeframe = DEFAULT_TIMEFRAME
    overlay, scheme = text("overlay"), text("scheme")
    return MarketRequest(
        market=market,
        timeframe=timeframe,
        overlay=known_drawings(overlay, overlays),
        scheme=scheme if scheme in THEMES else "dark",
        unknown=unknown,
    )


def market_href(market: Market, timeframe: Timeframe, overlay: str = DEFAULT_OVERLAY) -> str:
    """The address of a chart."""
    query = {"venue": market.exchange, "symbol": market.symbol, "tf": timeframe.value}
    if overlay != DEFAULT_OVERLAY:
        query["overlay"] = overlay
    return "/market?" + urlencode(query)


def bot_href(name: str) -> str:
    """The address of a bot."""
    return "/bots?" + urlencode({"bot": name})


def venue_name(exchange: str) -> str:
    """As the venue writes itself."""
    return VENUES.get(exchange, exchange.capitalize())


def component_key(market: Market) -> str:
    """A market as part of a component's id, in which Dash forbids dots."""
    return str(market).replace(".", "_")


def markets_words(names: Sequence[str]) -> str:
    """`BTC-USDT, ETH-USDT · Binance` for names like "binance:BTC-USDT"; the name of a file stays as it is."""
    by_venue: dict[str, list[str]] = {}
    for name in names:
        venue, colon, symbol = name.partition(":")
        by_venue.setdefault(venue if colon else "", []).append(symbol if colon else name)
    return "; ".join(
        f"{', '.join(symbols)} · {venue_name(venue)}" if venue else ", ".join(symbols)
        for venue, symbols in by_venue.items()
    )
