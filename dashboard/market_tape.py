"""A market's last trades and its best bid and ask: where a tab begins, and what is told to it since.

Prices and quantities go out as numbers; the browser writes them (`assets/25-chart-formats.js`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from dashboard.live_views import Patch
from dashboard.number_formats import MAX_DECIMALS, price_decimals
from data.messages import QuoteUpdate, TradeBatch
from data.models import Instrument, Market, Quote, Side, Trade
from data.stores import CandleReader
from data.timeframes import Timeframe
from data.topics import quotes_topic, trades_topic

TAPE_ROWS = 40  # of trades a tab holds
QUOTES_CHANNEL = "quotes"

_KIND = "tape"
_LONGEST_TOPIC = 100
_WAITING_BATCHES = 40  # of one market until the next flush; of more only the newest are decoded

Refuse = Callable[[str, msgspec.DecodeError], None]


class TapeReader(Protocol):
    """Stored trades and quotes. Synchronous and thread-safe; raises TransientError without the database."""

    def newest_trades(self, market: Market, limit: int) -> Sequence[Trade]:
        """The last `limit` stored trades, in id order."""
        ...

    def latest_quote(self, market: Market) -> Quote | None:
        """The newest stored best bid and ask, or None."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TapeStart:
    """What is stored of a market's tape; `trades` in id order."""

    trades: Sequence[Trade]
    quote: Quote | None
    quotes_recorded: bool | None  # None: not known
    price_decimals: int
    quantity_decimals: int


def tape_topic(market: Market) -> str:
    """What a tab subscribes to."""
    return f"{_KIND}|{market}"


def parse_tape_topic(topic: str) -> Market | None:
    """The market a topic names, or None for anything else. Topics come from browsers: nothing is trusted."""
    kind, _, name = topic.partition("|")
    exchange, _, symbol = name.partition(":")
    if kind != _KIND or len(topic) > _LONGEST_TOPIC or not exchange or not symbol:
        return None
    return Market(exchange, symbol)


def heard_channels(collectors: Mapping[str, Any], market: Market) -> Sequence[str]:
    """The channels of a market that the file of the collectors (as its JSON says it) asks for."""
    venue = collectors.get(market.exchange, {})
    symbols = venue.get("symbols", {})
    if isinstance(symbols, Mapping):
        return tuple(symbols.get(market.symbol, ()))
    return tuple(venue.get("channels", ("trades",))) if market.symbol in symbols else ()


def read_tape(
    store: TapeReader, rules: CandleReader, recorded: Callable[[Market], bool | None], market: Market
) -> TapeStart:
    """What a tab begins with. Reads the store: call it in a thread."""
    trades = store.newest_trades(market, TAPE_ROWS)
    instrument = rules.instrument(market)
    return TapeStart(
        trades=trades,
        quote=store.latest_quote(market),
        quotes_recorded=recorded(market),
        price_decimals=price_decimals(instrument, rules.candles(market, Timeframe.M1, limit=50).close),
        quantity_decimals=quantity_decimals(instrument, trades),
    )


def quantity_decimals(instrument: Instrument | None, trades: Sequence[Trade]) -> int:
    """Decimals of the instrument's lot; without one, as many as the trades' quantities need to print."""
    if instrument is not None and instrument.lot_size > 0:
        exponent = instrument.lot_size.normalize().as_tuple().exponent
        assert isinstance(exponent, int)  # a lot is finite
        return min(MAX_DECIMALS, max(0, -exponent))
    printed = (repr(trade.quantity).partition(".")[2] for trade in trades)
    return min(MAX_DECIMALS, max((len(digits) for digits in printed if digits.isdigit()), default=2))


def tape_patches(start: TapeStart, market: Market) -> list[Patch]:
    """How the market's numbers are written, then its stored trades and quote."""
    head: dict[str, Any] = {
        "k": "tape",
        "m": str(market),
        "d": start.price_decimals,
        "l": start.quantity_decimals,
        "on": start.quotes_recorded,
    }
    trades = (_trade_patch(trade, market, -1 - number) for number, trade in enumerate(start.trades))
    quote = [] if start.quote is None else [quote_patch(start.quote, market)]
    return [Patch(("tape", str(market)), head), *trades, *quote]


