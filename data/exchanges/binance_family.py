"""What Binance's products have in common: combined streams, requests, control messages, klines, the clock."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from data.errors import MalformedMessage
from data.exchanges.base import (
    AckMessage,
    Channel,
    ErrorMessage,
    ExchangeAdapter,
    InexactValue,
    OtherMessage,
    ReconnectNotice,
    RestRequest,
    VenueMessage,
)
from data.exchanges.binance_channels import KlineRow, candle_of
from data.exchanges.reading import reading
from data.models import Candle, Instrument
from data.timeframes import Timeframe

_MS_US = 1_000


class _Enveloped(msgspec.Struct):
    stream: str
    data: msgspec.Raw


class _TimeReply(msgspec.Struct):
    serverTime: int


_decode_enveloped = msgspec.json.Decoder(_Enveloped).decode


class BinanceFamily(ExchangeAdapter):
    """A Binance product, heard over combined streams; REST paths are those below its version's path."""

    name = "binance"
    kline_weight: ClassVar[int]  # of a page
    stream_names: ClassVar[Mapping[Channel, str]]  # "depth5@100ms", by channel, beside the trades
    readers: ClassVar[Mapping[str, Callable[[str, msgspec.Raw, int], VenueMessage]]]  # by "depth5"

    def __init__(self, channel: str | None = None) -> None:
        super().__init__(channel)
        self._symbols: dict[str, str] = {}  # ours by the venue's

    def use(self, instruments: Iterable[Instrument]) -> None:
        super().use(instruments)
        self._symbols = {item.venue_symbol: item.symbol for item in self._instruments.values()}

    def topic_of(self, symbol: str, channel: Channel) -> str:
        stream = self.channel if channel is Channel.TRADES else self.stream_names[channel]
        return f"{self._instruments[symbol].venue_symbol.lower()}@{stream}"

    def _request_text(self, operation: str, number: int, topics: Sequence[str]) -> str:
        body = {"method": operation.upper(), "params": list(topics), "id": number}
        return msgspec.json.encode(body).decode()

    def keepalive(self) -> str | None:
        return None

    @abstractmethod
    def _raw_trades(self, event: Mapping[str, Any], message: bytes | str) -> VenueMessage:
        """A trade event that came without its envelope, as raw streams send it."""

    def _parse_other(self, message: bytes | str, received_at_us: int) -> VenueMessage:
        """What a message says that is no trade of a combined stream."""
        try:
            enveloped = _decode_enveloped(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._parse_control(message)
        name, _, stream = enveloped.stream.partition("@")
        read = self.readers.get(stream.partition("@")[0])
        symbol = self._symbols.get(name.upper())
        if read is None or symbol is None:
            return self._parse_control(message)
        with reading(self.name, message):
            return read(symbol, enveloped.data, received_at_us)

    def _parse_control(self, message: bytes | str) -> VenueMessage:
        try:
            body: Any = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
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
            if kind == self.channel and not stream:
                return self._raw_trades(event, message)
            if kind == self.channel or stream.endswith(f"@{self.channel}"):
                raise MalformedMessage(self.name, message)
            sent_at_ms = event.get("E")
            return OtherMessage(sent_at_ms * _MS_US if isinstance(sent_at_ms, int) else 0)
        if stream:
            return OtherMessage()
        raise MalformedMessage(self.name, message)

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
        return RestRequest(path="klines", params=params, weight=self.kline_weight)

    def parse_klines(
        self, symbol: str, timeframe: Timeframe, reply: object, venue_time_us: int
    ) -> list[Candle]:
        candles = []
        with reading(self.name, reply):
            for row in msgspec.convert(reply, list[KlineRow]):
                # Binance does not mark the candle in the making.
                if row[0] * _MS_US + timeframe.us > venue_time_us:
                    continue
                try:
                    candles.append(candle_of(symbol, timeframe, row))
                except InexactValue:
                    continue  # left out, as in the stream
        return candles

    def server_time_request(self) -> RestRequest:
        return RestRequest(path="time", params={})

    def parse_server_time(self, reply: object) -> int:
        with reading(self.name, reply):
            return msgspec.convert(reply, _TimeReply).serverTime * _MS_US
