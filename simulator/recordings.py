"""Recorded frames, sorted by where they belong, and the instruments they speak of. No socket, no clock."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from data.errors import InvalidInput, Problem
from data.files.frames import Frame, FrameCounts, list_frame_files, read_frames
from simulator.instruments import (
    BINANCE,
    EXCHANGES,
    OKX,
    SimInstrument,
    decimals_of,
    inferred_binance,
    inferred_okx,
    read_instrument_rows,
    with_row,
)
from simulator.subscription_keys import okx_key
from simulator.tapes import RecordedTrade


class TradeText(NamedTuple):
    """A trade as the venue wrote it."""

    trade_id: int
    first_match: int
    last_match: int
    at_ms: int
    price: str
    size: str
    buy: bool


class RoutedFrame(NamedTuple):
    """A recorded data message and the subscription it answers."""

    received_at_us: int | None
    exchange: str
    venue_symbol: str
    channel: str
    key: str
    payload: str  # OKX: the whole message; Binance: without the combined envelope
    trades: tuple[TradeText, ...]
    future: bool  # a Binance trade of the futures side, which reuses the names of spot symbols


class _BinanceTrade(msgspec.Struct):
    p: str
    q: str
    T: int
    m: bool
    s: str
    t: int = -1
    a: int = -1
    f: int = -1
    l: int = -1  # noqa: E741  (the venue's own name for the last trade id)
    M: bool | None = None


class _BinanceRaw(msgspec.Struct):
    s: str
    e: str


class _OkxArg(msgspec.Struct):
    channel: str
    instId: str = ""


class _OkxTrade(msgspec.Struct):
    tradeId: str
    px: str
    sz: str
    side: str
    ts: str
    count: str = "1"


class _OkxTrades(msgspec.Struct):
    data: list[_OkxTrade]


_BINANCE_TRADE = msgspec.json.Decoder(_BinanceTrade)
_BINANCE_RAW = msgspec.json.Decoder(_BinanceRaw)
_OKX_ARG = msgspec.json.Decoder(_OkxArg)
_OKX_TRADES = msgspec.json.Decoder(_OkxTrades)

_STREAM, _DATA, _ARG = '{"stream":"', '","data":', '{"arg":{'
_TRADE_CHANNELS = frozenset({"trade", "aggTrade", "trades", "trades-all"})


def routed(frame: Frame) -> RoutedFrame | None:
    """Where a frame belongs; None for acknowledgements, snapshots and whatever else is no data message.

    Raises msgspec.DecodeError for a message that does not parse.
    """
    text = frame.text
    if text.startswith(_STREAM):
        end = text.find(_DATA, len(_STREAM))
        if end < 0:
            return None
        return _binance(frame, text[len(_STREAM) : end], text[end + len(_DATA) : -1].strip())
    if text.startswith(_ARG):
        return _okx(frame)
    if text.startswith('{"e":"trade"') or text.startswith('{"e":"aggTrade"'):
        raw = _BINANCE_RAW.decode(text)
        return _binance(frame, f"{raw.s.lower()}@{raw.e}", text)
    return None


def _binance(frame: Frame, stream: str, payload: str) -> RoutedFrame:
    name, _, channel = stream.partition("@")
    trades: tuple[TradeText, ...] = ()
    future = False
    if channel in _TRADE_CHANNELS:
        row = _BINANCE_TRADE.decode(payload)
        single = channel == "trade"
        trade_id = row.t if single else row.a
        first, last = (trade_id, trade_id) if single else (row.f, row.l)
        if trade_id < 0:
            raise msgspec.ValidationError("a trade without an id")
        trades = (TradeText(trade_id, first, last, row.T, row.p, row.q, not row.m),)
        future = row.M is None
    return RoutedFrame(frame.received_at_us, BINANCE, name.upper(), channel, stream, payload, trades, future)


def _okx(frame: Frame) -> RoutedFrame | None:
    text = frame.text
    arg = _OKX_ARG.decode(text[len('{"arg":') : text.index("}") + 1])
    trades: tuple[TradeText, ...] = ()
    if arg.channel in _TRADE_CHANNELS:
        trades = tuple(
            TradeText(
                int(row.tradeId),
                int(row.tradeId) - int(row.count) + 1,
                int(row.tradeId),
                int(row.ts),
                row.px,
                row.sz,
                row.side == "buy",
            )
            for row in _OKX_TRADES.decode(text).data
        )
    key = okx_key(arg.channel, arg.instId)
    return RoutedFrame(frame.received_at_us, OKX, arg.instId, arg.channel, key, text, trades, False)


@dataclass(slots=True)
class RecordedMarket:
    """What the recordings hold of one symbol."""

    instrument: SimInstrument
    channels: frozenset[str]


@dataclass(slots=True)
class _Seen:
    price_decimals: int = 0
    size_decimals: int = 0
    channels: set[str] = field(default_factory=set)
    sides: set[bool] = field(default_factory=set)  # of Binance: futures or not


@dataclass(slots=True)
class Recording:
    """Frame files that were read once, to know their instruments, and can be read again to replay them."""

    files: Mapping[Path, frozenset[str]]  # the exchanges of each
    markets: Mapping[tuple[str, str], RecordedMarket]  # by exchange and venue symbol
    first_trade_ms: Mapping[str, int]  # by exchange
    frames: Mapping[str, int]  # data messages by exchange
    counts: FrameCounts
    unrouted: int  # acknowledgements, snapshots and messages that do not parse

    def replay(self, exchange: str) -> Iterator[RoutedFrame]:
        """The data messages of one exchange, all files merged by receive time."""
        streams = [
            _ordered(path, exchange) for path, exchanges in self.files.items() if exchange in exchanges
        ]
        for _, _, frame in heapq.merge(*streams, key=lambda entry: entry[:2]):
            yield frame


def read_recording(paths: Sequence[Path], instrument_files: Sequence[Path] = ()) -> Recording:
    """Look through the frame files at `paths`, files or folders.

    Raises InvalidInput where there is nothing to replay or where one name stands for two markets.
    """
    files = list(dict.fromkeys(file for path in paths for file in list_frame_files(path)))
    rows = read_instrument_rows(instrument_files)
    seen: dict[tuple[str, str], _Seen] = {}
    first_trade_ms: dict[str, int] = {}
    frames = dict.fromkeys(EXCHANGES, 0)
    counts, unrouted = FrameCounts(), 0
    exchanges: dict[Path, set[str]] = {path: set() for path in files}
    for path in files:
        for frame in read_frames(path, counts):
            try:
                found = routed(frame)
            except (msgspec.DecodeError, ValueError):
                found = None
            if found is None:
                unrouted += 1
                continue
            frames[found.exchange] += 1
            exchanges[path].add(found.exchange)
            entry = seen.setdefault((found.exchange, found.venue_symbol), _Seen())
            _note(entry, found)
            for trade in found.trades:
                earliest = first_trade_ms.get(found.exchange, trade.at_ms)
                first_trade_ms[found.exchange] = min(earliest, trade.at_ms)
    markets = {
        place: RecordedMarket(_instrument(*place, entry, rows), frozenset(entry.channels))
        for place, entry in sorted(seen.items())
        if entry.channels & _TRADE_CHANNELS
    }
    _refuse_mixtures(seen, paths)
    if not markets:
        names = ", ".join(str(path) for path in paths)
        raise InvalidInput(
            Problem(
                where="--frames",
                field="",
                value=names,
                expected="recordings that hold trades of OKX or Binance",
            )
        )
    by_file = {path: frozenset(found) for path, found in exchanges.items()}
    return Recording(by_file, markets, first_trade_ms, frames, counts, unrouted)


def exact_units(text: str, decimals: int) -> int:
    """A venue's decimal in whole units of `10 ** -decimals`."""
    return int(Decimal(text).scaleb(decimals))


