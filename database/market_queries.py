"""What the repositories read of market data, as SQL and the columns it gives."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from data.candles import BuiltCandles
from data.coverage import TradeRepair, VenueOutage
from data.files.trade_columns import TradeColumns
from data.models import (
    Candle,
    Instrument,
    InstrumentKind,
    InstrumentStatus,
    InstrumentVersion,
    IntArray,
    Market,
    Ohlcv,
    TradeGap,
    TradeRun,
)
from data.timeframes import Timeframe, to_datetime, to_us
from database.arrow_reader import ArrowReader, floats, ints
from database.trade_digests import MinuteDigests

_FIRST_US = to_us(datetime(1, 1, 2, tzinfo=UTC))
_LAST_US = to_us(datetime(9999, 12, 31, tzinfo=UTC))
_CANDLES = "SELECT opened_at, open, high, low, close, volume"


class MarketReads:
    """Reads shared by the repositories; thread-safe. Whole numbers are written into the SQL as they are:
    without parameters ADBC streams the rows by COPY, which is several times faster."""

    def __init__(self, url: str) -> None:
        self._reader = ArrowReader(url)
        self._ids: dict[Market, int] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        self._reader.close()

    def market_id(self, market: Market) -> int | None:
        """The market's number in the store, or None where it was never stored."""
        with self._lock:
            known = self._ids.get(market)
        if known is not None:
            return known
        found = self._reader.read(
            "SELECT market_id FROM markets WHERE exchange = $1 AND symbol = $2",
            (market.exchange, market.symbol),
        )
        if found.num_rows == 0:
            return None
        market_id = int(ints(found, "market_id")[0])
        with self._lock:
            self._ids[market] = market_id
        return market_id

    def markets(self) -> list[Market]:
        """Markets that have candles, in order of name."""
        return self._markets(
            "WHERE EXISTS (SELECT FROM candles c WHERE c.market_id = m.market_id) "
            "OR EXISTS (SELECT FROM second_candles c WHERE c.market_id = m.market_id)"
        )

    def recorded_markets(self) -> list[Market]:
        """Markets that have runs of trades, in order of name."""
        return self._markets("WHERE EXISTS (SELECT FROM trade_runs r WHERE r.market_id = m.market_id)")

    def of(self, market: Market) -> str:
        """The condition that picks this market's rows."""
        market_id = self.market_id(market)
        return "false" if market_id is None else f"market_id = {market_id:d}"

    def _markets(self, where: str) -> list[Market]:
        table = self._reader.read(
            f"SELECT exchange, symbol FROM markets m {where} "
            'ORDER BY exchange COLLATE "C", symbol COLLATE "C"'
        )
        return [Market(row["exchange"], row["symbol"]) for row in table.to_pylist()]

    def candles(
        self,
        market: Market,
        timeframe: Timeframe,
        *,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int | None = None,
    ) -> Ohlcv:
        """Candles that open in `[start_us, end_us)`, ascending; with `limit` the newest that many of them."""
        where = [self.of(market), f"timeframe_s = {timeframe.seconds:d}"]
        where += within("opened_at", start_us, end_us)
        newest = "" if limit is None else f" DESC LIMIT {max(limit, 0):d}"
        table = self._reader.read(
            f"{_CANDLES} FROM {candle_table(timeframe)} WHERE {' AND '.join(where)} "
            f"ORDER BY opened_at{newest}"
        )
        return _ohlcv(table, timeframe, reverse=limit is not None)

    def built_candles(
        self, market: Market, timeframe: Timeframe, start_us: int | None, end_us: int | None
    ) -> BuiltCandles:
        """Candles built from trades that open in `[start_us, end_us)`, ascending."""
        where = [
            self.of(market),
            f"timeframe_s = {timeframe.seconds:d}",
            "NOT from_venue",
            *within("opened_at", start_us, end_us),
        ]
        table = self._reader.read(
            f"{_CANDLES}, trades FROM {candle_table(timeframe)} WHERE {' AND '.join(where)} "
            "ORDER BY opened_at"
        )
        return BuiltCandles(ohlcv=_ohlcv(table, timeframe), trades=ints(table, "trades"))

    def venue_candles(
        self, market: Market, timeframe: Timeframe, start_us: int | None, end_us: int | None
    ) -> BuiltCandles:
        """The venue's own candles as its stream told them, ascending."""
        where = [self.of(market), f"timeframe_s = {timeframe.seconds:d}"]
        where += within("opened_at", start_us, end_us)
        table = self._reader.read(
            f"{_CANDLES}, trades FROM venue_candles WHERE {' AND '.join(where)} ORDER BY opened_at"
        )
        return BuiltCandles(ohlcv=_ohlcv(table, timeframe), trades=ints(table, "trades"))

    def trades(self, market: Market, start_us: int | None = None, end_us: int | None = None) -> TradeColumns:
        """Stored trades of `[start_us, end_us)`, in id order."""
        where = [self.of(market), *within("traded_at", start_us, end_us)]
        return self._trade_columns(f"WHERE {' AND '.join(where)}")

    def trades_within(self, market: Market, spans: Sequence[tuple[int, int]]) -> TradeColumns:
        """Stored trades of any of these times `[start, end)`, in id order."""
        times = (" AND ".join(within("traded_at", start_us, end_us)) for start_us, end_us in spans)
        any_of = " OR ".join(f"({condition})" for condition in times) or "false"
        return self._trade_columns(f"WHERE {self.of(market)} AND ({any_of})")

    def trades_of_ids(self, market: Market, first_id: int, last_id: int) -> TradeColumns:
        """Stored trades from `first_id` to `last_id`, both included, in id order."""
        return self._trade_columns(
            f"WHERE {self.of(market)} AND trade_id BETWEEN {first_id:d} AND {last_id:d}"
        )

    def newest_trades(self, market: Market, limit: int) -> TradeColumns:
        """The last `limit` stored trades, in id order."""
        newest = (
            f"SELECT * FROM trades WHERE {self.of(market)} "
            f"ORDER BY traded_at DESC, trade_id DESC LIMIT {max(limit, 0):d}"
        )
        return self._trade_columns(source=f"({newest}) newest")

    def _trade_columns(self, where: str = "", *, source: str = "trades") -> TradeColumns:
        table = self._reader.read(
            f"SELECT trade_id, traded_at, price, quantity, taker_side FROM {source} {where} ORDER BY trade_id"
        )
        return TradeColumns(
            trade_id=ints(table, "trade_id"),
            traded_at_us=ints(table, "traded_at"),
            price=floats(table, "price"),
            quantity=floats(table, "quantity"),
            taker_side=table.column("taker_side").to_numpy().astype(np.int8),
        )

    def digests(self, market: Market, start_us: int, end_us: int) -> MinuteDigests:
        """What was written of the minutes that open in `[start_us, end_us)`, ascending."""
        where = [self.of(market), *within("minute_at", start_us, end_us)]
        table = self._reader.read(
            "SELECT market_id, minute_at, trades, digest FROM trade_digests "
            f"WHERE {' AND '.join(where)} ORDER BY minute_at"
        )
        return MinuteDigests(
            market_id=ints(table, "market_id"),
            minute_us=ints(table, "minute_at"),
            trades=ints(table, "trades"),
            digest=ints(table, "digest"),
        )

    def id_faults(self, market: Market, first_id: int, last_id: int) -> list[tuple[int, int]]:
        """Where ids are not stored one by one from `first_id` to `last_id`: pairs of neighbours, at most 100.

        `(5, 9)`: 6 to 8 are absent. `(5, 5)`: 5 is stored twice. An absent end is told as `first_id - 1` or
        `last_id + 1`.
        """
        table = self._reader.read(
            f"""
            SELECT before, trade_id FROM (
                SELECT trade_id, lag(trade_id, 1, {first_id - 1:d}::bigint) OVER (ORDER BY trade_id) AS before
                FROM (
                    SELECT trade_id FROM trades
                    WHERE {self.of(market)} AND trade_id BETWEEN {first_id:d} AND {last_id:d}
                    UNION ALL SELECT {last_id + 1:d}
                ) stored
            ) pairs WHERE trade_id <> before + 1 ORDER BY trade_id LIMIT 100
            """
        )
        return list(zip(ints(table, "before").tolist(), ints(table, "trade_id").tolist(), strict=True))

    def ids_around(self, market: Market, start_us: int, end_us: int) -> tuple[int, int] | None:
        """First and last id that belong to `[start_us, end_us)`, told by the trades in it and around it.

        None where no trade stands on either side.
        """
        before, inside, after = (
            " AND ".join([self.of(market), *within("traded_at", *span)])
            for span in ((None, start_us), (start_us, end_us), (end_us, None))
        )
        (row,) = self.rows(
            f"""
            SELECT least(min(trade_id), (
                SELECT trade_id + 1 FROM trades WHERE {before} ORDER BY traded_at DESC, trade_id DESC LIMIT 1
            )) AS first_id, greatest(max(trade_id), (
                SELECT trade_id - 1 FROM trades WHERE {after} ORDER BY traded_at, trade_id LIMIT 1
            )) AS last_id FROM trades WHERE {inside}
            """
        )
        if row["first_id"] is None or row["last_id"] is None:
            return None
        return row["first_id"], row["last_id"]

    def times_of_ids(self, market: Market, trade_ids: Collection[int]) -> dict[int, int]:
        """When these trades happened, by id, as far as they are stored."""
        if not trade_ids:
            return {}
        wanted = ", ".join(f"{trade_id:d}" for trade_id in trade_ids)
        table = self._reader.read(
            f"SELECT trade_id, traded_at FROM trades WHERE {self.of(market)} AND trade_id IN ({wanted})"
        )
        return dict(zip(ints(table, "trade_id").tolist(), ints(table, "traded_at").tolist(), strict=True))

    def repairs(self, market: Market) -> list[TradeRepair]:
        """Ids that were fetched later than they came, ascending."""
        table = self._reader.read(
            "SELECT first_id, last_id, start_at, end_at, reason, "
            "coalesce(repaired_at, 'epoch') AS repaired_at "
            f"FROM trade_repairs WHERE {self.of(market)} ORDER BY first_id"
        )
        names = ("first_id", "last_id", "start_at", "end_at", "repaired_at")
        columns = [ints(table, name).tolist() for name in names]
        return [
            TradeRepair(
                first_id=first_id,
                last_id=last_id,
                start_us=start_us,
                end_us=end_us,
                reason=reason,
                repaired_at_us=repaired_at_us or None,
            )
            for first_id, last_id, start_us, end_us, repaired_at_us, reason in zip(
                *columns, table.column("reason").to_pylist(), strict=True
            )
        ]

    def outages(self, market: Market) -> list[VenueOutage]:
        """When the venue did not trade this market, as far as that is known; ascending."""
        table = self._reader.read(
            f"SELECT start_at, end_at, reason FROM venue_outages WHERE {self.of(market)} ORDER BY start_at"
        )
        return [
            VenueOutage(start_us=start_us, end_us=end_us, reason=reason)
            for start_us, end_us, reason in zip(
                ints(table, "start_at").tolist(),
                ints(table, "end_at").tolist(),
                table.column("reason").to_pylist(),
                strict=True,
            )
        ]

    def fetched_klines(self, market: Market, timeframe: Timeframe) -> list[tuple[int, int]]:
        """Spans whose candles were fetched from the venue already, in microseconds; ascending."""
        table = self._reader.read(
            f"SELECT start_at, end_at FROM fetched_klines WHERE {self.of(market)} "
            f"AND timeframe_s = {timeframe.seconds:d} ORDER BY start_at"
        )
        return list(zip(ints(table, "start_at").tolist(), ints(table, "end_at").tolist(), strict=True))

    def candle_times(self, market: Market, timeframe: Timeframe, start_us: int, end_us: int) -> IntArray:
        """When the stored candles that open in `[start_us, end_us)` opened, ascending."""
        where = [self.of(market), f"timeframe_s = {timeframe.seconds:d}"]
        where += within("opened_at", start_us, end_us)
        table = self._reader.read(
            f"SELECT opened_at FROM {candle_table(timeframe)} WHERE {' AND '.join(where)} ORDER BY opened_at"
        )
        return ints(table, "opened_at")

    def oldest_candle_us(self, market: Market, timeframe: Timeframe) -> int | None:
        """When the oldest stored candle of that length opened."""
        table = self._reader.read(
            f"SELECT min(opened_at) AS oldest FROM {candle_table(timeframe)} "
            f"WHERE {self.of(market)} AND timeframe_s = {timeframe.seconds:d}"
        )
        oldest = table.column("oldest")
        return None if oldest.null_count else int(ints(table, "oldest")[0])

    def oldest_trade_us(self, market: Market) -> int | None:
        """When the oldest trade still stored happened."""
        table = self._reader.read(f"SELECT min(traded_at) AS oldest FROM trades WHERE {self.of(market)}")
        oldest = table.column("oldest")
        return None if oldest.null_count else int(ints(table, "oldest")[0])

    def runs(self, market: Market, *, newest: int | None = None) -> list[TradeRun]:
        """Runs of stored ids, ascending; only the `newest` that many where given."""
        limit = "" if newest is None else f"LIMIT {newest:d}"
        table = self._reader.read(
            "SELECT first_id, last_id, first_at, last_at FROM trade_runs "
            f"WHERE {self.of(market)} ORDER BY first_id DESC {limit}"
        )
        columns = [ints(table, name).tolist() for name in ("first_id", "last_id", "first_at", "last_at")]
        runs = [
            TradeRun(first_id=first_id, last_id=last_id, first_at_us=first_at_us, last_at_us=last_at_us)
            for first_id, last_id, first_at_us, last_at_us in zip(*columns, strict=True)
        ]
        return runs[::-1]

    def gaps(self, market: Market) -> list[TradeGap]:
        """Ids known to be missing, ascending."""
        table = self._reader.read(
            "SELECT first_id, last_id, reason, found_at FROM trade_gaps "
            f"WHERE {self.of(market)} ORDER BY first_id"
        )
        columns = [ints(table, name).tolist() for name in ("first_id", "last_id", "found_at")]
        return [
            TradeGap(first_id=first_id, last_id=last_id, reason=reason, found_at_us=found_at_us)
            for first_id, last_id, found_at_us, reason in zip(
                *columns, table.column("reason").to_pylist(), strict=True
            )
        ]

    def instrument(self, market: Market) -> Instrument | None:
        """The newest known rules of the market, or None."""
        versions = self.instrument_versions(market, "ORDER BY valid_from DESC LIMIT 1")
        return versions[0].instrument if versions else None

    def instrument_versions(
        self, market: Market, order: str = "ORDER BY valid_from"
    ) -> list[InstrumentVersion]:
        """The market's rules and since when each held; the oldest first, unless `order` differs."""
        table = self._reader.read(
            "SELECT venue_symbol, kind, base, quote, tick_size::text, lot_size::text, min_quantity::text, "
            f"min_notional::text, contract_size::text, status, {epoch_us('valid_from')} FROM instruments "
            f"WHERE {self.of(market)} {order}"
        )
        return [
            InstrumentVersion(instrument=_instrument(market, row), valid_from_us=row["valid_from"])
            for row in table.to_pylist()
        ]

    def instrument_at(self, market: Market, at_us: int) -> Instrument | None:
        """The rules in force at that time; the oldest known ones for times before them; None if unknown."""
        for order in (
            f"AND valid_from <= {_literal(at_us)} ORDER BY valid_from DESC LIMIT 1",
            "ORDER BY valid_from LIMIT 1",
        ):
            versions = self.instrument_versions(market, order)
            if versions:
                return versions[0].instrument
        return None

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """The rows of a statement whose result is small; parameters stand as $1, $2."""
        found: list[dict[str, Any]] = self._reader.read(sql, parameters).to_pylist()
        return found


