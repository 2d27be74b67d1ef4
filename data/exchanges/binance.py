"""Binance spot market data. Source: binance-spot-api-docs (streams and REST pages)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import msgspec

from data.errors import MalformedMessage
from data.exchanges.base import (
    Channel,
    InexactValue,
    RestBudget,
    RestRequest,
    TradesMessage,
    VenueLimits,
    VenueMessage,
    exact_float,
)
from data.exchanges.binance_channels import SPOT_READERS
from data.exchanges.binance_family import BinanceFamily
from data.exchanges.binance_symbols import SymbolsReply, spot_instrument
from data.exchanges.reading import reading
from data.exchanges.trade_layouts import binance_layout
from data.exchanges.waiting_trades import WaitingTrades, in_turn, take_binance
from data.models import Instrument, Side, Trade

_MS_US = 1_000


class _TradeEvent(msgspec.Struct, gc=False, tag_field="e", tag="trade"):
    E: int  # ms
    s: str
    t: int
    p: str
    q: str
    T: int  # ms
    m: bool


class _Envelope(msgspec.Struct, gc=False):
    data: _TradeEvent


class _HistoryRow(msgspec.Struct, gc=False):
    id: int
    price: str
    qty: str
    time: int  # ms
    isBuyerMaker: bool


_decode_envelope = msgspec.json.Decoder(_Envelope).decode


class BinanceAdapter(BinanceFamily):
    """Binance spot; `<symbol>@trade` has one message per trade."""

    product = "spot"
    channels = ("trade",)
    kline_weight = 2
    readers = SPOT_READERS
    trade_layout = binance_layout("t")
    stream_names: ClassVar[Mapping[Channel, str]] = {
        Channel.KLINES: "kline_1m",
        Channel.QUOTES: "bookTicker",
        Channel.BOOK5: "depth5@100ms",
        Channel.BOOK20: "depth20@100ms",
    }
    limits = VenueLimits(
        topics_per_connection=1_000,
        topics_per_request=200,
        requests_per_s=2.0,  # of 5 messages a second, pings and pongs among them
        connects_per_s=0.5,
        connection_life_s=23 * 3_600.0,
        keepalive_s=None,
        history_page=1_000,
        kline_page=1_000,
        # 6,000 a minute for the address; a third is left for others and a burst may start at any moment.
        rest=RestBudget(per_s=50.0, burst=1_000.0),
        rest_by_path={},
    )

    def supports(self, symbol: str, channel: Channel) -> bool:
        return symbol.count("-") == 1 and (channel is Channel.TRADES or channel in self.stream_names)

    def endpoint_of(self, channel: Channel, symbol: str = "") -> str:
        return "/stream"

    def parse(self, message: bytes | str, received_at_us: int = 0) -> VenueMessage:
        try:
            event = _decode_envelope(message).data
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._parse_other(message, received_at_us)
        return self._trades_message(event, message)

    def _few_in_turn(self, messages: Sequence[bytes]) -> Iterator[WaitingTrades | bytes]:
        return in_turn(messages, partial(take_binance, self._symbols))

    def _trades_message(self, event: _TradeEvent, message: bytes | str) -> TradesMessage:
        try:
            trade = Trade(
                exchange="binance",
                symbol=self._symbols[event.s],
                trade_id=event.t,
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
            return self._trades_message(msgspec.convert(event, _TradeEvent), message)

    def instruments_requests(self, symbols: Sequence[str]) -> list[RestRequest]:
        return [RestRequest(path="exchangeInfo", params={}, weight=20)]

    def parse_instruments(self, reply: object) -> list[Instrument]:
        with reading(self.name, reply):
            return [spot_instrument(row) for row in msgspec.convert(reply, SymbolsReply).symbols]

    def history_request(self, symbol: str, first_id: int) -> RestRequest:
        return RestRequest(
            path="historicalTrades",
            params={
                "symbol": self._instruments[symbol].venue_symbol,
                "fromId": first_id,
                "limit": self.limits.history_page,
            },
            weight=25,
        )

    def newest_trades_request(self, symbol: str) -> RestRequest:
        return RestRequest(
            path="trades",
            params={
                "symbol": self._instruments[symbol].venue_symbol,
                "limit": self.limits.history_page,
            },
            weight=25,
        )

    def parse_history(self, symbol: str, reply: object) -> list[Trade]:
        trades = []
        with reading(self.name, reply):
            for row in msgspec.convert(reply, list[_HistoryRow]):
                try:
                    trades.append(
                        Trade(
                            exchange=self.name,
                            symbol=symbol,
                            trade_id=row.id,
                            price=exact_float(self.name, row.price),
                            quantity=exact_float(self.name, row.qty),
                            taker_side=Side.SELL if row.isBuyerMaker else Side.BUY,
                            traded_at_us=row.time * _MS_US,
                        )
                    )
                except InexactValue:
                    continue  # the id stays missing, and is reported so
        return sorted(trades, key=lambda trade: trade.trade_id)
