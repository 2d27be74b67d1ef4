"""OKX v5 public trades, instruments and candles. Source: OKX API guide, "Public Data" and "Market Data"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

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
    contracts_to_base,
    exact_float,
)
from data.models import Candle, Instrument, InstrumentKind, InstrumentStatus, Side, Trade
from data.timeframes import Timeframe

_MS_US = 1_000
_SERVICE_UPGRADE = "64008"
_HISTORY_PATH = "/api/v5/market/history-trades"
_NEWEST_PATH = "/api/v5/market/trades"
_CANDLES_PATH = "/api/v5/market/candles"
_OLD_CANDLES_PATH = "/api/v5/market/history-candles"
_INSTRUMENTS_PATH = "/api/v5/public/instruments"
_TIME_PATH = "/api/v5/public/time"

# Bars of six hours and more open at UTC+8 unless the name ends in "utc".
_BARS = {
    Timeframe.S1: "1s",
    Timeframe.M1: "1m",
    Timeframe.M3: "3m",
    Timeframe.M5: "5m",
    Timeframe.M15: "15m",
    Timeframe.M30: "30m",
    Timeframe.H1: "1H",
    Timeframe.H2: "2H",
    Timeframe.H4: "4H",
    Timeframe.H6: "6Hutc",
    Timeframe.H12: "12Hutc",
    Timeframe.D1: "1Dutc",
    Timeframe.W1: "1Wutc",
}
_KINDS = {
    "SPOT": InstrumentKind.SPOT,
    "SWAP": InstrumentKind.PERPETUAL,
    "FUTURES": InstrumentKind.FUTURE,
    "OPTION": InstrumentKind.OPTION,
}


class _TradeRow(msgspec.Struct, gc=False):
    instId: str
    tradeId: int
    px: str
    sz: str
    side: Side
    ts: int  # ms
    count: int = 1


class _Argument(msgspec.Struct, gc=False):
    channel: str
    instId: str = ""


class _TradePush(msgspec.Struct, gc=False):
    arg: _Argument
    data: list[_TradeRow]


class _Event(msgspec.Struct):
    """Every message that is no trade push, seen loosely."""

    event: str = ""
    arg: _Argument | None = None
    code: str = ""
    msg: str = ""
    id: str = ""
    data: Any = None


class _InstrumentRow(msgspec.Struct):
    instType: str
    instId: str
    tickSz: str
    lotSz: str
    minSz: str
    state: str
    baseCcy: str = ""
    quoteCcy: str = ""
    uly: str = ""
    instFamily: str = ""
    ctVal: str = ""
    ctMult: str = ""
    ctType: str = ""
    ctValCcy: str = ""


class _TimeRow(msgspec.Struct):
    ts: int


class _InstrumentsReply(msgspec.Struct):
    data: list[_InstrumentRow]


class _TradesReply(msgspec.Struct):
    data: list[_TradeRow]


class _CandlesReply(msgspec.Struct):
    # ts, open, high, low, close, volume in base or contracts, two more volumes, confirm
    data: list[tuple[int, str, str, str, str, str, str, str, str]]


class _TimeReply(msgspec.Struct):
    data: list[_TimeRow]


# Not strict: OKX writes its integers as strings.
_decode_push = msgspec.json.Decoder(_TradePush, strict=False).decode
_decode_event = msgspec.json.Decoder(_Event).decode


class OkxAdapter(ExchangeAdapter):
    """OKX v5. `trades-all` has one row per trade; a row of `trades` may stand for several (`count`)."""

    name = "okx"
    channels = ("trades-all", "trades")
    limits = VenueLimits(
        topics_per_connection=400,
        topics_per_request=100,
        requests_per_s=3.0,
        connects_per_s=2.0,
        connection_life_s=None,
        keepalive_s=17.0,
        history_page=100,
        kline_page=300,
        # The venue counts any two seconds: a burst and two seconds' worth after it stay within two thirds of
        # its limit. The last third is left for others.
        rest=RestBudget(per_s=2.0, burst=2.0),  # of 10, the tightest of the other paths
        rest_by_path={
            _HISTORY_PATH: RestBudget(per_s=4.0, burst=5.0),  # of 20
            _NEWEST_PATH: RestBudget(per_s=17.0, burst=32.0),  # of 100
            _CANDLES_PATH: RestBudget(per_s=8.0, burst=10.0),  # of 40
            _OLD_CANDLES_PATH: RestBudget(per_s=4.0, burst=5.0),  # of 20
            _INSTRUMENTS_PATH: RestBudget(per_s=4.0, burst=5.0),  # of 20
        },
    )

    def __init__(self, channel: str | None = None) -> None:
        super().__init__(channel)
        # By the venue's id: our symbol and, for contracts, how much base currency one is.
        self._markets: dict[str, tuple[str, Decimal | None]] = {}

    def use(self, instruments: Iterable[Instrument]) -> None:
        super().use(instruments)
        for instrument in self._instruments.values():
            counts_contracts = instrument.kind is not InstrumentKind.SPOT
            self._markets[instrument.venue_symbol] = (
                instrument.symbol,
                instrument.contract_size if counts_contracts else None,
            )

    def connection_url(self, base_url: str) -> str:
        # `trades-all` is served on the business socket and nowhere else.
        return f"{base_url.rstrip('/')}/ws/v5/{'business' if self.channel == 'trades-all' else 'public'}"

    def subscribe_requests(self, symbols: Sequence[str]) -> list[SubscribeRequest]:
        size = self.limits.topics_per_request
        requests = []
        for number, start in enumerate(range(0, len(symbols), size), start=1):
            ids = [self._instruments[symbol].venue_symbol for symbol in symbols[start : start + size]]
            body = {
                "id": str(number),
                "op": "subscribe",
                "args": [{"channel": self.channel, "instId": venue_symbol} for venue_symbol in ids],
            }
            requests.append(
                SubscribeRequest(
                    text=msgspec.json.encode(body).decode(),
                    request_id=str(number),
                    topics=tuple(f"{self.channel}:{venue_symbol}" for venue_symbol in ids),
                )
            )
        return requests

    def keepalive(self) -> str | None:
        return "ping"

    def parse(self, message: bytes | str) -> VenueMessage:
        try:
            push = _decode_push(message)
        except (msgspec.ValidationError, msgspec.DecodeError):
            return self._parse_event(message)
        if push.arg.channel not in self.channels:
            return OtherMessage()
        try:
            return self._trades_message(push)
        except (KeyError, ValueError, InvalidOperation) as error:
            raise MalformedMessage(self.name, message) from error

    def _trades_message(self, push: _TradePush) -> TradesMessage:
        venue_symbol = push.arg.instId
        symbol, contract_size = self._markets[venue_symbol]
        trades: list[Trade] = []
        sent_at_us = refused = 0
        merged: tuple[str, int, int] | None = None
        for row in push.data:
            if row.instId != venue_symbol:
                raise ValueError(f"a row of {row.instId} among those of {venue_symbol}")
            sent_at_us = max(sent_at_us, row.ts * _MS_US)
            if row.count > 1:
                # The row has the last id of `count` trades and their summed size. Taken as one trade it would
                # look like a hole, taken as the whole range it would hide the others: they are fetched.
                first_id = row.tradeId - row.count + 1
                merged = (symbol, first_id if merged is None else min(merged[1], first_id), row.tradeId)
                continue
            try:
                trades.append(_trade(symbol, contract_size, row))
            except InexactValue:
                refused += 1
        return TradesMessage(trades, sent_at_us, refused, merged)

    def _parse_event(self, message: bytes | str) -> VenueMessage:
        if message in (b"pong", "pong"):
            return OtherMessage()
        try:
            event = _decode_event(message)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise MalformedMessage(self.name, message) from error
        if event.event == "subscribe" and event.arg is not None:
            return AckMessage(topic=f"{event.arg.channel}:{event.arg.instId}")
        if event.event in ("error", "channel-conn-count-error"):
            return ErrorMessage(code=event.code, reason=event.msg, request_id=event.id)
        if event.event == "notice":
            return ReconnectNotice(event.msg) if event.code == _SERVICE_UPGRADE else OtherMessage()
        if event.event or (event.arg is not None and event.arg.channel not in self.channels):
            return OtherMessage()
        raise MalformedMessage(self.name, message)

    def instruments_requests(self, symbols: Sequence[str]) -> list[RestRequest]:
        # Options come by family alone, thousands of them, and few desks want futures: only what is named.
        lists = dict.fromkeys(_instrument_list(symbol) for symbol in symbols)
        return [RestRequest(path=_INSTRUMENTS_PATH, params=dict(params)) for params in lists]

    def parse_instruments(self, reply: object) -> list[Instrument]:
        try:
            rows = msgspec.convert(reply, _InstrumentsReply).data
            return [_instrument(row) for row in rows if _is_usable(row)]
        except (msgspec.ValidationError, InvalidOperation) as error:
            raise MalformedMessage(self.name, _shown(reply)) from error

    def history_request(self, symbol: str, first_id: int) -> RestRequest:
        # `after` pages backwards: the newest rows older than it. Ids rise by one, so the page that ends just
        # below `first_id + page` begins at `first_id`. (`before` would give the newest rows of all.)
        return RestRequest(
            path=_HISTORY_PATH,
            params={
                "instId": self._instruments[symbol].venue_symbol,
                "type": "1",
                "after": str(first_id + self.limits.history_page),
                "limit": str(self.limits.history_page),
            },
        )

    def newest_trades_request(self, symbol: str) -> RestRequest:
        return RestRequest(
            path=_NEWEST_PATH, params={"instId": self._instruments[symbol].venue_symbol, "limit": "500"}
        )

    def parse_history(self, symbol: str, reply: object) -> list[Trade]:
        instrument = self._instruments[symbol]
        contract_size = self._markets[instrument.venue_symbol][1]
        try:
            rows = msgspec.convert(reply, _TradesReply, strict=False).data
            trades = []
            for row in rows:
                if row.instId != instrument.venue_symbol:
                    raise ValueError(f"a row of {row.instId} among those of {instrument.venue_symbol}")
                try:
                    trades.append(_trade(symbol, contract_size, row))
                except InexactValue:
                    continue  # the id stays missing, and is reported so
        except (msgspec.ValidationError, ValueError, InvalidOperation) as error:
            raise MalformedMessage(self.name, _shown(reply)) from error
        return sorted(trades, key=lambda trade: trade.trade_id)

    def klines_request(
        self, symbol: str, timeframe: Timeframe, *, before_us: int | None = None
    ) -> RestRequest:
        params: dict[str, str | int] = {
            "instId": self._instruments[symbol].venue_symbol,
            "bar": _BARS[timeframe],
            "limit": str(self.limits.kline_page),
        }
        if before_us is None:
            return RestRequest(path=_CANDLES_PATH, params=params)
        # The path of the newest candles knows the last 1,440 alone.
        params["after"] = str(before_us // _MS_US)
        return RestRequest(path=_OLD_CANDLES_PATH, params=params)

    def parse_klines(
        self, symbol: str, timeframe: Timeframe, reply: object, venue_time_us: int
    ) -> list[Candle]:
        instrument = self._instruments[symbol]
        contract_size = self._markets[instrument.venue_symbol][1]
        try:
            rows = msgspec.convert(reply, _CandlesReply, strict=False).data
            candles = [
                Candle(
                    exchange=self.name,
                    symbol=symbol,
                    timeframe=timeframe,
                    opened_at_us=opened_at_ms * _MS_US,
                    open=float(opened),
                    high=float(high),
                    low=float(low),
                    close=float(closed),
                    volume=(
                        float(volume) if contract_size is None else float(Decimal(volume) * contract_size)
                    ),
                    trades=0,  # OKX does not say
                )
                for opened_at_ms, opened, high, low, closed, volume, _, _, confirmed in rows
                if confirmed == "1"
            ]
        except (msgspec.ValidationError, ValueError, InvalidOperation) as error:
            raise MalformedMessage(self.name, _shown(reply)) from error
        return sorted(candles, key=lambda candle: candle.opened_at_us)

    def server_time_request(self) -> RestRequest:
        return RestRequest(path=_TIME_PATH, params={})

    def parse_server_time(self, reply: object) -> int:
        try:
            return msgspec.convert(reply, _TimeReply, strict=False).data[0].ts * _MS_US
        except (msgspec.ValidationError, IndexError) as error:
            raise MalformedMessage(self.name, _shown(reply)) from error


def _trade(symbol: str, contract_size: Decimal | None, row: _TradeRow) -> Trade:
    return Trade(
        exchange="okx",
        symbol=symbol,
        trade_id=row.tradeId,
        price=exact_float("okx", row.px),
        # Spot `sz` is base currency, but swaps and futures count contracts: 1 may be 0.01 BTC.
        quantity=(
            exact_float("okx", row.sz)
            if contract_size is None
            else contracts_to_base("okx", row.sz, contract_size)
        ),
        taker_side=row.side,
        traded_at_us=row.ts * _MS_US,
    )


def _instrument_list(symbol: str) -> tuple[tuple[str, str], ...]:
    """Parameters of the list with "BTC-USDT", with "BTC-USDT-PERP", or with a dated contract's own id."""
    parts = symbol.split("-")
    if len(parts) == 2:
        return (("instType", "SPOT"),)
    if parts[-1] == "PERP":
        return (("instType", "SWAP"),)
    if len(parts) == 3:
        return (("instType", "FUTURES"),)
    return (("instType", "OPTION"), ("instFamily", f"{parts[0]}-{parts[1]}"))


