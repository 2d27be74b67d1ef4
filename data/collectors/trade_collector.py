"""One venue's collector: from its messages to stored, ordered trades and candles, and the news of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

import structlog

from data.collectors.backoff import Backoff
from data.collectors.batch_flusher import BatchFlusher
from data.collectors.channel_recorder import ChannelRecorder
from data.collectors.feed_watch import FeedWatch
from data.collectors.funding_keeper import FundingKeeper
from data.collectors.gap_filler import GapFiller
from data.collectors.instrument_watch import InstrumentWatch
from data.collectors.journal import Journal
from data.collectors.journal_recovery import store_again, store_orphans
from data.collectors.malformed_log import MalformedLog
from data.collectors.market_recorder import MarketRecorder
from data.collectors.market_roster import MarketRoster
from data.collectors.rest import VenueRest
from data.collectors.settings import VenueSettings
from data.collectors.settings_file import SettingsSource
from data.collectors.silence_watch import SilenceWatch
from data.collectors.stream_set import StreamSet
from data.collectors.telemetry import Rate, resident_bytes
from data.collectors.tuning import CollectorTuning
from data.collectors.unsaved import UnsavedBatches
from data.collectors.venue_history import HistoryKeeper
from data.collectors.venue_stream import VenueStream
from data.errors import TransientError, VenueUnreachable
from data.exchanges.base import Channel, DerivativesAdapter, ExchangeAdapter, TradesMessage, VenueMessage
from data.exchanges.waiting_trades import WaitingTrades
from data.messages import CollectorHealth
from data.models import Market, Trade
from data.stores import ChannelWriter, FundingTimesReader, MarketPublisher, MarketWriter

log = structlog.get_logger()
_T = TypeVar("_T")

_HINT = "Without a network, start with --demo."


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
    channel_writer: ChannelWriter | None = None,
    funding_reader: FundingTimesReader | None = None,
    source: SettingsSource | None = None,
    shard: str = "",
    restarts: int = 0,
) -> NoReturn:
    """Record the venue's trades until cancelled; what has come by then is stored before this ends.

    `journal_folder` is this process's own; without one a killed process has to fetch all that was not stored.
    `channel_writer` takes what is not trades; without one nothing else is recorded. `funding_reader` tells
    what is stored of funding; without one nobody asks what was paid. `source` tells of settings that change.
    `shard` is this process's name, `restarts` how often it was started again.

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
        channel_writer=channel_writer,
        funding_reader=funding_reader,
        source=source,
        shard=shard,
        restarts=restarts,
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
        channel_writer: ChannelWriter | None = None,
        funding_reader: FundingTimesReader | None = None,
        source: SettingsSource | None = None,
        shard: str = "",
        restarts: int = 0,
    ) -> None:
        self._adapter, self._rest, self._writer, self._publisher = adapter, rest, writer, publisher
        self._tuning, self._clock_us = tuning, clock_us
        self._shard, self._restarts = shard or f"collector-{adapter.name}", restarts
        self._malformed_log = MalformedLog(malformed_folder, adapter.name)
        self._urgent = asyncio.Event()
        self._room = asyncio.Event()  # there is memory for more trades
        self._room.set()
        self._recorders: dict[str, MarketRecorder] = {}  # by symbol
        self._streams = StreamSet(adapter, ws_url, self, tuning, clock_us, on_new=self._run_stream)
        self._stream_tasks: dict[VenueStream, asyncio.Task[NoReturn]] = {}
        self._journal = None if journal_folder is None else Journal(journal_folder)
        self._unsaved = UnsavedBatches(
            on_urgent=self._urgent.set, journal=self._journal, max_in_memory=tuning.max_in_memory
        )
        self._flusher = BatchFlusher(writer, publisher, self._unsaved, self._recorders, tuning, self._journal)
        self._filler = GapFiller(rest, adapter.limits.history_page, clock_us, tuning, self._urgent.set)
        self._history = HistoryKeeper(rest, writer, settings.history_candles, tuning, publisher=publisher)
        self._channel_writer = channel_writer
        self._channels = None
        if channel_writer is not None:
            self._channels = ChannelRecorder(channel_writer, publisher, tuning)
        self._funding = None
        if (
            self._channels is not None
            and funding_reader is not None
            and isinstance(adapter, DerivativesAdapter)
        ):
            self._funding = FundingKeeper(
                rest,
                funding_reader,
                adapter.name,
                clock_us,
                tuning,
                wanted=self._with_funding,
                take=self._channels.take,
            )
        self._roster = MarketRoster(
            adapter,
            writer,
            self._recorders,
            self._unsaved,
            self._streams,
            InstrumentWatch(rest, writer, channel_writer, publisher, clock_us, tuning),
            self._filler,
            self._history,
            settings,
            tuning,
            source=source,
            with_channels=channel_writer is not None,
            end_stream=self._end_stream,
        )
        self._watch = SilenceWatch(
            rest,
            self._recorders,
            self._streams,
            self._filler,
            tuning,
            take=self._take,
            start=self._start,
        )
        self._feeds = FeedWatch(publisher, channel_writer, self._has_unseen, clock_us, tuning)
        self._tasks: asyncio.TaskGroup | None = None
        self._state, self._detail = "connecting", ""
        self._channels_lost: dict[VenueStream, str] = {}  # why they bring nothing now
        self._ended_reconnects = self._ended_messages = 0  # of streams that are no more
        self._journal_depth = 0  # trades of a process before this one that are not stored yet
        self._malformed = 0
        self._lag_ms = 0.0
        self._lag_due = True
        self._rate, self._message_rate = Rate(), Rate()

    async def run(self) -> NoReturn:
        """Record until cancelled. Raises InvalidInput when the venue trades none of the symbols."""
        if self._journal is not None:
            self._journal.open()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._tell_health_forever())
                await self._prepare()
                tasks.create_task(self._watch.run())
                tasks.create_task(self._feeds.run(self._lines))
                if self._journal is not None:
                    tasks.create_task(self._store_orphans(self._journal.folder))
                tasks.create_task(self._flush_forever())
                tasks.create_task(self._history.run())
                tasks.create_task(self._roster.run())
                if self._channels is not None:
                    tasks.create_task(self._channels.run())
                if self._funding is not None:
                    tasks.create_task(self._funding.run())
                if self._channel_writer is not None:
                    tasks.create_task(self._save_health_forever(self._channel_writer))
        except BaseExceptionGroup as group:
            # The first one made the others end.
            raise group.exceptions[0] from group
        finally:
            await self._flusher.finish()
            if self._channels is not None:
                await self._channels.finish()
            self._state, self._detail = "stopped", ""
            await self._publisher.publish_health(self._health())
            if self._journal is not None:
                self._journal.close()
        raise AssertionError("a collector's tasks never end by themselves")

    # What a stream tells

    def on_connected(self, stream: VenueStream) -> None:
        now_s = asyncio.get_running_loop().time()
        for recorder in self._recorders_of(stream):
            recorder.heard_s = recorder.checked_s = now_s
        self._channels_lost.pop(stream, None)
        if all(each.live for each in self._streams.of_trades):
            self._say("live", "")

    def on_lost(self, stream: VenueStream, why: str, retry_in_s: float) -> None:
        if not stream.symbols:
            self._channels_lost[stream] = why
            return
        for recorder in self._recorders_of(stream):
            # Trades may pass unseen from now on, so the clock closes no candle of these markets.
            recorder.verified = False
        name, again = self._adapter.name, f"trying again in {max(1, round(retry_in_s))} s."
        if any(recorder.live_messages for recorder in self._recorders.values()):
            self._say("reconnecting", f"{name}: {why}; {again}")
        else:
            self._say("unreachable", f"{name} cannot be reached at {stream.url}: {why}; {again} {_HINT}")

    async def may_connect(self) -> None:
        await self._room.wait()

    def on_malformed(self, message: str) -> None:
        self._keep_malformed(message)

    def on_channel(self, parsed: VenueMessage) -> None:
        if self._channels is not None:
            self._channels.take(parsed)
        if self._funding is not None:
            self._funding.note(parsed)

    def on_trades(self, stream: VenueStream, parsed: TradesMessage, message: bytes) -> None:
        if parsed.refused:
            self._keep_malformed(message.decode("utf-8", "replace"), parsed.refused)
        trades = parsed.trades
        symbol = parsed.merged[0] if parsed.merged else trades[0].symbol if trades else ""
        self._on_trades_of(stream, symbol, trades, 1, parsed.merged[2] if parsed.merged else None)

    def on_waiting(self, stream: VenueStream, waiting: WaitingTrades) -> None:
        for symbol, trades in waiting.by_symbol.items():
            self._on_trades_of(stream, symbol, trades, len(trades))

    def _on_trades_of(
        self,
        stream: VenueStream,
        symbol: str,
        trades: Sequence[Trade],
        messages: int,
        last_id: int | None = None,
    ) -> None:
        """Trades of so many messages; the ids up to `last_id` are known to exist."""
        recorder = self._recorders.get(symbol)
        if recorder is None or recorder.leaving:
            return
        recorder.live_messages += messages
        recorder.deaf = False
        if last_id is not None:
            recorder.sequencer.expect_through(last_id)
        if trades:
            self._feeds.note(symbol, trades[-1].traded_at_us)
        if trades and self._lag_due:
            # Once for each report: a clock read for each trade would cost as much as its candle.
            self._lag_due = False
            self._lag_ms = (self._clock_us() - trades[-1].traded_at_us) / 1_000
        self._take(recorder, trades, stream.live)
        if self._unsaved.in_memory > self._tuning.max_unsaved:
            # Nothing is dropped: we stop listening, and fetch what we missed when there is room again.
            self._room.clear()
            stream.reconnect("the store cannot keep up, and the memory for what waits is full")

    def _keep_malformed(self, message: str, count: int = 1) -> None:
        self._malformed += count
        log.warning("malformed_message", exchange=self._adapter.name, message=message[:200])
        try:
            self._malformed_log.keep(message, self._clock_us())
        except OSError as error:
            log.error("malformed_message_not_kept", error=str(error))

    def _take(self, recorder: MarketRecorder, trades: Sequence[Trade], is_heard: bool) -> None:
        """Record trades of a market, in whatever order they came, and see to those that are missing.

        `is_heard`: its stream is known to bring whatever comes from now on.
        """
        if recorder.accept(trades):
            self._urgent.set()
        missing = recorder.sequencer.missing()
        if missing is None:
            recorder.verified = is_heard
        elif recorder.sequencer.full:
            self._filler.give_up(recorder, missing, "too_many_waiting")
        elif not self._filler.is_filling(recorder):
            self._start(self._filler.fill(recorder))

    def _lines(self) -> dict[Market, bool]:
        """Each recorded market, and whether a stream brings its trades now."""
        lines = {recorder.market: False for recorder in self._recorders.values() if not recorder.leaving}
        for stream in self._streams.of_trades:
            for recorder in self._recorders_of(stream):
                if recorder.market in lines and stream.hears(recorder.market.symbol):
                    lines[recorder.market] = True
        return lines

    def _with_funding(self) -> list[str]:
        """The perpetuals whose funding a stream is asked for now."""
        return [symbol for symbol, channel in self._streams.topics if channel is Channel.FUNDING]

    async def _has_unseen(self, market: Market) -> bool:
        newest = await self._rest.newest_trades(market.symbol)
        recorder = self._recorders.get(market.symbol)
        next_id = None if recorder is None else recorder.sequencer.next_id
        return next_id is not None and any(trade.trade_id >= next_id for trade in newest)

    def _recorders_of(self, stream: VenueStream) -> list[MarketRecorder]:
        return [self._recorders[symbol] for symbol in stream.symbols if symbol in self._recorders]

    def _run_stream(self, stream: VenueStream) -> None:
        assert self._tasks is not None
        self._stream_tasks[stream] = self._tasks.create_task(stream.run())

    def _end_stream(self, stream: VenueStream) -> None:
        self._ended_reconnects += max(0, stream.connections - 1)
        self._ended_messages += stream.messages
        self._channels_lost.pop(stream, None)
        self._stream_tasks.pop(stream).cancel()

    # Storing and telling

    async def _flush_forever(self) -> NoReturn:
        grace_us = int(self._tuning.grace_s * 1_000_000)
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._urgent.wait(), self._tuning.flush_s)
            self._urgent.clear()
            for stream in self._streams.of_trades:
                for recorder in self._recorders_of(stream) if stream.live else ():
                    recorder.advance(stream.venue_time_us - grace_us)
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
        await self._roster.prepare(self._patiently)

    async def _store_journal(self, journal: Journal) -> None:
        """What a process before this one received and did not store comes before all else."""
        self._journal_depth = journal.trades_from(journal.begin)
        end = journal.end
        await self._patiently(
            lambda: store_again(self._writer, journal, self._roster.settings.timeframes, end)
        )
        journal.release(end)
        self._journal_depth = 0

    async def _store_orphans(self, own: Path) -> None:
        await asyncio.sleep(self._tuning.orphans_s)
        try:
            await store_orphans(self._writer, own.parent, own, self._roster.settings.timeframes)
        except TransientError as error:
            # They stay where they are until a collector starts again.
            log.warning("orphans_not_stored", error=str(error))

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
            now_s = asyncio.get_running_loop().time()
            self._rate.note(now_s, self._flusher.stored)
            streams = self._streams.streams
            self._message_rate.note(now_s, self._ended_messages + sum(each.messages for each in streams))
            await self._publisher.publish_health(self._health())
            self._lag_due = True
            await asyncio.sleep(self._tuning.health_s)

    async def _save_health_forever(self, writer: ChannelWriter) -> NoReturn:
        while True:
            await asyncio.sleep(self._tuning.save_health_s)
            try:
                await writer.save_health(self._health())
            except TransientError as error:
                log.warning("health_not_saved", error=str(error))

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
            stale_symbols=self._feeds.stale_symbols,
            queue_depth=self._unsaved.in_memory,
            journal_depth=self._unsaved.spilled + self._journal_depth,
            sent_at_us=self._clock_us(),
            shard=self._shard,
            messages_per_s=self._message_rate.per_s,
            reconnects=self._ended_reconnects
            + sum(max(0, stream.connections - 1) for stream in self._streams.streams),
            gaps_found=self._filler.found,
            gaps_repaired=self._filler.repaired,
            memory_bytes=resident_bytes(),
            restarts=self._restarts,
        )

    def _worries(self) -> list[str]:
        """What is wrong although the streams live."""
        name = self._adapter.name
        worries = [
            f"{name} refuses {topic}: {reason}."
            for stream in self._streams.streams
            for topic, reason in stream.refusals.items()
        ]
        worries += self._roster.worries()
        deaf = [symbol for symbol, recorder in self._recorders.items() if recorder.deaf]
        if deaf:
            worries.append(
                f"{name} acknowledges {', '.join(deaf)} and brings no trades of it; REST is asked for them."
            )
        worries += [
            f"Quotes and the like of {name} do not come now: {why}." for why in self._channels_lost.values()
        ]
        if self._channels is not None and self._channels.trouble:
            worries.append(
                f"The store takes no quotes and the like now ({self._channels.trouble}); "
                f"{self._channels.dropped} were left out."
            )
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
