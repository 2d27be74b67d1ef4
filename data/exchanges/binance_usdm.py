"""Binance USD-M futures market data. Source: developers.binance.com, "USDS-Margined Futures"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec

from data.errors import MalformedMessage
from data.exchanges.base import (
    Channel,
    DerivativesAdapter,
    InexactValue,
    RestBudget,
    RestRequest,
    TradesMessage,
    VenueLimits,
    VenueMessage,
    exact_float,
)
from data.exchanges.binance_channels import FUTURES_READERS, mark_price_of
from data.exchanges.binance_family import BinanceFamily
from data.exchanges.binance_symbols import SymbolsReply, futures_instrument
from data.exchanges.reading import exact_signed, reading
from data.exchanges.trade_layouts import binance_layout
from data.models import FundingRate, Instrument, MarkPrice, Side, Trade

_MS_US = 1_000
_MARK_STREAM = "markPrice@1s"
_FUNDING_PAGE = 1_000
_HISTORY_REACH_S = 48 * 3_600.0
# Books are served on one route and all else on the other; the wrong one acknowledges and stays silent.
_BOOK_ROUTE = "/public/stream"
_MARKET_ROUTE = "/market/stream"


class _AggregateEvent(msgspec.Struct, gc=False):
    e: Literal["aggTrade"]
    E: int  # ms
    s: str
    a: int
    p: str
    q: str
    T: int  # ms
    m: bool


class _Envelope(msgspec.Struct, gc=False):
    stream: str
    data: _AggregateEvent


class _AggregateRow(msgspec.Struct, gc=False):
    a: int
    p: str
    q: str
    T: int  # ms
    m: bool


class _FundingRow(msgspec.Struct):
    fundingTime: int  # ms
    fundingRate: str


class _PremiumIndex(msgspec.Struct):
    markPrice: str
    indexPrice: str
    time: int  # ms


_decode_envelope = msgspec.json.Decoder(_Envelope).decode


class BinanceUsdmAdapter(BinanceFamily, DerivativesAdapter):
    """Binance USD-M futures: perpetuals and dated contracts, quantities in base currency.

    A trade is an aggregate (fills of one price and taker side within 100 ms) under its aggregate id: ids of
    single trades have holes by design, those of aggregates have none. Funding comes with the mark price.
    """

    product = "usdm"
    channels = ("aggTrade",)
    kline_weight = 5
    readers = FUTURES_READERS
    trade_layout = binance_layout("a")
    stream_names: ClassVar[Mapping[Channel, str]] = {
        Channel.KLINES: "kline_1m",
        Channel.QUOTES: "bookTicker",
        Channel.BOOK5: "depth5@100ms",
        Channel.BOOK20: "depth20@100ms",
        Channel.FUNDING: _MARK_STREAM,
        Channel.MARK: _MARK_STREAM,
    }
    limits = VenueLimits(
        topics_per_connection=200,
        topics_per_request=100,
        requests_per_s=4.0,  # of 10 messages a second, pings and pongs among them
        connects_per_s=0.5,
        connection_life_s=23 * 3_600.0,
        keepalive_s=None,
        history_page=1_000,
        kline_page=1_000,
        # 2,400 a minute for the address; a third is left for others and a burst may start at any moment.
        rest=RestBudget(per_s=20.0, burst=400.0),
        # These two share 500 requests in five minutes.
        rest_by_path={
            "fundingRate": RestBudget(per_s=0.5, burst=15.0),
            "premiumIndex": RestBudget(per_s=0.5, burst=15.0),
        },
        history_reach_s=_HISTORY_REACH_S,
    )

    def supports(self, symbol: str, channel: Channel) -> bool:
        parts = symbol.split("-")
        if len(parts) != 3:
            return False
        if channel is Channel.FUNDING:
            return parts[2] == "PERP"
        return channel is Channel.TRADES or channel in self.stream_names

    def endpoint_of(self, channel: Channel, symbol: str = "") -> str:
        in_book = channel in (Channel.QUOTES, Channel.BOOK5, Channel.BOOK20)
        return _BOOK_ROUTE if in_book else _MARKET_ROUTE

    def parse(self, message: bytes | str, received_at_us: int = 0) -> VenueMessage:
        try:
            event = _decode_envelope(message).data
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._parse_other(message, received_at_us)
        return self._trades_message(event, message)

    def _trades_message(self, event: _AggregateEvent, message: bytes | str) -> TradesMessage:
        try:
            trade = Trade(
                exchange="binance",
                symbol=self._symbols[event.s],
                trade_id=event.a,
                price=exact_float("binance", event.p),
                quantity=exact_float("binance", event.q),
                # The buyer was the maker, so the seller's order crossed the spread.
                taker_side=Side.SELL if event.m else Side.BUY,
                traded_at_us=event.T * _MS_US,
            )
        except InexactValue:
            return TradesMessage([], event.E * _MS_US, refused=1)
        except (KeyError, ValueError) as error:
            raise MalformedMessage(self.name, message) from error
        return TradesMessage([trade], event.E * _MS_US)

    def _raw_trades(self, event: Mapping[str, Any], message: bytes | str) -> VenueMessage:
        with reading(self.name, message):
            return self._trades_message(msgspec.convert(event, _AggregateEvent), message)

    def instruments_requests(self, symbols: Sequence[str]) -> list[RestRequest]:
        return [RestRequest(path="exchangeInfo", params={}, weight=1)]

    def parse_instruments(self, reply: object) -> list[Instrument]:
        with reading(self.name, reply):
            found = (futures_instrument(row) for row in msgspec.convert(reply, SymbolsReply).symbols)
            return [instrument for instrument in found if instrument is not None]

    def history_request(self, symbol: str, first_id: int) -> RestRequest:
        return self._aggregates_request(symbol, {"fromId": first_id})

    def newest_trades_request(self, symbol: str) -> RestRequest:
        return self._aggregates_request(symbol, {})

    def _aggregates_request(self, symbol: str, start: Mapping[str, int]) -> RestRequest:
        params: dict[str, str | int] = {
            "symbol": self._instruments[symbol].venue_symbol,
            **start,
            "limit": self.limits.history_page,
        }
        return RestRequest(path="aggTrades", params=params, weight=20)

    def parse_history(self, symbol: str, reply: object) -> list[Trade]:
        trades = []
        with reading(self.name, reply):
            for row in msgspec.convert(reply, list[_AggregateRow]):
                try:
                    trades.append(
                        Trade(
                            exchange=self.name,
                            symbol=symbol,
                            trade_id=row.a,
                            price=exact_float(self.name, row.p),
                            quantity=exact_float(self.name, row.q),
                            taker_side=Side.SELL if row.m else Side.BUY,
                            traded_at_us=row.T * _MS_US,
                        )
                    )
                except InexactValue:
                    continue  # the id stays missing, and is reported so
        return sorted(trades, key=lambda trade: trade.trade_id)

    def funding_history_request(self, symbol: str, *, before_us: int | None = None) -> RestRequest:
        params: dict[str, str | int] = {
            "symbol": self._instruments[symbol].venue_symbol,
            "limit": _FUNDING_PAGE,
        }
        if before_us is not None:
            params["endTime"] = before_us // _MS_US - 1
        return RestRequest(path="fundingRate", params=params)

    def parse_funding_history(self, symbol: str, reply: object, seen_at_us: int) -> list[FundingRate]:
        rates = []
        with reading(self.name, reply):
            for row in msgspec.convert(reply, list[_FundingRow]):
                try:
                    rates.append(
                        FundingRate(
                            exchange=self.name,
                            symbol=symbol,
                            # Some are stamped a few milliseconds late.
                            funding_at_us=row.fundingTime // 1_000 * 1_000_000,
                            rate=exact_signed(self.name, row.fundingRate),
                            settled=True,
                            seen_at_us=seen_at_us,
                        )
                    )
                except InexactValue:
                    continue
        return sorted(rates, key=lambda rate: rate.funding_at_us)

    def mark_price_request(self, symbol: str) -> RestRequest:
        return RestRequest(path="premiumIndex", params={"symbol": self._instruments[symbol].venue_symbol})

    def parse_mark_price(self, symbol: str, reply: object) -> MarkPrice:
        with reading(self.name, reply):
            row = msgspec.convert(reply, _PremiumIndex)
            return mark_price_of(symbol, row.markPrice, row.indexPrice, row.time)
