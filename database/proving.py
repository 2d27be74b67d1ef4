"""Whether a market is stored as it was written: its ids, its trades, its candles, and the venue's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from data.coverage import Span
from data.files.trade_columns import TradeColumns
from data.models import Market, Ohlcv, TradeRun
from data.timeframes import Timeframe, floor_to
from database.rebuilding import (
    CandleDifference,
    CandleReads,
    checked_runs,
    differences,
    inside_runs,
    rebuilt_candles,
    unlike_prices,
)
from database.trade_digests import ChangedMinute, changed_minutes


@dataclass(slots=True, kw_only=True)
class MarketProof:
    """What was compared, and what is not as it was written."""

    runs: list[TradeRun]
    faults: list[tuple[int, int]]  # neighbours among stored ids between which some are absent or double
    absent: list[Span]  # times between which the absent ones happened
    candles: int = 0  # rebuilt and compared
    differences: list[CandleDifference] = field(default_factory=list)
    changed: list[ChangedMinute] = field(default_factory=list)  # beside those whose trades are absent
    venue_candles: int = 0  # the venue's own that were compared with ours
    venue_differences: list[CandleDifference] = field(default_factory=list)

    def doubts(self, found: CandleDifference) -> bool:
        """Whether trades of that candle are absent or altered, so that they prove nothing."""
        end_us = found.opened_at_us + found.timeframe.us
        return any(
            start_us < end_us and until_us >= found.opened_at_us for start_us, until_us in self.absent
        ) or any(
            changed.minute_us < end_us and changed.minute_us + Timeframe.M1.us > found.opened_at_us
            for changed in self.changed
        )


def prove(
    reader: CandleReads,
    market: Market,
    timeframes: Sequence[Timeframe],
    *,
    start_us: int | None = None,
    end_us: int | None = None,
    expires_us: int,
) -> MarketProof:
    """Compare what is stored of `[start_us, end_us)` with what was written; ids are compared throughout.

    Retention may have taken any trade of before `expires_us`.
    """
    runs, faults = checked_runs(reader, market, expires_us=expires_us)
    proof = MarketProof(runs=runs, faults=faults, absent=_absent_between(reader, market, runs, faults))
    oldest_second_us = reader.oldest_candle_us(market, Timeframe.S1)
    kept = _KeptMinutes(reader, market, expires_us)

    def look(day: Span, trades: TradeColumns) -> None:
        doubted = changed_minutes(trades, reader.digests(market, *day))
        proof.changed += [
            changed
            for changed in _still_changed(reader, market, doubted)
            if kept.has(changed) and not _explained(changed, proof.absent)
        ]

    if runs:
        for span in rebuilt_candles(
            reader,
            market,
            runs,
            timeframes,
            start_us=max(start_us or runs[0].first_at_us, runs[0].first_at_us),
            end_us=min(end_us or runs[-1].last_at_us + 1, runs[-1].last_at_us + 1),
            look=look,
        ):
            timeframe = span.built.ohlcv.timeframe
            stored = reader.built_candles(market, timeframe, start_us=span.start_us, end_us=span.end_us)
            proof.candles += len(span.built.ohlcv)
            proof.differences += [
                difference
                for difference in differences(inside_runs(stored, runs), span.built)
                # One-second candles are kept for a shorter time than trades.
                if timeframe is not Timeframe.S1
                or (oldest_second_us is not None and difference.opened_at_us >= oldest_second_us)
            ]
    for timeframe in timeframes:
        theirs = reader.venue_candles(market, timeframe, start_us, end_us).ohlcv
        if len(theirs):
            ours = _between(reader, market, theirs)
            compared, unlike = unlike_prices(ours, theirs)
            proof.venue_candles += compared
            proof.venue_differences += unlike
    return proof


def changed_since(
    reader: CandleReads, market: Market, since_us: int, *, expires_us: int
) -> list[ChangedMinute]:
    """Minutes from that time on whose stored trades are not those that were written; ascending."""
    kept = _KeptMinutes(reader, market, expires_us)
    runs = reader.runs(market)
    if not runs:
        return []
    changed: list[ChangedMinute] = []
    first_us = floor_to(max(since_us, min(run.first_at_us for run in runs)), Timeframe.D1)
    for day_us in range(first_us, max(run.last_at_us for run in runs) + 1, Timeframe.D1.us):
        written = reader.digests(market, day_us, day_us + Timeframe.D1.us)
        if len(written.digest):
            trades = reader.trades(market, start_us=day_us, end_us=day_us + Timeframe.D1.us)
            changed += [found for found in changed_minutes(trades, written) if kept.has(found)]
    return changed


class _KeptMinutes:
    """Minutes of which retention cannot have taken a trade."""

    def __init__(self, reader: CandleReads, market: Market, expires_us: int) -> None:
        self._oldest_us, self._expires_us = reader.oldest_trade_us(market), expires_us

    def has(self, changed: ChangedMinute) -> bool:
        if changed.minute_us >= self._expires_us:
            return True
        return self._oldest_us is not None and changed.minute_us > floor_to(self._oldest_us, Timeframe.M1)


def _still_changed(
    reader: CandleReads, market: Market, doubted: Sequence[ChangedMinute]
) -> list[ChangedMinute]:
    """Those that differ also when what was written is read first: a collector may store meanwhile."""
    found = []
    for changed in doubted:
        minute = changed.minute_us, changed.minute_us + Timeframe.M1.us
        written = reader.digests(market, *minute)
        trades = reader.trades(market, start_us=minute[0], end_us=minute[1])
        found += changed_minutes(trades, written)
    return found


def _between(reader: CandleReads, market: Market, theirs: Ohlcv) -> Ohlcv:
    return reader.candles(
        market,
        theirs.timeframe,
        start_us=int(theirs.opened_at_us[0]),
        end_us=int(theirs.opened_at_us[-1]) + 1,
    )


def _explained(changed: ChangedMinute, absent: Sequence[Span]) -> bool:
    """Trades of it are absent, which is told by their ids."""
    return changed.stored < changed.written and any(
        start_us < changed.minute_us + Timeframe.M1.us and end_us >= changed.minute_us
        for start_us, end_us in absent
    )


def _absent_between(
    reader: CandleReads, market: Market, runs: Sequence[TradeRun], faults: Sequence[tuple[int, int]]
) -> list[Span]:
    absent = [fault for fault in faults if fault[1] > fault[0] + 1]
    times_us = reader.times_of_ids(market, {trade_id for fault in absent for trade_id in fault})
    return [
        (times_us.get(before, runs[0].first_at_us), times_us.get(after, runs[-1].last_at_us))
        for before, after in absent
    ]
