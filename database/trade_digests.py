"""A digest of each minute's trades as they were stored, by which any later change of a trade shows.

A trade's hash covers its id, time, price, quantity and side; a minute keeps the exclusive or of its trades'
hashes and their count, so that batches add to it in any order without reading what is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.ext.asyncio import AsyncConnection

from data.files.trade_columns import TradeColumns
from data.models import IntArray
from data.timeframes import Timeframe, floor_to, to_datetime
from database.binary_arrays import bigints, integers, times

_MINUTE_US = Timeframe.M1.us
_Words = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class MinuteDigests:
    """Minutes of markets with the digests of their trades; each of shape (n,), by market and minute."""

    market_id: IntArray
    minute_us: IntArray
    trades: IntArray
    digest: IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedMinute:
    """A minute whose stored trades are not those that were written."""

    minute_us: int
    written: int  # trades that were written
    stored: int  # trades that are there now


def digests_of(market_ids: IntArray, trades: TradeColumns) -> MinuteDigests:
    """The digest of every minute that the trades touch; they may be of several markets, in any order."""
    hashes = _hashes(trades)
    minute_us = trades.traded_at_us - trades.traded_at_us % _MINUTE_US
    order = np.lexsort((minute_us, market_ids))
    market_ids, minute_us, hashes = market_ids[order], minute_us[order], hashes[order]
    new = np.ones(len(hashes), dtype=np.bool_)
    new[1:] = (np.diff(minute_us) != 0) | (np.diff(market_ids) != 0)
    starts = np.flatnonzero(new)
    return MinuteDigests(
        market_id=market_ids[starts],
        minute_us=minute_us[starts],
        trades=np.diff(np.append(starts, len(hashes))),
        digest=(np.bitwise_xor.reduceat(hashes, starts) if len(hashes) else hashes).view(np.int64),
    )


def changed_minutes(trades: TradeColumns, written: MinuteDigests) -> list[ChangedMinute]:
    """Where one market's stored trades are not what was written; both of the same time.

    Minutes without a digest, and those with more trades than were written, hold trades from before there were
    digests: of these nothing is said here.
    """
    stored = digests_of(np.zeros(len(trades), dtype=np.int64), trades)
    at = np.searchsorted(stored.minute_us, written.minute_us)
    changed = []
    for row, number in enumerate(at.tolist()):
        minute_us, count = int(written.minute_us[row]), int(written.trades[row])
        there = number < len(stored.minute_us) and int(stored.minute_us[number]) == minute_us
        found = int(stored.trades[number]) if there else 0
        if found < count or (found == count and stored.digest[number] != written.digest[row]):
            changed.append(ChangedMinute(minute_us=minute_us, written=count, stored=found))
    return changed


async def add_digests(connection: AsyncConnection, digests: MinuteDigests) -> None:
    """Add newly stored trades to the digests of their minutes."""
    if len(digests.digest) == 0:
        return
    await connection.exec_driver_sql(
        """
        INSERT INTO trade_digests AS old (market_id, minute_at, trades, digest)
        SELECT * FROM unnest(%b::integer[], %b::timestamptz[], %b::integer[], %b::bigint[])
        ON CONFLICT (market_id, minute_at) DO UPDATE SET
            trades = old.trades + excluded.trades, digest = old.digest # excluded.digest
        """,
        (
            integers(digests.market_id),
            times(digests.minute_us),
            integers(digests.trades),
            bigints(digests.digest),
        ),
    )


async def renew_digests(
    connection: AsyncConnection, market_id: int, minutes_us: Sequence[int], stored: TradeColumns
) -> None:
    """Let these minutes' digests tell of `stored`, all the trades that they hold now."""
    await connection.exec_driver_sql(
        "DELETE FROM trade_digests WHERE market_id = %s AND minute_at = ANY(%s::timestamptz[])",
        (market_id, [to_datetime(floor_to(minute_us, Timeframe.M1)) for minute_us in minutes_us]),
    )
    await add_digests(connection, digests_of(np.full(len(stored), market_id), stored))


def _hashes(trades: TradeColumns) -> _Words:
    """A well-mixed word for each trade; shape (n,)."""
    hashes = _mixed(trades.trade_id.astype(np.int64).view(np.uint64))
    for column in (
        trades.traded_at_us.astype(np.int64).view(np.uint64),
        np.ascontiguousarray(trades.price, dtype=np.float64).view(np.uint64),
        np.ascontiguousarray(trades.quantity, dtype=np.float64).view(np.uint64),
        trades.taker_side.astype(np.int64).view(np.uint64),
    ):
        hashes = _mixed(hashes ^ column)
    return hashes


def _mixed(words: _Words) -> _Words:
    """Each word through the finaliser of SplitMix64. Source: Steele, Lea and Flood (2014), OOPSLA."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