def candle_table(timeframe: Timeframe) -> str:
    """Where candles of that length live: one-second ones apart, because they age out."""
    return "second_candles" if timeframe is Timeframe.S1 else "candles"


def as_candles(built: BuiltCandles, market: Market) -> list[Candle]:
    """Columns as values, in the same order."""
    ohlcv = built.ohlcv
    return [
        Candle(
            exchange=market.exchange,
            symbol=market.symbol,
            timeframe=ohlcv.timeframe,
            opened_at_us=opened_at_us,
            open=opened,
            high=high,
            low=low,
            close=closed,
            volume=volume,
            trades=trades,
        )
        for opened_at_us, opened, high, low, closed, volume, trades in zip(
            ohlcv.opened_at_us.tolist(),
            ohlcv.open.tolist(),
            ohlcv.high.tolist(),
            ohlcv.low.tolist(),
            ohlcv.close.tolist(),
            ohlcv.volume.tolist(),
            built.trades.tolist(),
            strict=True,
        )
    ]


def _ohlcv(table: pa.Table, timeframe: Timeframe, *, reverse: bool = False) -> Ohlcv:
    step = -1 if reverse else 1
    columns = {
        name: np.ascontiguousarray(floats(table, name)[::step])
        for name in ("open", "high", "low", "close", "volume")
    }
    return Ohlcv(
        timeframe=timeframe, opened_at_us=np.ascontiguousarray(ints(table, "opened_at")[::step]), **columns
    )


