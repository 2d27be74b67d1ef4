"""Candles from stored trades: rebuilding the ones in the making, mending closed ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from data.candles import CandleCascade, fold_candles, seconds_from_trades, sources_of
from data.models import Candle, Market, TradeRun
from data.stores import MarketWriter
from data.timeframes import Timeframe, floor_to


async def restored_cascade(
    writer: MarketWriter, market: Market, timeframes: Iterable[Timeframe], run: TradeRun
) -> CandleCascade:
    """The cascade as it stood after the last trade of the stored `run`. Raises TransientError."""
    stored = tuple(timeframes)
    reads = CandleCascade.restore_reads(stored, run.last_at_us)
    return CandleCascade.restored(
        market,
        stored,
        covered_from_us=run.first_at_us,
        last_at_us=run.last_at_us,
        candles={
            timeframe: await writer.candles_between(market, timeframe, start_us, end_us)
            for timeframe, start_us, end_us in reads.candles
        },
        trades=await writer.trades_between(market, reads.trades_from_us, run.last_at_us + 1),
    )


async def mended_candles(
    writer: MarketWriter,
    market: Market,
    timeframes: Iterable[Timeframe],
    late_us: Iterable[int],
    *,
    closed_by_us: int,
    covers: Callable[[int], bool],
) -> list[Candle]:
    """The covered candles that hold the times `late_us` and ended by `closed_by_us`, built anew.

    They come from stored trades and smaller stored candles. Raises TransientError.
    """
    stored = frozenset(timeframes)
    times = sorted(set(late_us))
    sources = sources_of(stored)
    mended: dict[tuple[Timeframe, int], Candle] = {}
    for timeframe in (Timeframe.S1, *sources):
        for opened_at_us in sorted({floor_to(at_us, timeframe) for at_us in times}):
            end_us = opened_at_us + timeframe.us
            if end_us > closed_by_us or not covers(opened_at_us):
                continue
            source = sources.get(timeframe)
            if source is None or source not in stored:
                smaller = seconds_from_trades(
                    market, await writer.trades_between(market, opened_at_us, end_us)
                )
            else:
                rows = await writer.candles_between(market, source, opened_at_us, end_us)
                by_opening = {row.opened_at_us: row for row in rows}
                by_opening |= {
                    opened: candle
                    for (of, opened), candle in mended.items()
                    if of is source and opened_at_us <= opened < end_us
                }
                smaller = [by_opening[opened] for opened in sorted(by_opening)]
            for candle in smaller if source is None else fold_candles(market, timeframe, smaller):
                mended[timeframe, opened_at_us] = candle
    return [candle for (timeframe, _), candle in mended.items() if timeframe in stored]
