"""Storing what was recorded, telling it afterwards, and mending candles that closed too early."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

import structlog

from data.collectors.backoff import Backoff
from data.collectors.journal import Journal, JournalUnwritable, Position
from data.collectors.journal_recovery import store_again
from data.collectors.market_recorder import MarketRecorder
from data.collectors.restoring import mended_candles, restored_cascade
from data.collectors.tuning import CollectorTuning
from data.collectors.unsaved import UnsavedBatches
from data.errors import StoreFellBehind, TradingError, TransientError
from data.messages import CandleUpdate
from data.models import Candle
from data.stores import MarketBatch, MarketPublisher, MarketWriter
from data.timeframes import Timeframe, floor_to

log = structlog.get_logger()

_LAST_SAVE_S = 5.0


class LostByStore(TradingError):
    """The store lost more than the journal has: only a new start, from what is stored, can mend that."""


class BatchFlusher:
    """Takes the batches that wait to the journal and to the store, oldest first, and tells what is stored.

    The store may take its time: `flush` waits for it a moment and goes on keeping what comes, while the
    round of storing goes on beside.
    """

    def __init__(
        self,
        writer: MarketWriter,
        publisher: MarketPublisher,
        unsaved: UnsavedBatches,
        recorders: Mapping[str, MarketRecorder],
        tuning: CollectorTuning,
        journal: Journal | None = None,
    ) -> None:
        """`recorders` are the venue's, by symbol, and may become more; `journal` is that of `unsaved`."""
        self._writer, self._publisher, self._unsaved = writer, publisher, unsaved
        self._recorders, self._tuning, self._journal = recorders, tuning, journal
        self._backoff = Backoff(tuning.backoff_first_s, tuning.backoff_longest_s)
        self._again_s = 0.0  # loop time of the next attempt after a failure
        self._forming_told_s = 0.0
        self._round: asyncio.Task[None] | None = None
        self._saving_since_s: float | None = None
        self._syncing: asyncio.Task[None] | None = None
        self._synced_s = 0.0
        # Loop time when a batch was stored, and where it ends in the journal.
        self._settling: deque[tuple[float, Position]] = deque()
        self._stored_s = 0.0  # loop time when the last batch was stored
        self._failure = ""  # of the last attempt to store
        self.stored = 0  # trades

    @property
    def trouble(self) -> str:
        """Why the store takes nothing now; empty while it does."""
        if self._saving_since_s is not None:
            waits_s = asyncio.get_running_loop().time() - self._saving_since_s
            if waits_s > self._tuning.stalled_s:
                return f"it has not answered for {round(waits_s)} s"
        return self._failure

    async def flush(self) -> None:
        """Keep what came, and store, tell and mend; what of that takes longer goes on by itself."""
        self._unsaved.keep()
        if self._round is None:
            self._round = asyncio.create_task(self._store_and_tell())
        await asyncio.wait([self._round], timeout=self._tuning.flush_s or None)
        if self._round.done():
            ended, self._round = self._round, None
            ended.result()
        self._release_settled()
        if self.trouble or self._unsaved.is_spilled:
            self._sync_journal()

    async def finish(self) -> None:
        """Store what has come if the store answers soon; the journal keeps what it does not take."""
        self._unsaved.keep()
        storing = self._round or asyncio.create_task(self._store_waiting())
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_SAVE_S):
                    await storing
                    # The round under way may have begun before the last trades came.
                    await self._store_waiting()
        finally:
            for task in (storing, self._syncing):
                if task is not None and not task.done():
                    task.cancel()
                    await asyncio.wait([task])
            self._round = None

    async def _store_and_tell(self) -> None:
        if asyncio.get_running_loop().time() >= self._again_s:
            await self._store_waiting()
        if not self._failure and not self._unsaved.is_spilled:
            # Who hears of a forming candle may rely on it that all candles before it are stored.
            await self._tell_forming()
            for recorder in self._recorders.values():
                if recorder.late_us and recorder.stored_run is not None:
                    await self._mend(recorder)

    async def _store_waiting(self) -> None:
        while True:
            try:
                batch = self._unsaved.first()
                if batch is None:
                    return
                self._saving_since_s = asyncio.get_running_loop().time()
                await self._save(batch)
            except TransientError as error:
                retry_in_s = self._backoff.next_s()
                self._again_s = asyncio.get_running_loop().time() + retry_in_s
                self._failure = str(error)
                # The server may have crashed: what it committed last is settled no more.
                self._settle_anew()
                log.warning(
                    "store_failed", error=str(error), waiting=self._unsaved.trades, retry_in_s=retry_in_s
                )
                return
            finally:
                self._saving_since_s = None
            end = self._unsaved.saved()
            self._stored_s = asyncio.get_running_loop().time()
            if end is not None:
                self._settling.append((self._stored_s, end))
            self._backoff.reset()
            self._failure = ""
            self.stored += len(batch.trades)
            for market, run in batch.runs:
                recorder = self._recorders.get(market.symbol)
                if recorder is not None:
                    recorder.stored_run = run
            await self._tell_stored(batch)

    async def _save(self, batch: MarketBatch) -> None:
        begin = self._unsaved.first_begins
        if self._failure and self._journal is not None and begin is not None:
            # It may have lost trades of markets that are quiet now; their next batch would notice too late.
            await self._store_journal(self._journal, begin)
        try:
            await self._writer.save(batch)
        except StoreFellBehind as error:
            if self._journal is None or begin is None:
                raise LostByStore(str(error)) from error
            log.warning("store_fell_behind", error=str(error))
            await self._store_journal(self._journal, begin)
            try:
                await self._writer.save(batch)
            except StoreFellBehind as again:
                # It lost more than the journal still has. A start from what is stored fetches the rest.
                raise LostByStore(str(again)) from again

    async def _store_journal(self, journal: Journal, end: Position) -> None:
        timeframes = {frame for recorder in self._recorders.values() for frame in recorder.timeframes}
        await store_again(self._writer, journal, timeframes, end)

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
        if self._unsaved.is_spilled:
            return  # what came meanwhile is on disk; once it is stored too, this is tried again
        waiting, has_gap = self._unsaved.of_market(recorder.market)
        if has_gap:
            return  # `run` ends before these trades; once they are stored too, this is tried again
        # Nothing else ran since `of_market`, so `waiting` is all that came after `run`.
        recorder.replace_cascade(cascade, waiting)
        log.info("candles_mended", market=str(recorder.market), late=len(late_us), candles=len(candles))
        self._settle_anew()
        await self._tell_closed(candles)

    def _settle_anew(self) -> None:
        """A crash can undo what was stored up to now, mended candles too; the journal can give it again."""
        now_s = asyncio.get_running_loop().time()
        self._settling = deque((now_s, end) for _, end in self._settling)

    def _release_settled(self) -> None:
        if self._journal is None or any(recorder.late_us for recorder in self._recorders.values()):
            return
        # A batch that was stored so much later goes on from what is settled, so the server still has it.
        settled_s = self._stored_s - self._tuning.settle_s
        end = None
        while self._settling and self._settling[0][0] <= settled_s:
            _, end = self._settling.popleft()
        if end is not None:
            self._journal.release(end)

    def _sync_journal(self) -> None:
        now_s = asyncio.get_running_loop().time()
        is_busy = self._syncing is not None and not self._syncing.done()
        if self._journal is None or is_busy or now_s - self._synced_s < self._tuning.journal_sync_s:
            return
        self._synced_s = now_s
        self._syncing = asyncio.create_task(self._sync(self._journal.begin_sync()))

    async def _sync(self, write_to_disk: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(write_to_disk)
        except JournalUnwritable as error:
            self._unsaved.journal_trouble = str(error)
            log.warning("journal_not_synced", error=str(error))
