"""The candles that many bots wait for, in one round trip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from data.models import Market, Ohlcv
from data.timeframes import Timeframe, to_datetime
from database.arrow_reader import ArrowReader, floats, ints
from database.market_queries import MarketReads, candle_table

_MOST_ROWS = 2_500  # of one series; who is further behind asks again


Series = tuple[Market, Timeframe]


class FreshCandles:
    """Satisfies `bots.stores.FreshCandleReader`. A read raises TransientError while the database is away."""

    def __init__(self, url: str) -> None:
        self._markets = MarketReads(url)
        self._reader = ArrowReader(url)

    def close(self) -> None:
        self._markets.close()
        self._reader.close()

    def candles_since(self, wanted: Mapping[Series, int]) -> dict[Series, Ohlcv]:
        """The oldest stored candles of each series that opened after the time given for it, ascending."""
        found: dict[Series, Ohlcv] = {}
        for seconds in (True, False):
            keys = [key for key in wanted if (key[1] is Timeframe.S1) is seconds]
            if keys:
                found.update(self._read(keys, wanted))
        return found

    def _read(self, keys: Sequence[Series], wanted: Mapping[Series, int]) -> dict[Series, Ohlcv]:
        ids = [self._markets.market_id(market) for market, _ in keys]
        rows = ", ".join(
            f"({place:d}, {market_id:d}, {key[1].seconds:d}, '{_iso(wanted[key])}'::timestamptz)"
            for place, (key, market_id) in enumerate(zip(keys, ids, strict=True))
            if market_id is not None
        )
        if not rows:
            return {}
        # The oldest bound as a constant as well: it lets the planner leave out chunks of a hypertable.
        oldest = _iso(min(wanted[key] for key in keys))
        table = self._reader.read(
            f"""
            SELECT w.place, c.opened_at, c.open, c.high, c.low, c.close, c.volume
            FROM (VALUES {rows}) AS w(place, market_id, timeframe_s, after) CROSS JOIN LATERAL (
                SELECT opened_at, open, high, low, close, volume FROM {candle_table(keys[0][1])} c
                WHERE c.market_id = w.market_id AND c.timeframe_s = w.timeframe_s
                AND c.opened_at > w.after AND c.opened_at > '{oldest}'
                ORDER BY c.opened_at LIMIT {_MOST_ROWS:d}
            ) c ORDER BY w.place, c.opened_at
            """
        )
        places = ints(table, "place")
        opened_at_us = ints(table, "opened_at")
        columns = {name: floats(table, name) for name in ("open", "high", "low", "close", "volume")}
        starts = np.searchsorted(places, np.arange(len(keys)), side="left").tolist()
        ends = np.searchsorted(places, np.arange(len(keys)), side="right").tolist()
        return {
            key: Ohlcv(
                timeframe=key[1],
                opened_at_us=opened_at_us[start:end],
                **{name: column[start:end] for name, column in columns.items()},
            )
            for key, start, end in zip(keys, starts, ends, strict=True)
            if end > start
        }


def _iso(at_us: int) -> str:
    return to_datetime(at_us).isoformat()
