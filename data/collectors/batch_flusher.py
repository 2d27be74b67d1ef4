"""Storing what was recorded, telling it afterwards, and mending candles that closed too early."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from itertools import groupby

import structlog

from data.collectors.backoff import Backoff
from data.collectors.market_recorder import MarketRecorder
from data.collectors.restoring import mended_candles, restored_cascade
from data.collectors.tuning import CollectorTuning
from data.collectors.unsaved import UnsavedBatches
from data.errors import TransientError
from data.messages import CandleUpdate
from data.models import Candle
from data.stores import MarketBatch, MarketPublisher, MarketWriter
from data.timeframes import Timeframe, floor_to

log = structlog.get_logger()

_LAST_SAVE_S = 5.0


class BatchFlusher:
    """Takes the batches that wait to the store, oldest first, and publishes what is stored."""

    def __init__(
        self,
        writer: MarketWriter,
        publisher: MarketPublisher,
        unsaved: UnsavedBatches,
        recorders: Mapping[str, MarketRecorder],
        tuning: CollectorTuning,
    ) -> None:
        """`recorders` are the venue's, by symbol; the mapping may grow later."""
        self._writer, self._publisher, self._unsaved = writer, publisher, unsaved
        self._recorders, self._tuning = recorders, tuning
        self._backoff = Backoff(tuning.backoff_first_s, tuning.backoff_longest_s)
        self._again_s = 0.0  # loop time of the next attempt after a failure
        self._forming_told_s = 0.0
        self.trouble = ""  # why the store takes nothing now
        self.stored = 0  # trades

    async def flush(self) -> None:
        """One round: store, tell what is stored and what is forming, mend."""
        if asyncio.get_running_loop().time() >= self._again_s:
            await self._store_waiting()
        if not self.trouble:
            # Who hears of a forming candle may rely on it that all candles before it are stored.
            await self._tell_forming()
            for recorder in self._recorders.values():
                if recorder.late_us and recorder.stored_run is not None:
                    await self._mend(recorder)

    async def finish(self) -> None:
        """Store what has come if the store answers soon."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SAVE_S):
                await self._store_waiting()

    async def _store_waiting(self) -> None:
        while (batch := self._unsaved.first()) is not None:
            try:
                await self._writer.save(batch)
            except TransientError as error:
                retry_in_s = self._backoff.next_s()
                self._again_s = asyncio.get_running_loop().time() + retry_in_s
                self.trouble = str(error)
                log.warning(
                    "store_failed", error=str(error), waiting=self._unsaved.trades, retry_in_s=retry_in_s
                )
                return
            self._unsaved.saved()
            self._backoff.reset()
            self.trouble = ""
            self.stored += len(batch.trades)
            for market, run in batch.runs:
                self._recorders[market.symbol].stored_run = run
            await self._tell_stored(batch)

    async def _tell_stored(self, batch: MarketBatch) -> None:
        # A batch holds its markets in turns, a message one market's trades.
        by_symbol = sorted(batch.trades, key=lambda trade: trade.symbol)
        for _, trades in groupby(by_symbol, key=lambda trade: trade.symbol):
            await self._publisher.publish_trades(list(trades))
        await self._tell_closed(batch.candles)

    async def _tell_closed(self, candles: Sequence[Candle]) -> None:
        if candles:
            await self._publisher.publish_candles(
                [CandleUpdate(candle=candle, closed=True, covered=True) for candle in candles]
            )

    async def _tell_forming(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._forming_told_s < self._tuning.flush_s:
            return
        updates: list[CandleUpdate] = []
        for recorder in self._recorders.values():
            if recorder.changed:
                recorder.changed = False
                updates += recorder.forming_updates()
        if updates:
            self._forming_told_s = now_s
            await self._publisher.publish_candles(updates)

    async def _mend(self, recorder: MarketRecorder) -> None:
        """Build anew the candles that had closed when one of their trades came, now that it is stored."""
        run = recorder.stored_run
        assert run is not None
        late_us = [at_us for at_us in recorder.late_us if at_us <= run.last_at_us]
        try:
            candles = await mended_candles(
                self._writer,
                recorder.market,
                recorder.timeframes,
                late_us,
                closed_by_us=floor_to(run.last_at_us, Timeframe.S1),
                covers=lambda opened_at_us: opened_at_us > run.first_at_us,
            )
            if candles:
                await self._writer.save(MarketBatch(trades=[], candles=candles, runs=[]))
            cascade = await restored_cascade(self._writer, recorder.market, recorder.timeframes, run)
        except TransientError as error:
            log.warning("mend_failed", market=str(recorder.market), error=str(error))
            return
        waiting, has_gap = self._unsaved.of_market(recorder.market)
        if has_gap:
            return  # `run` ends before these trades; once they are stored too, this is tried again
        # Nothing else ran since `of_market`, so `waiting` is all that came after `run`.
        recorder.replace_cascade(cascade, waiting)
        log.info("candles_mended", market=str(recorder.market), late=len(late_us), candles=len(candles))
        await self._tell_closed(candles)
