"""What a venue's adapter does: build requests, parse replies. It owns no socket: recordings can test it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from data.errors import BadDataError
from data.exchanges.trade_layouts import TradeLayout
from data.exchanges.waiting_trades import WaitingTrades
from data.models import BookSnapshot, Candle, FundingRate, Instrument, MarkPrice, Quote, Trade
from data.timeframes import Timeframe

if TYPE_CHECKING:
    # The compiler takes longer to load than most of those who read a message need.
    from data.exchanges.frame_reader import FrameReader

# Any decimal of this many significant digits comes back from its nearest double. Source: IEEE 754, DBL_DIG.
_SAFE_DIGITS = 15
_INFINITY = float("inf")
# Preparing for compiled code costs what so few messages gain by it.
_MANY = 16

# The time frame of `Channel.KLINES`.
KLINE_TIMEFRAME = Timeframe.M1


class Channel(StrEnum):
    """What a venue streams of one market."""

    TRADES = "trades"
    KLINES = "klines"  # the venue's own candles of one minute, forming and closed
    QUOTES = "quotes"  # best bid and ask
    BOOK5 = "book5"  # the five best levels, whole each time
    BOOK20 = "book20"
    FUNDING = "funding"  # of perpetuals
    MARK = "mark"  # of derivatives


Subscription = tuple[str, Channel]  # our symbol and what to hear of it


class InexactValue(BadDataError):
    """A venue's decimal that the nearest double does not print back."""

    def __init__(self, exchange: str, text: str) -> None:
        super().__init__(f"{exchange} sent {text}, which a double cannot hold exactly")
        self.exchange, self.text = exchange, text


class TradesMessage(msgspec.Struct, frozen=True, gc=False):
    """Trades of one market, as they stand in one message."""

    trades: list[Trade]
    sent_at_us: int  # the venue's clock
    refused: int = 0  # trades left out because a value cannot be held exactly
    # Of rows that stand for several trades each: those trades exist, and must be fetched one by one.
    merged: tuple[str, int, int] | None = None  # symbol, first and last id


class QuotesMessage(msgspec.Struct, frozen=True, gc=False):
    """Best bids and asks of one message; none where a side of the book is empty."""

    quotes: list[Quote]
    sent_at_us: int  # the venue's clock; 0 where it tells no time
    refused: int = 0  # quotes left out because a value cannot be held exactly


class BookMessage(msgspec.Struct, frozen=True):
    """The nearest levels of one market's book; None where a value cannot be held exactly."""

    book: BookSnapshot | None
    sent_at_us: int  # the venue's clock; 0 where it tells no time
    refused: int = 0


class Kline(msgspec.Struct, frozen=True):
    """A candle as the venue itself has it, `closed` or still forming."""

    candle: Candle
    closed: bool


class KlineMessage(msgspec.Struct, frozen=True):
    """The venue's own candles of one market, ascending. Prices are exact, volume is the nearest double."""

    klines: list[Kline]
    sent_at_us: int  # the venue's clock; 0 where it tells no time
    refused: int = 0  # candles left out because a price cannot be held exactly


class FundingMessage(msgspec.Struct, frozen=True):
    """Funding rates of one perpetual: the one to come, and the last settled where the venue repeats it."""

    rates: list[FundingRate]
    sent_at_us: int  # the venue's clock; 0 where it tells no time
    refused: int = 0


class MarkMessage(msgspec.Struct, frozen=True):
    """A derivative's mark price, with its funding rate where the venue tells both in one message."""

    mark: MarkPrice | None  # None where a value cannot be held exactly
    sent_at_us: int
    funding: FundingRate | None = None
    refused: int = 0


class AckMessage(msgspec.Struct, frozen=True):
    """A subscription is accepted, or given up: the one of `topic`, or all of request `request_id`.

    Only OKX tells which of the two; on Binance the request's id does.
    """

    topic: str = ""
    request_id: str = ""
    unsubscribed: bool = False


class ErrorMessage(msgspec.Struct, frozen=True):
    """The venue refuses a request."""

    code: str
    reason: str
    request_id: str = ""


class ReconnectNotice(msgspec.Struct, frozen=True):
    """The venue is about to close this connection."""

    reason: str


class OtherMessage(msgspec.Struct, frozen=True):
    """Anything else, understood and of no concern; `sent_at_us` is 0 where it tells no time."""

    sent_at_us: int = 0


