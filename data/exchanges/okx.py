"""OKX v5 market data, without an account. Source: OKX API guide, "Public Data" and "Market Data"."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import partial

import msgspec

from data.errors import MalformedMessage
from data.exchanges import okx_channels
from data.exchanges.base import (
    AckMessage,
    Channel,
    DerivativesAdapter,
    ErrorMessage,
    InexactValue,
    OtherMessage,
    ReconnectNotice,
    RestBudget,
    RestRequest,
    TradesMessage,
    VenueLimits,
    VenueMessage,
    contracts_to_base,
    exact_float,
)
from data.exchanges.okx_channels import CandleRow, MarkRow, OkxMarket
from data.exchanges.okx_instruments import (
    KINDS,
    InstrumentsReply,
    instrument_list,
    instrument_of,
    is_usable,
)
from data.exchanges.reading import exact_signed, reading
from data.exchanges.trade_layouts import OKX_LAYOUT
from data.exchanges.waiting_trades import WaitingTrades, in_turn, okx_heads, take_okx
from data.models import (
    Candle,
    FundingRate,
    Instrument,
    InstrumentKind,
    MarkPrice,
    Side,
    Trade,
)
from data.timeframes import Timeframe

_MS_US = 1_000
_SERVICE_UPGRADE = "64008"
_HISTORY_PATH = "/api/v5/market/history-trades"
_NEWEST_PATH = "/api/v5/market/trades"
_CANDLES_PATH = "/api/v5/market/candles"
_OLD_CANDLES_PATH = "/api/v5/market/history-candles"
_INSTRUMENTS_PATH = "/api/v5/public/instruments"
_TIME_PATH = "/api/v5/public/time"
_FUNDING_PATH = "/api/v5/public/funding-rate-history"
_MARK_PATH = "/api/v5/public/mark-price"

_PUBLIC = "/ws/v5/public"
_BUSINESS = "/ws/v5/business"
_FUNDING_PAGE = 100
_HISTORY_REACH_S = 90 * 86_400.0

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
_CHANNEL_NAMES = {
    Channel.KLINES: okx_channels.KLINES,
    Channel.QUOTES: okx_channels.QUOTES,
    Channel.BOOK5: okx_channels.BOOK5,
    Channel.FUNDING: okx_channels.FUNDING,
    Channel.MARK: okx_channels.MARK,
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
    data: msgspec.Raw = msgspec.Raw(b"null")


class _TimeRow(msgspec.Struct):
    ts: int


class _TradesReply(msgspec.Struct):
    data: list[_TradeRow]


class _CandlesReply(msgspec.Struct):
    data: list[CandleRow]


class _FundingHistoryRow(msgspec.Struct):
    instId: str
    fundingRate: str
    fundingTime: int  # ms
    realizedRate: str = ""  # what was paid; `fundingRate` was the forecast


class _FundingHistoryReply(msgspec.Struct):
    data: list[_FundingHistoryRow]


class _MarksReply(msgspec.Struct):
    data: list[MarkRow]


class _TimeReply(msgspec.Struct):
    data: list[_TimeRow]


# Not strict: OKX writes its integers as strings.
_decode_push = msgspec.json.Decoder(_TradePush, strict=False).decode
_decode_event = msgspec.json.Decoder(_Event).decode


class OkxAdapter(DerivativesAdapter):
    """OKX v5: spot, swaps and dated contracts behind the same hosts, paths with their leading slash.

    `trades-all` has one row per trade; a row of `trades` may stand for several (`count`). There is no channel
    of twenty levels.
    """

    name = "okx"
    product = "okx"
    channels = ("trades-all", "trades")
    unannounced = frozenset({_BUSINESS})
    trade_layout = OKX_LAYOUT
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
        history_reach_s=_HISTORY_REACH_S,
    )

    def __init__(self, channel: str | None = None) -> None:
        super().__init__(channel)
        self._markets: dict[str, OkxMarket] = {}  # by the venue's id
        self._heads: dict[bytes, str] = {}  # how trades begin whose size is base currency: our symbol

    def use(self, instruments: Iterable[Instrument]) -> None:
        super().use(instruments)
        for instrument in self._instruments.values():
            counts_contracts = instrument.kind is not InstrumentKind.SPOT
            self._markets[instrument.venue_symbol] = OkxMarket(
                instrument.symbol, instrument.contract_size if counts_contracts else None
            )
        spot = {theirs: market.symbol for theirs, market in self._markets.items() if not market.contract_size}
        self._heads = okx_heads(self.channels, spot)

    def supports(self, symbol: str, channel: Channel) -> bool:
        parts = symbol.split("-")
        if channel is Channel.FUNDING:
            return parts[-1] == "PERP"
        if channel is Channel.MARK:
            return len(parts) > 2
        return channel in self._names

    def endpoint_of(self, channel: Channel, symbol: str = "") -> str:
        # `trades-all` and candles are served on the business socket and nowhere else.
        return _BUSINESS if self._names[channel] in ("trades-all", okx_channels.KLINES) else _PUBLIC

    def topic_of(self, symbol: str, channel: Channel) -> str:
        return f"{self._names[channel]}:{self._instruments[symbol].venue_symbol}"

    @property
    def _names(self) -> Mapping[Channel, str]:
        return {Channel.TRADES: self.channel, **_CHANNEL_NAMES}

    def _request_text(self, operation: str, number: int, topics: Sequence[str]) -> str:
        named = (topic.partition(":") for topic in topics)
        body = {
            "id": str(number),
            "op": operation,
            "args": [{"channel": channel, "instId": venue_symbol} for channel, _, venue_symbol in named],
        }
        return msgspec.json.encode(body).decode()

    def keepalive(self) -> str | None:
        return "ping"

    def _few_in_turn(self, messages: Sequence[bytes]) -> Iterator[WaitingTrades | bytes]:
        return in_turn(messages, partial(take_okx, self._heads))

    def parse(self, message: bytes | str, received_at_us: int = 0) -> VenueMessage:
        try:
            push = _decode_push(message)
        except (msgspec.DecodeError, UnicodeDecodeError):
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
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedMessage(self.name, message) from error
        if event.event in ("subscribe", "unsubscribe") and event.arg is not None:
            topic = f"{event.arg.channel}:{event.arg.instId}"
            return AckMessage(topic=topic, unsubscribed=event.event == "unsubscribe")
        if event.event in ("error", "channel-conn-count-error"):
            return ErrorMessage(code=event.code, reason=event.msg, request_id=event.id)
        if event.event == "notice":
            return ReconnectNotice(event.msg) if event.code == _SERVICE_UPGRADE else OtherMessage()
        if event.event:
            return OtherMessage()
        if event.arg is None or event.arg.channel in self.channels:
            raise MalformedMessage(self.name, message)
        read = okx_channels.reader_of(event.arg.channel)
        market = self._markets.get(event.arg.instId)
        if read is None or market is None:
            return OtherMessage()
        with reading(self.name, message):
            return read(market, event.data)

    def instruments_requests(self, symbols: Sequence[str]) -> list[RestRequest]:
        # Options come by family alone, thousands of them, and few desks want futures: only what is named.
        lists = dict.fromkeys(instrument_list(symbol) for symbol in symbols)
        return [RestRequest(path=_INSTRUMENTS_PATH, params=dict(params)) for params in lists]

    def parse_instruments(self, reply: object) -> list[Instrument]:
        with reading(self.name, reply):
            rows = msgspec.convert(reply, InstrumentsReply).data
            return [instrument_of(row) for row in rows if is_usable(row)]

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
        contract_size = self._markets[instrument.venue_symbol].contract_size
        trades = []
        with reading(self.name, reply):
            rows = msgspec.convert(reply, _TradesReply, strict=False).data
            for row in rows:
                if row.instId != instrument.venue_symbol:
                    raise ValueError(f"a row of {row.instId} among those of {instrument.venue_symbol}")
                try:
                    trades.append(_trade(symbol, contract_size, row))
                except InexactValue:
                    continue  # the id stays missing, and is reported so
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
        market = self._markets[self._instruments[symbol].venue_symbol]
        candles = []
        with reading(self.name, reply):
            for row in msgspec.convert(reply, _CandlesReply, strict=False).data:
                if not okx_channels.is_closed(row):
                    continue
                try:
                    candles.append(okx_channels.candle_of(market, timeframe, row))
                except InexactValue:
                    continue  # left out, as in the stream
        return sorted(candles, key=lambda candle: candle.opened_at_us)

    def server_time_request(self) -> RestRequest:
        return RestRequest(path=_TIME_PATH, params={})

    def parse_server_time(self, reply: object) -> int:
        with reading(self.name, reply):
            return msgspec.convert(reply, _TimeReply, strict=False).data[0].ts * _MS_US

    def funding_history_request(self, symbol: str, *, before_us: int | None = None) -> RestRequest:
        params: dict[str, str | int] = {
            "instId": self._instruments[symbol].venue_symbol,
            "limit": str(_FUNDING_PAGE),
        }
        if before_us is not None:
            params["after"] = str(before_us // _MS_US)  # pages backwards, as all of OKX's lists
        return RestRequest(path=_FUNDING_PATH, params=params)

    def parse_funding_history(self, symbol: str, reply: object, seen_at_us: int) -> list[FundingRate]:
        rates = []
        with reading(self.name, reply):
            for row in msgspec.convert(reply, _FundingHistoryReply, strict=False).data:
                try:
                    rates.append(
                        FundingRate(
                            exchange=self.name,
                            symbol=symbol,
                            funding_at_us=row.fundingTime * _MS_US,
                            rate=exact_signed(self.name, row.realizedRate or row.fundingRate),
                            settled=True,
                            seen_at_us=seen_at_us,
                        )
                    )
                except InexactValue:
                    continue
        return sorted(rates, key=lambda rate: rate.funding_at_us)

    def mark_price_request(self, symbol: str) -> RestRequest:
        instrument = self._instruments[symbol]
        kind = next(name for name, kind in KINDS.items() if kind is instrument.kind)
        return RestRequest(path=_MARK_PATH, params={"instType": kind, "instId": instrument.venue_symbol})

    def parse_mark_price(self, symbol: str, reply: object) -> MarkPrice:
        with reading(self.name, reply):
            return okx_channels.mark_price_of(
                symbol, msgspec.convert(reply, _MarksReply, strict=False).data[0]
            )


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
