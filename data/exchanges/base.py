"""What a venue's adapter does: build requests, parse replies. It owns no socket: recordings can test it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from data.errors import BadDataError
from data.models import Candle, Instrument, Trade
from data.timeframes import Timeframe

# Any decimal of this many significant digits comes back from its nearest double. Source: IEEE 754, DBL_DIG.
_SAFE_DIGITS = 15
_INFINITY = float("inf")


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


class AckMessage(msgspec.Struct, frozen=True):
    """A subscription is accepted: the one of `topic`, or all of request `request_id`."""

    topic: str = ""
    request_id: str = ""


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


VenueMessage = TradesMessage | AckMessage | ErrorMessage | ReconnectNotice | OtherMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscribeRequest:
    """One message that asks for `topics`; the venue's answers name the topics or the request."""

    text: str
    request_id: str
    topics: tuple[str, ...]


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


class ExchangeAdapter(ABC):
    """One venue's protocol. Symbols are ours outside and the venue's own inside."""

    name: str
    channels: tuple[str, ...]  # kinds of trade stream it understands, the best first
    limits: VenueLimits

    def __init__(self, channel: str | None = None) -> None:
        self.channel = self.channels[0] if channel is None else channel
        self._instruments: dict[str, Instrument] = {}  # by symbol

    def use(self, instruments: Iterable[Instrument]) -> None:
        """Learn how the venue writes these symbols and what a quantity means there; needed before parsing."""
        self._instruments.update({instrument.symbol: instrument for instrument in instruments})

    def instrument(self, symbol: str) -> Instrument:
        """Raises KeyError for a symbol that `use` was not told of."""
        return self._instruments[symbol]

    @abstractmethod
    def connection_url(self, base_url: str) -> str:
        """The address to connect to for trades, below `base_url`."""

    @abstractmethod
    def subscribe_requests(self, symbols: Sequence[str]) -> list[SubscribeRequest]:
        """The messages that subscribe to the trades of `symbols`, each within the venue's size."""

    @abstractmethod
    def keepalive(self) -> str | None:
        """The text that keeps a quiet connection open, where the venue wants one."""

    @abstractmethod
    def parse(self, message: bytes | str) -> VenueMessage:
        """What one message says. Raises MalformedMessage."""

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
