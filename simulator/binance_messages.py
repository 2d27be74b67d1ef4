"""Binance Spot as it is written on the wire. Source: binance-spot-api-docs (REST, streams)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from simulator.columns import CandleColumns, TradeColumns, Width
from simulator.instruments import SimInstrument
from simulator.limits import BINANCE_WEIGHT_LIMIT
from simulator.markets import Aggregate, Book, DayStats, Level
from simulator.wire_numbers import padded

_SECOND_MS = 1_000
_MINUTE_MS = 60_000
_HOUR_MS = 3_600_000
_DAY_MS = 86_400_000
_MONDAY_MS = 4 * _DAY_MS  # the epoch was a Thursday

INTERVALS: Mapping[str, Width] = {
    "1s": Width(_SECOND_MS),
    **{f"{minutes}m": Width(minutes * _MINUTE_MS) for minutes in (1, 3, 5, 15, 30)},
    **{f"{hours}h": Width(hours * _HOUR_MS) for hours in (1, 2, 4, 6, 8, 12)},
    "1d": Width(_DAY_MS),
    "3d": Width(3 * _DAY_MS),
    "1w": Width(7 * _DAY_MS, _MONDAY_MS),
}

_PLACES = 8


def trade_rows(instrument: SimInstrument, trades: TradeColumns) -> list[dict[str, Any]]:
    """Rows of `trades` and `historicalTrades`, oldest first."""
    price_decimals, size_decimals = instrument.price_decimals, instrument.size_decimals
    return [
        {
            "id": trade_id,
            "price": padded(price, price_decimals),
            "qty": padded(size, size_decimals),
            "quoteQty": _quote(price * size, price_decimals + size_decimals),
            "time": at_ms,
            "isBuyerMaker": not buy,
            "isBestMatch": True,
        }
        for trade_id, price, size, buy, at_ms in _rows(trades)
    ]


def trade_payloads(instrument: SimInstrument, trades: TradeColumns, now_ms: int) -> Iterable[tuple[int, str]]:
    """One `trade` event for each trade, with its id."""
    name, price_decimals, size_decimals = (
        instrument.venue_symbol,
        instrument.price_decimals,
        instrument.size_decimals,
    )
    for trade_id, price, size, buy, at_ms in _rows(trades):
        yield (
            trade_id,
            f'{{"e":"trade","E":{max(now_ms, at_ms)},"s":"{name}","t":{trade_id},'
            f'"p":"{padded(price, price_decimals)}","q":"{padded(size, size_decimals)}",'
            f'"T":{at_ms},"m":{"false" if buy else "true"},"M":true}}',
        )


def aggregate_payload(instrument: SimInstrument, aggregate: Aggregate, now_ms: int) -> str:
    """An `aggTrade` event."""
    return (
        f'{{"e":"aggTrade","E":{max(now_ms, aggregate.at_ms)},"s":"{instrument.venue_symbol}",'
        f'"a":{aggregate.aggregate_id},"p":"{padded(aggregate.price, instrument.price_decimals)}",'
        f'"q":"{padded(aggregate.size, instrument.size_decimals)}","f":{aggregate.first_id},'
        f'"l":{aggregate.last_id},"T":{aggregate.at_ms},"m":{"false" if aggregate.buy else "true"},"M":true}}'
    )


def aggregate_row(instrument: SimInstrument, aggregate: Aggregate) -> dict[str, Any]:
    """A row of `aggTrades`."""
    return {
        "a": aggregate.aggregate_id,
        "p": padded(aggregate.price, instrument.price_decimals),
        "q": padded(aggregate.size, instrument.size_decimals),
        "f": aggregate.first_id,
        "l": aggregate.last_id,
        "T": aggregate.at_ms,
        "m": not aggregate.buy,
        "M": True,
    }


def kline_rows(instrument: SimInstrument, candles: CandleColumns, width: Width) -> list[list[Any]]:
    """Rows of `klines`, oldest first; a row does not say whether it is closed."""
    return [
        [
            kline["t"], kline["o"], kline["h"], kline["l"], kline["c"], kline["v"], kline["T"], kline["q"],
            kline["n"], kline["V"], kline["Q"], "0",
        ]
        for kline in klines(instrument, candles, width)
    ]  # fmt: skip


def klines(instrument: SimInstrument, candles: CandleColumns, width: Width) -> Iterable[dict[str, Any]]:
    """The `k` of kline events, without interval and closing mark."""
    price, size = instrument.price_decimals, instrument.size_decimals
    units = 10.0 ** -(price + size)
    for place, opened_at_ms in enumerate(candles.opened_at_ms.tolist()):
        yield {
            "t": opened_at_ms,
            "T": opened_at_ms + width.ms - 1,
            "s": instrument.venue_symbol,
            "f": int(candles.first_id[place]),
            "L": int(candles.last_id[place]),
            "o": padded(int(candles.open[place]), price),
            "c": padded(int(candles.close[place]), price),
            "h": padded(int(candles.high[place]), price),
            "l": padded(int(candles.low[place]), price),
            "v": padded(int(candles.volume[place]), size),
            "n": int(candles.trades[place]),
            "q": f"{candles.quote[place] * units:.{_PLACES}f}",
            "V": padded(int(candles.buy_volume[place]), size),
            "Q": f"{candles.buy_quote[place] * units:.{_PLACES}f}",
        }


def exchange_info(rows: Sequence[Mapping[str, Any]], now_ms: int) -> dict[str, Any]:
    """The body of `exchangeInfo`."""
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1,
             "limit": BINANCE_WEIGHT_LIMIT},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 50},
            {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 160_000},
            {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 300_000},
        ],
        "exchangeFilters": [],
        "symbols": list(rows),
    }  # fmt: skip


def symbol_row(instrument: SimInstrument, status: str) -> Mapping[str, Any]:
    """A symbol of `exchangeInfo`; a recorded one is given as it was."""
    if instrument.raw is not None:
        return instrument.raw
    tick = padded(instrument.tick, instrument.price_decimals)
    step = padded(instrument.lot, instrument.size_decimals)
    return {
        "symbol": instrument.venue_symbol,
        "status": status,
        "baseAsset": instrument.base,
        "baseAssetPrecision": _PLACES,
        "quoteAsset": instrument.quote,
        "quotePrecision": _PLACES,
        "quoteAssetPrecision": _PLACES,
        "baseCommissionPrecision": _PLACES,
        "quoteCommissionPrecision": _PLACES,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT",
                       "TAKE_PROFIT_LIMIT"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "10000000.00000000",
             "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": padded(instrument.min_size, instrument.size_decimals),
             "maxQty": "900000000.00000000", "stepSize": step},
            {"filterType": "ICEBERG_PARTS", "limit": 10},
            {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": "100000000.00000000",
             "stepSize": "0.00000000"},
            {"filterType": "NOTIONAL", "minNotional": f"{instrument.min_notional:.8f}",
             "applyMinToMarket": True, "maxNotional": "9000000.00000000", "applyMaxToMarket": False,
             "avgPriceMins": 5},
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }  # fmt: skip


def book_ticker(instrument: SimInstrument, book: Book | None) -> dict[str, Any]:
    """A row of `ticker/bookTicker`; zeros where there is no book."""
    bid, ask = (book.bids[0], book.asks[0]) if book else (Level(0, 0, 0), Level(0, 0, 0))
    price, size = instrument.price_decimals, instrument.size_decimals
    return {
        "symbol": instrument.venue_symbol,
        "bidPrice": padded(bid.price, price),
        "bidQty": padded(bid.size, size),
        "askPrice": padded(ask.price, price),
        "askQty": padded(ask.size, size),
    }


def book_ticker_payload(instrument: SimInstrument, book: Book) -> dict[str, Any]:
    """A `bookTicker` event: no type, no time."""
    row = book_ticker(instrument, book)
    return {
        "u": book.update_id,
        "s": row["symbol"],
        "b": row["bidPrice"],
        "B": row["bidQty"],
        "a": row["askPrice"],
        "A": row["askQty"],
    }


def depth_body(instrument: SimInstrument, book: Book | None, depth: int) -> dict[str, Any]:
    """`depth` and the partial book streams; empty where nobody recorded a book."""
    if book is None:
        return {"lastUpdateId": 0, "bids": [], "asks": []}
    price, size = instrument.price_decimals, instrument.size_decimals
    sides = [
        [[padded(level.price, price), padded(level.size, size)] for level in side[:depth]]
        for side in (book.bids, book.asks)
    ]
    return {"lastUpdateId": book.update_id, "bids": sides[0], "asks": sides[1]}


def day_ticker(
    instrument: SimInstrument, last: TradeColumns, stats: DayStats, book: Book | None, now_ms: int
) -> dict[str, Any]:
    """A row of `ticker/24hr`."""
    price, size = instrument.price_decimals, instrument.size_decimals
    units = 10.0 ** -(price + size)
    close, volume = int(last.price[-1]), stats.volume * 10.0**-size
    change = close - stats.open
    sign = "-" if change < 0 else ""
    best = book_ticker(instrument, book)
    return {
        "symbol": instrument.venue_symbol,
        "priceChange": sign + padded(abs(change), price),
        "priceChangePercent": f"{100 * change / stats.open:.3f}",
        "weightedAvgPrice": f"{stats.quote * units / volume if volume else 0:.{_PLACES}f}",
        "prevClosePrice": padded(stats.open, price),
        "lastPrice": padded(close, price),
        "lastQty": padded(int(last.size[-1]), size),
        "bidPrice": best["bidPrice"],
        "bidQty": best["bidQty"],
        "askPrice": best["askPrice"],
        "askQty": best["askQty"],
        "openPrice": padded(stats.open, price),
        "highPrice": padded(stats.high, price),
        "lowPrice": padded(stats.low, price),
        "volume": padded(stats.volume, size),
        "quoteVolume": f"{stats.quote * units:.{_PLACES}f}",
        "openTime": stats.opened_at_ms,
        "closeTime": now_ms,
        "firstId": stats.first_id,
        "lastId": stats.last_id,
        "count": stats.trades,
    }


def mini_ticker_payload(row: Mapping[str, Any], now_ms: int) -> dict[str, Any]:
    """A `24hrMiniTicker` event from a row of `ticker/24hr`."""
    return {
        "e": "24hrMiniTicker",
        "E": now_ms,
        "s": row["symbol"],
        "c": row["lastPrice"],
        "o": row["openPrice"],
        "h": row["highPrice"],
        "l": row["lowPrice"],
        "v": row["volume"],
        "q": row["quoteVolume"],
    }


def _rows(trades: TradeColumns) -> Iterable[tuple[int, int, int, bool, int]]:
    return zip(
        trades.ids.tolist(),
        trades.price.tolist(),
        trades.size.tolist(),
        trades.buy.tolist(),
        trades.at_ms.tolist(),
        strict=True,
    )


def _quote(product: int, decimals: int) -> str:
    """An exact product in quote currency, cut to eight places as the venue does."""
    if decimals > _PLACES:
        product //= 10 ** (decimals - _PLACES)
        decimals = _PLACES
    return padded(product, decimals)