def unread_patch(market: Market, why: str) -> Patch:
    """The store could not be read: said in the panel, until the page asks again."""
    return Patch(("tape", str(market)), {"k": "tape", "m": str(market), "error": why})


def quote_patch(quote: Quote, market: Market) -> Patch:
    """The best bid and ask."""
    body: dict[str, Any] = {
        "k": "best",
        "m": str(market),
        "t": quote.at_us,
        "b": quote.bid_price,
        "bq": quote.bid_quantity,
        "a": quote.ask_price,
        "aq": quote.ask_quantity,
    }
    return Patch(("best", str(market)), body)


def _trade_patch(trade: Trade, market: Market, slot: int) -> Patch:
    body: dict[str, Any] = {
        "k": "trade",
        "m": str(market),
        "i": trade.trade_id,
        "t": trade.traded_at_us,
        "p": trade.price,
        "q": trade.quantity,
        "s": "buy" if trade.taker_side is Side.BUY else "sell",
    }
    return Patch(("trade", str(market), slot), body)


class MarketTapes:
    """What comes over the bus for the tapes that are watched; a few batches of each are held, no more."""

    def __init__(self, refuse: Refuse) -> None:
        """`refuse` counts a message that cannot be read."""
        self._refuse = refuse
        self._watched: dict[str, tuple[str, Market]] = {}  # by topic of the bus: of the tab, and the market
        self._waiting: dict[str, deque[bytes]] = {}  # batches of trades by topic of the bus
        self._quotes: dict[str, bytes] = {}  # the newest of every market, by topic of the bus
        self._requoted: set[str] = set()
        self._told: dict[Market, int] = {}  # trades

    def watch(self, topic: str, market: Market) -> None:
        """Hear what is said of the market from now on."""
        self._watched[trades_topic(market)] = self._watched[quotes_topic(market)] = (topic, market)

    def forget(self, topic: str) -> None:
        """Nobody watches it any more."""
        gone = [name for name, (watched, _) in self._watched.items() if watched == topic]
        for name in gone:
            _, market = self._watched.pop(name)
            self._waiting.pop(name, None)
            self._told.pop(market, None)
            self._requoted.discard(name)

    def traded(self, topic: str, payload: bytes) -> None:
        """Take a batch of trades."""
        if topic in self._watched:
            self._waiting.setdefault(topic, deque(maxlen=_WAITING_BATCHES)).append(payload)

    def quoted(self, topic: str, payload: bytes) -> None:
        """Take a best bid and ask."""
        self._quotes[topic] = payload
        if topic in self._watched:
            self._requoted.add(topic)

    def news(self) -> Iterator[tuple[str, list[Patch]]]:
        """What came since the last time, for each topic that tabs watch."""
        waiting, self._waiting = self._waiting, {}
        requoted, self._requoted = self._requoted, set()
        for name, batches in waiting.items():
            topic, market = self._watched[name]
            yield topic, list(self._trades(name, market, batches))
        for name in requoted:
            topic, market = self._watched[name]
            yield topic, self._best(name, market)

    def heard(self, market: Market) -> list[Patch]:
        """The newest quote that came over the bus, newer than any that is stored."""
        name = quotes_topic(market)
        return self._best(name, market) if name in self._quotes else []

    def _trades(self, name: str, market: Market, batches: Iterable[bytes]) -> Iterator[Patch]:
        for batch in batches:
            try:
                trades = msgspec.json.decode(batch, type=TradeBatch).trades
            except msgspec.DecodeError as error:
                self._refuse(name, error)
                continue
            for trade in trades[-TAPE_ROWS:]:
                # Of more trades than a tape shows, the newest take the places of the oldest.
                told = self._told[market] = self._told.get(market, -1) + 1
                yield _trade_patch(trade, market, told % TAPE_ROWS)

    def _best(self, name: str, market: Market) -> list[Patch]:
        try:
            return [quote_patch(msgspec.json.decode(self._quotes[name], type=QuoteUpdate).quote, market)]
        except msgspec.DecodeError as error:
            self._refuse(name, error)
            return []
