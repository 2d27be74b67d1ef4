"""OKX v5 as it is written on the wire. Source: OKX API guide, "Market Data" and "WS / Public Channel"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from simulator.columns import CandleColumns, TradeColumns, Width
from simulator.instruments import SimInstrument
from simulator.markets import Aggregate, Book, DayStats, Level
from simulator.wire_numbers import plain, plain_float

PUBLIC_CHANNELS = frozenset(
    {"trades", "tickers", "bbo-tbt", "books5", "instruments", "funding-rate", "mark-price"}
)
# Channels a recording may hold; they are replayed as they are.
RECORDED_CHANNELS = frozenset({"books", "books-l2-tbt", "books50-l2-tbt"})

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_MONDAY_MS = 4 * _DAY_MS  # the epoch was a Thursday
_BEIJING_MS = 8 * _HOUR_MS

_SHORT_BARS = {
    "1s": 1_000, "1m": 60_000, "3m": 180_000, "5m": 300_000, "15m": 900_000, "30m": 1_800_000,
    "1H": _HOUR_MS, "2H": 2 * _HOUR_MS, "4H": 4 * _HOUR_MS,
}  # fmt: skip
_LONG_BARS = {"6H": 6 * _HOUR_MS, "12H": 12 * _HOUR_MS, "1D": _DAY_MS, "1W": 7 * _DAY_MS}
BARS: Mapping[str, Width] = {
    **{bar: Width(ms) for bar, ms in _SHORT_BARS.items()},
    # Bars of six hours and more open by Beijing's clock unless they are asked for in UTC.
    **{
        f"{bar}{suffix}": Width(ms, (_MONDAY_MS if bar == "1W" else 0) - shift)
        for bar, ms in _LONG_BARS.items()
        for suffix, shift in (("", _BEIJING_MS), ("utc", 0))
    },
}
BUSINESS_CHANNELS = frozenset({"trades-all", *(f"candle{bar}" for bar in BARS)})


def envelope(data: list[Any]) -> dict[str, Any]:
    """A REST answer that succeeded."""
    return {"code": "0", "msg": "", "data": data}


def failure(code: str, message: str) -> dict[str, Any]:
    """A REST answer that did not."""
    return {"code": code, "msg": message, "data": []}


def push(channel: str, instrument_id: str, row: str) -> str:
    """A data message of one row that is JSON already."""
    return f'{{"arg":{{"channel":"{channel}","instId":"{instrument_id}"}},"data":[{row}]}}'


def trade_rows(instrument: SimInstrument, trades: TradeColumns) -> list[dict[str, str]]:
    """Rows of `history-trades`, in the order given."""
    return [
        {
            "instId": instrument.venue_symbol,
            "tradeId": str(trade_id),
            "px": plain(price, instrument.price_decimals),
            "sz": plain(size, instrument.size_decimals),
            "side": "buy" if buy else "sell",
            "source": "0",
            "ts": str(at_ms),
        }
        for trade_id, price, size, buy, at_ms in zip(
            trades.ids.tolist(),
            trades.price.tolist(),
            trades.size.tolist(),
            trades.buy.tolist(),
            trades.at_ms.tolist(),
            strict=True,
        )
    ]


def trades_all_pushes(instrument: SimInstrument, trades: TradeColumns) -> Iterable[tuple[int, str]]:
    """One message for each trade, with its id."""
    for row in trade_rows(instrument, trades):
        text = (
            f'{{"instId":"{row["instId"]}","tradeId":"{row["tradeId"]}","px":"{row["px"]}","sz":"{row["sz"]}",'
            f'"side":"{row["side"]}","ts":"{row["ts"]}","source":"0"}}'
        )
        yield int(row["tradeId"]), push("trades-all", instrument.venue_symbol, text)


def trades_push(instrument: SimInstrument, aggregate: Aggregate) -> str:
    """The `trades` message of one taker order at one price."""
    text = (
        f'{{"instId":"{instrument.venue_symbol}","tradeId":"{aggregate.last_id}",'
        f'"px":"{plain(aggregate.price, instrument.price_decimals)}",'
        f'"sz":"{plain(aggregate.size, instrument.size_decimals)}",'
        f'"side":"{"buy" if aggregate.buy else "sell"}","ts":"{aggregate.at_ms}",'
        f'"count":"{aggregate.last_id - aggregate.first_id + 1}","source":"0",'
        f'"seqId":{aggregate.aggregate_id}}}'
    )
    return push("trades", instrument.venue_symbol, text)


def candle_rows(
    instrument: SimInstrument, candles: CandleColumns, width: Width, now_ms: int
) -> list[list[str]]:
    """Rows `[ts,o,h,l,c,vol,volCcy,volCcyQuote,confirm]`, oldest first."""
    price, size = instrument.price_decimals, instrument.size_decimals
    units = 10.0 ** -(price + size)
    per_size = float(instrument.base_per_size or 1)
    rows = []
    for place, opened_at_ms in enumerate(candles.opened_at_ms.tolist()):
        quote = plain_float(float(candles.quote[place]) * units * per_size)
        base = plain(int(candles.volume[place]), size)
        in_base = plain_float(int(candles.volume[place]) * 10.0**-size * per_size)
        rows.append(
            [
                str(opened_at_ms),
                plain(int(candles.open[place]), price),
                plain(int(candles.high[place]), price),
                plain(int(candles.low[place]), price),
                plain(int(candles.close[place]), price),
                base,
                quote if instrument.kind == "SPOT" else in_base,
                quote,
                "1" if opened_at_ms + width.ms <= now_ms else "0",
            ]
        )
    return rows


def instrument_row(instrument: SimInstrument, listed_at_ms: int, state: str = "live") -> Mapping[str, Any]:
    """A row of `public/instruments`; a recorded one is given as it was."""
    if instrument.raw is not None:
        return instrument.raw
    spot = instrument.kind == "SPOT"
    lot = plain(instrument.lot, instrument.size_decimals)
    family = f"{instrument.base}-{instrument.quote}"
    return {
        "alias": "",
        "baseCcy": instrument.base if spot else "",
        "category": "1",
        "ctMult": "" if spot else "1",
        "ctType": _contract_type(instrument),
        "ctVal": "" if spot else f"{instrument.contract_value.normalize():f}",
        "ctValCcy": "" if spot else instrument.contract_currency,
        "expTime": "",
        "instFamily": "" if spot else family,
        "instId": instrument.venue_symbol,
        "instIdCode": _code(instrument.venue_symbol),
        "instType": instrument.kind,
        "lever": "10" if spot else "100",
        "listTime": str(listed_at_ms),
        "lotSz": lot,
        "maxLmtAmt": "20000000",
        "maxLmtSz": "9999999999",
        "maxMktAmt": "1000000",
        "maxMktSz": "1000000",
        "minSz": plain(instrument.min_size, instrument.size_decimals),
        "optType": "",
        "quoteCcy": instrument.quote if spot else "",
        "settleCcy": "" if spot else instrument.quote,
        "state": state,
        "stk": "",
        "tickSz": plain(instrument.tick, instrument.price_decimals),
        "uly": "" if spot else family,
        "upcChg": [],
    }


def _contract_type(instrument: SimInstrument) -> str:
    if instrument.kind in ("SPOT", "OPTION"):
        return ""
    return "inverse" if instrument.base_per_size is None else "linear"


def ticker_row(
    instrument: SimInstrument, last: TradeColumns, stats: DayStats, book: Book | None, now_ms: int
) -> dict[str, str]:
    """A row of `market/ticker` and of the `tickers` channel."""
    price, size = instrument.price_decimals, instrument.size_decimals
    spot = instrument.kind == "SPOT"
    per_size = float(instrument.base_per_size or 1)
    quote = stats.quote * 10.0 ** -(price + size)
    volume = stats.volume * 10.0**-size
    bid, ask = (book.bids[0], book.asks[0]) if book else (None, None)
    return {
        "instType": instrument.kind,
        "instId": instrument.venue_symbol,
        "last": plain(int(last.price[-1]), price),
        "lastSz": plain(int(last.size[-1]), size),
        "askPx": plain(ask.price, price) if ask else "",
        "askSz": plain(ask.size, size) if ask else "",
        "bidPx": plain(bid.price, price) if bid else "",
        "bidSz": plain(bid.size, size) if bid else "",
        "open24h": plain(stats.open, price),
        "high24h": plain(stats.high, price),
        "low24h": plain(stats.low, price),
        "volCcy24h": plain_float(quote if spot else volume * per_size),
        "vol24h": plain_float(volume),
        "sodUtc0": plain(stats.open_utc0, price),
        "sodUtc8": plain(stats.open_utc8, price),
        "ts": str(now_ms),
    }


def book_row(instrument: SimInstrument, book: Book, depth: int) -> dict[str, Any]:
    """`asks`, `bids` and `ts` of a book; a level is `[px, sz, "0", numOrders]`."""
    return {
        "asks": [_level(instrument, level) for level in book.asks[:depth]],
        "bids": [_level(instrument, level) for level in book.bids[:depth]],
        "ts": str(book.at_ms),
    }


def no_book_row(now_ms: int) -> dict[str, Any]:
    """A book nobody recorded."""
    return {"asks": [], "bids": [], "ts": str(now_ms)}


def _level(instrument: SimInstrument, level: Level) -> list[str]:
    return [
        plain(level.price, instrument.price_decimals),
        plain(level.size, instrument.size_decimals),
        "0",
        str(level.orders),
    ]


def _code(venue_symbol: str) -> int:
    """OKX numbers its instruments; any stable number will do."""
    code = 0
    for letter in venue_symbol:
        code = (code * 31 + ord(letter)) % 1_000_003
    return code


def in_base(instrument: SimInstrument, size: int) -> Decimal | None:
    """Base currency of a size; None for inverse contracts."""
    per_size = instrument.base_per_size
    return None if per_size is None else Decimal(size).scaleb(-instrument.size_decimals) * per_size
