"""One venue's collector: from its messages to stored, ordered trades and candles, and the news of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import NoReturn, TypeVar

import structlog

from data.collectors.backoff import Backoff
from data.collectors.batch_flusher import BatchFlusher
from data.collectors.gap_filler import GapFiller
from data.collectors.journal import Journal
from data.collectors.journal_recovery import store_again
from data.collectors.malformed_log import MalformedLog
from data.collectors.market_recorder import MarketRecorder
from data.collectors.rest import VenueRest
from data.collectors.restoring import restored_cascade
from data.collectors.settings import VenueSettings
from data.collectors.tuning import CollectorTuning
from data.collectors.unsaved import UnsavedBatches
from data.collectors.venue_history import HistoryKeeper
from data.collectors.venue_stream import VenueStream
from data.errors import (
    BadDataError,
    InvalidInput,
    MalformedMessage,
    Problem,
    TransientError,
    VenueUnreachable,
)
from data.exchanges.base import (
    AckMessage,
    ErrorMessage,
    ExchangeAdapter,
    ReconnectNotice,
    TradesMessage,
    VenueMessage,
)
from data.messages import CollectorHealth
from data.models import Instrument, Trade
from data.stores import MarketPublisher, MarketWriter

log = structlog.get_logger()
_T = TypeVar("_T")

_HINT = "Without a network, start with --demo."
_RATE_WINDOW_S = 5.0


async def run_collector(
    adapter: ExchangeAdapter,
    rest: VenueRest,
    writer: MarketWriter,
    publisher: MarketPublisher,
    settings: VenueSettings,
    *,
    ws_url: str,
    malformed_folder: Path,
    clock_us: Callable[[], int],
    tuning: CollectorTuning | None = None,
    journal_folder: Path | None = None,
) -> NoReturn:
    """Record the venue's trades until cancelled; what has come by then is stored before this ends.

    `journal_folder` is this process's own; without one a killed process has to fetch all that was not stored.

    `clock_us` is our own clock, for lag, health and file names alone. Raises InvalidInput when the venue
    trades none of the symbols. `rest` is the caller's to close.
    """
    collector = TradeCollector(
        adapter,
        rest,
        writer,
        publisher,
        settings,
        ws_url=ws_url,
        malformed_folder=malformed_folder,
        clock_us=clock_us,
        tuning=tuning or CollectorTuning(),
        journal_folder=journal_folder,
    )
    await collector.run()


class TradeCollector:
    """Owns one venue's streams and watches over them. Each market has a recorder."""

    def __init__(
        self,
        adapter: ExchangeAdapter,
        rest: VenueRest,
        writer: MarketWriter,
        publisher: MarketPublisher,
        settings: VenueSettings,
        *,
        ws_url: str,
        malformed_folder: Path,
        clock_us: Callable[[], int],
        tuning: CollectorTuning,
        journal_folder: Path | None = None,
    ) -> None:
        self._adapter, self._rest, self._writer, self._publisher = adapter, rest, writer, publisher
        self._settings, self._ws_url, self._tuning = settings, ws_url, tuning
        self._clock_us = clock_us
        self._malformed_log = MalformedLog(malformed_folder, adapter.name)
        self._urgent = asyncio.Event()
        self._room = asyncio.Event()  # there is memory for more trades
        self._room.set()
        self._recorders: dict[str, MarketRecorder] = {}  # by symbol
        self._streams: list[VenueStream] = []
        self._journal = None if journal_folder is None else Journal(journal_folder)
        self._unsaved = UnsavedBatches(
            on_urgent=self._urgent.set, journal=self._journal, max_in_memory=tuning.max_in_memory
        )
        self._flusher = BatchFlusher(writer, publisher, self._unsaved, self._recorders, tuning, self._journal)
        self._filler = GapFiller(rest, adapter.limits.history_page, clock_us, tuning, self._urgent.set)
        self._history = HistoryKeeper(rest, writer, settings.history_candles, tuning)
        self._tasks: asyncio.TaskGroup | None = None
        self._state, self._detail = "connecting", ""
        self._unknown_symbols: list[str] = []
        self._journal_depth = 0  # trades of a process before this one that are not stored yet
        self._malformed = 0
        self._lag_ms = 0.0
        self._lag_due = True
        self._rate = _Rate()

    async def run(self) -> NoReturn:
        """Record until cancelled. Raises InvalidInput when the venue trades none of the symbols."""
        if self._journal is not None:
            self._journal.open()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._tell_health_forever())
                await self._prepare()
                for stream in self._streams:
                    tasks.create_task(stream.run())
                    tasks.create_task(self._watch_forever(stream))
                tasks.create_task(self._flush_forever())
                tasks.create_task(self._history.run())
        except BaseExceptionGroup as group:
            # The first one made the others end.
            raise group.exceptions[0] from group
        finally:
            await self._flusher.finish()
            self._state, self._detail = "stopped", ""
            await self._publisher.publish_health(self._health())
            if self._journal is not None:
                self._journal.close()
        raise AssertionError("a collector's tasks never end by themselves")

    # What a stream tells

    def on_message(self, stream: VenueStream, message: bytes) -> None:
        try:
            parsed = self._adapter.parse(message)
        except MalformedMessage as error:
            self._keep_malformed(error.message)
            return
        if type(parsed) is TradesMessage:
            if parsed.sent_at_us > stream.venue_time_us:
                stream.venue_time_us = parsed.sent_at_us
            self._on_trades(stream, parsed, message)
        else:
            self._on_control(stream, parsed)

    def on_connected(self, stream: VenueStream) -> None:
        now_s = asyncio.get_running_loop().time()
        for symbol in stream.symbols:
            self._recorders[symbol].heard_s = self._recorders[symbol].checked_s = now_s
        if all(each.live for each in self._streams):
            self._say("live", "")

    def on_lost(self, stream: VenueStream, why: str, retry_in_s: float) -> None:
        for symbol in stream.symbols:
            # Trades may pass unseen from now on, so the clock closes no candle of these markets.
            self._recorders[symbol].verified = False
        name, again = self._adapter.name, f"trying again in {max(1, round(retry_in_s))} s."
        if any(recorder.live_messages for recorder in self._recorders.values()):
            self._say("reconnecting", f"{name}: {why}; {again}")
        else:
            self._say("unreachable", f"{name} cannot be reached at {stream.url}: {why}; {again} {_HINT}")

    async def may_connect(self) -> None:
        await self._room.wait()

    def _on_trades(self, stream: VenueStream, parsed: TradesMessage, message: bytes) -> None:
        if parsed.refused:
            self._keep_malformed(message.decode("utf-8", "replace"), parsed.refused)
        trades = parsed.trades
        symbol = parsed.merged[0] if parsed.merged else trades[0].symbol if trades else ""
        recorder = self._recorders.get(symbol)
        if recorder is None:
            return
        recorder.live_messages += 1
        if parsed.merged:
            recorder.sequencer.expect_through(parsed.merged[2])
        if trades and self._lag_due:
            # Once for each report: a clock read for each trade would cost as much as its candle.
            self._lag_due = False
            self._lag_ms = (self._clock_us() - trades[-1].traded_at_us) / 1_000
        self._take(recorder, stream, trades)
        if self._unsaved.in_memory > self._tuning.max_unsaved:
            # Nothing is dropped: we stop listening, and fetch what we missed when there is room again.
            self._room.clear()
            stream.reconnect("the store cannot keep up, and the memory for what waits is full")

    def _on_control(self, stream: VenueStream, parsed: VenueMessage) -> None:
        if isinstance(parsed, AckMessage):
            stream.on_ack(parsed)
        elif isinstance(parsed, ErrorMessage):
            stream.on_error(parsed)
        elif isinstance(parsed, ReconnectNotice):
            stream.reconnect(f"the venue announced it: {parsed.reason}")
        elif parsed.sent_at_us > stream.venue_time_us:
            stream.venue_time_us = parsed.sent_at_us

    def _keep_malformed(self, message: str, count: int = 1) -> None:
        self._malformed += count
        log.warning("malformed_message", exchange=self._adapter.name, message=message[:200])
        try:
            self._malformed_log.keep(message, self._clock_us())
        except OSError as error:
            log.error("malformed_message_not_kept", error=str(error))

    def _take(self, recorder: MarketRecorder, stream: VenueStream, trades: list[Trade]) -> None:
        """Record trades of a market, in whatever order they came, and see to those that are missing."""
        if recorder.accept(trades):
            self._urgent.set()
        missing = recorder.sequencer.missing()
        if missing is None:
            recorder.verified = stream.live
        elif recorder.sequencer.full:
            self._filler.give_up(recorder, missing, "too_many_waiting")
        elif not self._filler.is_filling(recorder):
            self._start(self._filler.fill(recorder))

    # Watching over silence

    async def _watch_forever(self, stream: VenueStream) -> NoReturn:
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(min(1.0, self._tuning.unverified_s))
            if not stream.live:
                continue
            recorders = [self._recorders[symbol] for symbol in stream.symbols]
            for recorder in recorders:
                if recorder.live_messages != recorder.noticed_messages:
                    recorder.noticed_messages, recorder.heard_s = recorder.live_messages, clock()
            loudest = max(recorders, key=lambda recorder: recorder.heard_s)
            is_silent = clock() - loudest.heard_s > self._tuning.silence_s
            if is_silent:
                # Without trades it tells no time either, and candles end all the same.
                with contextlib.suppress(TransientError, BadDataError):
                    stream.venue_time_us = max(stream.venue_time_us, await self._rest.server_time_us())
            for recorder in recorders:
                wait_s = self._tuning.quiet_s
                if not recorder.verified:
                    wait_s = self._tuning.unverified_s
                elif is_silent and recorder is loudest:
                    wait_s = self._tuning.silence_s
                waited_s = clock() - max(recorder.heard_s, recorder.checked_s)
                if waited_s > wait_s and not self._filler.is_filling(recorder):
                    recorder.checked_s = clock()
                    self._start(self._check(recorder, stream))

    async def _check(self, recorder: MarketRecorder, stream: VenueStream) -> None:
        """Compare a quiet market with REST, take what is new there, and doubt a stream that lacked it."""
        connection, live_messages = stream.connections, recorder.live_messages
        try:
            newest = await self._rest.newest_trades(recorder.market.symbol)
        except (TransientError, BadDataError) as error:
            log.warning("check_failed", market=str(recorder.market), error=str(error))
            return
        if not stream.live or stream.connections != connection:
            return
        next_id, was_verified = recorder.sequencer.next_id, recorder.verified
        unseen = [trade for trade in newest if next_id is None or trade.trade_id >= next_id]
        self._take(recorder, stream, unseen)
        if not unseen or not was_verified:
            return
        await asyncio.sleep(self._tuning.deaf_s)
        if stream.connections == connection and recorder.live_messages == live_messages:
            stream.reconnect(f"it did not bring trades of {recorder.market.symbol} that REST has")

    # Storing and telling

    async def _flush_forever(self) -> NoReturn:
        grace_us = int(self._tuning.grace_s * 1_000_000)
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._urgent.wait(), self._tuning.flush_s)
            self._urgent.clear()
            for stream in self._streams:
                for symbol in stream.symbols if stream.live else ():
                    self._recorders[symbol].advance(stream.venue_time_us - grace_us)
            for symbol, recorder in self._recorders.items():
                for timeframe in {timeframe for timeframe, _ in recorder.take_uncovered()}:
                    self._history.ask_newest(symbol, timeframe)
            await self._flusher.flush()
            if self._unsaved.in_memory <= self._tuning.max_unsaved // 2:
                self._room.set()

    # Starting

    async def _prepare(self) -> None:
        if self._journal is not None:
            await self._store_journal(self._journal)
        instruments = await self._patiently(lambda: self._rest.instruments(self._settings.symbols))
        chosen = self._chosen(instruments)
        self._adapter.use(chosen)
        await self._patiently(lambda: self._writer.save_instruments(chosen))
        for instrument in chosen:
            await self._add_market(instrument)
        for timeframe in self._settings.timeframes:
            # Each market's first chart before any market's last.
            for symbol, recorder in self._recorders.items():
                run = recorder.stored_run
                self._history.ask(symbol, timeframe, 0 if run is None else run.last_at_us)
        symbols = list(self._recorders)
        size = self._adapter.limits.topics_per_connection
        self._streams += [
            VenueStream(self._adapter, self._ws_url, symbols[start : start + size], self, self._tuning)
            for start in range(0, len(symbols), size)
        ]

    async def _store_journal(self, journal: Journal) -> None:
        """What a process before this one received and did not store comes before all else."""
        self._journal_depth = journal.trades_from(journal.begin)
        end = journal.end
        await self._patiently(lambda: store_again(self._writer, journal, self._settings.timeframes, end))
        journal.release(end)
        self._journal_depth = 0

    def _chosen(self, instruments: list[Instrument]) -> list[Instrument]:
        """The instruments to record. A symbol the venue does not know is told of, and the others go on."""
        by_symbol = {instrument.symbol: instrument for instrument in instruments}
        wanted = self._settings.symbols
        self._unknown_symbols = [symbol for symbol in wanted if symbol not in by_symbol]
        if len(self._unknown_symbols) == len(wanted):
            name = self._adapter.name
            raise InvalidInput(
                *(
                    Problem(
                        where="the collectors' settings",
                        field=f"{name}.symbols[{number}]",
                        value=symbol,
                        expected=f"{name} trades no such thing; name one that it does",
                    )
                    for number, symbol in enumerate(wanted)
                )
            )
        return [by_symbol[symbol] for symbol in wanted if symbol in by_symbol]

    async def _add_market(self, instrument: Instrument) -> None:
        """A recorder that goes on where the store ends."""
        market, timeframes = instrument.market, self._settings.timeframes
        run = await self._patiently(lambda: self._writer.last_run(market))
        cascade = None
        if run is not None:
            stored_run = run
            cascade = await self._patiently(
                lambda: restored_cascade(self._writer, market, timeframes, stored_run)
            )
        self._recorders[market.symbol] = MarketRecorder(
            market,
            timeframes,
            self._unsaved,
            run=run,
            cascade=cascade,
            max_waiting=self._tuning.max_waiting,
        )

    async def _patiently(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Call until venue and store can answer, and say meanwhile why there is nothing to see."""
        backoff = Backoff(self._tuning.backoff_first_s, self._tuning.backoff_longest_s)
        while True:
            try:
                return await call()
            except TransientError as error:
                retry_in_s = backoff.next_s()
                log.warning("not_ready", exchange=self._adapter.name, error=str(error), retry_in_s=retry_in_s)
                detail = f"{error}; trying again in {max(1, round(retry_in_s))} s."
                if isinstance(error, VenueUnreachable):
                    self._say("unreachable", f"{detail} {_HINT}")
                else:
                    self._say("connecting", detail)
                await asyncio.sleep(retry_in_s)

    # Health

    def _say(self, state: str, detail: str) -> None:
        changed = (state, detail) != (self._state, self._detail)
        self._state, self._detail = state, detail
        if changed:
            self._start(self._publisher.publish_health(self._health()))

    async def _tell_health_forever(self) -> NoReturn:
        while True:
            self._rate.note(asyncio.get_running_loop().time(), self._flusher.stored)
            await self._publisher.publish_health(self._health())
            self._lag_due = True
            await asyncio.sleep(self._tuning.health_s)

    def _health(self) -> CollectorHealth:
        return CollectorHealth(
            exchange=self._adapter.name,
            state=self._state,
            detail=" ".join(part for part in (self._detail, *self._worries()) if part),
            symbols=len(self._recorders),
            trades_stored=self._flusher.stored,
            trades_per_s=self._rate.per_s,
            duplicates=sum(recorder.sequencer.duplicates for recorder in self._recorders.values()),
            malformed=self._malformed,
            gaps_open=self._filler.given_up + self._filler.under_way,
            lag_ms=self._lag_ms,
            queue_depth=self._unsaved.in_memory,
            journal_depth=self._unsaved.spilled + self._journal_depth,
            sent_at_us=self._clock_us(),
        )

    def _worries(self) -> list[str]:
        """What is wrong although the streams live."""
        name = self._adapter.name
        worries = [
            f"{name} refuses {topic}: {reason}."
            for stream in self._streams
            for topic, reason in stream.refusals.items()
        ]
        if self._unknown_symbols:
            worries.append(f"{name} does not trade {', '.join(self._unknown_symbols)}.")
        if self._flusher.trouble:
            worries.append(
                f"The store takes no trades now ({self._flusher.trouble}); {self._unsaved.in_memory} "
                f"are kept in memory and {self._unsaved.spilled} more on disk until it does."
            )
        if self._unsaved.journal_trouble:
            worries.append(f"{self._unsaved.journal_trouble}; when memory is full, listening stops.")
        if self._journal is not None:
            worries += [f"{damage}." for damage in self._journal.damaged]
        return worries

    def _start(self, work: Coroutine[object, object, None]) -> None:
        assert self._tasks is not None
        self._tasks.create_task(work)


class _Rate:
    """How much a count grew in each second of the last window."""

    def __init__(self) -> None:
        self.per_s = 0.0
        self._at_s: float | None = None
        self._count = 0

    def note(self, at_s: float, count: int) -> None:
        if self._at_s is None:
            self._at_s = at_s
        elif at_s - self._at_s >= _RATE_WINDOW_S:
            self.per_s = (count - self._count) / (at_s - self._at_s)
            self._at_s, self._count = at_s, count
