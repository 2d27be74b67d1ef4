"""Binance spot trades, symbols and klines. Source: binance-spot-api-docs (streams and REST pages)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

import msgspec

from data.errors import MalformedMessage
from data.exchanges.base import (
    AckMessage,
    ErrorMessage,
    ExchangeAdapter,
    InexactValue,
    OtherMessage,
    ReconnectNotice,
    RestBudget,
    RestRequest,
    SubscribeRequest,
    TradesMessage,
    VenueLimits,
    VenueMessage,
    exact_float,
)
from data.models import Candle, Instrument, InstrumentKind, InstrumentStatus, Side, Trade
from data.timeframes import Timeframe

_MS_US = 1_000


class _TradeEvent(msgspec.Struct, gc=False):
    e: Literal["trade"]
    E: int  # ms
    s: str
    t: int
    p: str
    q: str
    T: int  # ms
    m: bool


class _Envelope(msgspec.Struct, gc=False):
    stream: str
    data: _TradeEvent


class _HistoryRow(msgspec.Struct, gc=False):
    id: int
    price: str
    qty: str
    time: int  # ms
    isBuyerMaker: bool


class _Filter(msgspec.Struct):
    filterType: str
    tickSize: str = "0"
    stepSize: str = "0"
    minQty: str = "0"
    minNotional: str = "0"


class _SymbolRow(msgspec.Struct):
    symbol: str
    status: str
    baseAsset: str
    quoteAsset: str
    filters: list[_Filter]


class _SymbolsReply(msgspec.Struct):
    symbols: list[_SymbolRow]


class _TimeReply(msgspec.Struct):
    serverTime: int


# open time, o, h, l, c, volume, close time, quote volume, trades, two taker volumes, unused
_KlineRow = tuple[int, str, str, str, str, str, int, str, int, str, str, str]

_decode_envelope = msgspec.json.Decoder(_Envelope).decode


class BinanceAdapter(ExchangeAdapter):
    """Binance spot, combined streams; `<symbol>@trade` has one message per trade."""

    name = "binance"
    channels = ("trade",)
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

    def __init__(self, channel: str | None = None) -> None:
        super().__init__(channel)
        self._symbols: dict[str, str] = {}  # ours by the venue's

    def use(self, instruments: Iterable[Instrument]) -> None:
        super().use(instruments)
        self._symbols = {item.venue_symbol: item.symbol for item in self._instruments.values()}

    def connection_url(self, base_url: str) -> str:
        return f"{base_url.rstrip('/')}/stream"

    def subscribe_requests(self, symbols: Sequence[str]) -> list[SubscribeRequest]:
        size = self.limits.topics_per_request
        requests = []
        for number, start in enumerate(range(0, len(symbols), size), start=1):
            topics = [
                f"{self._instruments[symbol].venue_symbol.lower()}@{self.channel}"
                for symbol in symbols[start : start + size]
            ]
            body = {"method": "SUBSCRIBE", "params": topics, "id": number}
            requests.append(
                SubscribeRequest(
                    text=msgspec.json.encode(body).decode(), request_id=str(number), topics=tuple(topics)
                )
            )
        return requests

    def keepalive(self) -> str | None:
        return None

    def parse(self, message: bytes | str) -> VenueMessage:
        try:
            event = _decode_envelope(message).data
        except (msgspec.ValidationError, msgspec.DecodeError):
            return self._parse_other(message)
        return self._trades_message(event, message)

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

    def _parse_other(self, message: bytes | str) -> VenueMessage:
        try:
            body: Any = msgspec.json.decode(message)
        except msgspec.DecodeError as error:
            raise MalformedMessage(self.name, message) from error
        if not isinstance(body, dict):
            raise MalformedMessage(self.name, message)
        stream, event = str(body.get("stream", "")), body.get("data", body)
        if "result" in body and "id" in body:
            return AckMessage(request_id=str(body["id"]))
        # Documented bare, seen wrapped.
        error_body = body.get("error", body)
        if isinstance(error_body, dict) and "code" in error_body and "msg" in error_body:
            return ErrorMessage(
                code=str(error_body["code"]),
                reason=str(error_body["msg"]),
                request_id=str(body.get("id") or ""),
            )
        if isinstance(event, dict):
            kind = event.get("e")
            if kind == "serverShutdown" or stream == "!serverShutdown":
                return ReconnectNotice("the venue is shutting this connection down")
            if kind == "trade" and not stream:
                # A raw stream: the same event without its envelope.
                try:
                    return self._trades_message(msgspec.convert(event, _TradeEvent), message)
                except msgspec.ValidationError as error:
                    raise MalformedMessage(self.name, message) from error
            if kind == "trade" or stream.endswith("@trade"):
                raise MalformedMessage(self.name, message)
            sent_at_ms = event.get("E")
            return OtherMessage(sent_at_ms * _MS_US if isinstance(sent_at_ms, int) else 0)
        if stream:
            return OtherMessage()
        raise MalformedMessage(self.name, message)

    def instruments_requests(self, symbols: Sequence[str]) -> list[RestRequest]:
        return [RestRequest(path="exchangeInfo", params={}, weight=20)]

    def parse_instruments(self, reply: object) -> list[Instrument]:
        try:
            return [_instrument(row) for row in msgspec.convert(reply, _SymbolsReply).symbols]
        except (msgspec.ValidationError, InvalidOperation) as error:
            raise MalformedMessage(self.name, _shown(reply)) from error

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
        try:
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
        except (msgspec.ValidationError, ValueError) as error:
            raise MalformedMessage(self.name, _shown(reply)) from error
        return sorted(trades, key=lambda trade: trade.trade_id)

    def klines_request(
        self, symbol: str, timeframe: Timeframe, *, before_us: int | None = None
    ) -> RestRequest:
        params: dict[str, str | int] = {
            "symbol": self._instruments[symbol].venue_symbol,
            "interval": timeframe.value,
            "limit": self.limits.kline_page,
        }
        if before_us is not None:
            params["endTime"] = before_us // _MS_US - 1
        return RestRequest(path="klines", params=params, weight=2)

    def parse_klines(
        self, symbol: str, timeframe: Timeframe, reply: object, venue_time_us: int
    ) -> list[Candle]:
        try:
            rows = msgspec.convert(reply, list[_KlineRow])
            return [
                Candle(
                    exchange=self.name,
                    symbol=symbol,
                    timeframe=timeframe,
                    opened_at_us=opened_at_ms * _MS_US,
                    open=float(opened),
                    high=float(high),
                    low=float(low),
                    close=float(closed),
                    volume=float(volume),
                    trades=trades,
                )
                for opened_at_ms, opened, high, low, closed, volume, _, _, trades, _, _, _ in rows
                # Binance does not mark the candle in the making.
                if opened_at_ms * _MS_US + timeframe.us <= venue_time_us
            ]
        except (msgspec.ValidationError, ValueError) as error:
            raise MalformedMessage(self.name, _shown(reply)) from error

    def server_time_request(self) -> RestRequest:
        return RestRequest(path="time", params={})

    def parse_server_time(self, reply: object) -> int:
        try:
            return msgspec.convert(reply, _TimeReply).serverTime * _MS_US
        except msgspec.ValidationError as error:
            raise MalformedMessage(self.name, _shown(reply)) from error


def _instrument(row: _SymbolRow) -> Instrument:
    filters = {item.filterType: item for item in row.filters}
    lot = filters.get("LOT_SIZE", _Filter("LOT_SIZE"))
    notional = filters.get("NOTIONAL", filters.get("MIN_NOTIONAL", _Filter("NOTIONAL")))
    return Instrument(
        exchange="binance",
        symbol=f"{row.baseAsset}-{row.quoteAsset}",
        venue_symbol=row.symbol,
        kind=InstrumentKind.SPOT,
        base=row.baseAsset,
        quote=row.quoteAsset,
        tick_size=_plain(filters.get("PRICE_FILTER", _Filter("PRICE_FILTER")).tickSize),
        lot_size=_plain(lot.stepSize),
        min_quantity=_plain(lot.minQty),
        min_notional=_plain(notional.minNotional),
        status=InstrumentStatus.TRADING if row.status == "TRADING" else InstrumentStatus.HALTED,
    )


def _plain(text: str) -> Decimal:
    """Binance pads to eight places: 0.01000000 is 0.01."""
    return Decimal(text.rstrip("0").rstrip(".") if "." in text else text)


def _shown(reply: object) -> str:
    return msgspec.json.encode(reply).decode()