def epoch_us(column: str) -> str:
    """SQL for a time as whole microseconds since the epoch, under the column's own name."""
    return f"(extract(epoch FROM {column}) * 1000000)::bigint AS {column.rpartition('.')[2]}"


def within(column: str, start_us: int | None, end_us: int | None) -> list[str]:
    """Conditions for `[start_us, end_us)`."""
    conditions = []
    if start_us is not None:
        conditions.append(f"{column} >= {_literal(start_us)}")
    if end_us is not None:
        conditions.append(f"{column} < {_literal(end_us)}")
    return conditions


def _literal(at_us: int) -> str:
    """An ISO literal carries whole microseconds; what lies beyond the calendar means its end."""
    return f"'{to_datetime(min(max(at_us, _FIRST_US), _LAST_US)).isoformat()}'::timestamptz"


def _instrument(market: Market, row: Mapping[str, Any]) -> Instrument:
    return Instrument(
        exchange=market.exchange,
        symbol=market.symbol,
        venue_symbol=row["venue_symbol"],
        kind=InstrumentKind(row["kind"]),
        base=row["base"],
        quote=row["quote"],
        tick_size=Decimal(row["tick_size"]),
        lot_size=Decimal(row["lot_size"]),
        min_quantity=Decimal(row["min_quantity"]),
        min_notional=Decimal(row["min_notional"]),
        contract_size=Decimal(row["contract_size"]),
        status=InstrumentStatus(row["status"]),
    )
