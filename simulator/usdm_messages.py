"""Binance USD-M futures as they are written on the wire. Source: developers.binance.com, USDS-M futures.

The trades of a made-up futures market are its aggregates, under ids without a hole. The ids of the single
trades inside them are made from those: every third aggregate holds two, and after every fiftieth one id was
never published, as happens to trades of the insurance fund.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from simulator.binance_messages import klines
from simulator.columns import CandleColumns, TradeColumns, Width
from simulator.instruments import SimInstrument
from simulator.markets import Book, Level
from simulator.perpetuals import Marks
from simulator.wire_numbers import fixed

USDM_WEIGHT_LIMIT = 2400
_DOUBLE, _HOLE = 3, 50


def first_single_id(aggregate_id: int) -> int:
    """The id of the first single trade in an aggregate."""
    before = aggregate_id - 1
    return aggregate_id + before // _DOUBLE + before // _HOLE


def last_single_id(aggregate_id: int) -> int:
    """The id of its last one."""
    return first_single_id(aggregate_id) + (aggregate_id % _DOUBLE == 0)


def singles_in(first_aggregate: int, last_aggregate: int) -> int:
    """How many single trades were published in these aggregates, both included."""
    return last_aggregate - first_aggregate + 1 + last_aggregate // _DOUBLE - (first_aggregate - 1) // _DOUBLE


def aggregate_payloads(
    instrument: SimInstrument, trades: TradeColumns, now_ms: int
) -> Iterable[tuple[int, str]]:
    """One `aggTrade` event for each aggregate, with its id."""
    for row in aggregate_rows(instrument, trades):
        yield (
            row["a"],
            f'{{"e":"aggTrade","E":{max(now_ms, row["T"])},"s":"{instrument.venue_symbol}","a":{row["a"]},'
            f'"p":"{row["p"]}","q":"{row["q"]}","nq":"{row["q"]}","f":{row["f"]},"l":{row["l"]},'
            f'"T":{row["T"]},"m":{"true" if row["m"] else "false"},"st":1}}',
        )


def aggregate_rows(instrument: SimInstrument, trades: TradeColumns) -> list[dict[str, Any]]:
    """Rows of `aggTrades`, oldest first."""
    return [
        {
            "a": number,
            "p": fixed(price, instrument.price_decimals),
            "q": fixed(size, instrument.size_decimals),
            "f": first_single_id(number),
            "l": last_single_id(number),
            "T": at_ms,
            "m": not buy,
        }
        for number, price, size, buy, at_ms in zip(
            trades.ids.tolist(),
            trades.price.tolist(),
            trades.size.tolist(),
            trades.buy.tolist(),
            trades.at_ms.tolist(),
            strict=True,
        )
    ]


def futures_klines(
    instrument: SimInstrument, candles: CandleColumns, width: Width
) -> Iterable[dict[str, Any]]:
    """The `k` of kline events, with the ids and the number of single trades."""
    for kline in klines(instrument, candles, width):
        first, last = kline["f"], kline["L"]
        if first >= 0:
            kline |= {"f": first_single_id(first), "L": last_single_id(last), "n": singles_in(first, last)}
        yield kline


def futures_kline_rows(instrument: SimInstrument, candles: CandleColumns, width: Width) -> list[list[Any]]:
    """Rows of `klines`, oldest first."""
    order = ("t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q")
    return [[*(kline[key] for key in order), "0"] for kline in futures_klines(instrument, candles, width)]


def book_ticker_row(instrument: SimInstrument, book: Book | None, now_ms: int) -> dict[str, Any]:
    """A row of `ticker/bookTicker`; zeros where there is no book."""
    nothing = Level(0, 0, 0)
    bid, ask = (book.bids[0], book.asks[0]) if book else (nothing, nothing)
    (bid_price, bid_quantity), (ask_price, ask_quantity) = (_level(instrument, side) for side in (bid, ask))
    return {
        "symbol": instrument.venue_symbol,
        "bidPrice": bid_price,
        "bidQty": bid_quantity,
        "askPrice": ask_price,
        "askQty": ask_quantity,
        "time": book.at_ms if book else now_ms,
        "lastUpdateId": book.update_id if book else 0,
    }


def book_ticker_event(instrument: SimInstrument, book: Book, now_ms: int) -> dict[str, Any]:
    """A `bookTicker` event, which tells its times on futures."""
    row = book_ticker_row(instrument, book, now_ms)
    return {
        "e": "bookTicker",
        "u": row["lastUpdateId"],
        "s": row["symbol"],
        "b": row["bidPrice"],
        "B": row["bidQty"],
        "a": row["askPrice"],
        "A": row["askQty"],
        "T": book.at_ms,
        "E": max(now_ms, book.at_ms),
    }


def depth_event(instrument: SimInstrument, book: Book, depth: int, now_ms: int) -> dict[str, Any]:
    """A `depthUpdate` event of a partial book: all its levels each time."""
    return {
        "e": "depthUpdate",
        "E": max(now_ms, book.at_ms),
        "T": book.at_ms,
        "s": instrument.venue_symbol,
        "U": book.update_id - 3,
        "u": book.update_id,
        "pu": book.update_id - 4,
        "b": _levels(instrument, book.bids[:depth]),
        "a": _levels(instrument, book.asks[:depth]),
    }


def depth_body(instrument: SimInstrument, book: Book | None, depth: int, now_ms: int) -> dict[str, Any]:
    """The body of `depth`."""
    return {
        "lastUpdateId": book.update_id if book else 0,
        "E": now_ms,
        "T": book.at_ms if book else now_ms,
        "bids": _levels(instrument, book.bids[:depth]) if book else [],
        "asks": _levels(instrument, book.asks[:depth]) if book else [],
    }


def mark_event(instrument: SimInstrument, marks: Marks, rate: str, next_funding_ms: int) -> dict[str, Any]:
    """A `markPriceUpdate` event."""
    return {
        "e": "markPriceUpdate",
        "E": marks.at_ms,
        "s": instrument.venue_symbol,
        "p": f"{marks.mark:.8f}",
        "P": f"{marks.mark:.8f}",
        "i": f"{marks.index:.8f}",
        "r": rate,
        "T": next_funding_ms,
        "st": 1,
    }


def exchange_info(rows: Sequence[Mapping[str, Any]], now_ms: int) -> dict[str, Any]:
    """The body of `exchangeInfo`."""
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1,
             "limit": USDM_WEIGHT_LIMIT},
            {"rateLimitType": "ORDERS", "interval": "MINUTE", "intervalNum": 1, "limit": 1200},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
        ],
        "exchangeFilters": [],
        "symbols": list(rows),
    }  # fmt: skip


def symbol_row(instrument: SimInstrument, status: str, listed_at_ms: int) -> dict[str, Any]:
    """A symbol of `exchangeInfo`. The precisions are no steps; the filters are."""
    tick = fixed(instrument.tick, instrument.price_decimals)
    step = fixed(instrument.lot, instrument.size_decimals)
    smallest = fixed(instrument.min_size, instrument.size_decimals)
    return {
        "symbol": instrument.venue_symbol,
        "pair": instrument.venue_symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": listed_at_ms,
        "status": status,
        "baseAsset": instrument.base,
        "quoteAsset": instrument.quote,
        "marginAsset": instrument.quote,
        "pricePrecision": instrument.price_decimals + 1,
        "quantityPrecision": instrument.size_decimals,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "triggerProtect": "0.0500",
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "10000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": smallest, "maxQty": "1000", "stepSize": step},
            {"filterType": "MARKET_LOT_SIZE", "minQty": smallest, "maxQty": "120", "stepSize": step},
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 200},
            {"filterType": "MIN_NOTIONAL", "notional": f"{instrument.min_notional:f}"},
            {"filterType": "PERCENT_PRICE", "multiplierUp": "1.0500", "multiplierDown": "0.9500",
             "multiplierDecimal": "4"},
        ],
        "orderTypes": ["LIMIT", "MARKET"],
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }  # fmt: skip


def _levels(instrument: SimInstrument, levels: Sequence[Level]) -> list[list[str]]:
    return [_level(instrument, level) for level in levels]


def _level(instrument: SimInstrument, level: Level) -> list[str]:
    return [fixed(level.price, instrument.price_decimals), fixed(level.size, instrument.size_decimals)]