VenueMessage = (
    TradesMessage
    | QuotesMessage
    | BookMessage
    | KlineMessage
    | FundingMessage
    | MarkMessage
    | AckMessage
    | ErrorMessage
    | ReconnectNotice
    | OtherMessage
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscribeRequest:
    """One message that asks for `topics` or gives them up; answers name the topics or the request."""

    text: str
    request_id: str
    topics: tuple[str, ...]
    endpoint: str = ""  # the path of the connection it must be sent on


@dataclass(frozen=True, slots=True, kw_only=True)
class RestRequest:
    """A public GET: path below the venue's base address, parameters, and its price in the venue's units."""

    path: str
    params: Mapping[str, str | int]
    weight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RestBudget:
    """How much may be asked of one path (or of all paths together, where the venue counts them so)."""

    per_s: float  # weight
    burst: float  # weight


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueLimits:
    """What the venue allows, less a margin for whoever else uses this address."""

    topics_per_connection: int
    topics_per_request: int
    requests_per_s: float  # subscribe messages
    connects_per_s: float
    connection_life_s: float | None  # we reconnect before the venue does it
    keepalive_s: float | None  # how often `keepalive` must be sent when nothing else arrives
    history_page: int  # trades
    kline_page: int  # candles
    rest: RestBudget  # all paths without a budget of their own
    rest_by_path: Mapping[str, RestBudget]
    history_reach_s: float | None = None  # how old trades may be to be had over REST; None: any age


class ExchangeAdapter(ABC):
    """The protocol of one product of a venue. Symbols are ours outside and the venue's own inside.

    Hosts and limits are the product's: a venue may have one product or several. REST paths are written as
    the product's transport takes them.
    """

    name: str  # the exchange
    product: str
    channels: tuple[str, ...]  # kinds of trade stream it understands, the best first
    # Endpoints whose connections end without a word when those of others are told beforehand.
    unannounced: frozenset[str] = frozenset()
    limits: VenueLimits
    trade_layout: TradeLayout | None = None  # None: trades are read one by one

    def __init__(self, channel: str | None = None) -> None:
        self.channel = self.channels[0] if channel is None else channel
        self._instruments: dict[str, Instrument] = {}  # by symbol
        self._make_reader: Callable[[], FrameReader] | None = None
        self._reader: FrameReader | None = None  # of the instruments known now

    def use(self, instruments: Iterable[Instrument]) -> None:
        """Learn how the venue writes these symbols and what a quantity means there; needed before parsing."""
        self._instruments.update({instrument.symbol: instrument for instrument in instruments})
        self._reader = None

    def instrument(self, symbol: str) -> Instrument:
        """Raises KeyError for a symbol that `use` was not told of."""
        return self._instruments[symbol]

    @abstractmethod
    def supports(self, symbol: str, channel: Channel) -> bool:
        """Whether the product streams that of this symbol, told by the symbol's form alone."""

    @abstractmethod
    def endpoint_of(self, channel: Channel, symbol: str = "") -> str:
        """The path, below the product's WebSocket address, of connections that carry this channel."""

    @abstractmethod
    def topic_of(self, symbol: str, channel: Channel) -> str:
        """What acknowledgements call the subscription. Two channels of a symbol may share one topic."""

    def connection_url(self, base_url: str, endpoint: str | None = None) -> str:
        """The address of an endpoint below `base_url`; of the one that carries trades where none is named."""
        path = self.endpoint_of(Channel.TRADES) if endpoint is None else endpoint
        return f"{base_url.rstrip('/')}{path}"

    def subscribe_requests(
        self, topics: Sequence[str | Subscription], *, first_number: int = 1
    ) -> list[SubscribeRequest]:
        """The messages that subscribe to `topics`, each for one endpoint and within the venue's size.

        A bare symbol stands for its trades. Requests are numbered from `first_number`, so that those of one
        connection can be told apart. Raises ValueError for what the product does not stream.
        """
        return self._requests("subscribe", topics, first_number)

    def unsubscribe_requests(
        self, topics: Sequence[str | Subscription], *, first_number: int = 1
    ) -> list[SubscribeRequest]:
        """The messages that give `topics` up again; as `subscribe_requests` in all else.

        A topic that another channel shares is given up for both.
        """
        return self._requests("unsubscribe", topics, first_number)

    def _requests(
        self, operation: str, topics: Sequence[str | Subscription], first_number: int
    ) -> list[SubscribeRequest]:
        by_endpoint: dict[str, dict[str, None]] = {}
        for entry in topics:
            symbol, channel = (entry, Channel.TRADES) if isinstance(entry, str) else entry
            if not self.supports(symbol, channel):
                raise ValueError(f"{self.name} {self.product} has no {channel.value} of {symbol}")
            endpoint = self.endpoint_of(channel, symbol)
            by_endpoint.setdefault(endpoint, {})[self.topic_of(symbol, channel)] = None
        requests: list[SubscribeRequest] = []
        size = self.limits.topics_per_request
        for endpoint, named in by_endpoint.items():
            found = tuple(named)
            for start in range(0, len(found), size):
                number, part = first_number + len(requests), found[start : start + size]
                requests.append(
                    SubscribeRequest(
                        text=self._request_text(operation, number, part),
                        request_id=str(number),
                        topics=part,
                        endpoint=endpoint,
                    )
                )
        return requests

    @abstractmethod
    def _request_text(self, operation: str, number: int, topics: Sequence[str]) -> str:
        """The venue's message for `operation`, "subscribe" or "unsubscribe"."""

    @abstractmethod
    def keepalive(self) -> str | None:
        """The text that keeps a quiet connection open, where the venue wants one."""

    @abstractmethod
    def parse(self, message: bytes | str, received_at_us: int = 0) -> VenueMessage:
        """What one message says. Raises MalformedMessage.

        `received_at_us`, our clock, dates quotes and books of a venue that tells no time.
        """

    def make_ready(self) -> None:
        """Load the compiled code that reads many messages at once, which may take seconds.

        `in_turn` does without until then; a thread of its own may do this.
        """
        if self.trade_layout is not None:
            from data.exchanges.frame_reader import FrameReader

            make = partial(FrameReader, self.trade_layout, self._read_one)
            make()  # which compiles
            self._make_reader = make

    def in_turn(self, messages: Sequence[bytes]) -> Iterator[WaitingTrades | bytes]:
        """What messages that wait say, in their order: plain trades together, all else left to `parse`."""
        if len(messages) >= _MANY and self._make_reader is not None:
            if self._reader is None:
                self._reader = self._make_reader()
            parts = self._reader.in_turn(messages)
            if parts is not None:
                return parts
        return self._few_in_turn(messages)

    def _few_in_turn(self, messages: Sequence[bytes]) -> Iterator[WaitingTrades | bytes]:
        """As `in_turn`, without compiled code."""
        return iter(messages)

    def _read_one(self, message: bytes) -> Trade | None:
        """The trade of a message that says one and nothing else."""
        try:
            parsed = self.parse(message)
        except BadDataError:
            return None
        if not isinstance(parsed, TradesMessage) or parsed.refused or parsed.merged:
            return None
        return parsed.trades[0] if len(parsed.trades) == 1 else None

    @abstractmethod
    def instruments_requests(self, symbols: Sequence[str]) -> list[RestRequest]:
        """The requests whose replies list these symbols, among others, if the venue trades them."""

    @abstractmethod
    def parse_instruments(self, reply: object) -> list[Instrument]:
        """Instruments of a decoded reply. Left out: kinds whose quantity is no fixed amount of base currency.

        Raises MalformedMessage.
        """

    @abstractmethod
    def history_request(self, symbol: str, first_id: int) -> RestRequest:
        """Ask for `limits.history_page` trades from `first_id` up."""

    @abstractmethod
    def newest_trades_request(self, symbol: str) -> RestRequest:
        """Ask for the newest trades."""

    @abstractmethod
    def parse_history(self, symbol: str, reply: object) -> list[Trade]:
        """Trades of a decoded reply, ascending by id. Raises MalformedMessage.

        A trade with a value that cannot be held exactly is left out.
        """

    @abstractmethod
    def klines_request(
        self, symbol: str, timeframe: Timeframe, *, before_us: int | None = None
    ) -> RestRequest:
        """Ask for the newest candles, or for the newest that open before `before_us`."""

    @abstractmethod
    def parse_klines(
        self, symbol: str, timeframe: Timeframe, reply: object, venue_time_us: int
    ) -> list[Candle]:
        """Candles of a decoded reply that were finished at `venue_time_us`, before the request; ascending.

        Raises MalformedMessage.
        """

    @abstractmethod
    def server_time_request(self) -> RestRequest:
        """Ask for the venue's clock."""

    @abstractmethod
    def parse_server_time(self, reply: object) -> int:
        """The venue's clock in microseconds. Raises MalformedMessage."""


class DerivativesAdapter(ExchangeAdapter):
    """The protocol of a product that has perpetuals."""

    @abstractmethod
    def funding_history_request(self, symbol: str, *, before_us: int | None = None) -> RestRequest:
        """Ask for the newest settled funding rates, or for the newest that were paid before `before_us`."""

    @abstractmethod
    def parse_funding_history(self, symbol: str, reply: object, seen_at_us: int) -> list[FundingRate]:
        """Settled rates of a decoded reply, ascending. Raises MalformedMessage.

        A rate that cannot be held exactly is left out.
        """

    @abstractmethod
    def mark_price_request(self, symbol: str) -> RestRequest:
        """Ask for the mark price of now."""

    @abstractmethod
    def parse_mark_price(self, symbol: str, reply: object) -> MarkPrice:
        """The mark price of a decoded reply. Raises MalformedMessage, and InexactValue."""


def exact_float(exchange: str, text: str) -> float:
    """The double nearest to a venue's decimal. Raises InexactValue if it would not print back the same.

    Raises ValueError for text that is no positive finite number.
    """
    value = float(text)
    if not 0.0 < value < _INFINITY:
        raise ValueError(f"{text} is no positive finite number")
    # A sign, a point or an exponent only makes the text longer, so short texts are safe unseen.
    if len(text) > _SAFE_DIGITS and Decimal(repr(value)) != Decimal(text):
        raise InexactValue(exchange, text)
    return value


def contracts_to_base(exchange: str, contracts: str, contract_size: Decimal) -> float:
    """Base currency of that many contracts, multiplied exactly. Raises InexactValue."""
    return exact_float(exchange, str(Decimal(contracts) * contract_size))