def _is_usable(row: _InstrumentRow) -> bool:
    """Inverse contracts are worth so much quote currency, and one not listed yet may lack its steps."""
    if row.instType not in _KINDS or not (row.tickSz and row.lotSz and row.minSz):
        return False
    base = (row.uly or row.instFamily).partition("-")[0]
    return row.instType == "SPOT" or (row.ctValCcy == base and bool(row.ctVal))


def _instrument(row: _InstrumentRow) -> Instrument:
    kind = _KINDS[row.instType]
    if kind is InstrumentKind.SPOT:
        base, quote, contract_size = row.baseCcy, row.quoteCcy, Decimal(1)
        symbol = f"{base}-{quote}"
    else:
        base, _, quote = (row.uly or row.instFamily).partition("-")
        contract_size = Decimal(row.ctVal) * Decimal(row.ctMult or 1)
        symbol = f"{base}-{quote}-PERP" if kind is InstrumentKind.PERPETUAL else row.instId
    return Instrument(
        exchange="okx",
        symbol=symbol,
        venue_symbol=row.instId,
        kind=kind,
        base=base,
        quote=quote,
        tick_size=Decimal(row.tickSz),
        lot_size=Decimal(row.lotSz) * contract_size,
        min_quantity=Decimal(row.minSz) * contract_size,
        min_notional=Decimal(0),  # OKX has no such rule
        contract_size=contract_size,
        status=InstrumentStatus.TRADING if row.state == "live" else InstrumentStatus.HALTED,
    )


def _shown(reply: object) -> str:
    return msgspec.json.encode(reply).decode()