def recorded_trade(trade: TradeText, instrument: SimInstrument) -> RecordedTrade:
    """A trade's text in the instrument's units."""
    return RecordedTrade(
        trade_id=trade.trade_id,
        at_ms=trade.at_ms,
        price=exact_units(trade.price, instrument.price_decimals),
        size=exact_units(trade.size, instrument.size_decimals),
        buy=trade.buy,
        first_match=trade.first_match,
        last_match=trade.last_match,
    )


def okx_single_messages(frame: RoutedFrame) -> Iterator[tuple[int, str]]:
    """A `trades` message row by row, as `trades-all` would have sent it, with the trade's id."""
    body: dict[str, Any] = msgspec.json.decode(frame.payload)
    for row in body["data"]:
        single = {name: value for name, value in row.items() if name not in ("count", "seqId")}
        arg = {**body["arg"], "channel": "trades-all"}
        yield int(row["tradeId"]), msgspec.json.encode({"arg": arg, "data": [single]}).decode()


def _ordered(path: Path, exchange: str) -> Iterator[tuple[int, int, RoutedFrame]]:
    latest = 0
    for position, frame in enumerate(read_frames(path)):
        try:
            found = routed(frame)
        except (msgspec.DecodeError, ValueError):
            continue
        if found is None or found.exchange != exchange:
            continue
        # A file's own order stands, also where its clock steps back or is silent.
        latest = max(latest, found.received_at_us or 0)
        yield latest, position, found


def _note(entry: _Seen, frame: RoutedFrame) -> None:
    entry.channels.add(frame.channel)
    for trade in frame.trades:
        entry.price_decimals = max(entry.price_decimals, decimals_of(trade.price))
        entry.size_decimals = max(entry.size_decimals, decimals_of(trade.size))
        if frame.exchange == BINANCE:
            entry.sides.add(frame.future)


def _instrument(
    exchange: str, name: str, entry: _Seen, rows: Mapping[tuple[str, str], Mapping[str, Any]]
) -> SimInstrument:
    infer = inferred_okx if exchange == OKX else inferred_binance
    instrument = infer(name, entry.price_decimals, entry.size_decimals)
    row = rows.get((exchange, name))
    return with_row(instrument, row) if row is not None else instrument


def _refuse_mixtures(seen: Mapping[tuple[str, str], _Seen], paths: Sequence[Path]) -> None:
    mixed = [name for (_, name), entry in seen.items() if len(entry.sides) > 1]
    if mixed:
        shown = ", ".join(str(path) for path in paths)
        raise InvalidInput(
            Problem(
                where="--frames",
                field=shown,
                value=f"holds {', '.join(mixed)} of both spot and futures, whose ids differ",
                expected="name the files of one of them",
            )
        )
